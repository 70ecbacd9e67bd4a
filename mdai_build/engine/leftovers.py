"""Images of ours that the engine holds and nobody has a name for, and the parents that were made for it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mdai_build.engine.connection import Engine
from mdai_build.engine.failures import engine_words


@dataclass(frozen=True)
class LeftImage:
    """An image that may be removed."""

    id: str
    name: str
    """Its first tag; empty where it has none."""
    bytes: int


def untagged_images(engine: Engine, label: str, older_than: float) -> tuple[LeftImage, ...]:
    """Images with this label that have no tag and are older than so many seconds: of failed runs, or replaced.

    A younger one may be on its way to its tag.

    Raises:
        UnavailableError: the engine does not answer.
    """
    found = [image for image in _images(engine, {"label": label, "dangling": True}) if not _tags(image)]
    return tuple(_left(image) for image in found if time.time() - _created(image) > older_than)


def tagged_images(engine: Engine, repository: str) -> tuple[LeftImage, ...]:
    """The images of a repository, such as `mdai-build/parent`.

    Raises:
        UnavailableError: the engine does not answer.
    """
    return tuple(_left(image) for image in _images(engine, {"reference": repository}))


def remove_tag(engine: Engine, name: str) -> None:
    """Removes a tag, and its image if nothing else needs it.

    Raises:
        UnavailableError: the engine refuses.
    """
    with engine_words():
        engine.client.api.remove_image(name)


def _images(engine: Engine, filters: dict[str, Any]) -> list[dict[str, Any]]:
    with engine_words():
        images: list[dict[str, Any]] = engine.client.api.images(filters=filters)
    return images


def _tags(image: dict[str, Any]) -> list[str]:
    return [tag for tag in image.get("RepoTags") or () if tag != "<none>:<none>"]


def _left(image: dict[str, Any]) -> LeftImage:
    return LeftImage(str(image["Id"]), next(iter(_tags(image)), ""), int(image["Size"]))


def _created(image: dict[str, Any]) -> float:
    created = image.get("Created", 0)
    return float(created) if isinstance(created, int | float) else datetime.fromisoformat(str(created)).timestamp()
