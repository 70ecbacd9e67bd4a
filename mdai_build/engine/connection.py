"""An engine that was found: what it holds, what its machine is, and what to say when it breaks off."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import docker
import docker.errors

from mdai_build.engine.failures import EngineLostError, engine_words
from mdai_build.engine.process import Environment
from mdai_build.errors import Problem, UnavailableError

_HASHING_ENGINES = ((26, 0), (27, 3))
"""From which version on, and before which, BuildKit hashes all that a step stands on before it runs the step, if that
is given a secret (BuildKit 0.13 to 0.15; https://github.com/moby/buildkit/pull/5251)."""
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""What OCI calls the machines of `uname`."""
_RESTART_SECONDS, _RESTART_LOOK_SECONDS = 10, 0.2
"""How long an engine that broke off is waited for."""


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
