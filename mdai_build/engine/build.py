"""Builds an image with BuildKit, through `docker buildx`, and follows its progress."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mdai_build.engine.connection import Engine
from mdai_build.engine.process import Environment, started
from mdai_build.errors import (
    BuildFailedError,
    BundleError,
    Location,
    MdaiBuildError,
    Problem,
    RequirementsError,
    UnavailableError,
)

_VERTEX = re.compile(r"^#(\d+) (.*)$")
_DONE = re.compile(r"^DONE (\d+(?:\.\d+)?)s$")
_LOG = re.compile(r"^(\d+\.\d+) (.*)$")
_FLAG = re.compile(r"--(?:mount|link|chown|from)(?:=\S+)? ")
_STAGE = re.compile(r"^\[(\S+)(?: +\d+/\d+)?\] ")
_PARSE_ERROR = re.compile(r"failed to solve: ((?:dockerfile parse error|no build stage|failed to parse).*)")
# Words of uv, pip, conda, apt and git when a host cannot be reached or trusted: no fault of the bundle.
_NETWORK = re.compile(
    r"(?i)temporary failure (?:in name )?resolv\w+|could not resolve host|dns error|name or service not known"
    r"|network is unreachable|connection (?:refused|reset|timed out)|operation timed out"
    r"|invalid peer certificate|certificate verify failed|condahttperror"
)
# Words of uv, pip, conda and git when a login is missing or wrong.
_LOGIN = re.compile(
    r"(?i)HTTP status client error \((?:401|403|407)[^)]*\)|\b40[137] Client Error|HTTP error 40[137]"
    r"|Authentication failed for|could not read Username|terminal prompts disabled|returned error: 40[137]"
    r"|407 Proxy Authentication Required|response 40[137]"
)
_KEPT_LINES = 400


@dataclass(frozen=True)
class Stage:
    """One stage of the Dockerfile, or the export of the image; its steps' seconds added up."""

    name: str
    seconds: float
    cached: bool
    """Whether every step of it came from the cache."""


@dataclass(frozen=True)
class BuildResult:
    """A built image that has no tag yet."""

    image_id: str
    """Empty where files were asked for instead."""
    stages: tuple[Stage, ...]
    seconds: float


@dataclass(frozen=True)
class BuildRequest:
    """What `docker buildx build` is asked for."""

    context: Path
    secrets: tuple[tuple[str, Path], ...] = ()
    """Name and file of each secret that install steps may mount."""
    contexts: tuple[tuple[str, Path], ...] = ()
    """Name and folder of each further build context."""
    proxies: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    network: str | None = None
    builder: str | None = None
    target: str | None = None
    """The stage to build; default: the last one."""
    fresh: tuple[str, ...] = ()
    """Stages that are made anew, whatever the cache holds."""
    output: Path | None = None
    """A folder that gets the files of the stage, in place of an image."""


@dataclass
class Progress:
    """What BuildKit's plain progress has told so far."""

    names: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
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
            self.seconds[vertex] = self.seconds.get(vertex, 0.0) + float(done.group(1))
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
    with tempfile.TemporaryDirectory(prefix="mdai-build-") as scratch:
        image_id = Path(scratch, "image-id")
        # By their names alone on the command line: their values may hold a password, which `-v` and `ps` would show.
        environment = Environment({**engine.environment.values, **dict(request.proxies)})
        with started(_command(engine, request, image_id), environment) as process:
            _follow(process.stdout or (), progress, on_step)
            exit_code = process.wait()
        if exit_code != 0:
            raise build_failure(progress)
        return BuildResult(
            image_id=image_id.read_text(encoding="utf-8").strip() if image_id.exists() else "",
            stages=progress.stages(),
            seconds=time.monotonic() - begun,
        )


def _command(engine: Engine, request: BuildRequest, image_id: Path) -> list[str]:
    words = ["buildx", "build", "--progress=plain", "--provenance=false"]
    words += [f"--output=type=local,dest={request.output}"] if request.output else ["--load", f"--iidfile={image_id}"]
    if request.fresh:
        words.append(f"--no-cache-filter={','.join(request.fresh)}")
    if request.target:
        words.append(f"--target={request.target}")
    if request.builder:
        words.append(f"--builder={request.builder}")
    if request.network:
        words.append(f"--network={request.network}")
    for name, file in request.secrets:
        words.append(f"--secret=id={name},src={file}")
    for name, folder in request.contexts:
        words.append(f"--build-context={name}={folder}")
    for name, _ in request.proxies:
        words.append(f"--build-arg={name}")
    return engine.command(*words, str(request.context))


def _follow(lines: Iterable[str], progress: Progress, on_step: Callable[[str], None]) -> None:
    for line in lines:
        name = progress.read(line.rstrip("\n"))
        if name is not None and not name.startswith(("[internal]", "[auth]")):
            on_step(name)


def build_failure(progress: Progress) -> MdaiBuildError:
    """The failure of a build, told by the step that failed and its own log."""
    name = progress.names.get(progress.failed or "", "")
    log = "\n".join(progress.logs.get(progress.failed or "", []) or progress.rest)
    if found := _PARSE_ERROR.search("\n".join(progress.rest)):
        # Our own part parses, so this is about what an author's Dockerfile adds.
        return BundleError(
            Problem(
                code="engine.dockerfile",
                what=f"the bundle's Dockerfile cannot be read: {found.group(1)}",
                where=Location(".mdai/Dockerfile"),
                next_step="try it alone: docker build - < .mdai/Dockerfile",
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
                what=f"the disk of the engine is full; it was at this step: {name}",
                next_step="see `docker system df`; `docker builder prune` frees what the build cache holds",
                details=log,
            )
        )
    if found := _LOGIN.search(log):
        return UnavailableError(
            Problem(
                code="engine.login-refused",
                what=f"a server asked for a login that it was not given, or refused it: {name}",
                expected=f"an answer; the log says: {found.group(0)}",
                next_step="give it in a file that the setting netrc names, or in the address in index_url or proxies",
                details=log,
            )
        )
    if found := _NETWORK.search(log):
        return UnavailableError(
            Problem(
                code="engine.no-network",
                what=f"the network failed during this step of the build: {name}",
                expected=f"an answer; the log says: {found.group(0)}",
                next_step="check the network, and the settings index_url, proxies and ca_bundle",
                details=log,
            )
        )
    if "_install.txt" in name or "_vcs.txt" in name:
        return RequirementsError(
            Problem(
                code="engine.install-failed",
                what="the requirements cannot be installed",
                next_step="the log below names the requirement; change its line in .mdai/requirements.txt",
                details=log,
            )
        )
    return BuildFailedError(
        Problem(code="engine.step-failed", what=f"this step of the build failed: {name}", details=log)
    )
