"""What several commands share: options, each named as the setting that it overrides, and how results are printed."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mdai_build.cli.completing import bundles, parents
from mdai_build.cli.github import MODEL

if TYPE_CHECKING:
    from mdai_build.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])


def together(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Several options as one decorator."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _remember_model(context: click.Context, parameter: click.Parameter, value: Path) -> Path:
    context.meta[MODEL] = value
    return value


model_argument = click.argument(
    "model", type=click.Path(exists=True, path_type=Path), callback=_remember_model, shell_complete=bundles
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")

junit_option = click.option(
    "--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write the checks as JUnit XML too."
)
sarif_option = click.option(
    "--sarif",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write what is wrong or dubious as SARIF 2.1.0 too, for code scanning.",
)
report_option = click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a page (HTML) with all of it, pictures too.",
)
parent_option = click.option(
    "--parent",
    metavar="gcp|slim|local|REF",
    shell_complete=parents,
    help="The parent image; default: Google's (gcp). See `parents list`.",
)
parent_options = together(
    parent_option,
    click.option("--platform", metavar="OS/ARCH", help="What the image runs on: linux/amd64 (default) or linux/arm64."),
    click.option("--cache-folder", type=click.Path(path_type=Path, file_okay=False), help="Where we keep our cache."),
)
look_up_option = click.option(
    "--offline", is_flag=True, default=None, help="Do not ask package indexes whether the requirements can be met."
)
untested_options = together(
    click.option(
        "--no-test", is_flag=True, help="Leave out the smoke test. A tag that a tested image has does not move then."
    ),
    click.option("--tag-untested", is_flag=True, help="Leave out the smoke test, and move the tag all the same."),
)
reproducible_option = click.option(
    "--reproducible", is_flag=True, default=None, help="Give the image its normal form: one digest on every machine."
)
provenance_option = click.option(
    "--provenance",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a statement of what the image was built from to this file; signed where there is a key.",
)
install_options = together(
    click.option(
        "--installer",
        type=click.Choice(["auto", "uv", "pip"]),
        help="What installs the requirements; default: uv, and pip where uv cannot (auto).",
    ),
    click.option(
        "--wheels",
        type=click.Path(path_type=Path, file_okay=False),
        help="A folder of wheels: everything is installed from it, and no index is asked.",
    ),
    click.option(
        "--netrc",
        type=click.Path(path_type=Path, dir_okay=False),
        help="A file with names and passwords for indexes, channels and git hosts.",
    ),
)


def _where_given(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...] | None:
    """None in place of an empty tuple, so that what the environment or the settings file say holds."""
    return value or None


cache_options = together(
    click.option("--push", is_flag=True, help="Push an image that passed to the registry that its name begins with."),
    *(
        click.option(
            f"--cache-{word}",
            multiple=True,
            callback=_where_given,
            metavar="REF",
            help=f"Build cache to {does}: an image reference, or buildx's type=…; {{name}} is the model's name.",
        )
        for word, does in (("from", "read"), ("to", "write"))
    ),
)
engine_options = together(
    click.option("--network", "build_network", help="Network of the build's steps: default, none or host."),
    click.option("--builder", help="Name of the buildx builder."),
)
gpu_option = click.option(
    "--gpus",
    metavar="all|none|N|device=ID,ID",
    help="GPUs for the model; default: all that there are, for one of device_type gpu.",
)
smoke_options = together(
    gpu_option,
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
    click.option("--cpus", help="CPUs that the container may use; default: 4."),
    click.option("--test-network", help="Network of the container: none, or the engine's default; default: none."),
    click.option("--ready-timeout", help="Seconds that the model may take to load."),
    click.option("--predict-timeout", help="Seconds that one answer may take."),
)
local_options = together(
    click.option("--local", is_flag=True, help="TARGET is a bundle, served from a Python of this machine: no engine."),
    click.option(
        "--python", metavar="PATH", help="With --local: the Python with the model's packages; default: python3."
    ),
)


def read_settings(options: Mapping[str, Any]) -> Settings:
    """The settings in force, the command's own options first."""
    from mdai_build.settings import load_settings

    return load_settings(options)


def print_json(value: Mapping[str, Any]) -> None:
    """A result for machines, on standard output. A terminal that shows it obeys nothing of it: what JSON itself leaves
    as it is, and is no text, stands there as an escape of JSON's.
    """
    print_json_text(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_json_text(text: str) -> None:
    """The same for what is JSON already."""
    click.echo(_UNSHOWN.sub(lambda found: json.dumps(found[0])[1:-1], text))


def print_file(content: bytes) -> None:
    """A file as the result, on standard output: to the byte, but for a terminal, which obeys nothing of it."""
    from mdai_build.report.text import clean

    click.echo(clean(content.decode(errors="replace")) if sys.stdout.isatty() else content, nl=False)


# Controls, what turns the direction of text around or hides in it, and halves of characters, which no output takes.
_UNSHOWN = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]")


def silent(text: str) -> None:
    """Progress of a command whose standard output is its result and that is over in a moment."""


def check_junit(file: Path | None) -> None:
    """Refuses a JUnit file that could not be written, before anything is built."""
    _check_folder(file, "--junit")


def check_report(file: Path | None) -> None:
    """Refuses a page that could not be written, before anything is done."""
    _check_folder(file, "--report")


def check_sarif(file: Path | None) -> None:
    """Refuses a SARIF file that could not be written, before anything is done."""
    _check_folder(file, "--sarif")


def _check_folder(file: Path | None, option: str) -> None:
    if file is not None and not file.resolve().parent.is_dir():
        raise click.BadParameter(f"there is no folder {str(file.parent)!r}", param_hint=option)


def tell_report(file: Path | None) -> None:
    """Says where the page is, where there is one."""
    if file is not None:
        click.echo(f"the report is in {file}", err=True)


def write_file(file: Path | None, text: Callable[[], str]) -> None:
    """Writes a report, JUnit XML or SARIF, where it was asked for."""
    if file is not None:
        try:
            file.write_text(text(), encoding="utf-8")
        except OSError as error:
            raise click.FileError(str(file), error.strerror) from None
