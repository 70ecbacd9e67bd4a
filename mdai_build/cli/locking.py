"""The command `lock`: exact versions and hashes for a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mdai_build.cli.options import (
    engine_options,
    json_option,
    model_argument,
    parent_options,
    print_json,
    read_settings,
)

if TYPE_CHECKING:
    from mdai_build.documents.bundle import LockCheckDocument


@click.command("lock")
@model_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write; default: .mdai/requirements.lock of a folder, a file beside an archive.",
)
@click.option("--check", "only_check", is_flag=True, help="Write nothing; say whether the lock is up to date.")
@click.option("--upgrade", is_flag=True, help="Take the newest versions that fit, whatever the lock says now.")
@parent_options
@engine_options
@json_option
def lock_command(
    model: Path, output: Path | None, only_check: bool, upgrade: bool, as_json: bool, **options: Any
) -> None:
    """Write down every package that a bundle comes to, with hashes; a bundle with its lock installs exactly that."""
    from mdai_build.cli.progress import Progress
    from mdai_build.pipeline.lock import LockOptions, check_lock, lock_model
    from mdai_build.report.terminal import print_problems
    from mdai_build.report.text import clean_line

    if only_check and upgrade:
        raise click.UsageError("--check writes nothing, so that --upgrade has no place beside it")
    settings = read_settings(options)
    if only_check:
        place = check_lock(model, output)
        if as_json:
            document: LockCheckDocument = {"format": 1, "exit_code": 0, "file": place, "up_to_date": True}
            print_json(document)
        else:
            click.echo(f"{clean_line(place)} is up to date")
        return
    with Progress() as progress:
        lock = lock_model(model, settings, LockOptions(output, upgrade), progress)
    print_problems(lock.warnings, heading="warning")
    if as_json:
        print_json(lock.as_json())
        return
    state = "written" if lock.changed else "as it was"
    click.echo(f"{clean_line(str(lock.file))}: {lock.packages} packages, {state}")
    for line in lock.unhashed:
        click.echo(f"  no hash, since it is built in the image: {clean_line(line)}")
    if not lock.in_bundle:
        click.echo(f"it belongs at {clean_line(lock.belongs_at)} in the bundle; a build heeds it there alone")
