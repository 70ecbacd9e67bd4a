"""The tags of images: which names there can be, and which image has one."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from mdai_build.errors import Location, MdaiBuildError, Problem, UsageError
from mdai_build.interrupts import uninterrupted
from mdai_build.pipeline.untested import note_tested, note_untested, refuse_to_push, tag_of_untested
from mdai_build.plan import LABEL_PREFIX
from mdai_build.settings import Settings

if TYPE_CHECKING:
    from mdai_build.engine import Engine
    from mdai_build.pipeline.build import BuildOptions, Prepared

TAG_PREFIX = "mdai-build/"
# The distribution project's grammar of references, without a digest: host and port, path, version.
_TAG = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]+)?/)?"
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
)


def normalise_tag(tag: str, option: str = "--tag") -> str:
    """A tag with its version part, `latest` where none is given.

    Raises:
        UsageError: no image can have that name.
    """
    if not _TAG.fullmatch(tag):
        raise UsageError(
            Problem(
                code="usage.tag",
                what=f"no image can have the name {tag!r}",
                where=Location(f"option {option}"),
                expected="NAME or NAME:VERSION, the name in lower case, such as mymodel:1.2 or host:5000/team/mymodel",
            )
        )
    return tag if ":" in tag.rpartition("/")[2] else f"{tag}:latest"


def choose_tag(
    engine: Engine, model: Prepared, settings: Settings, options: BuildOptions
) -> tuple[str, tuple[Problem, ...]]:
    """The tag for the image: the one that was asked for, unless the image is not tested and that one is a tested one's.

    Raises:
        UsageError: the image is to be pushed, and cannot have the tag.
    """
    if options.test or options.tag_untested:
        return model.tag, ()
    tag, told = tag_of_untested(settings, engine.image(model.tag), model.tag, model.digest)
    if options.push:
        refuse_to_push(model.tag, tag)
    return tag, told


def give_tag(engine: Engine, image_id: str, tag: str, settings: Settings, tested: bool) -> None:
    """Moves a tag to an image; the one of ours that had it goes, unless something still needs it."""
    before = engine.image(tag)
    with uninterrupted():
        if tested:
            note_tested(settings, image_id)
        elif before is None or before.id != image_id:
            note_untested(settings, image_id)
        engine.tag(image_id, tag)
        if before is not None and before.id != image_id and f"{LABEL_PREFIX}version" in before.labels:
            with contextlib.suppress(MdaiBuildError):  # a container may still run it
                engine.remove_image(before.id)
