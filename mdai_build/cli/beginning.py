"""The command `init`: a model's folder to begin with."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mdai_build.cli.options import json_option, print_json

if TYPE_CHECKING:
    from mdai_build.pipeline.init import Task

_TASKS = ("classification", "segmentation", "detection", "series", "image")
_PYTHONS = ("3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13")


@click.command("init")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--task", type=click.Choice(_TASKS), default="classification", show_default=True, help="What the model gives."
)
@click.option("--python", type=click.Choice(_PYTHONS), help="Its Python; default: the folder's own, else 3.10.")
@json_option
def init_command(folder: Path, task: Task, python: str | None, as_json: bool) -> None:
    """Write a model's folder that builds and passes, for your own model to be put in.

    In a folder that holds a model already, only what is missing is added, from what is found there.
    """
    from mdai_build.pipeline.init import init_model
    from mdai_build.report.terminal import clean_path

    report = init_model(folder, task, python)
    if as_json:
        print_json(report.as_json())
        return
    place = clean_path(folder)
    for name in report.written:
        click.echo(f"wrote  {place}/{name}")
    for name in report.kept:
        click.echo(f"kept   {place}/{name}, as it was")
    if report.framework:
        click.echo(f"found  {report.framework} in its imports")
    if report.weights:
        click.echo(f"found  weights: {clean_path(Path(report.weights))}")
    if report.requirements and ".mdai/requirements.txt" in report.written:
        click.echo(f"found  requirements: {', '.join(report.requirements)}; correct their versions")
    word = shlex.quote(str(folder))
    click.echo(f"\nnext   mdai-build check {word}     reads it, in a second")
    click.echo(f"       mdai-build {word}           builds and tests it; --parent local for this machine's parent")
    click.echo(f"       then look for TODO in {place}/.mdai/mdai_deploy.py")
