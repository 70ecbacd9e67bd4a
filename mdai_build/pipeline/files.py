"""Builds that end in files instead of an image: a folder of wheels, a lock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mdai_build.bundle import UnpackedBundle
from mdai_build.errors import RequirementsError
from mdai_build.pipeline.bases import begin_with
from mdai_build.pipeline.check import CheckedModel, check_model
from mdai_build.pipeline.install import Attempt
from mdai_build.pipeline.planning import by_line, plan_attempt, plan_model, request_of, secrets_of
from mdai_build.pipeline.serve import Tell
from mdai_build.plan import BuildPlan
from mdai_build.scratch import scratch_folder
from mdai_build.settings import Settings

if TYPE_CHECKING:
    from mdai_build.engine import Engine


def collect_wheels(path: Path, settings: Settings, folder: Path, tell: Tell) -> int:
    """Fills a folder with the wheels of all that a build of a bundle installs, for a machine without a network.

    What is in the folder already stays. Returns how many wheels it holds then.

    Raises:
        MdaiBuildError: something cannot be had.
    """
    from mdai_build.dockerfile import render_wheels_dockerfile
    from mdai_build.engine import connect

    checked = check_model(path, settings)
    engine = connect(settings.engine_folder)
    unpacked = plan_model(checked, settings, tell)[0]
    plan = begin_with(engine, plan_attempt(checked, unpacked, settings, Attempt("pip")), settings, tell)
    folder.mkdir(parents=True, exist_ok=True)
    # A run that ends while the builder writes leaves no half wheel: a later build would install it.
    with scratch_folder(folder) as new:
        build_files(engine, checked, plan, unpacked, settings, tell, render_wheels_dockerfile, "wheels-folder", new)
        for file in new.iterdir():
            file.replace(folder / file.name)
    return len(list(folder.glob("*.whl")))


def build_files(
    engine: Engine,
    checked: CheckedModel,
    plan: BuildPlan,
    unpacked: UnpackedBundle,
    settings: Settings,
    tell: Tell,
    render: Callable[[BuildPlan], str],
    target: str,
    output: Path,
    fresh: tuple[str, ...] = (),
) -> None:
    """Builds a stage of another Dockerfile than the image's, and puts its files into the folder `output`.

    What the plan starts from has to be there (`begin_with`). The stages in `fresh` are built anew, whatever an earlier
    build made of them.

    Raises:
        MdaiBuildError: a step failed.
    """
    from mdai_build.context import context_folder, write_context
    from mdai_build.engine import build_image

    wait = context_folder(
        settings.cache_folder / target, checked.bundle, lambda: tell("waiting for another run of this bundle")
    )
    with wait as context, secrets_of(settings) as secrets:
        write_context(plan, unpacked, context, settings.ca_bundle, render=render)
        request = replace(request_of(plan, context, settings, secrets), target=target, output=output, fresh=fresh)
        try:
            build_image(engine, request, tell)
        except RequirementsError as failure:
            raise by_line(failure, checked) from failure
