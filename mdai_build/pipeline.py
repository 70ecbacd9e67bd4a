"""The main job from end to end: bundle -> config -> plan -> Dockerfile and context -> image -> smoke test -> report.

Each function takes values, gives values, and calls the rooms in their order; the command line is a thin layer above.
Rooms that `check` does not need are imported where they are used, so that it answers at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mdai_build.bundle import SMOKE_FILE, Bundle, UnpackedBundle, check_entry_point, read_bundle, unpack_bundle
from mdai_build.config import ModelConfig, check_config_against_bundle, parse_config
from mdai_build.errors import BundleError, Location, MdaiBuildError, Problem, UsageError
from mdai_build.parents import Parent, choose_parent
from mdai_build.plan import BuildPlan, CaBundle, make_plan
from mdai_build.requirements import Requirements, read_requirements
from mdai_build.settings import Settings

if TYPE_CHECKING:
    from mdai_build.engine import BuildResult, Engine
    from mdai_build.report.values import BuildReport
    from mdai_build.smoke import Check, Scope, SmokeResult

_KEPT_SECONDS = 7 * 24 * 3600
_WORTH_TELLING_BYTES = 32 * 2**20
# The distribution project's grammar of references, without a digest: host and port, path, version.
_TAG = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]+)?/)?"
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
)
Tell = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True)
class CheckedModel:
    """A bundle in which nothing wrong was found without an engine."""

    bundle: Bundle
    config: ModelConfig
    requirements: Requirements
    parent: Parent
    warnings: tuple[Problem, ...]


def check_model(path: Path, settings: Settings) -> CheckedModel:
    """Everything that can be known about a bundle without an engine; the model's code is read, never run.

    Raises:
        BundleError: the bundle, its config or its entry point is wrong; problems of all parts at once.
        RequirementsError: its requirements cannot be met.
    """
    bundle = read_bundle(path)
    warnings = list(bundle.warnings)
    failures: list[MdaiBuildError] = []

    def attempt(step: Callable[[], T]) -> T | None:
        try:
            return step()
        except MdaiBuildError as failure:
            failures.append(failure)
            warnings.extend(failure.warnings)
            return None

    parsed = attempt(lambda: parse_config(bundle.read_text(bundle.config_path), bundle.config_path))
    python = parsed.config.python if parsed else None
    warnings.extend(attempt(lambda: check_entry_point(bundle, python)) or ())
    if parsed is not None:
        warnings.extend(parsed.warnings)
        warnings.extend(attempt(lambda: check_config_against_bundle(parsed.config, bundle)) or ())
    requirements = attempt(lambda: read_requirements(bundle, python))
    attempt(lambda: _check_smoke_file(bundle))
    parent = attempt(lambda: choose_parent(parsed.config, settings)) if parsed else None
    if requirements is not None:
        warnings.extend(requirements.warnings)
    if failures or parsed is None or requirements is None or parent is None:
        raise _together(failures, warnings)
    return CheckedModel(bundle, parsed.config, requirements, parent, (*warnings, *parent.warnings))


def _check_smoke_file(bundle: Bundle) -> None:
    if bundle.has(SMOKE_FILE):
        from mdai_build.smoke.smoke_file import parse_smoke_file

        parse_smoke_file(bundle.read_text(SMOKE_FILE))


def _together(failures: list[MdaiBuildError], warnings: list[Problem]) -> MdaiBuildError:
    kind = next((type(failure) for failure in failures if isinstance(failure, BundleError)), type(failures[0]))
    return kind((problem for failure in failures for problem in failure.problems), warnings)


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
    samples: Path | None = None
    scope: Scope | None = None
    """Of the samples; default: what the bundle's smoke.yaml says."""
    out: Path | None = None
    """Where pictures go; default: a folder in the cache."""


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
    tell("checking the bundle")
    checked = check_model(path, settings)
    tag = asked_tag or normalise_tag(f"mdai-build/{checked.bundle.name}")
    engine = connect(settings.engine_folder)
    unpacked, plan = plan_model(checked, settings, tell)
    built = _build(engine, checked, plan, unpacked, settings, tell)
    smoke: SmokeResult | None = None
    pictures: tuple[Path, ...] = ()
    facts = engine.image(built.image_id)
    kept = False
    try:
        if options.test:
            tell("starting the image for the smoke test")
            smoke = _smoke(engine, built.image_id, settings, options.samples, options.scope, unpacked, on_check)
            pictures = _draw(smoke, options.out or settings.cache_folder / "reports" / checked.bundle.name)
        if smoke is None or smoke.passed:
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
        smoke=smoke,
        pictures=pictures,
        seconds_total=time.monotonic() - begun,
        exit_code=0 if kept else 7,
    )


def _build(
    engine: Engine,
    checked: CheckedModel,
    plan: BuildPlan,
    unpacked: UnpackedBundle,
    settings: Settings,
    tell: Tell,
) -> BuildResult:
    from mdai_build.context import write_context
    from mdai_build.engine import BuildRequest, build_image, ensure_parent, stages_from

    parents = stages_from(plan.author_dockerfile) if plan.author_dockerfile else (plan.parent.reference,)
    for parent in parents:
        ensure_parent(engine, parent, tell)
    with _context_folder(settings, checked.bundle, tell) as folder:
        write_context(plan, unpacked, folder)
        secrets = (("ca-bundle", settings.ca_bundle),) if settings.ca_bundle else ()
        request = BuildRequest(
            context=folder,
            secrets=secrets,
            proxies=tuple(sorted(settings.proxies.items())),
            network=settings.build_network,
            builder=settings.builder,
        )
        return build_image(engine, request, tell)


@contextmanager
def _context_folder(settings: Settings, bundle: Bundle, tell: Tell) -> Iterator[Path]:
    """The build context of a bundle: one folder an origin, so that BuildKit is sent only what changed."""
    from filelock import FileLock, Timeout

    key = hashlib.sha256(str(bundle.origin.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    contexts = settings.cache_folder / "contexts"
    contexts.mkdir(parents=True, exist_ok=True)
    _forget_old_contexts(contexts)
    folder = contexts / f"{bundle.name}-{key}"
    lock = FileLock(f"{folder}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        tell("waiting for another build of this bundle")
        lock.acquire()
    try:
        Path(lock.lock_file).touch()  # the time of the last use
        yield folder
    finally:
        lock.release()


def _forget_old_contexts(contexts: Path) -> None:
    """Removes contexts that no build used for a week: a bundle at a path that never comes again leaves one each."""
    from filelock import FileLock, Timeout

    for lock_file in contexts.glob("*.lock"):
        try:
            if time.time() - lock_file.stat().st_mtime < _KEPT_SECONDS:
                continue
            with FileLock(lock_file, timeout=0):
                shutil.rmtree(lock_file.with_suffix(""), ignore_errors=True)
                lock_file.unlink(missing_ok=True)
        except (OSError, Timeout):  # in use, or another run removes it too
            continue


def _smoke(
    engine: Engine,
    image: str,
    settings: Settings,
    samples: Path | None,
    scope: Scope | None,
    unpacked: UnpackedBundle | None,
    on_check: Callable[[Check], None],
) -> SmokeResult:
    from mdai_build.engine import RunOptions, running_container
    from mdai_build.smoke import make_smoke_plan, run_smoke_test

    with running_container(engine, image, RunOptions(memory=settings.memory)) as container:
        # Samples take a second to make: the model loads meanwhile.
        plan = make_smoke_plan(settings, samples=samples, unpacked=unpacked, scope=scope)
        return run_smoke_test(container, plan, on_check)


def _draw(smoke: SmokeResult, folder: Path) -> tuple[Path, ...]:
    from mdai_build.report.pictures import draw_pictures

    return draw_pictures(smoke, folder)


def test_image(
    image: str,
    settings: Settings,
    samples: Path | None,
    scope: Scope | None,
    out: Path | None,
    on_check: Callable[[Check], None],
) -> tuple[SmokeResult, tuple[Path, ...]]:
    """The smoke test of an image that exists.

    Raises:
        UnavailableError: no engine answers, or it holds no such image.
    """
    from mdai_build.engine import connect, require_image

    engine = connect(settings.engine_folder)
    facts = require_image(engine, image)
    smoke = _smoke(engine, facts.id, settings, samples, scope, None, on_check)
    name = image.replace("/", "-").replace(":", "-")
    return smoke, _draw(smoke, out or settings.cache_folder / "reports" / name)


def _move_tag(engine: Engine, image_id: str, tag: str) -> None:
    from mdai_build.plan import LABEL_PREFIX

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


def summary(checked: CheckedModel) -> dict[str, object]:
    """What `check` found, JSON-ready."""
    return {
        "bundle": checked.bundle.name,
        "kind": checked.bundle.kind,
        "files": len(checked.bundle.members),
        "bytes": sum(member.size for member in checked.bundle.members),
        "config": checked.config.model_dump(mode="json"),
        "parent": {k: v for k, v in dataclasses.asdict(checked.parent).items() if k in ("kind", "reference", "why")},
        "requirements": [line.text for line in checked.requirements.lines],
        "warnings": [warning.as_json() for warning in checked.warnings],
    }
