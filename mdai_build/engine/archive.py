"""Images out of an engine and into it, as archives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mdai_build.engine.connection import Engine
from mdai_build.engine.failures import engine_words
from mdai_build.engine.process import started
from mdai_build.errors import Problem, UnavailableError


def save_image(engine: Engine, image_id: str, file: Path) -> None:
    """Writes an image to a file as `docker save` does: configuration and all layers.

    Raises:
        UnavailableError: the engine does not give it, or the disk is full.
    """
    _transfer(engine, ("save", "--output", str(file), image_id), f"the image {image_id} could not be read")


def load_image(engine: Engine, file: Path, ids: Sequence[str]) -> str:
    """Gives the engine an image from a file; returns that of `ids` by which the engine holds it.

    Raises:
        UnavailableError: the engine does not take it.
    """
    _transfer(engine, ("load", "--quiet", "--input", str(file)), "the image could not be given to the engine")
    held = next((facts for facts in map(engine.image, ids) if facts is not None), None)
    if held is None:
        raise _failed("the image could not be given to the engine", "it took the image and does not have it")
    return held.id


def layers_of(engine: Engine, image_id: str) -> tuple[str, ...]:
    """Digests of the tar files of an image's layers, oldest first: the same on every image store."""
    with engine_words():
        found: dict[str, Any] = engine.client.api.inspect_image(image_id)  # type: ignore[no-untyped-call]
    return tuple((found.get("RootFS") or {}).get("Layers") or ())


def _transfer(engine: Engine, words: tuple[str, ...], failure: str) -> None:
    with started(engine.command(*words), engine.environment) as process:
        said = process.stdout.read() if process.stdout else ""
        exit_code = process.wait()
    if exit_code != 0:
        raise _failed(failure, said.strip())


def _failed(what: str, details: str) -> UnavailableError:
    return UnavailableError(
        Problem(
            code="engine.no-archive",
            what=what,
            expected="room on the disk for the whole image, its parent included, in the cache folder",
            next_step="free some disk, or choose another place with the setting cache_folder",
            details=details or None,
        )
    )
