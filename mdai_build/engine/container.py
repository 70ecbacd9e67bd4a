"""Runs an image the way a strict platform would, for as long as a `with` block lasts."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import docker.errors
from docker.models.containers import Container as DockerContainer
from docker.types import LogConfig, Mount, Ulimit

from mdai_build.engine.connection import Engine, engine_watched, lost_or_restarted
from mdai_build.engine.failures import engine_words
from mdai_build.engine.gpus import GpuRequest, gpu_refused, refusal
from mdai_build.engine.process import end_started
from mdai_build.engine.relay import relayed
from mdai_build.engine.target import TargetState
from mdai_build.errors import Problem, UnavailableError
from mdai_build.interrupts import uninterrupted
from mdai_build.logins import hide_login

PORT = 6324
RUNTIME = "/mdai_runtime/__main__.py"
"""The end of the program that an image of ours starts."""
OWNER_LABEL = "io.mdai-build.owner"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PORT_SECONDS = 30
_LOG_LINES = 5000
_LOG_BYTES = 4 * 1024**2
_LONGEST_LINE = 64 * 1024
# What a model prints is kept by the engine, on its disk: the latest of it.
_LOG_KEPT = {"max-size": "8m", "max-file": "2"}
_WATCH_SECONDS = 0.5
_ENDED_BY_ENGINE = (0, 128 + 9, 128 + 15, 255)
"""Exit codes of containers that an engine ended, or lost sight of, as it ended itself."""
_ENGINE_ENDS_SECONDS = 1.0
"""So long after its containers, at most, an engine's connections break off."""
_GPU_SECONDS = 600
_GPU_BYTES = 2**20


@dataclass(frozen=True)
class RunOptions:
    """The limits that a container gets."""

    memory: int
    """Bytes, swap included."""
    cpus: float | None = None
    """How many it may use, of those that there are; None: all."""
    processes: int = 512
    network: bool = True
    """Whether it reaches other machines. If not, nothing is published either: it is reached by `engine.relay`."""
    read_only: bool = True
    """Whether the root file system is; /tmp never is."""
    environment: tuple[tuple[str, str], ...] = ()
    port: int | None = None
    """On loopback; None takes a free one."""
    mounts: tuple[tuple[Path, str], ...] = ()
    """Folders of this machine, and where the container sees them; it cannot write there."""
    user: str | None = None
    """Numeric; None is the image's own."""
    writable_bytes: int | None = None
    """How much it may write beside /tmp before it is ended, where it can; None: as much as it likes. (What lies in /tmp
    lies in memory, and may take half of that.)"""
    gpus: GpuRequest | None = None
    volumes: tuple[tuple[str, str], ...] = ()
    """Names of volumes, and where it sees them; it cannot write there."""


class RunningContainer:
    """A container that serves on loopback. It satisfies `engine.target.Target`."""

    def __init__(
        self,
        engine: Engine,
        container: DockerContainer,
        url: str,
        engine_ended: threading.Event,
        gpu_refused: str | None = None,
    ) -> None:
        self._container = container
        self._peak: int | None = None
        self._ended_for = ""
        self._engine = engine
        self._engine_ended = engine_ended
        self.url = url
        self.gpu_refused = gpu_refused
        """Why it has no GPU; None: it was given what was asked for."""

    def end_for(self, reason: str) -> None:
        """Ends it at once, and says why when asked for its state."""
        self._ended_for = reason
        self.end()

    def logs(self) -> str:
        """What the container has printed, its last lines."""
        with engine_words():
            printed: bytes = self._container.logs(tail=_LOG_LINES)
        return printed[-_LOG_BYTES:].decode("utf-8", "replace")

    def follow(self) -> Iterator[str]:
        """What the container prints, line by line as it comes, until it ends."""
        rest = b""
        with engine_words():
            for part in self._container.logs(stream=True, follow=True):
                *lines, rest = (rest + part).split(b"\n")
                if len(rest) > _LONGEST_LINE:
                    lines, rest = [*lines, rest], b""
                yield from (line.decode("utf-8", "replace") for line in lines)
        if rest:
            yield rest.decode("utf-8", "replace")

    def state(self) -> TargetState:
        """Whether it runs, and how it ended if it does not.

        Raises:
            UnavailableError: the engine is gone, or was restarted, which ends what runs on it.
        """
        try:
            with engine_words():
                self._container.reload()
        except UnavailableError as error:
            raise lost_or_restarted(self._engine, "while a container ran") from error
        state = self._container.attrs["State"]
        running = bool(state["Running"])
        if not running and int(state["ExitCode"]) in _ENDED_BY_ENGINE and self._engine_ended.wait(_ENGINE_ENDS_SECONDS):
            raise lost_or_restarted(self._engine, "while a container ran")
        return TargetState(
            running=running,
            exit_code=None if running else int(state["ExitCode"]),
            oom_killed=bool(state["OOMKilled"]),
            overstepped=self._ended_for,
        )

    def reload(self) -> None:
        """Has the server load the model anew, once it has answered what it works on.

        Raises:
            UnavailableError: the container does not run any more, or the engine is gone.
        """
        with engine_words():
            self._container.kill("SIGHUP")

    def end(self) -> None:
        """Ends it at once, whatever it does."""
        with contextlib.suppress(UnavailableError), engine_words():
            self._container.kill()

    def ask_gpu(self, frameworks: Sequence[str]) -> str:
        """What the runtime prints of the GPUs that it sees, trying these frameworks, or all that there are.

        Raises:
            UnavailableError: the container does not run any more, or the engine is gone.
        """
        entry = self._container.attrs["Config"].get("Entrypoint") or []
        if not entry or not entry[-1].endswith(RUNTIME):
            return ""
        # Without the flags of the server, which keep it from the model's environment.
        command = [entry[0], entry[-1], "gpu", *frameworks]
        printed, deadline = b"", time.monotonic() + _GPU_SECONDS
        with engine_words():
            for part in self._container.exec_run(command, stderr=False, stream=True).output:
                printed += cast("bytes", part)
                # It is a stranger's container: what should end may print for ever.
                if len(printed) > _GPU_BYTES or time.monotonic() > deadline:
                    break
        return printed.decode("utf-8", "replace")

    def peak_memory(self) -> int | None:
        """The most bytes of memory seen in use so far; None when the engine does not tell."""
        with contextlib.suppress(UnavailableError), engine_words():
            statistics = cast("dict[str, Any]", self._container.stats(stream=False, one_shot=True))
            memory: dict[str, Any] = statistics.get("memory_stats", {})
            # max_usage exists under cgroup v1 alone; under v2 the samples taken here have to do.
            seen = [value for value in (self._peak, memory.get("max_usage"), memory.get("usage")) if value]
            self._peak = max(seen, default=None)
        return self._peak


@contextmanager
def running_container(engine: Engine, image: str, options: RunOptions) -> Iterator[RunningContainer]:
    """Runs an image within its limits, without capabilities, and its port published on loopback; removes it afterwards.

    Raises:
        UnavailableError: the engine cannot create or start the container, does not see a folder that is mounted, or has
            none of the GPUs that are required.
    """
    if options.mounts:
        require_local(engine)
    remove_abandoned(engine)
    interpreter = None if options.network else _interpreter(engine, image)
    with contextlib.ExitStack() as stack:
        options = replace(options, volumes=stack.enter_context(_volumes(engine, image, options)))
        container, gpu_refusal = _started(engine, image, options, interpreter)
        stack.callback(_removed, container)
        if interpreter is None:
            url = _url(container)
        else:
            url = stack.enter_context(relayed(engine.client, str(container.id), interpreter, PORT))
        engine_ended = stack.enter_context(engine_watched(engine))
        running = RunningContainer(engine, container, url, engine_ended, gpu_refusal)
        if options.writable_bytes is not None and not options.read_only:
            stack.enter_context(_watched_disk(engine, running, str(container.id), options.writable_bytes))
        yield running


def _removed(container: DockerContainer) -> None:
    with engine_words(), uninterrupted(), contextlib.suppress(docker.errors.NotFound):
        container.remove(force=True, v=True)


def can_do_without_network(engine: Engine, image: str) -> bool:
    """Whether an image can be reached in a container without a network: by the Python that starts its server."""
    return _interpreter(engine, image) is not None


def _config(engine: Engine, image: str) -> dict[str, Any]:
    with engine_words():
        attributes: dict[str, Any] = engine.client.api.inspect_image(image)  # type: ignore[no-untyped-call]
    return attributes.get("Config") or {}


@contextmanager
def _volumes(engine: Engine, image: str, options: RunOptions) -> Iterator[tuple[tuple[str, str], ...]]:
    """A volume for each place that the image wants one for, apart from what is mounted anyway; the engine puts there
    what the image holds at that place."""
    mounted = {"/", "/tmp", *(target for _, target in options.mounts)}
    wanted = _config(engine, image).get("Volumes") or ()
    places = {posixpath.normpath("/" + path.lstrip("/")) for path in wanted} - mounted
    made = []
    try:
        with engine_words(), uninterrupted():
            for place in sorted(places):
                made.append((engine.client.volumes.create(labels={OWNER_LABEL: owner()}), place))
        yield tuple((str(volume.name), place) for volume, place in made)
    finally:
        with engine_words(), uninterrupted():
            for volume, _ in made:
                with contextlib.suppress(docker.errors.NotFound):
                    volume.remove(force=True)


def _interpreter(engine: Engine, image: str) -> str | None:
    entry = _config(engine, image).get("Entrypoint") or [""]
    return str(entry[0]) if re.fullmatch(r"(?:.*/)?python[0-9.]*", str(entry[0])) else None


@contextmanager
def _watched_disk(engine: Engine, running: RunningContainer, container: str, most: int) -> Iterator[None]:
    """Ends a container that writes more than it may into its own layer, which lies on the engine's disk."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_WATCH_SECONDS):
            with contextlib.suppress(UnavailableError, docker.errors.APIError), engine_words():
                found = cast(Any, engine.client.api).containers(all=True, size=True, filters={"id": container})
                if found and found[0].get("SizeRw", 0) > most:
                    running.end_for(f"it wrote more than {most} bytes to its disk")
                    return

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()


def _started(
    engine: Engine, image: str, options: RunOptions, interpreter: str | None
) -> tuple[DockerContainer, str | None]:
    """A container that runs, and why it was given no GPU: those that are not required may be missing."""
    container: DockerContainer | None = None
    with engine_words(), _mounting(engine):
        try:
            # A signal that comes meanwhile takes effect once the container is known here.
            with uninterrupted():
                container = _created(engine, image, options, interpreter)
            container.start()
        except BaseException as error:
            if container is None:
                raise
            with uninterrupted(), contextlib.suppress(docker.errors.NotFound):
                container.remove(force=True, v=True)
            said = str(error.explanation or error) if isinstance(error, docker.errors.APIError) else ""
            reason = refusal(said) if options.gpus else None
            if options.gpus is None or reason is None:
                raise
            if options.gpus.required:
                raise gpu_refused(reason, said) from error
        else:
            return container, None if options.gpus else "none was asked for"
        return _started(engine, image, replace(options, gpus=None), interpreter)[0], f"the engine gives none: {reason}"


def _created(engine: Engine, image: str, options: RunOptions, interpreter: str | None) -> DockerContainer:
    """`interpreter`: what relays to a container without a network; None: it has one, and a port on loopback."""
    return engine.client.containers.create(
        image,
        labels={OWNER_LABEL: owner()},
        # The stubs know no free port of one address.
        ports=cast("Any", {f"{PORT}/tcp": ("127.0.0.1", options.port)}) if interpreter is None else None,
        network_mode=None if interpreter is None else "none",
        environment=dict(options.environment),
        read_only=options.read_only,
        # Some libraries compile what they then load from there.
        tmpfs={"/tmp": f"rw,exec,nosuid,nodev,mode=1777,size={options.memory // 2}"},
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        mem_limit=options.memory,
        memswap_limit=options.memory,
        nano_cpus=int(1e9 * min(options.cpus, engine.capacity().cores)) if options.cpus else None,
        pids_limit=options.processes,
        ulimits=[Ulimit(name="core", soft=0, hard=0)],
        log_config=LogConfig(type=LogConfig.types.JSON, config=_LOG_KEPT),
        mounts=[
            *(Mount(target, str(folder), "bind", read_only=True) for folder, target in options.mounts),
            # The engine's own, for the image's VOLUME, could be written to, and are as large as its disk.
            *(Mount(place, name, "volume", read_only=True) for name, place in options.volumes),
        ],
        user=options.user,
        device_requests=[options.gpus.as_device_request()] if options.gpus else None,
    )


def require_local(engine: Engine) -> None:
    """Refuses an engine on another machine, which does not see the folders of this one.

    Raises:
        UnavailableError: it is one.
    """
    address = urlsplit(engine.host)
    if address.scheme in ("unix", "npipe") or address.hostname in _LOOPBACK:
        return
    raise UnavailableError(_remote(engine))


def _remote(engine: Engine) -> Problem:
    return Problem(
        code="engine.remote",
        what=f"the container engine is on another machine ({hide_login(engine.host)}): it does not see this folder",
        expected="an engine on this machine, such as unix:///var/run/docker.sock",
        next_step="unset DOCKER_HOST or switch with `docker context use default`; or, without an engine, use a "
        "Python of yours: --local --python PATH",
    )


@contextmanager
def _mounting(engine: Engine) -> Iterator[None]:
    """An engine behind a tunnel says so only when it looks for the folder."""
    try:
        yield
    except docker.errors.APIError as error:
        if "bind source path does not exist" in str(error.explanation):
            raise UnavailableError(_remote(engine)) from error
        raise


def remove_abandoned(engine: Engine) -> None:
    """Removes the containers, and then their volumes, that killed runs of ours on this machine left."""
    with engine_words():
        # Other runs make and remove containers meanwhile.
        for container in engine.client.containers.list(all=True, filters={"label": OWNER_LABEL}, ignore_removed=True):
            if _is_abandoned(container.labels):
                with contextlib.suppress(docker.errors.APIError):
                    container.remove(force=True, v=True)
        for volume in engine.client.volumes.list(filters={"label": OWNER_LABEL}):
            if _is_abandoned(volume.attrs.get("Labels") or {}):
                with contextlib.suppress(docker.errors.APIError):
                    volume.remove(force=True)


def _is_abandoned(labels: Mapping[str, str]) -> bool:
    machine, _, process = str(labels.get(OWNER_LABEL, "")).rpartition(":")
    return machine == socket.gethostname() and not _alive(process)


def end_work(engine: Engine) -> None:
    """Ends the containers and commands of this run, whatever thread began them; each thread then cleans up itself."""
    end_started()
    with engine_words():
        for container in engine.client.containers.list(
            filters={"label": f"{OWNER_LABEL}={owner()}"}, ignore_removed=True
        ):
            with contextlib.suppress(docker.errors.APIError):
                container.kill()


def owner() -> str:
    """The value of `OWNER_LABEL` for containers of this run."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OverflowError, PermissionError):
        return True
    return True


def _url(container: DockerContainer) -> str:
    deadline = time.monotonic() + _PORT_SECONDS
    while time.monotonic() < deadline:
        container.reload()
        published = (container.attrs["NetworkSettings"]["Ports"] or {}).get(f"{PORT}/tcp")
        if published:
            return f"http://127.0.0.1:{published[0]['HostPort']}"
        if container.attrs["State"]["Status"] == "exited":
            # It ended before it could be asked; the caller sees that from its state.
            return "http://127.0.0.1:9"
        time.sleep(0.05)
    raise UnavailableError(
        Problem(code="engine.no-port", what="the engine did not publish the container's port on loopback")
    )
