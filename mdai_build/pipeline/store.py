"""Where what is unpacked is kept, and for how long."""

from __future__ import annotations

from collections.abc import Callable

from mdai_build.bundle import Bundle, Keep, UnpackedBundle, unpack_bundle
from mdai_build.settings import Settings

BUNDLES = "bundles"
"""The folder of unpacked bundles in the cache."""
UNFINISHED = "unfinished"
"""The folder of notes on images that are being made."""


def unpack(bundle: Bundle, settings: Settings, on_progress: Callable[[int, int], None] | None = None) -> UnpackedBundle:
    """A bundle's files on disk, in the cache folder.

    Raises:
        BundleError: the archive is damaged, or changed since it was read.
        UnavailableError: the cache cannot be written, or its disk is full.
    """
    return unpack_bundle(bundle, settings.cache_folder / BUNDLES, on_progress, kept(settings))


def kept(settings: Settings) -> Keep:
    """What the store keeps by the settings."""
    return Keep(settings.keep_days * 24 * 3600, settings.keep_bytes)
