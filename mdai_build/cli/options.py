"""Options that several commands share. Each is named as the setting that it overrides (see `settings`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def _together(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


model_argument = click.argument("model", type=click.Path(exists=True, path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")

parent_options = _together(
    click.option("--parent", metavar="gcp|local|REF", help="The parent image; default: Google's (gcp)."),
    click.option("--cache-folder", type=click.Path(path_type=Path, file_okay=False), help="Where we keep our cache."),
)
engine_options = _together(
    click.option("--network", "build_network", help="Network of the build's steps: default, none or host."),
    click.option("--builder", help="Name of the buildx builder."),
)
smoke_options = _together(
    click.option(
        "--samples", type=click.Path(exists=True, path_type=Path), help="Your own files to test with, in a folder."
    ),
    click.option(
        "--scope",
        type=click.Choice(["INSTANCE", "SERIES", "STUDY"], case_sensitive=False),
        help="What one request holds; default: as .mdai/smoke.yaml says, else all three for synthetic samples.",
    ),
    click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the pictures."),
    click.option("--memory", help="Memory limit of the container, such as 512m or 4g."),
    click.option("--ready-timeout", help="Seconds that the model may take to load."),
    click.option("--predict-timeout", help="Seconds that one answer may take."),
)
