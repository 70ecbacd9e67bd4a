"""`base`: prebuilt base images, from which the builds of models start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mdai_build.cli.completing import cuda_versions, python_versions
from mdai_build.cli.options import engine_options, json_option, parent_options, print_json, read_settings

if TYPE_CHECKING:
    from mdai_build.engine import Engine
    from mdai_build.pipeline.bases import Wanted
    from mdai_build.plan import BuildPlan
    from mdai_build.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])


def _which(command: Command) -> Command:
    for option in (
        parent_options,
        click.option("--registry", "base_registry", metavar="HOST/PATH", help="Where base images are kept."),
        click.option(
            "--for",
            "models",
            multiple=True,
            metavar="MODEL",
            type=click.Path(exists=True, path_type=Path),
            help="Those that this bundle needs; may be repeated.",
        ),
        click.option(
            "--cuda",
            "cudas",
            multiple=True,
            metavar="VERSION",
            shell_complete=cuda_versions,
            help="Those with this CUDA, such as 11.8.",
        ),
        click.option("--device", "devices", multiple=True, type=click.Choice(["cpu", "gpu"]), help="Those for it."),
        click.option(
            "--python",
            "pythons",
            multiple=True,
            metavar="VERSION",
            shell_complete=python_versions,
            help="Those with it, such as 3.10.",
        ),
    ):
        command = option(command)
    return command


_all_option = click.option("--all", "everything", is_flag=True, help="All combinations: many gigabytes.")


@click.group("base")
def base_commands() -> None:
    """Prebuilt base images: parent, conda environment, preinstalled packages and server, made once for many models.

    A build uses one of just the content that it would make itself, and else makes that. --python, --device, --cuda and
    --for choose which are meant.
    """


@base_commands.command("list")
@_which
@click.option("--offline", is_flag=True, default=None, help="Do not ask the registry.")
@json_option
def list_command(as_json: bool, **options: Any) -> None:
    """Show the base images of all combinations, and where each is."""
    from mdai_build.pipeline.bases import list_bases

    wanted, settings = _read(options)
    _print(list_bases(wanted, settings), as_json)


@base_commands.command("build")
@_which
@_all_option
@engine_options
@click.option("--no-cache", is_flag=True, help="Build every step anew, even where it is there.")
@json_option
def build_command(everything: bool, no_cache: bool, as_json: bool, **options: Any) -> None:
    """Make base images, unless they are there."""
    from mdai_build.pipeline.bases import build_base

    wanted, settings = _chosen(options, everything)
    _each(
        wanted,
        settings,
        as_json,
        lambda engine, plan, tell: build_base(engine, plan, settings, no_cache, tell),
    )


@base_commands.command("push")
@_which
@_all_option
@json_option
def push_command(everything: bool, as_json: bool, **options: Any) -> None:
    """Push base images that are here to the registry."""
    from mdai_build.pipeline.bases import push_base, state_of

    wanted, settings = _chosen(options, everything)

    def push(engine: Engine, plan: BuildPlan, tell: Callable[[str], None]) -> Any:
        push_base(engine, plan, settings, tell)
        return state_of(engine, plan, settings, ask=True)

    _each(wanted, settings, as_json, push)


@base_commands.command("pull")
@_which
@_all_option
@json_option
def pull_command(everything: bool, as_json: bool, **options: Any) -> None:
    """Pull base images from the registry."""
    from mdai_build.pipeline.bases import pull_base

    wanted, settings = _chosen(options, everything)
    _each(wanted, settings, as_json, lambda engine, plan, tell: pull_base(engine, plan, settings, tell))


def _each(
    wanted: Wanted, settings: Settings, as_json: bool, action: Callable[[Engine, BuildPlan, Callable[[str], None]], Any]
) -> None:
    from mdai_build.cli.progress import Progress
    from mdai_build.engine import connect
    from mdai_build.pipeline.bases import combinations

    plans = combinations(wanted, settings)
    with Progress() as progress:
        engine = connect(settings.engine_folder)
        states = [action(engine, plan, progress.tell) for plan in plans]
    _print(states, as_json)


def _print(states: Any, as_json: bool) -> None:
    from mdai_build.report.bases import print_bases
    from mdai_build.report.document import bases_as_json

    if as_json:
        print_json(bases_as_json(states))
    else:
        print_bases(states)


def _chosen(options: dict[str, Any], everything: bool) -> tuple[Wanted, Settings]:
    chosen = any(options[name] for name in ("pythons", "devices", "cudas", "models"))
    if chosen == everything:
        raise click.UsageError("say which: --python, --device, --cuda or --for; or --all")
    return _read(options)


def _read(options: dict[str, Any]) -> tuple[Wanted, Settings]:
    from mdai_build.pipeline.bases import Wanted

    wanted = Wanted(*(options.pop(name) for name in ("pythons", "devices", "cudas", "models")))
    return wanted, read_settings(options)
