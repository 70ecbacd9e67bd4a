"""The main job: a checked bundle -> plan -> Dockerfile and context -> image -> smoke test -> report."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mdai_build.bundle import UnpackedBundle, unpack_bundle
from mdai_build.errors import Location, MdaiBuildError, Problem, RequirementsError, UsageError
from mdai_build.pipeline.check import CheckedModel, check_model
from mdai_build.pipeline.serve import Outcome, Tell, Trial, smoke_test
from mdai_build.plan import LABEL_PREFIX, BuildPlan, CaBundle, make_plan
from mdai_build.requirements import explain_failure
from mdai_build.settings import Settings

if TYPE_CHECKING:
    from mdai_build.engine import BuildResult, Engine
    from mdai_build.report.values import BuildReport
    from mdai_build.smoke import Check

_WORTH_TELLING_BYTES = 32 * 2**20
# The distribution project's grammar of references, without a digest: host and port, path, version.
_TAG = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]+)?/)?"
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
)


def plan_model(
    checked: CheckedModel, settings: Settings, tell: Tell, ca_bundle: CaBundle | None = None
) -> tuple[UnpackedBundle, BuildPlan]:
    """Unpacks a checked bundle into the cache and plans its image.

    Raises:
        BundleError: the archive is damaged.
    """

    def on_progress(done: int, total: int) -> None:
        if total >= _WORTH_TELLING_BYTES:
            tell(f"unpacking {checked.bundle.origin.name}: {done // 2**20} of {total // 2**20} MiB")

    unpacked = unpack_bundle(checked.bundle, settings.cache_folder / "bundles", on_progress)
    plan = make_plan(unpacked, checked.config, checked.requirements, checked.parent, settings, ca_bundle)
    return unpacked, plan


def render_model(checked: CheckedModel, settings: Settings, folder: Path, tell: Tell) -> None:
    """Writes the build context to a folder that plain `docker build` builds.

    Raises:
        UsageError: the folder holds something else.
    """
    from mdai_build.context import write_context

    unpacked, plan = plan_model(checked, settings, tell, "file" if settings.ca_bundle else "none")
    write_context(plan, unpacked, folder, ca_bundle=settings.ca_bundle, share=False)


@dataclass(frozen=True)
class BuildOptions:
    """What one `build` was asked for."""

    tag: str | None = None
    """The image's tag; default: `mdai-build/NAME:latest`."""
    test: bool = True
    trial: Trial = field(default_factory=Trial)


def build_model(
    path: Path, settings: Settings, options: BuildOptions, tell: Tell, on_check: Callable[[Check], None]
) -> BuildReport:
    """The main job: a bundle in, a tested image out. A tag moves only to an image that passed.

    Raises:
        MdaiBuildError: something before the smoke test failed. A failed smoke test is in the report.
    """
    from mdai_build.engine import connect
    from mdai_build.report.values import BuildReport, ImageReport, ParentReport, StageReport

    begun = time.monotonic()
    asked_tag = normalise_tag(options.tag) if options.tag else None
    tell("checking the bundle and its requirements")
    checked = check_model(path, settings, look_up=True)
    tag = asked_tag or normalise_tag(f"mdai-build/{checked.bundle.name}")
    engine = connect(settings.engine_folder)
    unpacked, plan = plan_model(checked, settings, tell)
    built = build_planned(engine, checked, plan, unpacked, settings, tell)
    outcome: Outcome | None = None
    facts = engine.image(built.image_id)
    kept = False
    try:
        if options.test:
            tell("starting the image for the smoke test")
            name = checked.bundle.name
            outcome = smoke_test(engine, built.image_id, settings, options.trial, unpacked, name, on_check)
        if outcome is None or outcome.smoke.passed:
            _move_tag(engine, built.image_id, tag)
            kept = True
    finally:
        if not kept:
            engine.remove_image(built.image_id)
    return BuildReport(
        image=ImageReport(reference=tag, id=built.image_id, size_bytes=facts.size_bytes if facts else 0)
        if kept
        else None,
        parent=ParentReport(reference=plan.parent.reference, why=plan.parent.why),
        stages=tuple(StageReport(stage.name, stage.seconds, stage.cached) for stage in built.stages),
        warnings=checked.warnings,
        smoke=outcome.smoke if outcome else None,
        pictures=outcome.pictures if outcome else (),
        seconds_total=time.monotonic() - begun,
        exit_code=0 if kept else 7,
    )


def build_planned(
    engine: Engine,
    checked: CheckedModel,
    plan: BuildPlan,
    unpacked: UnpackedBundle,
    settings: Settings,
    tell: Tell,
    output: Path | None = None,
) -> BuildResult:
    """Lays out the context of a plan and builds it: an image, or files that go to the folder `output`.

    Raises:
        MdaiBuildError: the parent cannot be had, or the build failed.
    """
    from mdai_build.context import context_folder, write_context
    from mdai_build.engine import BuildRequest, build_image, ensure_parent, stages_from

    parents = stages_from(plan.author_dockerfile) if plan.author_dockerfile else (plan.parent.reference,)
    for parent in parents:
        ensure_parent(engine, parent, tell)
    contexts = settings.cache_folder / "contexts"
    with context_folder(contexts, checked.bundle, lambda: tell("waiting for another build of this bundle")) as folder:
        write_context(plan, unpacked, folder)
        secrets = (("ca-bundle", settings.ca_bundle),) if settings.ca_bundle else ()
        request = BuildRequest(
            context=folder,
            secrets=secrets,
            proxies=tuple(sorted(settings.proxies.items())),
            network=settings.build_network,
            builder=settings.builder,
            output=output,
        )
        try:
            return build_image(engine, request, tell)
        except RequirementsError as failure:
            raise _by_line(failure, checked) from failure


def _by_line(failure: RequirementsError, checked: CheckedModel) -> RequirementsError:
    """What the installer said, as problems of the lines that are meant, where its words can be understood."""
    said = failure.problems[0].details or ""
    findings = explain_failure(said, checked.requirements, checked.config.python) if checked.config.python else None
    found = [problem for problem in findings.problems if problem.where and problem.where.line] if findings else []
    return RequirementsError([replace(problem, details=said) for problem in found]) if found else failure


def _move_tag(engine: Engine, image_id: str, tag: str) -> None:
    before = engine.image(tag)
    engine.tag(image_id, tag)
    if before is not None and before.id != image_id and f"{LABEL_PREFIX}version" in before.labels:
        with contextlib.suppress(MdaiBuildError):  # a container may still run it
            engine.remove_image(before.id)


def normalise_tag(tag: str) -> str:
    """A tag with its version part, `latest` where none is given.

    Raises:
        UsageError: no image can have that name.
    """
    if not _TAG.fullmatch(tag):
        raise UsageError(
            Problem(
                code="usage.tag",
                what=f"no image can have the name {tag!r}",
                where=Location("option --tag"),
                expected="NAME or NAME:VERSION, the name in lower case, such as mymodel:1.2 or host:5000/team/mymodel",
            )
        )
    return tag if ":" in tag.rpartition("/")[2] else f"{tag}:latest"
