"""The problems of bundles that hold more than they may; each names the setting that allows more."""

from __future__ import annotations

from pathlib import Path

from mdai_build.bundle.model import GIB, Limits
from mdai_build.errors import Location, Problem

_LEAVE_OUT = "leave out what the model does not need, such as training data"


def too_large(origin: Path, limits: Limits) -> Problem:
    """It holds more bytes than it may."""
    most = f"{limits.total_bytes / GIB:g} GiB"
    expected = f"at most {most} (the setting bundle_bytes)"
    return Problem(
        "bundle.too-large", f"the bundle holds more than {most}", Location(str(origin)), expected, _LEAVE_OUT
    )


def too_dense(origin: Path, limits: Limits) -> Problem:
    """It is an archive that grows by more than it may."""
    what = f"the archive grows more than {limits.ratio} times when unpacked"
    expected = f"at most {limits.ratio} times (the setting bundle_ratio)"
    next_step = "trust no archive whose origin you do not know"
    return Problem("bundle.bomb", what, Location(str(origin)), expected, next_step)


def too_many_entries(origin: Path, limits: Limits, noun: str = "entries") -> Problem:
    """It holds more of these than it may."""
    what = f"the bundle has more than {limits.entries} {noun}"
    expected = f"at most {limits.entries} {noun} (the setting bundle_entries)"
    return Problem("bundle.too-many-entries", what, Location(str(origin)), expected, _LEAVE_OUT)
