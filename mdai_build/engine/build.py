"""Builds an image with BuildKit, through `docker buildx`, and follows its progress."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mdai_build.engine.connection import Engine, engine_words
from mdai_build.engine.failed_log import line_that_matters
from mdai_build.engine.process import Environment, started
from mdai_build.engine.steps import ShowsSteps, StepReader
from mdai_build.errors import (
    BuildFailedError,
    BundleError,
    Location,
    MdaiBuildError,
    Problem,
    RequirementsError,
    UnavailableError,
)
from mdai_build.scratch import scratch_folder

_VERTEX = re.compile(r"^#(\d+) (.*)$")
_DONE = re.compile(r"^DONE (\d+(?:\.\d+)?)s$")
_LOG = re.compile(r"^(\d+\.\d+) (.*)$")
_FLAG = re.compile(r"--(?:mount|link|chown|from)(?:=\S+)? ")
_STAGE = re.compile(r"^\[(\S+)(?: +\d+/\d+)?\] ")
_PARSE_ERROR = re.compile(
    r"failed to solve: (?:dockerfile parse error on line (?P<line>\d+): )?"
    r"(?P<reason>(?(line)|(?:dockerfile parse error|no build stage|failed to parse)).*)"
)
# Words of uv, pip, conda, apt and git when a host cannot be reached or trusted: no fault of the bundle.
_NETWORK = re.compile(
    r"(?i)temporary failure (?:in name )?resol\w+|could not resolve host|dns error|name or service not known"
    r"|network is unreachable|connection (?:refused|reset|timed out)|operation timed out"
    r"|invalid peer certificate|certificate verify failed|condahttperror"
)
# Words of buildx when what it speaks with is gone; a step of a build has no such connection.
_ENGINE_GONE = re.compile(
    r"code = Unavailable desc = (?:error reading from server|closing transport|connection error).*"
)
# Words of uv, pip, conda and git when a login is missing or wrong.
_LOGIN = re.compile(
    r"(?i)HTTP status client error \((?:401|403|407)[^)]*\)|\b40[137] Client Error|HTTP error 40[137]"
    r"|Authentication failed for|could not read Username|terminal prompts disabled|returned error: 40[137]"
    r"|407 Proxy Authentication Required|response 40[137]"
)
_NOT_TOLD = ("[internal]", "[auth]")
"""How the names of steps begin that are of no interest."""
_WORTH_TELLING_SECONDS = 0.05
_NO_CACHE_EXPORT = "Cache export is not supported"
_KEPT_LINES = 20_000
_LOOK_SECONDS = 5.0


@dataclass(frozen=True)
class Stage:
    """One stage of the Dockerfile, or the export of the image; its steps' seconds added up."""

    name: str
    seconds: float
    cached: bool
    """Whether every step of it came from the cache."""


@dataclass(frozen=True)
class Step:
    """One step of a build, in wall seconds since the build began."""

    name: str
    start: float
    end: float


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


@dataclass
class Progress:
    """What BuildKit's plain progress has told so far."""

    names: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)
    """When each vertex began and ended, by time.monotonic(); BuildKit tells the seconds at the end."""
    cached: set[str] = field(default_factory=set)
    logs: dict[str, list[str]] = field(default_factory=dict)
    failed: str | None = None
    rest: list[str] = field(default_factory=list)

    def read(self, line: str) -> str | None:
        """Takes one line; gives the name of the step that it starts, if it starts one."""
        match = _VERTEX.match(line)
        if not match:
            self.rest = [*self.rest[-_KEPT_LINES:], line]
            return None
        vertex, text = match.groups()
        if vertex not in self.names:
            self.names[vertex] = readable_step(text)
            return self.names[vertex] if vertex != "0" else None
        if done := _DONE.match(text):
            seconds, now = float(done.group(1)), time.monotonic()
            self.seconds[vertex] = self.seconds.get(vertex, 0.0) + seconds
            self.spans[vertex] = (self.spans.get(vertex, (now - seconds, now))[0], now)
        elif text == "CACHED":
            self.cached.add(vertex)
        elif text.startswith("ERROR: "):
            self.failed = vertex
            if not (text.startswith("ERROR: process ") and self.logs.get(vertex)):  # the step's own log says more
                self.logs.setdefault(vertex, []).append(text)
        elif printed := _LOG.match(text):
            lines = self.logs.setdefault(vertex, [])
            lines.append(printed.group(2))
            del lines[:-_KEPT_LINES]
        return None

    def steps(self, begun: float) -> tuple[Step, ...]:
        """What took time; `begun` is when the build began, by time.monotonic().

        Of BuildKit's own steps the sending of the build context alone.
        """
        found = []
        for vertex, name in self.names.items():
            if name.startswith(_NOT_TOLD) and "load build context" not in name:
                continue
            start, end = self.spans.get(vertex, (None, None))
            if start is not None and end is not None and end - start >= _WORTH_TELLING_SECONDS:
                found.append(Step(name.removeprefix("[internal] "), max(0.0, start - begun), end - begun))
        return tuple(sorted(found, key=lambda step: step.start))

    def stages(self) -> tuple[Stage, ...]:
        """The Dockerfile's stages and the export, in the order in which they began."""
        stages: dict[str, Stage] = {}
        for vertex, step in self.names.items():
            if vertex not in self.seconds and vertex not in self.cached:
                continue
            if step.startswith("exporting"):
                name = "export"
            elif (match := _STAGE.match(step)) and match.group(1) not in ("internal", "auth"):
                name = match.group(1)
            else:
                continue
            # FROM is never "CACHED", though nothing is done for it when the parent is there.
            cached = vertex in self.cached or (" FROM " in step and self.seconds[vertex] == 0)
            before = stages.get(name, Stage(name, 0.0, cached=True))
            stages[name] = Stage(name, before.seconds + self.seconds.get(vertex, 0.0), before.cached and cached)
        return tuple(stages.values())


def readable_step(name: str) -> str:
    """A step's name without the flags of its instruction: what it does rather than what it is given."""
    return " ".join(_FLAG.sub("", re.sub(r"\s+", " ", name)).split())


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
            require_answer(engine)
            raise build_failure(progress, request.author_line)
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
            except UnavailableError as failure:
                lost.append(failure)
                process.terminate()
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()
    if lost:
        raise lost[0]


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


def follow(lines: Iterable[str], progress: Progress, on_step: Callable[[str], None]) -> None:
    """Reads BuildKit's lines to their end. Who can show more than the name of each step is told more."""
    shows = on_step if isinstance(on_step, ShowsSteps) else None
    steps = StepReader(readable_step)
    for line in lines:
        now = steps.read(line.rstrip("\n")) if shows else None
        if shows and now is not None and not now.name.startswith(_NOT_TOLD):
            shows.step(now)
        name = progress.read(line.rstrip("\n"))
        if name is not None and not name.startswith(_NOT_TOLD):
            on_step(name)


def build_failure(progress: Progress, author_line: int = 1) -> MdaiBuildError:
    """The failure of a build, told by the step that failed and its own log.

    `author_line` is the line on which the author's own part of the Dockerfile begins.
    """
    name = progress.names.get(progress.failed or "", "")
    log = "\n".join(progress.logs.get(progress.failed or "", []) or progress.rest)
    if found := _PARSE_ERROR.search("\n".join(progress.rest)):
        return _unreadable(found, progress.rest, author_line)
    if (said := _ENGINE_GONE.search("\n".join([log, *progress.rest]))) is not None:
        return UnavailableError(
            Problem(
                code="engine.lost",
                what=f"the container engine, or its builder, ended during the build: {said.group(0)}",
                next_step="check that it runs: `docker version`",
                details="\n".join(progress.rest).strip() or None,
            )
        )
    if _NO_CACHE_EXPORT in "\n".join(progress.rest):
        return UnavailableError(
            Problem(
                code="engine.no-cache-export",
                what="this engine cannot write a build cache to a registry: its own image store knows no such thing",
                where=Location("settings", key="cache_to"),
                expected="an engine on the containerd image store, or a builder of the docker-container driver",
                next_step="switch the engine's store (containerd-snapshotter in its daemon.json), name such a builder "
                "with --builder, or leave out --cache-to; --cache-from works here",
                details="\n".join(progress.rest).strip(),
            )
        )
    if not name or "load metadata for" in name or name.startswith("[internal]"):
        return UnavailableError(
            Problem(
                code="engine.build-not-started",
                what="the engine could not begin the build",
                next_step="the engine's own words say why"
                if not name
                else "if the parent image is what is missing: --parent local, or a mirror with parent_registry",
                details="\n".join(dict.fromkeys([*log.split("\n"), *progress.rest])).strip() or None,
            )
        )
    if "no space left on device" in log.lower():
        return UnavailableError(
            Problem(
                code="engine.disk-full",
                what=f"the disk of the engine is full; it was at this step: {_cut(name)}",
                next_step="see `docker system df`; `docker builder prune` frees what the build cache holds",
                details=log,
            )
        )
    if found := _LOGIN.search(log):
        return UnavailableError(
            Problem(
                code="engine.login-refused",
                what=f"a server asked for a login that it was not given, or refused it: {_cut(name)}",
                expected=f"an answer; the log says: {found.group(0)}",
                next_step="give it in a file that the setting netrc names, or in the address in index_url or proxies",
                details=log,
            )
        )
    if found := _NETWORK.search(log):
        return UnavailableError(
            Problem(
                code="engine.no-network",
                what=f"the network failed during this step of the build: {_cut(name)}",
                expected=f"an answer; the log says: {found.group(0)}",
                next_step="check the network, and the settings index_url, proxies and ca_bundle",
                details=log,
            )
        )
    if "_install.txt" in name or "_vcs.txt" in name:
        return RequirementsError(
            Problem(
                code="engine.install-failed",
                what=f"the requirements cannot be installed\n{line_that_matters(log)}".strip(),
                next_step="the log below names the requirement; change its line in .mdai/requirements.txt",
                details=log,
            )
        )
    return BuildFailedError(
        Problem(
            code="engine.step-failed",
            what=f"this step of the build failed: {_cut(name)}\n{line_that_matters(log)}".strip(),
            next_step=next((advice for words, advice in _ADVICE.items() if words in f"{name}\n{log}"), None),
            details=log,
        )
    )


def _unreadable(found: re.Match[str], said: list[str], author_line: int) -> BundleError:
    """Our own part parses, so this is about what an author's Dockerfile adds: told by its lines, not by ours."""
    number = found["line"]
    marked = next((line for line in said if number and re.match(rf"\s*{number} \| >>>", line)), None)
    return BundleError(
        Problem(
            code="engine.dockerfile",
            what=f"the bundle's Dockerfile cannot be read: {found['reason']}",
            where=Location(
                ".mdai/Dockerfile",
                line=int(number) - author_line + 1 if number else None,
                source=marked.partition(">>> ")[2] if marked else None,
            ),
            next_step="try it alone, in the model folder: docker build -f .mdai/Dockerfile .",
            details=None if marked else "\n".join(said).strip(),
        )
    )


def _cut(step: str) -> str:
    """A step's name, short enough to be a sentence's end; its log says the rest."""
    return step if len(step) <= _LONGEST_NAME else f"{step[:_LONGEST_NAME].rstrip()} …"


_LONGEST_NAME = 160
_ADVICE = {
    "-linux-musl": "this Python is made for musl, the C library of Alpine, which the wheels of numpy and its kind do "
    "not run on: begin .mdai/Dockerfile with an image of Debian or Ubuntu, such as python:3.10-slim",
    "that are here: none of": "name a parent that has conda; or let micromamba come to this one: --parent slim, and "
    "this image in place of the slim parent (setting parent_replacements)",
    "Terms of Service have not been accepted": "take packages from conda-forge, which asks for none (setting "
    "conda_channels); for a channel of Anaconda's, accept its terms in a parent image of your own",
    "Unable to locate package libgl1": "this parent's apt has no package with libGL any more: take a newer parent, or "
    "its maintained equivalent, --parent slim",
    "exec format error": "this engine's machine cannot run programs of that architecture: install an emulator for it "
    "(binfmt), or build for the machine's own with --platform",
    "/bin/sh: no such file": "the image that .mdai/Dockerfile ends with has no shell: begin with a fuller one, such as "
    "python:3.10-slim",
    "-m pip --version": "the image that .mdai/Dockerfile ends with needs a `python3` from 3.7 to 3.13, with pip",
    "failed to calculate checksum": "paths in COPY and ADD begin at the folder that holds .mdai, as in "
    "COPY .mdai/requirements.txt /tmp/",
}
"""What to do about a failed step, by words of its name or log."""
