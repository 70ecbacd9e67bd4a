"""The command `parents`: which images models are built on, and to which bytes they are held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mdai_build.cli.completing import parent_names
from mdai_build.cli.options import json_option, parent_option, print_json, read_settings

if TYPE_CHECKING:
    from mdai_build.documents.machine import ParentsListDocument


@click.group("parents")
def parents_command() -> None:
    """List the parent images, or pin them to the bytes that they are now."""


@parents_command.command("list")
@json_option
def list_command(as_json: bool, **options: Any) -> None:
    """Show which parent image serves what, with CUDA, driver, and how long it is kept."""
    from mdai_build.pipeline.parents import list_parents
    from mdai_build.report.parents import print_parents

    found = list_parents(read_settings(options))
    if as_json:
        document: ParentsListDocument = {
            "format": 1,
            "exit_code": 0,
            "parents": [each.as_json() for each in found],
        }
        print_json(document)
    else:
        print_parents(found)


@parents_command.command("pin")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=parent_names)
@parent_option
@json_option
def pin_command(names: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Write the digests that parents have now to parents.lock, which builds read.

    NAME is one of `parents list`, such as base-cu113, or any image; default: all that --parent leads to.
    """
    from mdai_build.cli.progress import Progress
    from mdai_build.pipeline.parents import pin_parents
    from mdai_build.report.terminal import print_problems

    settings = read_settings(options)
    with Progress() as progress:
        pinned = pin_parents(settings, names, progress.tell)
    print_problems(pinned.warnings, heading="warning")
    if as_json:
        print_json(pinned.as_json())
        return
    for name, digest in pinned.pins:
        click.echo(f"{name} is {digest}")
    click.echo(f"written to {pinned.file}")
