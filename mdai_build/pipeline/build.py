"""The main job: a checked bundle -> plan -> Dockerfile and context -> image -> smoke test -> report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mdai_build.bases import INLINE, USED_LABEL
from mdai_build.bundle import UnpackedBundle
from mdai_build.errors import Problem, RequirementsError
from mdai_build.pipeline.bases import Finder, Found, use
from mdai_build.pipeline.check import CheckedModel, overrides
from mdai_build.pipeline.install import next_attempt
from mdai_build.pipeline.planning import (
    by_line,
    check_for_build,
    emulation_warning,
    ensure_parents,
    first_attempt,
    for_engine,
    labels_of_parent,
    plan_attempt,
    plan_model,
    request_of,
    secrets_of,
    warnings_of,
    with_resolved,
)
from mdai_build.pipeline.provenance import record_provenance, signing_key, wants_provenance
from mdai_build.pipeline.reproduce import normalised, parent_identity, without_settings
from mdai_build.pipeline.serve import Outcome, PlanMaker, Tell, Trial, plan_ahead, smoke_test
from mdai_build.pipeline.store import UNFINISHED
from mdai_build.pipeline.tags import TAG_PREFIX, choose_tag, give_tag, normalise_tag
from mdai_build.plan import (
    CONTENT_LABEL,
    BuildPlan,
    content_digest,
    weights_cost_more,
)
from mdai_build.settings import Settings

if TYPE_CHECKING:
    from mdai_build.engine import BuildRequest, BuildResult, Engine
    from mdai_build.report.values import BuildReport
    from mdai_build.smoke import Check

CONTEXTS = "contexts"
"""The folder of build contexts in the cache."""
NAME_PLACE = "{name}"
"""Stands for the model's name in the settings cache_from and cache_to."""


@dataclass(frozen=True)
class BuildOptions:
    """What one `build` was asked for."""

    tag: str | None = None
    """The image's tag; default: `mdai-build/NAME:latest`."""
    test: bool = True
    tag_untested: bool = False
    """Whether an image that was not tested takes a tag from another one."""
    no_cache: bool = False
    """Whether to build every step anew, even where nothing changed."""
    push: bool = False
    """Whether an image that passed goes to the registry that its tag names."""
    provenance: Path | None = None
    """A file for the statement of what the image was built from."""
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
    labels: tuple[tuple[str, str], ...] = ()
    """What is known of the parent only once the engine has it."""
    base: Found | None = None
    """What stands in for some of its stages; None: nothing was looked for."""
    unchanged: BuildResult | None = None
    """The image that was made from the very same content, where it is there and will do."""


def build_model(
    path: Path, settings: Settings, options: BuildOptions, tell: Tell, on_check: Callable[[Check], None]
) -> BuildReport:
    """The main job: a bundle in, a tested image out. A tag moves only to an image that passed.

    Raises:
        MdaiBuildError: something before the smoke test failed. A failed smoke test is in the report.
    """
    from mdai_build.engine import connect, restarts_told

    begun = time.monotonic()
    started = datetime.now(timezone.utc)
    signing_key(settings)  # a key that cannot be used is told before the work, not after
    asked_tag = None if options.tag is None else normalise_tag(options.tag)
    tell("checking the bundle and its requirements")
    checked = check_for_build(path, settings)
    tag = asked_tag or normalise_tag(f"{TAG_PREFIX}{checked.bundle.name}")
    with warnings_of(checked):
        engine = connect(settings.engine_folder)
    with restarts_told(engine):
        report = _build_on(engine, checked, tag, settings, options, started, tell, on_check)
    return replace(report, seconds_total=time.monotonic() - begun)


def _build_on(
    engine: Engine,
    checked: CheckedModel,
    tag: str,
    settings: Settings,
    options: BuildOptions,
    started: datetime,
    tell: Tell,
    on_check: Callable[[Check], None],
) -> BuildReport:
    with warnings_of(checked):
        emulated = emulation_warning(engine, settings)
        for warning in emulated:
            tell(warning.what)
        unpacked, plan = plan_model(checked, settings, tell)
        planned = plan_ahead(settings, options.trial, unpacked) if options.test else None
        model = prepare(engine, checked, unpacked, plan, tag, settings, options, tell)
        choose_tag(engine, model, settings, options)  # what cannot be pushed is told before the work
    with unfinished(engine, settings, [model]):
        with warnings_of(checked):
            built, notes = ensure_image(engine, model, settings, options.no_cache, tell)
        report = finish(engine, model, built, settings, options, tell, on_check, planned)
    if report.image is not None and wants_provenance(settings, options):
        with warnings_of(checked):
            record_provenance(engine, model, report, settings, options, started, tell)
    return replace(report, warnings=(*report.warnings, *emulated, *notes))


def _layers_merge(engine: Engine, settings: Settings) -> bool:
    """Whether the builder can put a layer that is there on top of another one without copying its files.

    So it is on containerd's image store, and in a builder of its own; the older graph drivers (overlay2) cannot.
    """
    return settings.builder is not None or engine.has_containerd_store()


def _as_built(engine: Engine, plan: BuildPlan, settings: Settings) -> BuildPlan:
    return replace(for_engine(engine, plan, settings), weights_apart=bool(plan.weights))


def prepare(
    engine: Engine,
    checked: CheckedModel,
    unpacked: UnpackedBundle,
    plan: BuildPlan,
    tag: str,
    settings: Settings,
    options: BuildOptions,
    tell: Tell,
    finder: Finder | None = None,
) -> Prepared:
    """Sees to the base or the parent image of a planned model, after which it is known what its image is made from.

    `finder` remembers what a registry said of an earlier model.

    Raises:
        UnavailableError: the parent cannot be had.
    """
    # Where layers merge, to run a step on weights that were merged costs more than it saves (benchmarks/results.md).
    if not _layers_merge(engine, settings):
        first = not settings.reproducible and weights_cost_more(unpacked, checked.requirements)
        plan = replace(plan, layers_merge=False, weights_first=first)
    plan = _as_built(engine, plan, settings)
    # To build every step anew is to take none of them from elsewhere.
    takes_base = not (options.no_cache or settings.reproducible)
    finder = finder or Finder(engine, settings, tell)
    # Where the parent is there, the first question is whether anything has to be built at all.
    found = finder.find(plan) if takes_base and engine.image(plan.parent.reference) is None else None
    labels: tuple[tuple[str, str], ...] = ()
    if found and found.parent:
        digest = content_digest(plan, [found.parent])  # its labels tell of the parent, and are inherited
    else:
        parents = ensure_parents(engine, plan, tell)
        if settings.reproducible:
            # The label that holds this is in the image: it may not depend on the engine or on who builds.
            contents = [f"reproducible 1 {parent_identity(engine, parent.id)}" for parent in parents]
            digest = content_digest(without_settings(plan), contents)
        else:
            digest = content_digest(plan, [parent.content for parent in parents])
            labels = labels_of_parent(plan, parents)
    model = Prepared(checked, unpacked, plan, tag, digest, labels=labels, base=found)
    if options.push and engine.has_containerd_store():
        # It pushes layers as it holds them; the other store always packs them anew, by gzip.
        model = replace(model, digest=digest if settings.reproducible else f"{digest}+zstd", compression="zstd")
    # What was not packed to be pushed has the same label in its normal form.
    unknown_packing = settings.reproducible and model.compression == "zstd"
    if not (options.no_cache or unknown_packing):
        model = replace(model, unchanged=built_before(engine, model, settings))
    if model.unchanged is None and takes_base:
        found = found or finder.find(plan)
        model = replace(model, plan=use(plan, found), base=found)
    return model


def unfinished(engine: Engine, settings: Settings, models: Iterable[Prepared]) -> AbstractContextManager[None]:
    """Removes the images of these models that got no tag while it was entered, whatever ends the block or the run."""
    from mdai_build.engine import unfinished_images

    place = settings.cache_folder / UNFINISHED
    return unfinished_images(engine, place, CONTENT_LABEL, [model.digest for model in models])


def ensure_image(
    engine: Engine, model: Prepared, settings: Settings, no_cache: bool, tell: Tell
) -> tuple[BuildResult, tuple[Problem, ...]]:
    """The image of a model, built where it is not there already, and what is to be told of how it came about.

    No tag is moved.

    Raises:
        MdaiBuildError: a step failed.
    """
    # Another run of this bundle may have removed it meanwhile.
    if model.unchanged is None or engine.image(model.unchanged.image_id) is None:
        return build_prepared(engine, model, settings, no_cache, tell)
    tell("nothing changed: the image is there already")
    return model.unchanged, ()


def built_before(engine: Engine, model: Prepared, settings: Settings) -> BuildResult | None:
    """The image that was made from the very same content, if it is still there."""
    from mdai_build.engine import BuildResult

    facts = engine.image(model.tag)
    if facts is None or facts.labels.get(CONTENT_LABEL) != model.digest:
        facts = engine.image_labelled(CONTENT_LABEL, model.digest)
    if facts is None:
        return None
    # Where an image's id is not the digest of its configuration, that is not known any more.
    is_digest = settings.reproducible and not engine.has_containerd_store()
    return BuildResult(image_id=facts.id, stages=(), seconds=0.0, digest=facts.id if is_digest else "")


def build_prepared(
    engine: Engine, model: Prepared, settings: Settings, no_cache: bool, tell: Tell
) -> tuple[BuildResult, tuple[Problem, ...]]:
    """The built image, and what its user should know of how the requirements came to be installed.

    Raises:
        MdaiBuildError: a step failed, and no other way to install the requirements is known to work; or a large file,
            which is read where it lies, changed meanwhile.
    """
    from mdai_build.context import SHARED_FROM, context_folder, write_context
    from mdai_build.engine import build_image

    checked, plan = model.checked, model.plan
    notes = list(model.base.notes) if model.base else []
    attempt = first_attempt(checked, settings)
    contexts = settings.cache_folder / CONTEXTS
    with (
        context_folder(contexts, checked.bundle, lambda: tell("waiting for another build of this bundle")) as folder,
        secrets_of(settings) as secrets,
    ):
        while True:
            write_context(plan, model.unpacked, folder, settings.ca_bundle)
            given = with_resolved(secrets, checked, plan, folder)
            request = replace(
                image_request(replace(model, plan=plan), folder, settings, given),
                no_cache=no_cache,
                fresh=("tools",) if attempt.fresh_tools else (),
            )
            try:
                built = build_image(engine, request, tell)
                model.unpacked.bundle.source.check_unchanged(SHARED_FROM)
                return normalised(engine, model, built, settings, tell), tuple(notes)
            except RequirementsError as failure:
                log = failure.problems[0].details or ""
                following = next_attempt(attempt, log, checked.requirements, checked.config.python, settings)
                if following is None:
                    raise by_line(failure, checked) from failure
                attempt, note = following
                notes.append(note)
                tell(note.what)
                plan = replace(
                    _as_built(engine, plan_attempt(checked, model.unpacked, settings, attempt), settings),
                    layers_merge=plan.layers_merge,
                    weights_first=plan.weights_first,
                    base=plan.base,
                    base_server=plan.base_server,
                    conda_packages=plan.conda_packages,
                    requirements_text=plan.requirements_text,
                    constraints_text=plan.constraints_text,
                )


def image_request(
    model: Prepared, context: Path, settings: Settings, secrets: tuple[tuple[str, Path], ...]
) -> BuildRequest:
    """What a builder is asked for to make a model's image from its build context."""
    from mdai_build.dockerfile import author_line

    return replace(
        request_of(model.plan, context, settings, secrets),
        author_line=author_line(model.plan),
        # A reproducible image may not tell which of two equal bases it was made from.
        labels=(
            (CONTENT_LABEL, model.digest),
            *(() if settings.reproducible else ((USED_LABEL, model.plan.base or INLINE),)),
            *model.labels,
        ),
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
    planned: PlanMaker | None = None,
) -> BuildReport:
    """Tests a built image and moves the tag to it if it passed, and pushes it. See `unfinished` for one that did not.

    Raises:
        UnavailableError: it passed, and could not be pushed.
    """
    from mdai_build.engine import push_image
    from mdai_build.report.values import BuildReport, ImageReport, ParentReport

    begun = time.monotonic()
    outcome: Outcome | None = None
    name = model.checked.bundle.name
    facts = engine.image(built.image_id)
    if options.test:
        tell("starting the image for the smoke test")
        outcome = smoke_test(engine, built.image_id, settings, options.trial, model.unpacked, name, on_check, planned)
    kept = outcome is None or outcome.smoke.passed
    tag, told = choose_tag(engine, model, settings, options)
    if kept:
        give_tag(engine, built.image_id, tag, settings, tested=options.test)
    pushed = None
    if kept and options.push:
        tell(f"pushing {tag}")
        with warnings_of(model.checked):
            pushed = push_image(engine, tag, tell)
    return BuildReport(
        image=ImageReport(tag, built.image_id, facts.size_bytes if facts else 0, built.digest or None)
        if kept
        else None,
        parent=ParentReport(reference=model.plan.parent.reference, why=model.plan.parent.why),
        stages=built.stages,
        steps=built.steps,
        overrides=overrides(model.checked),
        warnings=(*model.checked.warnings, *told),
        smoke=outcome.smoke if outcome else None,
        pictures=outcome.pictures if outcome else (),
        seconds_total=time.monotonic() - begun,
        exit_code=0 if kept else 7,
        pushed=pushed,
        base=model.base.report if model.base and built.stages else None,
    )
