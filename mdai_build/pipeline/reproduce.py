"""Images that two machines build alike: put into their normal form. engine -> canonical -> engine."""

from __future__ import annotations

import contextlib
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from mdai_build.bases import PARENT_LABEL, RECIPE_LABEL, USED_LABEL
from mdai_build.errors import Location, Problem, UnavailableError
from mdai_build.pipeline.planning import parent_images_of, parent_of
from mdai_build.pipeline.serve import Tell
from mdai_build.plan import BASE_DIGEST_LABEL, CONTENT_LABEL, PARENT_ID_LABEL, BuildPlan
from mdai_build.scratch import scratch_folder
from mdai_build.settings import Settings

if TYPE_CHECKING:
    from mdai_build.canonical import NormalImage
    from mdai_build.engine import BuildResult, Engine
    from mdai_build.pipeline.build import Prepared

_OF_ONE_ENGINE = (CONTENT_LABEL, BASE_DIGEST_LABEL, PARENT_ID_LABEL, USED_LABEL, RECIPE_LABEL, PARENT_LABEL)
"""Labels that tell what one engine started from, not what is in the image."""


def normalised(engine: Engine, model: Prepared, built: BuildResult, settings: Settings, tell: Tell) -> BuildResult:
    """The image of a build, in its normal form where the settings ask for that; it takes the place of the other.

    Raises:
        UnavailableError: there is no room for it, or the engine does not take it.
    """
    from mdai_build.canonical.image import write_image
    from mdai_build.engine import load_image

    if not settings.reproducible:
        return built
    begun = time.monotonic()
    try:
        with normal_form(engine, built.image_id, model.plan, settings, tell) as image:
            scratch = image.archive.scratch
            tell("writing the image in its normal form")
            # The other store knows layers by what they hold, and has the parent's.
            has_blobs = engine.has_containerd_store()
            file = scratch / "normal.tar"
            with _told_of_disk(settings), file.open("wb") as out:
                written = write_image(image, out, scratch, with_parent=has_blobs, pack=model.compression == "zstd")
            loaded = load_image(engine, file, (written.manifest, written.config))
    finally:
        engine.remove_image(built.image_id)
    return replace(built, image_id=loaded, seconds=built.seconds + time.monotonic() - begun, digest=written.config)


@contextlib.contextmanager
def normal_form(
    engine: Engine, image_id: str, plan: BuildPlan, settings: Settings, tell: Tell
) -> Iterator[NormalImage]:
    """An image in its normal form, for as long as the block lasts.

    Raises:
        UnavailableError: it cannot be read, or does not stand on its parent as it is now.
    """
    from mdai_build.canonical import normalise, open_archive
    from mdai_build.engine import save_image

    settings.cache_folder.mkdir(parents=True, exist_ok=True)
    with scratch_folder(settings.cache_folder) as scratch:
        parent = _parent_layers(engine, image_id, plan)
        tell("reading the image")
        save_image(engine, image_id, scratch / "image.tar")
        with _told_of_disk(settings):
            with open_archive(scratch / "image.tar", scratch) as archive:
                image = normalise(archive, parent, _OF_ONE_ENGINE)
            yield image


def without_settings(plan: BuildPlan) -> BuildPlan:
    """The plan without what depends on who builds: how packages are reached, and what the engine can do."""
    return replace(plan.without_access(), builds_from_source=False, layers_merge=True, weights_first=False)


def parent_identity(engine: Engine, image_id: str) -> str:
    """What a parent image is on every image store: its layers' content. Its id is another on each."""
    from mdai_build.engine import layers_of

    return " ".join(layers_of(engine, image_id))


def _parent_layers(engine: Engine, image_id: str, plan: BuildPlan) -> tuple[str, ...]:
    """The layers of the parent that an image begins with; of an author's Dockerfile, those of the image it ends on."""
    from mdai_build.engine import layers_of

    own = parent_of(plan)
    if own is None:
        return ()
    layers = layers_of(engine, image_id)
    found: tuple[str, ...] = ()
    for parent in parent_images_of(plan):
        if engine.image(parent) is None:
            continue
        candidate = layers_of(engine, parent)
        if layers[: len(candidate)] == candidate and len(candidate) > len(found):
            found = candidate
    if not found:
        raise UnavailableError(
            Problem(
                code="verify.other-parent",
                what=f"the image does not stand on {own} as this engine holds it",
                expected="the parent that the image was built on; its tag may have moved since",
                next_step="name that parent by its digest: --parent NAME@sha256:…"
                if plan.parent.has_conda
                else f"have the engine hold it by that name: docker pull NAME@sha256:…, then docker tag … {own}",
            )
        )
    return found


@contextlib.contextmanager
def _told_of_disk(settings: Settings) -> Iterator[None]:
    try:
        yield
    except (ValueError, tarfile.TarError) as error:
        raise UnavailableError(Problem("verify.unreadable", f"the image cannot be read: {error}")) from error
    except OSError as error:
        raise UnavailableError(
            Problem(
                code="verify.disk",
                what=f"the image could not be written in its normal form: {error.strerror or error}",
                where=Location(str(settings.cache_folder)),
                expected="room for the image twice, its parent included",
                next_step="free some disk, or choose another place with the setting cache_folder",
            )
        ) from error
