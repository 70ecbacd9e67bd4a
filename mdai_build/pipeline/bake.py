"""Many models at once: each is checked and planned, one BuildKit graph builds what changed, each is tested and tagged.

No model stops another by its failure. BuildKit ends a whole graph when one of its steps fails: then each image that is
missing is built by itself, several at a time, from the cache of what was done before. That also gives each model its
own words about what failed, and the other ways to install that `build` knows.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mdai_build.bundle import UnpackedBundle
from mdai_build.errors import Location, MdaiBuildError, Problem, UsageError
from mdai_build.pipeline.bases import Finder
from mdai_build.pipeline.build import (
    CONTEXTS,
    NAME_PLACE,
    BuildOptions,
    Prepared,
    build_prepared,
    built_before,
    finish,
    image_request,
    prepare,
    unfinished,
)
from mdai_build.pipeline.check import CheckedModel
from mdai_build.pipeline.planning import (
    check_for_build,
    emulation_warning,
    plan_model,
    secrets_of,
    warnings_of,
    with_resolved,
)
from mdai_build.pipeline.serve import Tell
from mdai_build.pipeline.tags import TAG_PREFIX, choose_tag, normalise_tag
from mdai_build.plan import BuildPlan
from mdai_build.report.values import BakeReport, ModelReport
from mdai_build.settings import Settings

if TYPE_CHECKING:
    from mdai_build.engine import BuildRequest, BuildResult, Engine
    from mdai_build.smoke import Check

PRINTED = "printed"
"""The folder of the contexts that a printed bake file names: a build may lay out its own for what the engine can."""
_CHECKS_AT_ONCE = 4
"""Checks and unpacking mostly wait: for package indexes, for the disk."""
_LOOK_SECONDS = 0.3


@dataclass(frozen=True)
class BakeOptions:
    """What one `bake` was asked for."""

    tag_prefix: str = TAG_PREFIX
    """What stands before a model's name in its image's."""
    jobs: int | None = None
    """How many models are tested, or built by themselves, at once; default: as the engine's machine allows."""
    build: BuildOptions = field(default_factory=BuildOptions)


@dataclass
class _Model:
    """One model on its way; the parts are filled in one after the other, until `failure` is."""

    path: Path
    tag: str = ""
    target: str = ""
    """Its name in the bake file."""
    checked: CheckedModel | None = None
    planned: tuple[UnpackedBundle, BuildPlan] | None = None
    prepared: Prepared | None = None
    built: BuildResult | None = None
    unchanged: bool = False
    notes: tuple[Problem, ...] = ()
    report: ModelReport | None = None
    failure: MdaiBuildError | None = None
    seconds: float = 0.0
    """What was done for this model alone took."""

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """One part of the way: a failure is this model's alone."""
        begun = time.monotonic()
        try:
            with warnings_of(self.checked) if self.checked else contextlib.nullcontext():
                yield
        except MdaiBuildError as failure:
            self.failure = failure
        finally:
            self.seconds += time.monotonic() - begun

    def told(self) -> ModelReport:
        """Its outcome."""
        name = self.checked.bundle.name if self.checked else self.path.name
        report = self.report or ModelReport(name=name, path=self.path, tag=self.tag, failure=self.failure)
        return replace(report, seconds=self.seconds)


def bake_models(paths: Iterable[Path], settings: Settings, options: BakeOptions, tell: Tell) -> BakeReport:
    """Builds and tests many models. A tag moves only to an image that passed; nothing untagged is left.

    Raises:
        UsageError: two of them would be one image, or would write one build cache.
    """
    from mdai_build.engine import connect

    begun = time.monotonic()
    models = _plan_all(paths, settings, options, tell)
    planned = [model for model in models if model.failure is None]
    if planned:
        try:
            engine = connect(settings.engine_folder)
            for warning in emulation_warning(engine, settings):
                tell(warning.what)
        except MdaiBuildError as failure:
            for model in planned:
                model.failure = failure
        else:
            _bake_planned(engine, planned, settings, options, tell)
    return BakeReport(tuple(model.told() for model in models), time.monotonic() - begun)


def bake_file_of(paths: Iterable[Path], settings: Settings, options: BakeOptions, tell: Tell) -> tuple[str, BakeReport]:
    """The bake file of all models that can be built, their build contexts laid out, and what is wrong with the others.

    Nothing is asked of an engine, so the label that tells an unchanged image is not in it.

    Raises:
        UsageError: two of them would be one image, or would write one build cache.
    """
    from mdai_build.engine import bake_file

    begun = time.monotonic()
    models = _plan_all(paths, settings, options, tell)
    secrets = [("ca-bundle", settings.ca_bundle)]
    secrets.append(("netrc", (settings.netrc or Path("NETRC-FILE")) if settings.netrc or settings.logins else None))
    secrets.append(("proxies", Path("PROXIES-FILE") if settings.secret_proxies else None))
    for model in models:
        if model.planned is not None and model.checked is not None:
            model.prepared = Prepared(model.checked, *model.planned, model.tag, digest="")
    given = tuple((name, file) for name, file in secrets if file is not None)
    prepared = [model for model in models if model.prepared]
    with _contexts(prepared, settings, options, given, tell, PRINTED) as requests:
        text = bake_file({name: replace(request, labels=()) for name, request in requests.items()})
    refused = tuple(model.told() for model in models if model.failure is not None)
    return text, BakeReport(refused, time.monotonic() - begun)


def _plan_all(paths: Iterable[Path], settings: Settings, options: BakeOptions, tell: Tell) -> list[_Model]:
    """All models, checked and planned where nothing was wrong with them."""
    models = [_Model(path) for path in paths]
    tell(f"checking {len(models)} bundles and their requirements")

    def check(model: _Model) -> None:
        with model.step():
            model.checked = check_for_build(model.path, settings)
            model.tag = normalise_tag(f"{options.tag_prefix}{model.checked.bundle.name}", "--tag-prefix")

    def plan(model: _Model) -> None:
        with model.step():
            if model.checked is not None:
                model.planned = plan_model(model.checked, settings, tell)

    _in_parallel(_CHECKS_AT_ONCE, check, models)
    checked = [model for model in models if model.failure is None]
    _refuse_clashes(checked, settings)
    for number, model in enumerate(checked, start=1):
        name = model.checked.bundle.name if model.checked else ""
        model.target = f"{number}-{re.sub('[^A-Za-z0-9_-]', '-', name)}"
    _in_parallel(_CHECKS_AT_ONCE, plan, checked)
    return models


def _refuse_clashes(models: list[_Model], settings: Settings) -> None:
    problems = []
    owners: dict[object, Path] = {}
    for model in models:
        other = owners.setdefault(model.path.resolve(), owners.setdefault(model.tag, model.path))
        if other is not model.path:
            problems.append(
                Problem(
                    code="usage.one-image-twice",
                    what=f"{other} and {model.path} are one model, or would be one image: {model.tag}",
                    where=Location(str(model.path)),
                    expected="each model once, and archives or folders with different names",
                    next_step="rename one; or give each a command of its own with --tag",
                )
            )
    if len(models) > 1 and (shared := [place for place in settings.cache_to if NAME_PLACE not in place]):
        problems.append(
            Problem(
                code="usage.one-cache-twice",
                what=f"{len(models)} models would write their build caches to one place: {shared[0]}",
                where=Location("settings", key="cache_to"),
                expected=f"a place for each, such as host/cache:{NAME_PLACE}",
            )
        )
    if problems:
        raise UsageError(problems)


def _bake_planned(engine: Engine, models: list[_Model], settings: Settings, options: BakeOptions, tell: Tell) -> None:
    finder = Finder(engine, settings, tell)
    for model in models:
        with model.step():
            assert model.checked and model.planned
            prepared = prepare(engine, model.checked, *model.planned, model.tag, settings, options.build, tell, finder)
            choose_tag(engine, prepared, settings, options.build)  # what cannot be pushed is told before the work
            model.prepared = prepared
    jobs = options.jobs or _jobs(engine, settings)
    with unfinished(engine, settings, [model.prepared for model in models if model.prepared]):
        for model in models:
            with model.step():
                there = model.prepared.unchanged if model.prepared else None
                if there is not None and engine.image(there.image_id) is not None:
                    model.built, model.unchanged = there, True
        _build(engine, [model for model in models if model.prepared and not model.built], settings, options, jobs, tell)
        _finish(engine, [model for model in models if model.built], settings, options, jobs, tell)


def _jobs(engine: Engine, settings: Settings) -> int:
    """How many smoke tests run at once: none should be slow for want of cores, or end for want of memory."""
    capacity = engine.capacity()
    return max(1, min(capacity.cores // 2, capacity.memory // settings.memory))


def _build(
    engine: Engine, models: list[_Model], settings: Settings, options: BakeOptions, jobs: int, tell: Tell
) -> None:
    from mdai_build.context import SHARED_FROM
    from mdai_build.engine import bake_images

    # What a bake makes has the label of its normal form before it has that form: those are built one by one.
    if len(models) > 1 and not settings.reproducible:
        tell(f"building {len(models)} images")
        try:
            with (
                secrets_of(settings) as secrets,
                _contexts(models, settings, options, secrets, tell) as requests,
            ):
                results = bake_images(engine, requests, tell)
            for model in models:
                with model.step():
                    if model.prepared:
                        model.prepared.unpacked.bundle.source.check_unchanged(SHARED_FROM)
                    model.built = results.get(model.target)
        except MdaiBuildError as failure:
            tell(f"{failure.problems[0].what}; each image that is missing is built by itself")

    def by_itself(model: _Model) -> None:
        with model.step():
            assert model.prepared
            model.built = built_before(engine, model.prepared, settings)
            if model.built is None:
                model.built, model.notes = build_prepared(
                    engine, model.prepared, settings, options.build.no_cache, tell
                )

    _in_parallel(jobs, by_itself, [m for m in models if m.built is None and m.failure is None], engine)


@contextlib.contextmanager
def _contexts(
    models: list[_Model],
    settings: Settings,
    options: BakeOptions,
    secrets: tuple[tuple[str, Path], ...],
    tell: Tell,
    place: str = CONTEXTS,
) -> Iterator[dict[str, BuildRequest]]:
    """The build contexts of all models that have none that cannot be written, held for as long as the block lasts.

    `place` is the folder of the cache that they are in.
    """
    from mdai_build.context import context_folder, write_context

    requests: dict[str, BuildRequest] = {}
    with contextlib.ExitStack() as held:
        # In one order for all runs, so that no two wait for each other.
        for model in sorted(models, key=lambda model: str(model.path.resolve())):
            with model.step():
                assert model.prepared and model.checked
                folder = held.enter_context(
                    context_folder(
                        settings.cache_folder / place,
                        model.checked.bundle,
                        lambda: tell("waiting for another build of one of these bundles"),
                    )
                )
                write_context(model.prepared.plan, model.prepared.unpacked, folder, settings.ca_bundle)
                given = with_resolved(secrets, model.checked, model.prepared.plan, folder)
                request = image_request(model.prepared, folder, settings, given)
                requests[model.target] = replace(request, no_cache=options.build.no_cache)
        yield requests


def _finish(
    engine: Engine, models: list[_Model], settings: Settings, options: BakeOptions, jobs: int, tell: Tell
) -> None:
    def silent(text: str) -> None:
        """Many at once would talk across each other."""

    def unheard(check: Check) -> None:
        """As `silent`."""

    def one(model: _Model) -> None:
        with model.step():
            assert model.prepared and model.built
            name = model.prepared.checked.bundle.name
            report = finish(engine, model.prepared, model.built, settings, options.build, silent, unheard)
            report = replace(report, warnings=(*report.warnings, *model.notes))
            model.report = ModelReport(
                name=name,
                path=model.path,
                tag=report.image.reference if report.image else model.tag,
                build=report,
                unchanged=model.unchanged,
            )
            tell(f"{name}: {'good' if report.exit_code == 0 else 'the smoke test failed'}")

    _in_parallel(jobs, one, models, engine)


def _in_parallel(
    jobs: int, action: Callable[[_Model], None], models: list[_Model], engine: Engine | None = None
) -> None:
    """Does something with each model, `jobs` at once. An interruption, which reaches this thread alone, ends the work
    of the others on the engine too.
    """
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(action, model) for model in models]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            while engine is not None and wait(futures, timeout=_LOOK_SECONDS).not_done:
                from mdai_build.engine import end_work

                with contextlib.suppress(MdaiBuildError):
                    end_work(engine)
            raise
