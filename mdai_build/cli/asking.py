"""The commands `predict` and `profile`: what a model says of a user's files, and what that takes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mdai_build.cli.completing import images
from mdai_build.cli.options import (
    check_report,
    gpu_option,
    json_option,
    local_options,
    print_json,
    read_settings,
    report_option,
    together,
)

if TYPE_CHECKING:
    from mdai_build.pipeline.ask import Place
    from mdai_build.smoke.asked import Asked
    from mdai_build.smoke.request import Scope
    from mdai_build.smoke.result import Check

_asked_options = together(
    click.option(
        "--scope",
        type=click.Choice(["INSTANCE", "SERIES", "STUDY"], case_sensitive=False),
        help="What one request holds; default: as the model's smoke.yaml says, else SERIES.",
    ),
    click.option("--args", "words", multiple=True, metavar="NAME=VALUE", help="An argument for the model; repeatable."),
    click.option("--annotations", type=click.Path(path_type=Path, dir_okay=False), help="Annotations, a JSON file."),
    click.option(
        "--label-classes",
        type=click.Path(path_type=Path, dir_okay=False),
        help="The model card's classes, a JSON or YAML file; outputs are held against them.",
    ),
    gpu_option,
    click.option("--memory", help="Memory limit of the container, such as 512m or 4g."),
    click.option("--ready-timeout", help="Seconds that the model may take to load."),
    click.option("--predict-timeout", help="Seconds that one answer may take."),
)


def _place(target: str, local: bool, python: str | None) -> Place:
    from mdai_build.pipeline.ask import Place

    if python is not None and not local:
        raise click.UsageError("--python goes with --local")
    if local and not Path(target).exists():
        raise click.BadParameter(f"Path {target!r} does not exist.", param_hint="TARGET")
    return Place(target, (python or "python3") if local else None)


def _asked(
    files: tuple[str, ...],
    scope: Scope | None,
    words: tuple[str, ...],
    annotations: Path | None,
    label_classes: Path | None,
) -> Asked:
    from mdai_build.smoke.asked import Asked, parse_args

    return Asked(files, scope, parse_args(words), annotations, label_classes)


def _line(check: Check) -> str:
    return f"{check.name}: {check.outcome if check.outcome != 'passed' else 'ok'}"


@click.command("predict")
@click.argument("target", shell_complete=images)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@local_options
@_asked_options
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for outputs.json, outputs.msgpack, pictures and report.html.",
)
@report_option
@json_option
def predict_command(
    target: str,
    files: tuple[str, ...],
    local: bool,
    python: str | None,
    scope: Scope | None,
    words: tuple[str, ...],
    annotations: Path | None,
    label_classes: Path | None,
    out: Path | None,
    report: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Send files to a model, and show what it answers.

    TARGET is an image, the address of a server (http://...), or with --local a bundle. FILE is a DICOM, JPEG or PNG
    file, a folder, a pattern in quotes, a DICOMDIR or a zip archive.
    """
    from mdai_build.cli.progress import Progress
    from mdai_build.pipeline.ask import predict
    from mdai_build.report.predictions import Predictions

    place = _place(target, local, python)
    asked = _asked(files, scope, words, annotations, label_classes)
    check_report(report)
    told = Predictions(pictures=not as_json)
    with Progress() as progress:
        found = predict(
            place,
            asked,
            read_settings(options),
            out,
            report,
            sys.stdout if as_json else None,
            progress.tell,
            lambda check: progress.tell(_line(check)),
            told.add,
        )
    told.print(found.smoke, found.scope, found.warnings, found.files, found.pictures, to_stderr=as_json)
    sys.exit(found.exit_code)


@click.command("profile")
@click.argument("target", shell_complete=images)
@click.argument("files", nargs=-1, metavar="[FILE]...")
@local_options
@click.option(
    "-n", "count", default=20, show_default=True, type=click.IntRange(1, 100_000), help="How many answers to measure."
)
@_asked_options
@report_option
@json_option
def profile_command(
    target: str,
    files: tuple[str, ...],
    local: bool,
    python: str | None,
    count: int,
    scope: Scope | None,
    words: tuple[str, ...],
    annotations: Path | None,
    label_classes: Path | None,
    report: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure the time and memory of a model's answers, step by step.

    TARGET and FILE are as with `predict`; without files, a synthetic sample that the model answers is sent.
    """
    from mdai_build.cli.progress import Progress
    from mdai_build.pipeline.ask import profile
    from mdai_build.report.charts import profile_as_json
    from mdai_build.report.profiling import print_profile

    place = _place(target, local, python)
    asked = _asked(files, scope, words, annotations, label_classes)
    check_report(report)
    with Progress() as progress:
        measured, warnings = profile(
            place,
            asked,
            read_settings(options),
            count,
            report,
            progress.tell,
            lambda check: progress.tell(_line(check)),
        )
    exit_code = 0 if measured.passed else 7
    if as_json:
        print_json(profile_as_json(target, measured, warnings))
    print_profile(measured, warnings, to_stderr=as_json)
    sys.exit(exit_code)
