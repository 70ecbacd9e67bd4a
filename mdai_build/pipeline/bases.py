"""Base images: found for a build, and made, pushed and pulled ahead of all builds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mdai_build.bases import (
    LOCAL_REPOSITORY,
    PARENT_LABEL,
    RECIPE_LABEL,
    USED_LABEL,
    BaseName,
    base_name,
    base_plan,
    has_base,
    labels,
    repository,
    server_name,
)
from mdai_build.config import ModelConfig
from mdai_build.config.model import BASE_IMAGES, CUDA_VERSIONS, DEVICE_TYPES
from mdai_build.errors import BundleError, Location, MdaiBuildError, Problem, UnavailableError, UsageError
from mdai_build.parents import choose_parent
from mdai_build.pipeline.planning import ensure_parents, for_engine, parent_labels, request_of, secrets_of
from mdai_build.pipeline.serve import Tell
from mdai_build.pipeline.store import UNFINISHED
from mdai_build.plan import CONTENT_LABEL, BuildPlan
from mdai_build.report.values import BaseReport, BaseState
from mdai_build.scratch import scratch_folder
from mdai_build.settings import Settings

if TYPE_CHECKING:
    from mdai_build.engine import Engine, Pushed
    from mdai_build.engine.connection import ImageFacts

_ASKED_AT_ONCE = 8
_STAGES = (("mdai-base", "base image"), ("mdai-base-server", "server of base images"))
"""A stage of the Dockerfile for each of the two images, and what they are called."""


@dataclass(frozen=True)
class Found:
    """The base images that a build can start from."""

    report: BaseReport
    parent: str | None = None
    """Content of the parent image that the large one is on; None: there is no large one."""
    notes: tuple[Problem, ...] = ()


class Finder:
    """Finds base images on one engine; what a registry said once is remembered for as long as this lives."""

    def __init__(self, engine: Engine, settings: Settings, tell: Tell) -> None:
        self._engine = engine
        self._settings = settings
        self._tell = tell
        self._missing: dict[str, str] = {}
        self._unreachable: Problem | None = None

    def find(self, plan: BuildPlan) -> Found:
        """What a plan can start from; pulled where the settings name a registry that has it.

        A base image on another parent than the one that the engine holds is not what would be made inline, and is not
        taken.
        """
        if not has_base(plan):
            return Found(BaseReport(None, None, "a bundle with a parent of its own has no base image"))
        parent = self._engine.image(plan.parent.reference)
        reasons: list[str] = []
        large = self._find(base_name(plan), parent, reasons)
        # The server was made by the environment's Python, so it is taken together with that alone.
        server = self._find(server_name(plan), parent, reasons) if large else None
        why = "; ".join(dict.fromkeys(reasons)) or "there are images of just this content"
        notes = (self._unreachable,) if self._unreachable else ()
        if large is None:
            return Found(BaseReport(None, None, f"made inline: {why}"), None, notes)
        reference, facts = large
        report = BaseReport(reference, server[0] if server else None, why)
        return Found(report, facts.labels.get(PARENT_LABEL), notes)

    def _find(self, name: BaseName, parent: ImageFacts | None, reasons: list[str]) -> tuple[str, ImageFacts] | None:
        tag = name.exact(parent.content) if parent else name.newest
        for reference in self._places(tag):
            facts = self._engine.image(reference)
            if facts is None and not reference.startswith(f"{LOCAL_REPOSITORY}:"):
                facts = self._pull(reference)
            if facts is None:
                continue
            # A tag can be moved by anyone; the labels come with the bytes.
            if facts.labels.get(RECIPE_LABEL) != name.recipe:
                reasons.append(f"{reference} was made from something else than its name says")
            elif parent is not None and facts.labels.get(PARENT_LABEL) != parent.content:
                reasons.append(f"{reference} is on another parent image")
            else:
                return reference, facts
        if not reasons:
            reasons.append(self._why_not(name, parent))
        return None

    def _places(self, tag: str) -> Iterator[str]:
        # A builder of its own does not see the engine's images.
        if self._settings.builder is None:
            yield f"{LOCAL_REPOSITORY}:{tag}"
        if place := repository(self._settings):
            yield f"{place}:{tag}"

    def _pull(self, reference: str) -> ImageFacts | None:
        from mdai_build.engine import pull_image

        if self._settings.offline or self._unreachable or reference in self._missing:
            return None
        self._tell(f"asking for the base image {reference}")
        try:
            return pull_image(self._engine, reference, self._tell)
        except UnavailableError as failure:
            problem = failure.problems[0]
            self._missing[reference] = problem.what
            if problem.code != "engine.no-such-image":
                self._unreachable = replace(
                    problem,
                    code="base.registry",
                    what=f"no base image could be asked for, so the stages are made inline: {problem.what}",
                    where=Location("settings", key="base_registry"),
                )
            return None

    def _why_not(self, name: BaseName, parent: ImageFacts | None) -> str:
        found = self._engine.images_labelled(RECIPE_LABEL, name.recipe) if parent else ()
        others = [facts for facts in found if USED_LABEL not in facts.labels]  # models inherit the label
        if any(facts.labels.get(PARENT_LABEL) != parent.content for facts in others if parent):
            return "there is a base image, but on another parent image than the one here"
        return f"there is no base image {name.newest}"


def use(plan: BuildPlan, found: Found) -> BuildPlan:
    """The plan with what was found in place of its stages."""
    return replace(plan, base=found.report.reference, base_server=found.report.server)


def begin_with(engine: Engine, plan: BuildPlan, settings: Settings, tell: Tell) -> BuildPlan:
    """The plan with base images in place of its stages where there are some; else its parent images are seen to.

    Raises:
        UnavailableError: a parent cannot be had.
    """
    found = Finder(engine, settings, tell).find(plan)
    for note in found.notes:
        tell(note.what)
    if found.parent is None:
        ensure_parents(engine, plan, tell)
    else:
        tell(f"starting from the base image {found.report.reference}")
    return for_engine(engine, use(plan, found), settings)


# ---- made ahead ----


@dataclass(frozen=True)
class Wanted:
    """Which base images are meant: all that fit what is given."""

    pythons: tuple[str, ...] = ()
    """Such as `3.8`; empty: all."""
    devices: tuple[str, ...] = ()
    cudas: tuple[str, ...] = ()
    models: tuple[Path, ...] = ()
    """The configs of these bundles, and no others."""


def combinations(wanted: Wanted, settings: Settings) -> list[BuildPlan]:
    """The plans of all base images that are meant, in the order of the matrix.

    Raises:
        UsageError: there are none.
        MdaiBuildError: a bundle is wrong.
    """
    plans: dict[str, BuildPlan] = {}
    refused: list[MdaiBuildError] = []
    for config in _configs(wanted, settings):
        if (wanted.pythons and config.python not in wanted.pythons) or (
            wanted.devices and config.device_type not in wanted.devices
        ):
            continue
        if wanted.cudas and config.cuda_version not in wanted.cudas:
            continue
        try:
            plan = base_plan(config, choose_parent(config, settings), settings)
        except BundleError as failure:  # a combination that the matrix does not hold
            refused.append(failure)
            continue
        if has_base(plan):
            plans.setdefault(base_name(plan).newest, plan)
    if not plans:
        raise (
            refused[0]
            if refused
            else UsageError(Problem("base.none-meant", "no combination of Python, device and CUDA is like that"))
        )
    return list(plans.values())


def _configs(wanted: Wanted, settings: Settings) -> Iterable[ModelConfig]:
    if wanted.models:
        from mdai_build.pipeline.check import check_model

        return [check_model(path, settings).config for path in wanted.models]
    pythons = [name for name in BASE_IMAGES if name.startswith("py")]
    devices = [(device, cuda) for device in DEVICE_TYPES for cuda in (CUDA_VERSIONS if device == "gpu" else (None,))]
    return [
        ModelConfig.model_validate({"base_image": name, "device_type": device, "cuda_version": cuda})
        for device, cuda in devices
        for name in pythons
    ]


def build_base(engine: Engine, plan: BuildPlan, settings: Settings, no_cache: bool, tell: Tell) -> BaseState:
    """Makes a base image and its server, unless they are there.

    Raises:
        MdaiBuildError: the parent cannot be had, or a step failed.
    """
    from mdai_build.context import write_context
    from mdai_build.dockerfile import render_base_dockerfile
    from mdai_build.engine import build_image, unfinished_images

    plan = for_engine(engine, plan, settings)
    parent = ensure_parents(engine, plan, tell)[0]
    zstd = settings.base_registry is not None and engine.has_containerd_store()
    recipes = [name.recipe for name in _names(plan)]
    place = settings.cache_folder / UNFINISHED
    with (
        unfinished_images(engine, place, RECIPE_LABEL, recipes, without=CONTENT_LABEL),
        scratch_folder() as folder,
        secrets_of(settings) as secrets,
    ):
        context = folder / "context"
        write_context(plan, None, context, settings.ca_bundle, render=render_base_dockerfile)
        for (target, words), name in zip(_STAGES, _names(plan), strict=True):
            exact = f"{LOCAL_REPOSITORY}:{name.exact(parent.content)}"
            if no_cache or engine.image(exact) is None:
                tell(f"making the {words} {name.newest}")
                request = replace(
                    request_of(plan, context, settings, secrets),
                    target=target,
                    labels=(*labels(name, plan, parent.content), *parent_labels(parent)),
                    no_cache=no_cache,
                    compression="zstd" if zstd else "uncompressed",
                    repack=zstd and plan.parent.kind == "local",
                )
                _tag(engine, build_image(engine, request, tell).image_id, exact)
            _tag(engine, _required(engine, exact).id, f"{LOCAL_REPOSITORY}:{name.newest}")
    return state_of(engine, plan, settings, ask=False)


def push_base(engine: Engine, plan: BuildPlan, settings: Settings, tell: Tell) -> list[Pushed]:
    """Pushes a base image and its server, under both of their names, to the registry that the settings name.

    Raises:
        UnavailableError: one of them is not there, or the registry does not take it.
    """
    from mdai_build.engine import push_image

    place, pushed = _place(settings), []
    for name in _names(plan):
        facts = _required(engine, f"{LOCAL_REPOSITORY}:{name.newest}")
        # The exact one first: whoever finds the newest may look for that too.
        for tag in (name.exact(facts.labels[PARENT_LABEL]), name.newest):
            engine.tag(facts.id, f"{place}:{tag}")
            pushed.append(push_image(engine, f"{place}:{tag}", tell))
    return pushed


def pull_base(engine: Engine, plan: BuildPlan, settings: Settings, tell: Tell) -> BaseState:
    """Pulls a base image and its server: those on the parent that the engine holds, else the newest.

    Raises:
        UnavailableError: the registry does not have them, or does not answer.
    """
    from mdai_build.engine import pull_image

    place, parent = _place(settings), engine.image(plan.parent.reference)
    for name in _names(plan):
        reference = f"{place}:{name.exact(parent.content) if parent else name.newest}"
        facts = pull_image(engine, reference, tell)
        for tag in (name.exact(facts.labels.get(PARENT_LABEL, "")), name.newest):
            engine.tag(facts.id, f"{place}:{tag}")
    return state_of(engine, plan, settings, ask=False)


def list_bases(wanted: Wanted, settings: Settings) -> list[BaseState]:
    """All base images that are meant, and where each is.

    Raises:
        UsageError: none is meant.
        UnavailableError: no engine answers, or the registry does not.
    """
    from mdai_build.engine import connect

    plans = combinations(wanted, settings)
    engine = connect(settings.engine_folder)
    ask = settings.base_registry is not None and not settings.offline
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
        return list(pool.map(lambda plan: state_of(engine, plan, settings, ask), plans))


def state_of(engine: Engine, plan: BuildPlan, settings: Settings, ask: bool) -> BaseState:
    """Where a base image is; `ask` says whether the registry is asked too.

    Raises:
        UnavailableError: the registry does not answer.
    """
    from mdai_build.engine import in_registry

    parent = engine.image(plan.parent.reference)
    names = _names(plan)
    tags = [name.exact(parent.content) if parent else name.newest for name in names]
    place = repository(settings)
    found = [engine.image(f"{where}:{tags[0]}") for where in (LOCAL_REPOSITORY, place) if where]
    large = next((facts for facts in found if facts is not None), None)
    servers = [engine.image(f"{where}:{tags[1]}") for where in (LOCAL_REPOSITORY, place) if where]
    return BaseState(
        combination=names[0].combination,
        tag=tags[0],
        parent=plan.parent.reference,
        parent_here=parent is not None,
        size_bytes=large.size_bytes if large else None,
        server_tag=tags[1],
        server_here=any(servers),
        in_registry=all(in_registry(engine, f"{place}:{tag}") for tag in tags) if ask and place else None,
    )


def _names(plan: BuildPlan) -> tuple[BaseName, BaseName]:
    return base_name(plan), server_name(plan)


def _place(settings: Settings) -> str:
    place = repository(settings)
    if place is None:
        raise UsageError(
            Problem(
                code="base.no-registry",
                what="no registry of base images is set",
                where=Location("settings", key="base_registry"),
                expected="the registry, such as registry.example:5000/team",
                next_step="name it with --registry, or as base_registry in mdai-build.toml",
            )
        )
    return place


def _required(engine: Engine, reference: str) -> ImageFacts:
    facts = engine.image(reference)
    if facts is None:
        raise UnavailableError(
            Problem("base.not-made", f"there is no {reference} here", next_step="make it with `mdai-build base build`")
        )
    return facts


def _tag(engine: Engine, image_id: str, reference: str) -> None:
    """Moves a tag; an image that has none any more is removed."""
    before = engine.image(reference)
    engine.tag(image_id, reference)
    if before is not None and before.id != image_id:
        engine.remove_image(before.id)
