"""The main job: a checked bundle -> plan -> Dockerfile and context -> image -> smoke test -> report."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mdai_build.bundle import UnpackedBundle, unpack_bundle
from mdai_build.config import parent_images
from mdai_build.errors import Location, MdaiBuildError, Problem, RequirementsError, UsageError
from mdai_build.pipeline.check import CheckedModel, check_model, overrides
from mdai_build.pipeline.install import Attempt, explain_no_tools, next_attempt
from mdai_build.pipeline.offline import check_wheels
from mdai_build.pipeline.serve import Outcome, Tell, Trial, smoke_test
from mdai_build.plan import (
    CONTENT_LABEL,
    LABEL_PREFIX,
    BuildPlan,
    CaBundle,
    content_digest,
    make_plan,
    weights_cost_more,
)
from mdai_build.requirements import explain_failure
from mdai_build.settings import Settings

if TYPE_CHECKING:
    from mdai_build.engine import BuildRequest, BuildResult, Engine
    from mdai_build.report.values import BuildReport
    from mdai_build.smoke import Check

TAG_PREFIX = "mdai-build/"
CONTEXTS = "contexts"
"""The folder of build contexts in the cache."""
NAME_PLACE = "{name}"
"""Stands for the model's name in the settings cache_from and cache_to."""
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
    attempt = _first_attempt(checked, settings)
    return unpacked, _plan(checked, unpacked, settings, attempt, ca_bundle)


def _first_attempt(checked: CheckedModel, settings: Settings) -> Attempt:
    return Attempt("pip" if settings.installer == "pip" else "uv", lends_tools=not checked.wheels_suffice)


def _plan(
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


@dataclass(frozen=True)
class BuildOptions:
    """What one `build` was asked for."""

    tag: str | None = None
    """The image's tag; default: `mdai-build/NAME:latest`."""
    test: bool = True
    no_cache: bool = False
    """Whether to build every step anew, even where nothing changed."""
    push: bool = False
    """Whether an image that passed goes to the registry that its tag names."""
    trial: Trial = field(default_factory=Trial)


@dataclass(frozen=True)
class Prepared:
    """A model of which all is known that its build needs."""

    checked: CheckedModel
    unpacked: UnpackedBundle
    plan: BuildPlan
    tag: str
    digest: str
    """Of all that goes into the image (`plan.content_digest`), and how its layers are packed."""
    compression: Literal["uncompressed", "zstd"] = "uncompressed"


def build_model(
    path: Path, settings: Settings, options: BuildOptions, tell: Tell, on_check: Callable[[Check], None]
) -> BuildReport:
    """The main job: a bundle in, a tested image out. A tag moves only to an image that passed.

    Raises:
        MdaiBuildError: something before the smoke test failed. A failed smoke test is in the report.
    """
    from mdai_build.engine import connect

    begun = time.monotonic()
    asked_tag = None if options.tag is None else normalise_tag(options.tag)
    tell("checking the bundle and its requirements")
    checked = check_for_build(path, settings)
    tag = asked_tag or normalise_tag(f"{TAG_PREFIX}{checked.bundle.name}")
    with warnings_of(checked):
        engine = connect(settings.engine_folder)
        unpacked, plan = plan_model(checked, settings, tell)
        model = prepare(engine, checked, unpacked, plan, tag, settings, options, tell)
        built, notes = ensure_image(engine, model, settings, options.no_cache, tell)
    report = finish(engine, model, built, settings, options, tell, on_check)
    return replace(report, warnings=(*report.warnings, *notes), seconds_total=time.monotonic() - begun)


def _layers_merge(engine: Engine, settings: Settings) -> bool:
    """Whether the builder can put a layer that is there on top of another one without copying its files.

    So it is on containerd's image store, and in a builder of its own; the older graph drivers (overlay2) cannot.
    """
    return settings.builder is not None or engine.has_containerd_store()


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


def prepare(
    engine: Engine,
    checked: CheckedModel,
    unpacked: UnpackedBundle,
    plan: BuildPlan,
    tag: str,
    settings: Settings,
    options: BuildOptions,
    tell: Tell,
) -> Prepared:
    """Sees to the parent image of a planned model, after which it is known what its image is made from.

    Raises:
        UnavailableError: the parent cannot be had.
    """
    if not _layers_merge(engine, settings):
        plan = replace(plan, weights_first=weights_cost_more(unpacked, checked.requirements))
    digest = content_digest(plan, _ensure_parents(engine, plan, tell))
    if options.push and engine.has_containerd_store():
        # It pushes layers as it holds them; the other store always packs them anew, by gzip.
        return Prepared(checked, unpacked, plan, tag, f"{digest}+zstd", "zstd")
    return Prepared(checked, unpacked, plan, tag, digest)


def ensure_image(
    engine: Engine, model: Prepared, settings: Settings, no_cache: bool, tell: Tell
) -> tuple[BuildResult, tuple[Problem, ...]]:
    """The image of a model, built where it is not there already, and what is to be told of how it came about.

    No tag is moved.

    Raises:
        MdaiBuildError: a step failed.
    """
    built = None if no_cache else built_before(engine, model)
    if built is None:
        return build_prepared(engine, model, settings, no_cache, tell)
    tell("nothing changed: the image is there already")
    return built, ()


def _ensure_parents(engine: Engine, plan: BuildPlan, tell: Tell) -> list[str]:
    """The ids of the images that a build starts from, pulled where they are not there."""
    from mdai_build.engine import ensure_parent

    parents = parent_images(plan.author_dockerfile) if plan.author_dockerfile else (plan.parent.reference,)
    return [ensure_parent(engine, parent, tell).id for parent in parents]


def built_before(engine: Engine, model: Prepared) -> BuildResult | None:
    """The image that was made from the very same content, if it is still there."""
    from mdai_build.engine import BuildResult

    facts = engine.image(model.tag)
    if facts is None or facts.labels.get(CONTENT_LABEL) != model.digest:
        facts = engine.image_labelled(CONTENT_LABEL, model.digest)
    return BuildResult(image_id=facts.id, stages=(), seconds=0.0) if facts else None


def build_prepared(
    engine: Engine, model: Prepared, settings: Settings, no_cache: bool, tell: Tell
) -> tuple[BuildResult, tuple[Problem, ...]]:
    """The built image, and what its user should know of how the requirements came to be installed.

    Raises:
        MdaiBuildError: a step failed, and no other way to install the requirements is known to work.
    """
    from mdai_build.context import context_folder, write_context
    from mdai_build.engine import build_image

    checked, plan = model.checked, model.plan
    notes: list[Problem] = []
    attempt = _first_attempt(checked, settings)
    contexts = settings.cache_folder / CONTEXTS
    with (
        context_folder(contexts, checked.bundle, lambda: tell("waiting for another build of this bundle")) as folder,
        secrets_of(settings) as secrets,
    ):
        while True:
            write_context(plan, model.unpacked, folder)
            request = replace(
                image_request(replace(model, plan=plan), folder, settings, secrets),
                no_cache=no_cache,
                fresh=("tools",) if attempt.fresh_tools else (),
            )
            try:
                return build_image(engine, request, tell), tuple(notes)
            except RequirementsError as failure:
                log = failure.problems[0].details or ""
                following = next_attempt(attempt, log, checked.requirements, checked.config.python, settings)
                if following is None:
                    raise _by_line(failure, checked) from failure
                attempt, note = following
                notes.append(note)
                tell(note.what)
                plan = replace(_plan(checked, model.unpacked, settings, attempt), weights_first=plan.weights_first)


def image_request(
    model: Prepared, context: Path, settings: Settings, secrets: tuple[tuple[str, Path], ...]
) -> BuildRequest:
    """What a builder is asked for to make a model's image from its build context."""
    from mdai_build.dockerfile import author_line

    return replace(
        _request(context, settings, secrets),
        author_line=author_line(model.plan),
        labels=((CONTENT_LABEL, model.digest),),
        compression=model.compression,
        # A parent that came from a registry keeps its packing: whoever runs it has those very layers already.
        repack=model.compression == "zstd" and model.plan.parent.kind == "local",
        cache_from=tuple(place.replace(NAME_PLACE, model.plan.name) for place in settings.cache_from),
        cache_to=tuple(place.replace(NAME_PLACE, model.plan.name) for place in settings.cache_to),
    )


def finish(
    engine: Engine,
    model: Prepared,
    built: BuildResult,
    settings: Settings,
    options: BuildOptions,
    tell: Tell,
    on_check: Callable[[Check], None],
) -> BuildReport:
    """Tests a built image and moves the tag to it if it passed, and pushes it; one that did not pass is removed.

    Raises:
        UnavailableError: it passed, and could not be pushed.
    """
    from mdai_build.engine import push_image
    from mdai_build.report.values import BuildReport, ImageReport, ParentReport, PushReport, StageReport

    begun = time.monotonic()
    outcome: Outcome | None = None
    kept = False
    name = model.checked.bundle.name
    try:
        facts = engine.image(built.image_id)
        if options.test:
            tell("starting the image for the smoke test")
            outcome = smoke_test(engine, built.image_id, settings, options.trial, model.unpacked, name, on_check)
        if outcome is None or outcome.smoke.passed:
            _move_tag(engine, built.image_id, model.tag)
            kept = True
    finally:
        if not kept:
            engine.remove_image(built.image_id)
    pushed = None
    if kept and options.push:
        tell(f"pushing {model.tag}")
        with warnings_of(model.checked):
            done = push_image(engine, model.tag, tell)
        pushed = PushReport(f"{done.reference}@{done.digest}", done.size_bytes, done.new_layers, done.seconds)
    return BuildReport(
        image=ImageReport(reference=model.tag, id=built.image_id, size_bytes=facts.size_bytes if facts else 0)
        if kept
        else None,
        parent=ParentReport(reference=model.plan.parent.reference, why=model.plan.parent.why),
        stages=tuple(StageReport(stage.name, stage.seconds, stage.cached) for stage in built.stages),
        overrides=overrides(model.checked),
        warnings=model.checked.warnings,
        smoke=outcome.smoke if outcome else None,
        pictures=outcome.pictures if outcome else (),
        seconds_total=time.monotonic() - begun,
        exit_code=0 if kept else 7,
        pushed=pushed,
    )


@contextlib.contextmanager
def secrets_of(settings: Settings) -> Iterator[tuple[tuple[str, Path], ...]]:
    """The secrets of a build, by name, for as long as the block lasts."""
    from mdai_build.engine import netrc_file, proxy_file

    with netrc_file(settings) as netrc, proxy_file(settings) as proxies:
        files = (("ca-bundle", settings.ca_bundle), ("netrc", netrc), ("proxies", proxies))
        yield tuple((name, file) for name, file in files if file is not None)


def _request(context: Path, settings: Settings, secrets: tuple[tuple[str, Path], ...]) -> BuildRequest:
    from mdai_build.engine import BuildRequest

    return BuildRequest(
        context=context,
        secrets=secrets,
        contexts=(("mdai-wheels", settings.wheels),) if settings.wheels else (),
        proxies=() if settings.secret_proxies else tuple(sorted(settings.proxies.items())),
        network=settings.build_network,
        builder=settings.builder,
    )


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
    plan = _plan(checked, unpacked, settings, Attempt("pip"))
    folder.mkdir(parents=True, exist_ok=True)
    build_files(engine, checked, plan, unpacked, settings, tell, render_wheels_dockerfile, "wheels-folder", folder)
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

    The stages in `fresh` are built anew, whatever an earlier build made of them.

    Raises:
        MdaiBuildError: the parent cannot be had, or a step failed.
    """
    from mdai_build.context import context_folder, write_context
    from mdai_build.engine import build_image

    _ensure_parents(engine, plan, tell)
    wait = context_folder(
        settings.cache_folder / target, checked.bundle, lambda: tell("waiting for another run of this bundle")
    )
    with wait as context, secrets_of(settings) as secrets:
        write_context(plan, unpacked, context, render=render)
        request = replace(_request(context, settings, secrets), target=target, output=output, fresh=fresh)
        try:
            build_image(engine, request, tell)
        except RequirementsError as failure:
            raise _by_line(failure, checked) from failure


def _by_line(failure: RequirementsError, checked: CheckedModel) -> RequirementsError:
    """What the installer said, as problems of the lines that are meant, where its words can be understood."""
    said = failure.problems[0].details or ""
    if no_tools := explain_no_tools(said):
        return RequirementsError(no_tools)
    findings = explain_failure(said, checked.requirements, checked.config.python) if checked.config.python else None
    found = [problem for problem in findings.problems if problem.where and problem.where.line] if findings else []
    return RequirementsError([replace(problem, details=said) for problem in found]) if found else failure


def _move_tag(engine: Engine, image_id: str, tag: str) -> None:
    before = engine.image(tag)
    engine.tag(image_id, tag)
    if before is not None and before.id != image_id and f"{LABEL_PREFIX}version" in before.labels:
        with contextlib.suppress(MdaiBuildError):  # a container may still run it
            engine.remove_image(before.id)


def normalise_tag(tag: str, option: str = "--tag") -> str:
    """A tag with its version part, `latest` where none is given.

    Raises:
        UsageError: no image can have that name.
    """
    if not _TAG.fullmatch(tag):
        raise UsageError(
            Problem(
                code="usage.tag",
                what=f"no image can have the name {tag!r}",
                where=Location(f"option {option}"),
                expected="NAME or NAME:VERSION, the name in lower case, such as mymodel:1.2 or host:5000/team/mymodel",
            )
        )
    return tag if ":" in tag.rpartition("/")[2] else f"{tag}:latest"
