"""Looks into an image without running it."""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import docker.errors
from docker.models.containers import Container as DockerContainer

from mdai_build.canonical.history import instruction
from mdai_build.engine.connection import Engine, require_image
from mdai_build.engine.container import OWNER_LABEL, owner, remove_abandoned
from mdai_build.engine.failures import engine_words
from mdai_build.engine.progress import readable_step


@dataclass(frozen=True)
class Layer:
    """One layer: what made it, in the words of its instruction, and its bytes."""

    made_by: str
    size_bytes: int


@dataclass(frozen=True)
class ImageDetails:
    """What an engine tells of an image."""

    id: str
    tags: tuple[str, ...]
    size_bytes: int
    created: str
    """In RFC 3339, as the engine says it."""
    platform: str
    """Such as `linux/amd64`."""
    labels: tuple[tuple[str, str], ...]
    environment: tuple[str, ...]
    """Names alone: values may be secrets."""
    user: str
    entry_point: tuple[str, ...]
    command: tuple[str, ...]
    working_folder: str
    ports: tuple[str, ...]
    layers: tuple[Layer, ...]
    """Oldest first, without those that hold nothing."""
    digests: tuple[str, ...] = ()
    """Names with the digest of its manifest, for an image that is in a registry too."""


def look_into(engine: Engine, reference: str) -> ImageDetails:
    """What the engine tells of an image.

    Raises:
        UnavailableError: it holds no such image.
    """
    image_id = require_image(engine, reference).id
    with engine_words():
        found: dict[str, Any] = engine.client.api.inspect_image(image_id)  # type: ignore[no-untyped-call]
        history: list[dict[str, Any]] = engine.client.api.history(image_id)  # type: ignore[no-untyped-call]
    config: dict[str, Any] = found.get("Config") or {}
    return ImageDetails(
        id=image_id,
        tags=tuple(found.get("RepoTags") or ()),
        size_bytes=found["Size"],
        created=found.get("Created") or "",
        platform=f"{found.get('Os', '')}/{found.get('Architecture', '')}",
        labels=tuple(sorted((config.get("Labels") or {}).items())),
        environment=tuple(entry.partition("=")[0] for entry in config.get("Env") or ()),
        user=config.get("User") or "",
        entry_point=tuple(config.get("Entrypoint") or ()),
        command=tuple(config.get("Cmd") or ()),
        working_folder=config.get("WorkingDir") or "",
        ports=tuple(sorted(config.get("ExposedPorts") or {})),
        layers=tuple(
            Layer(readable_step(instruction(str(step.get("CreatedBy") or ""))), step["Size"])
            for step in reversed(history)
            if step["Size"]
        ),
        digests=tuple(found.get("RepoDigests") or ()),
    )


def digests_of(engine: Engine, reference: str) -> tuple[str, ...]:
    """The names with the digest of its manifest by which registries know an image."""
    with engine_words():
        found: dict[str, Any] = engine.client.api.inspect_image(reference)  # type: ignore[no-untyped-call]
    return tuple(found.get("RepoDigests") or ())


def file_of_image(engine: Engine, image_id: str, path: str, most_bytes: int) -> bytes | None:
    """The content of a file of an image; None when there is none of that name, or it is larger than `most_bytes`."""
    remove_abandoned(engine)
    with _created(engine, image_id) as container, engine_words():
        try:
            parts, _ = container.get_archive(path)
        except docker.errors.NotFound:
            return None
        content = b""
        for part in parts:
            content += part
            if len(content) > most_bytes + 64 * 1024:
                return None
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        member = archive.next()
        stream = archive.extractfile(member) if member is not None and member.isfile() else None
        return stream.read() if stream is not None else None


@contextmanager
def _created(engine: Engine, image_id: str) -> Iterator[DockerContainer]:
    """A container that is never started, removed afterwards."""
    with engine_words():
        # Some images name no command; without one, no container can be made of them.
        container = engine.client.containers.create(image_id, command=["-"], labels={OWNER_LABEL: owner()})
    try:
        yield container
    finally:
        with engine_words(), contextlib.suppress(docker.errors.NotFound):
            container.remove(force=True, v=True)
