"""The command `explain`: what a message means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mdai_build.cli.completing import message_numbers
from mdai_build.cli.options import json_option, print_json

if TYPE_CHECKING:
    from mdai_build.documents.machine import ExplainDocument


@click.command("explain")
@click.argument("codes", nargs=-1, metavar="[CODE]...", shell_complete=message_numbers)
@json_option
def explain_command(codes: tuple[str, ...], as_json: bool) -> None:
    """Print what a message means and what mends it, by its number (MB204); without one, list them all."""
    from mdai_build.error_pages import error_pages, nearest_code, page_of
    from mdai_build.errors import Problem, UsageError
    from mdai_build.report.explanation import explanation_as_json, print_explanation, print_explanations

    pages = []
    for code in codes:
        page = page_of(code)
        if page is None:
            near = nearest_code(code)
            raise UsageError(
                Problem(
                    "usage.no-such-code",
                    f"there is no message {code!r}",
                    expected="a number such as MB204, as it stands in brackets before a message",
                    next_step=f"did you mean {near}?" if near else "`mdai-build explain` lists them all",
                )
            )
        pages.append(page)
    if as_json:
        document: ExplainDocument = {
            "format": 1,
            "exit_code": 0,
            "messages": [explanation_as_json(page) for page in pages or error_pages().values()],
        }
        print_json(document)
    elif not pages:
        print_explanations(error_pages().values())
    for number, page in enumerate(pages if not as_json else ()):
        if number:
            click.echo()
        print_explanation(page)
