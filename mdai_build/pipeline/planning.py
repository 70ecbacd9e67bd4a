"""From a bundle to what a builder is asked for: checked, unpacked, planned, with its secrets and parents at hand."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mdai_build.bundle import UnpackedBundle
from mdai_build.config import final_image, parent_images
from mdai_build.errors import Location, MdaiBuildError, Problem, RequirementsError, UsageError
from mdai_build.pipeline.check import CheckedModel, check_model
from mdai_build.pipeline.install import Attempt, explain_no_tools
from mdai_build.pipeline.offline import check_wheels
from mdai_build.pipeline.serve import Tell
from mdai_build.pipeline.store import unpack
from mdai_build.plan import BASE_DIGEST_LABEL, PARENT_ID_LABEL, BuildPlan, CaBundle, make_plan
from mdai_build.requirements import explain_failure
from mdai_build.settings import Settings

if TYPE_CHECKING:
    from mdai_build.engine import BuildRequest, Engine, ImageFacts

_WORTH_TELLING_BYTES = 32 * 2**20


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

    unpacked = unpack(checked.bundle, settings, on_progress)
    attempt = first_attempt(checked, settings)
    return unpacked, plan_attempt(checked, unpacked, settings, attempt, ca_bundle)


def first_attempt(checked: CheckedModel, settings: Settings) -> Attempt:
    return Attempt("pip" if settings.installer == "pip" else "uv", lends_tools=not checked.wheels_suffice)


def plan_attempt(
    checked: CheckedModel,
    unpacked: UnpackedBundle,
    settings: Settings,
    attempt: Attempt,
    ca_bundle: CaBundle | None = None,
) -> BuildPlan:
    return make_plan(
        unpacked,
        checked.config,
        checked.requirements,
        checked.parent,
        settings,
        ca_bundle,
        attempt.installer,
        attempt.build_requirements,
        attempt.lends_tools,
        attempt.sources_last,
    )


def render_model(checked: CheckedModel, settings: Settings, folder: Path, tell: Tell) -> None:
    """Writes the build context to a folder that plain `docker build` builds.

    Raises:
        UsageError: the folder holds something else, or is inside the model's.
    """
    from mdai_build.context import write_context

    if checked.bundle.kind == "folder" and folder.resolve().is_relative_to(checked.bundle.origin.resolve()):
        raise UsageError(
            Problem(
                code="usage.inside-model",
                what="the build context cannot go there: it would become part of the model",
                where=Location(str(folder)),
                expected="a folder outside the model folder",
            )
        )
    unpacked, plan = plan_model(checked, settings, tell, "file" if settings.ca_bundle else "none")
    plan = replace(plan, secret_proxies=False)  # whoever builds the folder has proxies of their own
    new = not folder.exists()
    try:
        write_context(plan, unpacked, folder, ca_bundle=settings.ca_bundle, share=False)
    except BaseException:
        if new:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def check_for_build(path: Path, settings: Settings) -> CheckedModel:
    """Checks a bundle as far as can be without an engine.

    Raises:
        MdaiBuildError: it cannot be built.
    """
    checked = check_model(path, settings, look_up=True)
    if settings.wheels and checked.config.python:
        with warnings_of(checked):
            check_wheels(settings.wheels, checked.requirements, checked.config.python, path)
    return checked


@contextlib.contextmanager
def warnings_of(checked: CheckedModel) -> Iterator[None]:
    """Adds to a failure what was dubious about the bundle: that may be why."""
    try:
        yield
    except MdaiBuildError as failure:
        failure.warnings = (*checked.warnings, *failure.warnings)
        raise


def ensure_parents(engine: Engine, plan: BuildPlan, tell: Tell) -> list[ImageFacts]:
    """The images that a build starts from, pulled where they are not there; the parent itself is the first."""
    from mdai_build.engine import ensure_parent

    besides = (plan.parent.micromamba,) if plan.parent.micromamba else ()
    return [ensure_parent(engine, name, tell, plan.platform) for name in (*parent_images_of(plan), *besides)]


def parent_images_of(plan: BuildPlan) -> tuple[str, ...]:
    """The images that a model's image may stand on; more than one only in an author's own Dockerfile."""
    return parent_images(plan.author_dockerfile, plan.platform) if plan.author_dockerfile else (plan.parent.reference,)


def parent_of(plan: BuildPlan) -> str | None:
    """The image that a model's image stands on; None: an author's own Dockerfile begins with none."""
    if plan.author_dockerfile is None:
        return plan.parent.reference
    return final_image(plan.author_dockerfile, plan.platform)


def labels_of_parent(plan: BuildPlan, parents: Sequence[ImageFacts]) -> tuple[tuple[str, str], ...]:
    """`parent_labels` of the image that a model's image stands on; `parents` are those of `parent_images_of`."""
    found = dict(zip(parent_images_of(plan), parents, strict=False)).get(parent_of(plan) or "")
    return parent_labels(found) if found else ()


def parent_labels(parent: ImageFacts) -> tuple[tuple[str, str], ...]:
    """Which bytes an image starts from (OCI annotations, `base.digest`); one that was made here has an id alone."""
    digest = ((BASE_DIGEST_LABEL, parent.digest),) if parent.digest else ()
    return (*digest, (PARENT_ID_LABEL, parent.id))


def for_engine(engine: Engine, plan: BuildPlan, settings: Settings) -> BuildPlan:
    """The plan as this engine builds it fastest; of a builder elsewhere it is not known what it can do."""
    return plan.sparing_secrets() if settings.builder is None and engine.hashes_beside_secrets() else plan


def emulation_warning(engine: Engine, settings: Settings) -> tuple[Problem, ...]:
    """What whoever builds on another kind of machine than the image is for should know. A builder may be elsewhere."""
    own = engine.platform()
    if own == settings.platform or settings.builder is not None:
        return ()
    return (
        Problem(
            code="engine.emulated",
            what=f"the image is for {settings.platform}, while this engine's machine is {own}: "
            "all is emulated, and takes several times as long",
            next_step=f"for an image that this machine runs by itself: --platform {own}",
        ),
    )


@contextlib.contextmanager
def secrets_of(settings: Settings) -> Iterator[tuple[tuple[str, Path], ...]]:
    """The secrets of a build, by name, for as long as the block lasts."""
    from mdai_build.engine import netrc_file, proxy_file

    with netrc_file(settings) as netrc, proxy_file(settings) as proxies:
        files = (("ca-bundle", settings.ca_bundle), ("netrc", netrc), ("proxies", proxies))
        yield tuple((name, file) for name, file in files if file is not None)


def with_resolved(
    secrets: tuple[tuple[str, Path], ...], checked: CheckedModel, plan: BuildPlan, context: Path
) -> tuple[tuple[str, Path], ...]:
    """The secrets, and beside them what the install step is told so that it need not look it up again."""
    from mdai_build.context import write_resolved

    if not (plan.takes_resolved and checked.resolved_text):
        return secrets
    return (*secrets, ("resolved", write_resolved(context, checked.resolved_text)))


def request_of(
    plan: BuildPlan, context: Path, settings: Settings, secrets: tuple[tuple[str, Path], ...]
) -> BuildRequest:
    """What a builder is asked for to build from the context of a plan."""
    from mdai_build.context import WEIGHTS
    from mdai_build.engine import BuildRequest

    contexts = (
        ("mdai-wheels", settings.wheels),
        ("mdai-weights", context / WEIGHTS if plan.weights_apart else None),
    )
    return BuildRequest(
        context=context,
        secrets=secrets,
        contexts=tuple((name, folder) for name, folder in contexts if folder is not None),
        proxies=() if settings.secret_proxies else tuple(sorted(settings.proxies.items())),
        network=settings.build_network,
        builder=settings.builder,
        platform=settings.platform,
        # An author's Dockerfile may mount caches by any name, ours too. The folder's name is of this bundle alone.
        cache_namespace=None if plan.trusts_parent else context.name,
        timeout=settings.build_timeout,
    )


def by_line(failure: RequirementsError, checked: CheckedModel) -> RequirementsError:
    """What the installer said, as problems of the lines that are meant, where its words can be understood."""
    said = failure.problems[0].details or ""
    if no_tools := explain_no_tools(said):
        return RequirementsError(no_tools)
    findings = explain_failure(said, checked.requirements, checked.config.python) if checked.config.python else None
    found = [problem for problem in findings.problems if problem.where and problem.where.line] if findings else []
    return RequirementsError([replace(problem, details=said) for problem in found]) if found else failure
