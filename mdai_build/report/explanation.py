"""The page of a kind of message, for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from mdai_build.error_pages import ErrorPage
from mdai_build.report.terminal import console, print_facts

if TYPE_CHECKING:
    from mdai_build.documents.machine import ExplanationDocument

_WIDEST = 88


def print_explanation(page: ErrorPage) -> None:
    """Prints what a kind of message means, what causes it and what mends it."""
    on = console()
    on.print(Text(f"{page.number}: {page.title}", style="bold"), soft_wrap=True)
    on.print(Text(f"{page.name}, {page.link}", style="dim"), soft_wrap=True)
    for text in (page.cause, f"To do: {page.fix}"):
        on.print()
        _print_folded(on, text)
    if page.example:
        on.print()
        for line in page.example.splitlines():
            on.print(Text(f"    {line}"), soft_wrap=True)


def print_explanations(pages: Iterable[ErrorPage]) -> None:
    """Prints all kinds of messages in a list."""
    print_facts(console(), ((page.number, page.title) for page in pages))


def explanation_as_json(page: ErrorPage) -> ExplanationDocument:
    """A page as JSON-ready values."""
    return {
        "code": page.name,
        "number": page.number,
        "title": page.title,
        "cause": page.cause,
        "fix": page.fix,
        "example": page.example or None,
        "page": page.link,
    }


def _print_folded(on: Console, text: str) -> None:
    if on.is_terminal:
        on.print(Text(text), width=min(_WIDEST, on.width))
    else:
        on.print(Text(text), soft_wrap=True)
