"""Finds the engine that answers, and speaks with it.

An engine that DOCKER_HOST names is the only one tried. Else the usual one comes first (the docker context, the default
socket), then the private one that `make engine` starts in a folder of its own. An engine elsewhere is reached as the
`docker` command reaches it: over ssh, or over TCP with TLS (DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, or the context's
certificates).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import docker
import docker.errors
import requests.exceptions
from docker.context import ContextAPI
from docker.tls import TLSConfig
from docker.utils import kwargs_from_env

from mdai_build.engine.process import Environment, run_quietly
from mdai_build.errors import Location, MdaiBuildError, Problem, UnavailableError

OLDEST_ENGINE = 23
_HASHING_ENGINES = ((26, 0), (27, 3))
"""From which version on, and before which, BuildKit hashes all that a step stands on before it runs the step, if that
is given a secret (BuildKit 0.13 to 0.15; https://github.com/moby/buildkit/pull/5251)."""
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""What OCI calls the machines of `uname`."""
_BUILDX = "docker-buildx"
_PLUGIN_FOLDERS = tuple(f"/usr/{part}/docker/cli-plugins" for part in ("local/lib", "local/libexec", "lib", "libexec"))
_ANSWER_SECONDS = 60
"""A daemon that takes longer than this over a plain request hangs."""
_IMPATIENT_SECONDS = 5
"""For an engine that did not answer the last time: a run that clears up asks it for several things."""
_RESTART_SECONDS, _RESTART_LOOK_SECONDS = 10, 0.2
"""How long an engine that broke off is waited for."""
_GREETING_SECONDS = 15
"""As `_ANSWER_SECONDS`, for the first word, which costs nothing."""


@dataclass(frozen=True)
class ImageFacts:
    """What the engine knows about an image."""

    id: str
    size_bytes: int
    tags: tuple[str, ...]
    labels: dict[str, str]
    platform: str = ""
    """Such as `linux/amd64`."""
    digest: str | None = None
    """Of its manifest in a registry; None for an image that has never been in one."""
    content: str = ""
    """Digest of its layers' bytes and its environment: the same on every image store and in every packing."""


@dataclass(frozen=True)
class Engine:
    """A connected engine."""

    client: docker.DockerClient
    host: str
    version: str
    environment: Environment
    """The environment in which `docker` commands reach this engine."""

    @cached_property
    def _info(self) -> dict[str, Any]:
        """What the engine says of itself and its machine; what is read of it does not change while we run."""
        with engine_words():
            return dict(self.client.api.info())

    def command(self, *words: str) -> list[str]:
        """A `docker` command line for this engine."""
        return ["docker", *words]

    def image(self, reference: str) -> ImageFacts | None:
        """An image that the engine holds, or None."""
        with engine_words():
            try:
                attributes: dict[str, Any] = self.client.api.inspect_image(reference)  # type: ignore[no-untyped-call]
            except docker.errors.ImageNotFound:
                return None
            except docker.errors.APIError as error:
                if error.status_code in (400, 404):  # not a reference at all
                    return None
                raise
        return ImageFacts(
            id=attributes["Id"],
            size_bytes=attributes["Size"],
            tags=tuple(attributes.get("RepoTags") or ()),
            labels=dict((attributes.get("Config") or {}).get("Labels") or {}),
            platform=f"{attributes.get('Os', '')}/{attributes.get('Architecture', '')}",
            digest=next((name.partition("@")[2] for name in attributes.get("RepoDigests") or () if "@" in name), None),
            content=_content(attributes),
        )

    def image_labelled(self, name: str, value: str) -> ImageFacts | None:
        """An image with this label, or None."""
        with engine_words():
            found = cast("list[str]", self.client.api.images(quiet=True, filters={"label": f"{name}={value}"}))
        return self.image(found[0]) if found else None

    def tags_labelled(self, name: str) -> tuple[str, ...]:
        """The tags of all images that have this label, sorted."""
        with engine_words():
            found = cast("list[dict[str, Any]]", self.client.api.images(filters={"label": name}))
        return tuple(sorted({tag for image in found for tag in image.get("RepoTags") or () if "<none>" not in tag}))

    def images_labelled(self, name: str, value: str) -> tuple[ImageFacts, ...]:
        """All images with this label."""
        with engine_words():
            found = cast("list[str]", self.client.api.images(quiet=True, filters={"label": f"{name}={value}"}))
        return tuple(facts for image in dict.fromkeys(found) if (facts := self.image(image)) is not None)

    def capacity(self) -> Capacity:
        """What the engine's machine has for containers."""
        return Capacity(cores=int(self._info["NCPU"]), memory=int(self._info["MemTotal"]))

    def platform(self) -> str:
        """What its machine runs without emulation, such as `linux/arm64`."""
        machine = str(self._info.get("Architecture", ""))
        return f"{self._info.get('OSType', 'linux')}/{_ARCHITECTURES.get(machine, machine)}"

    def digest_in_registry(self, reference: str) -> str:
        """The digest of the manifest that a registry has for a reference now; nothing is pulled.

        Raises:
            UnavailableError: the registry does not answer or has no such image.
        """
        with engine_words():
            return str(self.client.images.get_registry_data(reference).id)

    def has_containerd_store(self) -> bool:
        """Whether images are kept by containerd, as they are pushed, and not unpacked by the engine itself."""
        return any("io.containerd.snapshotter" in str(value) for _, value in self._info.get("DriverStatus") or ())

    def hashes_beside_secrets(self) -> bool:
        """Whether a step of a build that is given a secret first has the whole image below it hashed."""
        number = re.match(r"(\d+)\.(\d+)", self.version)
        first, fixed = _HASHING_ENGINES
        return number is not None and first <= (int(number[1]), int(number[2])) < fixed

    def tag(self, image_id: str, reference: str) -> None:
        """Points a tag at an image; an image that had it before keeps its id alone."""
        repository, _, tag = reference.rpartition(":")
        with engine_words():
            self.client.api.tag(image_id, repository, tag, force=True)

    def remove_image(self, image_id: str) -> None:
        """Removes an image that has no tag and that no container uses; does nothing for any other."""
        facts = self.image(image_id)
        if facts is None or facts.tags:
            return
        with engine_words():
            try:
                self.client.api.remove_image(image_id)
            except docker.errors.APIError as error:
                if error.status_code not in (404, 409):  # gone already, or in use
                    raise


@dataclass(frozen=True)
class Capacity:
    """What the machine of an engine has."""

    cores: int
    memory: int
    """Bytes."""


def _content(attributes: dict[str, Any]) -> str:
    layers = (attributes.get("RootFS") or {}).get("Layers") or []
    config = attributes.get("Config") or {}
    # What a stage that starts from it takes over.
    taken = [config.get(name) or None for name in ("Env", "WorkingDir", "Shell", "OnBuild", "User")]
    return f"sha256:{hashlib.sha256(json.dumps([layers, taken]).encode()).hexdigest()}"


class EngineLostError(UnavailableError):
    """The engine did not answer a question. Whether it is back in a moment was not looked at."""


@contextmanager
def engine_words() -> Iterator[None]:
    """Turns the Docker SDK's failures into ours."""
    try:
        yield
    except MdaiBuildError:
        raise
    except docker.errors.APIError as error:
        if says_disk_full(str(error.explanation or error)):
            raise disk_full("it refused", str(error.explanation or error)) from error
        raise UnavailableError(
            Problem(
                code="engine.refused",
                what=f"the container engine refused: {error.explanation or error}",
                next_step="see the engine's log; `docker info` tells whether it works",
            )
        ) from error
    except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
        if "timed out" in str(error):
            code, what, next_step = _NO_ANSWER["timed out"]
            problem = Problem(code, f"the container engine {what}", next_step=next_step, details=str(error))
            raise UnavailableError(problem) from error
        raise EngineLostError(
            Problem(
                code="engine.lost",
                what=f"the container engine no longer answers: {error}",
                next_step="check that it runs: `docker version`",
            )
        ) from error


def says_disk_full(said: str) -> bool:
    """Whether these words of an engine tell of a full disk."""
    return "no space left on device" in said.lower()


def disk_full(meanwhile: str, details: str) -> UnavailableError:
    """What to say where the engine's disk is full; `meanwhile` tells what it did, and `details` are its own words."""
    return UnavailableError(
        Problem(
            code="engine.disk-full",
            what=f"the disk of the engine is full; {meanwhile}",
            next_step="see `docker system df`; `docker builder prune` frees what the build cache holds",
            details=details,
        )
    )


def lost_or_restarted(engine: Engine, meanwhile: str) -> UnavailableError:
    """What to say of an engine that broke off `meanwhile`: it may be back in a moment, and then all is well.

    Args:
        engine: the one that broke off.
        meanwhile: what was going on, such as `during the build`.
    """
    deadline = time.monotonic() + _RESTART_SECONDS
    while True:
        try:
            with engine_words():
                engine.client.ping()
        except UnavailableError as failure:
            if failure.problems[0].code == "engine.silent" or time.monotonic() > deadline:
                return UnavailableError(failure.problems)
            time.sleep(_RESTART_LOOK_SECONDS)
        else:
            return UnavailableError(
                Problem(
                    code="engine.restarted",
                    what=f"the container engine, or its builder, was restarted {meanwhile}",
                    next_step="run this again; steps of the build that were done are in its cache",
                )
            )


@contextmanager
def restarts_told(engine: Engine) -> Iterator[None]:
    """Tells a restart as one, whichever question to the engine met it first."""
    try:
        yield
    except EngineLostError as failure:
        raise UnavailableError(lost_or_restarted(engine, "meanwhile").problems, failure.warnings) from failure


@contextmanager
def engine_watched(engine: Engine) -> Iterator[threading.Event]:
    """An event that is set once the engine ends, restarted or not: what it tells of itself breaks off then."""
    ended = threading.Event()
    streams: list[Any] = []

    def watch() -> None:
        with contextlib.suppress(Exception):  # one that tells of no events; or whatever breaks it off
            # None has this name: nothing is told, but the connection stays.
            streams.append(engine.client.api.events(filters={"event": "mdai-build-none"}))
            for _ in streams[0]:
                pass
        if streams:
            ended.set()

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield ended
    finally:
        for stream in streams:
            with contextlib.suppress(Exception):  # a stream over ssh cannot be closed; it ends with us
                stream.close()
                watching.join(_RESTART_LOOK_SECONDS)


def connect(engine_folder: Path) -> Engine:
    """The first engine that answers, is new enough and can be reached by `docker buildx`.

    Raises:
        UnavailableError: there is none; what was tried, and what is wrong with the first that answered, is told.
    """
    tried: list[str] = []
    unfit: UnavailableError | None = None
    failures: list[tuple[str, str]] = []
    for host, tls, environment in _candidates(engine_folder):
        # The library leaves a socket open when there is nothing at the other end.
        if host.startswith("unix://") and not Path(host.removeprefix("unix://")).exists():
            tried.append(f"{host}: no such socket")
            continue
        try:
            client = _client(host, tls, environment)
            version = str(client.version()["Version"])
        except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
            failures.append((host, _reason(error)))
            tried.append(f"{host}: {failures[-1][1]}")
            continue
        client.api.timeout = _ANSWER_SECONDS
        _become_impatient(client)
        engine = Engine(client=client, host=host, version=version, environment=environment)
        try:
            _check(engine)
        except UnavailableError as failure:
            client.close()
            unfit = unfit or failure
            continue
        return engine
    if unfit is not None:
        raise unfit
    for host, reason in failures:
        if reason in _NO_ANSWER:
            code, what, next_step = _NO_ANSWER[reason]
            raise UnavailableError(
                Problem(code, f"the container engine at {host} {what}", next_step=next_step, details="\n".join(tried))
            )
    raise UnavailableError(
        Problem(
            code="engine.none-answers",
            what="no container engine answers",
            expected=f"a Docker engine, version {OLDEST_ENGINE} or newer, with buildx",
            next_step="start Docker; or, in a checkout of mdai-build, run `make engine` for a private one",
            details="\n".join(tried),
        )
    )


def require_image(engine: Engine, reference: str) -> ImageFacts:
    """An image that the engine holds.

    Raises:
        UnavailableError: it holds no such image.
    """
    facts = engine.image(reference)
    if facts is None:
        raise UnavailableError(
            Problem(
                code="engine.no-such-image",
                what=f"the engine at {engine.host} holds no image {reference!r}",
                next_step="see `docker images`; build one with `mdai-build build MODEL`",
            )
        )
    return facts


def _candidates(engine_folder: Path) -> Iterator[tuple[str, TLSConfig | bool, Environment]]:
    inherited = dict(os.environ)
    host = inherited.get("DOCKER_HOST")
    if host:
        # Who names an engine means that one.
        yield host, _tls_of(inherited), Environment(inherited)
        return
    tls: TLSConfig | bool = False
    variables: dict[str, str] = {}
    try:
        context = ContextAPI.get_context(inherited.get("DOCKER_CONTEXT"))
        if context is not None and context.Host:
            host, tls = str(context.Host), context.TLSConfig or False
            # A host by its name alone would leave the context's certificates behind.
            variables = {"DOCKER_CONTEXT": context.Name} if tls else {"DOCKER_HOST": host}
    except Exception:  # noqa: BLE001 - a broken context file must not hide the private engine
        host = None
    yield host or "unix:///var/run/docker.sock", tls, Environment({**inherited, **variables})
    socket = engine_folder / "docker.sock"
    if socket.is_socket() and host != f"unix://{socket}":
        private = {
            **inherited,
            "DOCKER_HOST": f"unix://{socket}",
            "DOCKER_CONFIG": str(engine_folder / "config"),
            "PATH": os.pathsep.join([str(engine_folder / "bin"), inherited.get("PATH", os.defpath)]),
        }
        private.pop("DOCKER_CONTEXT", None)
        yield f"unix://{socket}", False, Environment(private)


def _client(host: str, tls: TLSConfig | bool, environment: Environment) -> docker.DockerClient:
    if not tls:
        return docker.DockerClient(base_url=host, timeout=_GREETING_SECONDS, use_ssh_client=host.startswith("ssh://"))
    # REQUESTS_CA_BUNDLE, which companies set, would stand before the engine's own authority (requests trusts the
    # environment more than a session), and the library asks for the version before that can be turned off.
    answer = run_quietly(["docker", "version", "--format", "{{.Server.APIVersion}}"], environment)
    if answer.exit_code != 0:
        raise ConnectionError(answer.output.strip())
    client = docker.DockerClient(base_url=host, tls=tls, version=answer.output.strip(), timeout=_ANSWER_SECONDS)
    client.api.trust_env = False
    return client


def _become_impatient(client: docker.DockerClient) -> None:
    """Waits less long for an engine once it has not answered, until it does."""
    send = client.api.send

    def send_and_note(*args: Any, **words: Any) -> requests.Response:
        try:
            answer = send(*args, **words)
        except requests.exceptions.ReadTimeout:
            client.api.timeout = _IMPATIENT_SECONDS
            raise
        client.api.timeout = _ANSWER_SECONDS
        return answer

    client.api.send = send_and_note  # type: ignore[method-assign]


def _tls_of(environment: dict[str, str]) -> TLSConfig | bool:
    """How the `docker` command would speak with the engine that DOCKER_HOST names.

    Raises:
        UnavailableError: the certificates that it is told of are not there.
    """
    if not environment.get("DOCKER_TLS_VERIFY"):
        return False
    try:
        return kwargs_from_env(environment)["tls"]
    except docker.errors.TLSParameterError as error:
        raise UnavailableError(
            Problem(
                code="engine.certificates",
                what=f"DOCKER_TLS_VERIFY asks for TLS, and its certificates cannot be used: {error}",
                where=Location("environment", key="DOCKER_CERT_PATH"),
                expected="a folder with ca.pem, cert.pem and key.pem; without it, ~/.docker is looked into",
            )
        ) from error


def _check(engine: Engine) -> None:
    major = engine.version.split(".")[0]
    if major.isdigit() and int(major) < OLDEST_ENGINE:
        raise UnavailableError(
            Problem(
                code="engine.too-old",
                what=f"the container engine at {engine.host} has version {engine.version}",
                expected=f"version {OLDEST_ENGINE} or newer",
                next_step="update Docker",
            )
        )
    if shutil.which("docker", path=engine.environment.values.get("PATH")) is None:
        raise UnavailableError(
            Problem(
                code="engine.no-client",
                what="the `docker` command is not on PATH",
                next_step="install the Docker client with its buildx plugin",
            )
        )
    # Asking takes as long as all else here together, so it is asked only where the plugin is not in its place.
    if any(os.access(place, os.X_OK) for place in _buildx_places(engine.environment.values)):
        return
    answer = run_quietly(engine.command("buildx", "version"), engine.environment)
    if answer.exit_code != 0:
        raise UnavailableError(
            Problem(
                code="engine.no-buildx",
                what="the `docker` command has no buildx plugin",
                next_step="install docker-buildx-plugin (or docker-buildx)",
                details=answer.output.strip() or None,
            )
        )


_NO_ANSWER = {
    "permission denied": (
        "engine.denied",
        "does not let this user in",
        "let the user into the group that owns the socket (docker, most of the time) and log in anew",
    ),
    "timed out": (
        "engine.silent",
        "takes connections and does not answer",
        "it hangs: see its log, and restart it",
    ),
}
"""What to say of an engine that is there, by why it did not serve."""


def _buildx_places(environment: Mapping[str, str]) -> Iterator[Path]:
    """Where the `docker` command looks for its buildx plugin first (Docker's documentation of command-line plugins)."""
    yield Path(environment.get("DOCKER_CONFIG") or "~/.docker", "cli-plugins", _BUILDX).expanduser()
    for folder in _PLUGIN_FOLDERS:
        yield Path(folder, _BUILDX)


def _reason(error: BaseException) -> str:
    text = str(error)
    for known in ("Permission denied", "No such file or directory", "Connection refused", "timed out"):
        if known in text:
            return known.lower()
    return text.splitlines()[0] if text else type(error).__name__
