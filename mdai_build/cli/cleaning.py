"""The command `clean`: what was left in caches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mdai_build.cli.options import json_option, print_json, read_settings


@click.command("clean")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Everything that no run uses just now, also what was used lately and the parent image that was made here.",
)
@click.option("--dry-run", is_flag=True, help="Remove nothing; show what would be.")
@click.option("--cache-folder", type=click.Path(path_type=Path, file_okay=False), help="Where we keep our cache.")
@json_option
def clean_command(everything: bool, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Remove what was left in caches and on the engine and was not used for long; images with a name stay.

    It is safe while something is built. How long bundles are kept is set by keep_days and keep_bytes.
    """
    from mdai_build.pipeline.clean import clean
    from mdai_build.report.cleaned import print_cleaned

    report = clean(read_settings(options), everything, dry_run)
    if as_json:
        print_json(report.as_json())
    print_cleaned(report.items, report.bytes_removed, report.problems, dry_run, to_stderr=as_json)
