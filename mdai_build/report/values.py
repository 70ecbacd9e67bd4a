"""What a finished build is told by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mdai_build.errors import Problem

if TYPE_CHECKING:
    from mdai_build.smoke.result import SmokeResult


@dataclass(frozen=True)
class ImageReport:
    """The image that was built."""

    reference: str
    id: str
    size_bytes: int


@dataclass(frozen=True)
class ParentReport:
    """The image that it was built upon, and why that one."""

    reference: str
    why: str


@dataclass(frozen=True)
class StageReport:
    """One stage of the build: wall seconds, and whether the cache had it."""

    name: str
    seconds: float
    cached: bool


@dataclass(frozen=True)
class BuildReport:
    """The outcome of one build, its smoke test included."""

    image: ImageReport | None
    """None when no image was kept, since its smoke test failed."""
    parent: ParentReport
    stages: tuple[StageReport, ...]
    """Empty when nothing had changed: the image was there already."""
    warnings: tuple[Problem, ...]
    smoke: SmokeResult | None
    """None when no smoke test was asked for."""
    pictures: tuple[Path, ...]
    seconds_total: float
    exit_code: int
    overrides: tuple[str, ...] = ()
    """What the requirements change in the preinstalled packages, a line each."""


@dataclass(frozen=True)
class Verdict:
    """What is known of a model after a change of its files."""

    passed: bool
    complete: bool
    """Whether everything was tried; if not, nothing failed or failed so far."""
    seconds: float
    """Since the change was noticed."""
    tried: int = 0
    """Of `samples`."""
    samples: int = 0
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    pictures: tuple[Path, ...] = ()
