"""Runs an image the way a strict platform would, for as long as a `with` block lasts."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import docker.errors
from docker.models.containers import Container as DockerContainer
from docker.types import DeviceRequest, Mount

from mdai_build.engine.connection import Engine, engine_words
from mdai_build.engine.process import end_started
from mdai_build.engine.target import TargetState
from mdai_build.errors import Problem, UnavailableError
from mdai_build.logins import hide_login

PORT = 6324
OWNER_LABEL = "io.mdai-build.owner"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PORT_SECONDS = 30
_LOG_LINES = 5000


@dataclass(frozen=True)
class RunOptions:
    """The limits that a container gets."""

    memory: int
    """Bytes, swap included."""
    processes: int = 1024
    read_only: bool = True
    """Whether the root file system is; /tmp never is."""
    environment: tuple[tuple[str, str], ...] = ()
    port: int | None = None
    """On loopback; None takes a free one."""
    mounts: tuple[tuple[Path, str], ...] = ()
    """Folders of this machine, and where the container sees them; it cannot write there."""
    user: str | None = None
    """Numeric; None is the image's own."""
    gpus: bool = False
    """Whether it sees the GPUs of the engine's machine."""


class RunningContainer:
    """A container that serves on loopback. It satisfies `engine.target.Target`."""

    def __init__(self, container: DockerContainer, url: str) -> None:
        self._container = container
        self._peak: int | None = None
        self.url = url

    def logs(self) -> str:
        """What the container has printed, its last lines."""
        with engine_words():
            printed: bytes = self._container.logs(tail=_LOG_LINES)
        return printed.decode("utf-8", "replace")

    def follow(self) -> Iterator[str]:
        """What the container prints, line by line as it comes, until it ends."""
        rest = b""
        with engine_words():
            for part in self._container.logs(stream=True, follow=True):
                *lines, rest = (rest + part).split(b"\n")
                yield from (line.decode("utf-8", "replace") for line in lines)
        if rest:
            yield rest.decode("utf-8", "replace")

    def state(self) -> TargetState:
        """Whether it runs, and how it ended if it does not."""
        with engine_words():
            self._container.reload()
        state = self._container.attrs["State"]
        running = bool(state["Running"])
        return TargetState(
            running=running,
            exit_code=None if running else int(state["ExitCode"]),
            oom_killed=bool(state["OOMKilled"]),
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
        UnavailableError: the engine cannot create or start the container, or does not see a folder that is mounted.
    """
    if options.mounts:
        require_local(engine)
    remove_abandoned(engine, needed=image)
    with engine_words(), _mounting(engine):
        container = engine.client.containers.create(
            image,
            labels={OWNER_LABEL: owner()},
            ports=cast(
                "Any", {f"{PORT}/tcp": ("127.0.0.1", options.port)}
            ),  # the stubs know no free port of one address
            environment=dict(options.environment),
            read_only=options.read_only,
            # Some libraries compile what they then load from there.
            tmpfs={"/tmp": "rw,exec,nosuid,nodev,mode=1777"},
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            mem_limit=options.memory,
            memswap_limit=options.memory,
            pids_limit=options.processes,
            mounts=[Mount(target, str(folder), "bind", read_only=True) for folder, target in options.mounts],
            user=options.user,
            device_requests=[DeviceRequest(count=-1, capabilities=[["gpu"]])] if options.gpus else None,
        )
    try:
        with engine_words(), _giving_gpus():
            container.start()
        yield RunningContainer(container, _url(container))
    finally:
        with contextlib.suppress(docker.errors.NotFound):
            container.remove(force=True, v=True)


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


@contextmanager
def _giving_gpus() -> Iterator[None]:
    """An engine without GPUs says so only when a container that is to see them is started."""
    try:
        yield
    except docker.errors.APIError as error:
        if "could not select device driver" in str(error.explanation):
            raise UnavailableError(
                Problem(
                    code="engine.no-gpu",
                    what="the container engine has no GPUs to lend",
                    expected="a machine with an NVIDIA GPU, its driver and the NVIDIA Container Toolkit",
                    next_step="leave out --gpus, or install the toolkit and restart the engine",
                )
            ) from error
        raise


def remove_abandoned(engine: Engine, needed: str | None = None) -> None:
    """Removes what killed runs of ours on this machine left: containers, and their images that got no tag.

    `needed` is the image that is kept: a killed run may have built the very one that is wanted now.
    """
    with engine_words():
        for container in engine.client.containers.list(all=True, filters={"label": OWNER_LABEL}):
            machine, _, process = str(container.labels.get(OWNER_LABEL, "")).rpartition(":")
            if machine == socket.gethostname() and not _alive(process):
                with contextlib.suppress(docker.errors.APIError, UnavailableError):
                    image = str(container.attrs["Image"])
                    container.remove(force=True, v=True)
                    if image != needed:
                        engine.remove_image(image)


def end_work(engine: Engine) -> None:
    """Ends the containers and commands of this run, whatever thread began them; each thread then cleans up itself."""
    end_started()
    with engine_words():
        for container in engine.client.containers.list(filters={"label": f"{OWNER_LABEL}={owner()}"}):
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
