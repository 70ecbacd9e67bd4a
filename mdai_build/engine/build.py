"""Builds an image with BuildKit, through `docker buildx`, and follows its progress."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mdai_build.engine.build_failure import build_failure, says_engine_gone
from mdai_build.engine.connection import Engine, lost_or_restarted
from mdai_build.engine.failures import engine_words
from mdai_build.engine.process import Environment, started
from mdai_build.engine.progress import Progress, Stage, Step, follow
from mdai_build.errors import BuildFailedError, Location, MdaiBuildError, Problem, UnavailableError
from mdai_build.scratch import scratch_folder

_LOOK_SECONDS = 5.0


@dataclass(frozen=True)
class BuildResult:
    """A built image that has no tag yet."""

    image_id: str
    """Empty where files were asked for instead."""
    stages: tuple[Stage, ...]
    seconds: float
    steps: tuple[Step, ...] = ()
    """What the stages are made of, in the order in which they began."""
    digest: str = ""
    """Of the configuration, for an image that was put into its normal form: the same on every machine."""


@dataclass(frozen=True)
class BuildRequest:
    """What `docker buildx build` is asked for."""

    context: Path
    author_line: int = 1
    """The line of its Dockerfile on which the author's own part begins."""
    secrets: tuple[tuple[str, Path], ...] = ()
    """Name and file of each secret that install steps may mount."""
    contexts: tuple[tuple[str, Path], ...] = ()
    """Name and folder of each further build context."""
    proxies: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    network: str | None = None
    builder: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    """Beside those of the Dockerfile: a change of these rebuilds no step."""
    no_cache: bool = False
    """Whether to run every step, whatever the cache has."""
    target: str | None = None
    """The stage to build; default: the last one."""
    fresh: tuple[str, ...] = ()
    """Stages that are made anew, whatever the cache holds."""
    output: Path | None = None
    """A folder that gets the files of the stage, in place of an image."""
    platform: str | None = None
    """Such as `linux/arm64`; default: what the engine's machine is."""
    compression: Literal["uncompressed", "zstd"] = "uncompressed"
    """Of the image's layers. A local image gains nothing from it, which takes longer than all else on a large one."""
    repack: bool = False
    """Whether layers that are there in another packing, the parent's too, are packed anew."""
    cache_namespace: str | None = None
    """What tells the cache mounts of this build from those of others, whatever their ids are; None: they are shared."""
    timeout: float | None = None
    """Seconds after which the build is given up."""
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    """Where build caches are read and written, in the words of `docker buildx build`."""

    @property
    def arguments(self) -> dict[str, str]:
        """Build arguments with values that anyone may see."""
        # A predefined one of BuildKit (Dockerfile reference, "BuildKit built-in build args").
        return {"BUILDKIT_CACHE_MOUNT_NS": self.cache_namespace} if self.cache_namespace else {}

    @property
    def exporter(self) -> str:
        """What becomes of the result, in the words of `--output`."""
        if self.output:
            return f"type=local,dest={self.output}"
        # The Docker format of an image knows no zstd.
        more = ",oci-mediatypes=true" if self.compression == "zstd" else ""
        more += ",force-compression=true" if self.repack else ""
        return f"type=docker,compression={self.compression}{more}"


def build_image(engine: Engine, request: BuildRequest, on_step: Callable[[str], None]) -> BuildResult:
    """Builds the image of a build context; `on_step` is told each step as it begins.

    Raises:
        RequirementsError: the step that installs the bundle's requirements failed.
        BuildFailedError: any other step failed.
        UnavailableError: the parent image cannot be had, or the builder does not answer.
    """
    begun = time.monotonic()
    progress = Progress()
    with scratch_folder() as scratch:
        metadata = scratch / "metadata.json"
        # By their names alone on the command line: their values may hold a password, which `-v` and `ps` would show.
        environment = Environment({**engine.environment.values, **dict(request.proxies)})
        try:
            with (
                started(_command(engine, request, metadata), environment) as process,
                given_up_after(process, request.timeout, progress),
                given_up_with(engine, process),
            ):
                follow(process.stdout or (), progress, on_step)
                exit_code = process.wait()
        except BaseException:
            if metadata.exists() and not request.output:  # it was complete when the interruption came
                engine.remove_image(image_id(engine, json.loads(metadata.read_bytes())))
            raise
        if exit_code != 0:
            raise failed(engine, progress, request.author_line)
        return BuildResult(
            image_id="" if request.output else image_id(engine, json.loads(metadata.read_bytes())),
            stages=progress.stages(),
            seconds=time.monotonic() - begun,
            steps=progress.steps(begun),
        )


@contextlib.contextmanager
def given_up_after(process: subprocess.Popen[str], seconds: float | None, progress: Progress) -> Iterator[None]:
    """Ends a builder that takes longer than it may; BuildKit then ends the step that runs.

    Raises:
        BuildFailedError: it did.
    """
    over = threading.Event()

    def end() -> None:
        over.set()
        process.terminate()

    timer = threading.Timer(seconds or 0, end)
    timer.daemon = True
    if seconds is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if over.is_set():
        running = [name for vertex, name in progress.names.items() if vertex not in progress.seconds]
        raise BuildFailedError(
            Problem(
                code="engine.too-slow",
                what=f"the build took longer than {seconds:g} s, and was ended",
                where=Location("settings", key="build_timeout"),
                next_step="if it needs that long, set build_timeout to more seconds",
                details=f"the last step that began: {running[-1]}" if running else None,
            )
        )


@contextlib.contextmanager
def given_up_with(engine: Engine, process: subprocess.Popen[str]) -> Iterator[None]:
    """Ends a builder whose engine does not answer any more: it would wait for ever.

    Raises:
        UnavailableError: it did.
    """
    over = threading.Event()
    lost: list[UnavailableError] = []

    def watch() -> None:
        while not over.wait(_LOOK_SECONDS):
            try:
                require_answer(engine)
            except UnavailableError:
                lost.append(lost_or_restarted(engine, "during the build"))
                process.terminate()
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()
    if lost:
        raise lost[0]


def failed(engine: Engine, progress: Progress, author_line: int = 1) -> MdaiBuildError:
    """Why a builder ended with an error: a step of the build failed, or the engine is gone."""
    if says_engine_gone(progress):
        return lost_or_restarted(engine, "during the build")
    try:
        require_answer(engine)
    except UnavailableError:
        return lost_or_restarted(engine, "during the build")
    return build_failure(progress, author_line)


def require_answer(engine: Engine) -> None:
    """Raises UnavailableError where the engine does not answer any more: then that is why a build failed."""
    with engine_words():
        engine.client.ping()


def image_id(engine: Engine, metadata: Mapping[str, str]) -> str:
    """The id under which the engine holds the image: on the containerd image store that of its manifest, else of its
    config.
    """
    names = ("containerimage.digest", "containerimage.config.digest")
    found = (engine.image(metadata[name]) for name in names if name in metadata)
    facts = next((facts for facts in found if facts is not None), None)
    if facts is None:
        raise UnavailableError(
            Problem(
                code="engine.not-loaded",
                what="the builder built the image, but the engine does not have it",
                next_step="use a builder of this engine: leave out --builder",
                details=json.dumps(metadata, indent=2),
            )
        )
    return facts.id


def _command(engine: Engine, request: BuildRequest, metadata: Path) -> list[str]:
    words = ["buildx", "build", "--progress=plain", "--provenance=false", f"--metadata-file={metadata}"]
    words.append(f"--output={request.exporter}")
    words += [f"--cache-from={place}" for place in request.cache_from]
    words += [f"--cache-to={place}" for place in request.cache_to]
    if request.no_cache:
        words.append("--no-cache")
    if request.fresh:
        words.append(f"--no-cache-filter={','.join(request.fresh)}")
    if request.target:
        words.append(f"--target={request.target}")
    if request.platform:
        words.append(f"--platform={request.platform}")
    if request.builder:
        words.append(f"--builder={request.builder}")
    if request.network:
        words.append(f"--network={request.network}")
    for name, file in request.secrets:
        words.append(f"--secret=id={name},src={file}")
    for name, value in request.labels:
        words.append(f"--label={name}={value}")
    for name, folder in request.contexts:
        words.append(f"--build-context={name}={folder}")
    for name, value in request.arguments.items():
        words.append(f"--build-arg={name}={value}")
    for name, _ in request.proxies:
        words.append(f"--build-arg={name}")
    return engine.command(*words, str(request.context))
