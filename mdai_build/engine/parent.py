"""Makes sure that the engine holds the parent image before a build starts."""

from __future__ import annotations

from collections.abc import Callable

from mdai_build.engine.connection import Engine, ImageFacts, engine_words, require_image
from mdai_build.errors import Problem, UnavailableError

_MIB = 1024 * 1024


def ensure_parent(
    engine: Engine, reference: str, on_progress: Callable[[str], None], platform: str | None = None
) -> ImageFacts:
    """Pulls a parent image that the engine does not hold; `on_progress` is told how far it is.

    `platform` is what the image is to run on, such as `linux/arm64`.

    Raises:
        UnavailableError: it is not there, or not for this platform, and cannot be pulled.
    """
    facts = engine.image(reference)
    if facts is not None and platform in (None, facts.platform):
        return facts
    if facts is not None and (not facts.digest or reference.startswith("mdai-build/")):
        raise UnavailableError(
            Problem(
                code="engine.other-platform",
                what=f"the parent image {reference}, which was made here, is for {facts.platform}, not for {platform}",
                next_step=f"build for this machine with --platform {facts.platform}, or on another parent",
            )
        )
    if reference.startswith("mdai-build/"):
        raise UnavailableError(
            Problem(
                code="engine.no-local-parent",
                what=f"the local parent image {reference} has not been made on this engine",
                next_step="run `make parent` in a checkout of mdai-build",
            )
        )
    repository, tag = _split(reference)
    try:
        with engine_words():
            layers: dict[str, tuple[int, int]] = {}
            for event in engine.client.api.pull(repository, tag=tag, stream=True, decode=True, platform=platform):
                if "error" in event:
                    raise _missing(reference, str(event["error"]))
                detail = event.get("progressDetail") or {}
                if detail.get("total") and event.get("status") == "Downloading":
                    layers[event["id"]] = (detail.get("current", 0), detail["total"])
                    done, total = (sum(part) / _MIB for part in zip(*layers.values(), strict=True))
                    on_progress(f"pulling {reference}: {done:.0f} of {total:.0f} MiB")
    except UnavailableError as error:
        if error.problems[0].code == "engine.no-parent":
            raise
        raise _missing(reference, error.problems[0].what) from error
    return require_image(engine, reference)


def _split(reference: str) -> tuple[str, str]:
    if "@" in reference:
        repository, _, digest = reference.partition("@")
        return repository, digest
    repository, colon, tag = reference.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (reference, "latest")


def _missing(reference: str, reason: str) -> UnavailableError:
    return UnavailableError(
        Problem(
            code="engine.no-parent",
            what=f"the parent image {reference} cannot be had: {reason}",
            next_step="name a mirror with the setting parent_registry, or build on its maintained equivalent (--parent "
            "slim) or on the local parent (--parent local)"
            if "deeplearning-platform-release" in reference
            else "pull it where its registry can be reached, and bring it with `docker save` and `docker load`",
        )
    )
