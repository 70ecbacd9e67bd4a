"""`bake`: many models at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from mdai_build.cli.completing import bundles
from mdai_build.cli.github import github
from mdai_build.cli.options import (
    cache_options,
    check_junit,
    engine_options,
    install_options,
    json_option,
    junit_option,
    look_up_option,
    parent_options,
    print_json,
    read_settings,
    silent,
    smoke_options,
    untested_options,
    write_file,
)


@click.command("bake")
@click.argument(
    "models",
    nargs=-1,
    required=True,
    metavar="MODEL...",
    type=click.Path(exists=True, path_type=Path),
    shell_complete=bundles,
)
@click.option(
    "--tag-prefix", metavar="PREFIX", help="What stands before a model's name in its image's; default: mdai-build/."
)
@untested_options
@click.option("--no-cache", is_flag=True, help="Build every step anew, even where nothing changed.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Smoke tests at once; default: half the engine's cores, as memory allows.",
)
@click.option("--print", "show_file", is_flag=True, help="Print the bake file as JSON, and build nothing.")
@parent_options
@look_up_option
@install_options
@engine_options
@cache_options
@smoke_options
@json_option
@junit_option
def bake_command(
    models: tuple[Path, ...],
    tag_prefix: str | None,
    no_test: bool,
    tag_untested: bool,
    no_cache: bool,
    push: bool,
    jobs: int | None,
    show_file: bool,
    samples: Path | None,
    scope: Any,
    out: Path | None,
    as_json: bool,
    junit: Path | None,
    **options: Any,
) -> None:
    """Check, build and test many models, with one BuildKit graph. The failure of one stops no other.

    The exit code is 0 when all are good, else the lowest of theirs: that of the model that got least far.
    """
    from mdai_build.cli.progress import Progress
    from mdai_build.pipeline.bake import BakeOptions, bake_file_of, bake_models
    from mdai_build.pipeline.build import BuildOptions
    from mdai_build.pipeline.serve import Trial
    from mdai_build.pipeline.tags import TAG_PREFIX
    from mdai_build.report.document import bake_as_json, bake_junit_xml
    from mdai_build.report.many import print_bake, print_by_model

    settings = read_settings(options)
    check_junit(junit)
    build = BuildOptions(
        test=not (no_test or tag_untested),
        tag_untested=tag_untested,
        no_cache=no_cache,
        push=push,
        trial=Trial(samples, scope, out),
    )
    asked = BakeOptions(TAG_PREFIX if tag_prefix is None else tag_prefix, jobs, build)
    if show_file:
        text, refused = bake_file_of(models, settings, asked, silent)
        click.echo(text, nl=False)
        print_by_model(refused)
        sys.exit(refused.exit_code)
    with Progress() as progress:
        report = bake_models(models, settings, asked, progress)
    if as_json:
        print_json(bake_as_json(report))
    print_bake(report, to_stderr=as_json)
    if (on := github()) is not None:
        for model in report.models:
            on.annotate(model.problems, "error", model.path)
    write_file(junit, lambda: bake_junit_xml(report))
    sys.exit(report.exit_code)
