"""Which images got their tag without a smoke test: such a one may be replaced by the next, a tested one may not.

A note is an empty file in the cache, named by the image's id. Without its note an image counts as tested.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mdai_build.errors import Location, Problem, UsageError
from mdai_build.plan import CONTENT_LABEL
from mdai_build.settings import Settings

if TYPE_CHECKING:
    from mdai_build.engine.connection import ImageFacts

NOTES = "untested"
"""The folder of the notes in the cache."""
SUFFIX = "-untested"
_KEPT_SECONDS = 90 * 24 * 3600
_LONGEST_VERSION = 128  # of a tag, in the distribution project's grammar of references


def tag_of_untested(
    settings: Settings, before: ImageFacts | None, tag: str, digest: str
) -> tuple[str, tuple[Problem, ...]]:
    """The tag for an image with this content that is not tested, and what is to be told if it is not the one asked for.

    `before` is the image that has the tag now.
    """
    if before is None or before.labels.get(CONTENT_LABEL) == digest or _path(settings, before.id).exists():
        return tag, ()
    name, _, version = tag.rpartition(":")
    other = f"{name}:{version[: _LONGEST_VERSION - len(SUFFIX)]}{SUFFIX}"
    return other, (
        Problem(
            code="usage.tag-kept",
            what=f"{tag} stays with the image that it is, since this one was not tested; this one is {other}",
            where=Location("option --no-test"),
            next_step="leave out --no-test; or, to move the tag without a test, give --tag-untested",
        ),
    )


def refuse_to_push(tag: str, other: str) -> None:
    """Raises UsageError where an image that is not tested would be pushed under a name that nobody asked for."""
    if other != tag:
        raise UsageError(
            Problem(
                code="usage.tag-untested",
                what=f"{tag} is another image already, and one that is not tested may not take its place",
                where=Location("option --no-test"),
                next_step="leave out --no-test; or give a new --tag; or, to move the tag all the same, --tag-untested",
            )
        )


def note_untested(settings: Settings, image_id: str) -> None:
    """Notes that an image got a tag without a test. Where the cache cannot be written, it counts as tested."""
    path = _path(settings, image_id)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        for note in path.parent.iterdir():
            if note.lstat().st_mtime < time.time() - _KEPT_SECONDS:
                note.unlink()


def note_tested(settings: Settings, image_id: str) -> None:
    """Notes that an image passed its smoke test."""
    with contextlib.suppress(OSError):
        _path(settings, image_id).unlink(missing_ok=True)


def _path(settings: Settings, image_id: str) -> Path:
    return settings.cache_folder / NOTES / image_id.rpartition(":")[2]
