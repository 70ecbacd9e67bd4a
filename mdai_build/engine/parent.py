"""Makes sure that the engine holds the parent image before a build starts."""

from __future__ import annotations

import re
from collections.abc import Callable

import docker.errors

from mdai_build.engine.connection import Engine, ImageFacts, require_image
from mdai_build.engine.failures import disk_full, engine_words, says_disk_full
from mdai_build.errors import Problem, UnavailableError

_MIB = 1024 * 1024
# Of the distribution project's errors and the engine's own; a registry that hides what it has says "denied".
_NOT_THERE = re.compile(r"(?i)manifest unknown|not found|name unknown|repository does not exist|no such manifest")

# Of a connection that was there; Docker has tried some times more by then.
_BROKEN = re.compile(r"(?i)unexpected EOF|connection reset|failed to copy|short read|failed commit on ref")
_NOT_OF_THE_REGISTRY = ("engine.pull-broken", "engine.disk-full", "engine.silent", "engine.lost")


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
    try:
        pull_image(engine, reference, on_progress, platform)
    except UnavailableError as error:
        if error.problems[0].code in _NOT_OF_THE_REGISTRY:
            raise
        raise _missing(reference, error.problems[0].details or error.problems[0].what) from error
    return require_image(engine, reference)


def pull_image(
    engine: Engine, reference: str, on_progress: Callable[[str], None], platform: str | None = None
) -> ImageFacts:
    """Pulls an image; `on_progress` is told how far it is.

    `platform` is what the image is to run on, such as `linux/arm64`.

    Raises:
        UnavailableError: there is none (code `engine.no-such-image`), or the registry does not answer or let us.
    """
    repository, tag = _split(reference)
    layers: dict[str, tuple[int, int]] = {}
    with engine_words():
        try:
            for event in engine.client.api.pull(repository, tag=tag, stream=True, decode=True, platform=platform):
                if "error" in event:
                    raise _not_pulled(reference, str(event["error"]))
                detail = event.get("progressDetail") or {}
                if detail.get("total") and event.get("status") == "Downloading":
                    layers[event["id"]] = (detail.get("current", 0), detail["total"])
                    done, total = (sum(part) / _MIB for part in zip(*layers.values(), strict=True))
                    on_progress(f"pulling {reference}: {done:.0f} of {total:.0f} MiB")
        except docker.errors.APIError as error:
            raise _not_pulled(reference, str(error.explanation or error)) from error
    return require_image(engine, reference)


def in_registry(engine: Engine, reference: str) -> bool:
    """Whether a registry holds an image, which is not pulled.

    Raises:
        UnavailableError: the registry does not answer or let us.
    """
    with engine_words():
        try:
            engine.client.api.inspect_distribution(reference)  # type: ignore[no-untyped-call]
        except docker.errors.APIError as error:
            failure = _not_pulled(reference, str(error.explanation or error))
            if failure.problems[0].code == "engine.no-such-image":
                return False
            raise failure from error
    return True


def _split(reference: str) -> tuple[str, str]:
    if "@" in reference:
        repository, _, digest = reference.partition("@")
        return repository, digest
    repository, colon, tag = reference.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (reference, "latest")


def _not_pulled(reference: str, said: str) -> UnavailableError:
    if _NOT_THERE.search(said):
        what = f"its registry holds no image {reference}"
        return UnavailableError(Problem("engine.no-such-image", what, details=said))
    if says_disk_full(said):
        return disk_full(f"it was pulling {reference}", said)
    if _BROKEN.search(said):
        return UnavailableError(
            Problem(
                code="engine.pull-broken",
                what=f"the network failed while the image {reference} was pulled",
                next_step="run this again: layers that came whole are kept; if that does not help, see what lies "
                "between this machine and the registry",
                details=said,
            )
        )
    return UnavailableError(
        Problem(
            code="engine.not-pulled",
            what=f"the image {reference} cannot be pulled",
            next_step="see whether the registry answers; log in with `docker login` if it wants that",
            details=said,
        )
    )


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
