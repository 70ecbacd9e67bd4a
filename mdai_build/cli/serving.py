"""The commands `test` and `run`: what becomes of an image, or of a model in a Python of this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mdai_build.cli.completing import images
from mdai_build.cli.github import annotate
from mdai_build.cli.options import (
    check_report,
    gpu_option,
    json_option,
    local_options,
    print_json,
    read_settings,
    report_option,
    smoke_options,
    tell_report,
)

if TYPE_CHECKING:
    from mdai_build.smoke import Scope


def _bundle(target: str, local: bool, python: str | None) -> Path:
    if not local:
        if python is not None:
            raise click.UsageError("--python goes with --local")
        return Path()
    if not Path(target).exists():
        raise click.BadParameter(f"Path {target!r} does not exist.", param_hint="TARGET")
    return Path(target)


@click.command("test")
@click.argument("target", shell_complete=images)
@local_options
@smoke_options
@report_option
@json_option
def test_command(
    target: str,
    local: bool,
    python: str | None,
    samples: Path | None,
    scope: Scope | None,
    out: Path | None,
    report: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Run the smoke test: of an image that exists, or of a bundle with --local.

    With --out, the folder gets a page of it too, report.html.
    """
    from mdai_build.cli.progress import Progress
    from mdai_build.pipeline.pages import PAGE, page_of_failures, write_test_page
    from mdai_build.pipeline.serve import Trial, test_image, test_local
    from mdai_build.report.document import smoke_as_json
    from mdai_build.report.terminal import print_smoke

    bundle = _bundle(target, local, python)
    settings = read_settings(options)
    check_report(report)
    trial = Trial(samples, scope, out)
    page = report or (out / PAGE if out else None)
    with Progress() as progress, page_of_failures(target, report):
        if local:
            outcome = test_local(bundle, python or "python3", settings, trial, progress, progress.tell_check)
        else:
            progress("starting the image for the smoke test")
            outcome = test_image(target, settings, trial, progress.tell_check)
        if page is not None:
            progress.tell("writing the report")
            write_test_page(target, outcome, settings, page, is_image=not local)
    if as_json:
        print_json(smoke_as_json(target, outcome.smoke, outcome.pictures, outcome.warnings))
    print_smoke(outcome.smoke, outcome.pictures, outcome.warnings, to_stderr=as_json)
    tell_report(page)
    annotate(outcome.smoke.problems, (*outcome.warnings, *outcome.smoke.warnings))
    sys.exit(outcome.exit_code)


@click.command("run")
@click.argument("target", shell_complete=images)
@local_options
@click.option("--port", default=6324, show_default=True, type=click.IntRange(0, 65535), help="Port on loopback.")
@click.option("--memory", help="Memory limit of the container, such as 512m or 4g.")
@gpu_option
def run_command(target: str, local: bool, python: str | None, port: int, **options: Any) -> None:
    """Serve in the foreground, on loopback: an image, or a bundle with --local. Ctrl-C stops it."""
    from mdai_build.pipeline.serve import serve_image, serve_local
    from mdai_build.report.terminal import clean

    def echo(line: str) -> None:
        click.echo(clean(line))

    bundle = _bundle(target, local, python)
    settings = read_settings(options)
    try:
        if local:
            with serve_local(bundle, python or "python3", settings, port, _tell, echo) as server:
                _tell(f"serving at {server.url}; Ctrl-C stops it")
                sys.exit(0 if server.wait() == 0 else 7)
        with serve_image(target, settings, port, _tell) as container:
            _tell(f"serving at {container.url}; Ctrl-C stops it")
            for line in container.follow():
                echo(line)
            sys.exit(0 if container.state().exit_code == 0 else 7)
    except KeyboardInterrupt:
        _tell("stopped")


def _tell(text: str) -> None:
    click.echo(text, err=True)
