"""Finds the engine that answers.

One that DOCKER_HOST names is the only one tried. Else the usual one comes first (the docker context, the default
socket), then the private one that `make engine` starts in a folder of its own. An engine elsewhere is reached as the
`docker` command reaches it: over ssh, or over TCP with TLS (DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, or the context's
certificates).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
import docker.errors
import requests.exceptions
from docker.context import ContextAPI
from docker.tls import TLSConfig
from docker.utils import kwargs_from_env

from mdai_build.engine.connection import Engine
from mdai_build.engine.failures import NO_ANSWER
from mdai_build.engine.process import Environment, run_quietly
from mdai_build.errors import Location, Problem, UnavailableError

OLDEST_ENGINE = 23
_BUILDX = "docker-buildx"
_PLUGIN_FOLDERS = tuple(f"/usr/{part}/docker/cli-plugins" for part in ("local/lib", "local/libexec", "lib", "libexec"))
_ANSWER_SECONDS = 60
"""A daemon that takes longer than this over a plain request hangs."""
_GREETING_SECONDS = 15
"""As `_ANSWER_SECONDS`, for the first word, which costs nothing."""
_IMPATIENT_SECONDS = 5
"""For an engine that did not answer the last time: a run that clears up asks it for several things."""


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
        if reason in NO_ANSWER:
            code, what, next_step = NO_ANSWER[reason]
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
