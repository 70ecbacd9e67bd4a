"""What a finished build is told by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mdai_build.errors import MdaiBuildError, Problem

if TYPE_CHECKING:
    from mdai_build.engine import Pushed, Stage, Step
    from mdai_build.smoke.result import SmokeResult


@dataclass(frozen=True)
class ImageReport:
    """The image that was built."""

    reference: str
    id: str
    size_bytes: int
    digest: str | None = None
    """Of the configuration of an image in its normal form: the same on every machine and image store."""


@dataclass(frozen=True)
class ParentReport:
    """The image that it was built upon, and why that one."""

    reference: str
    why: str


@dataclass(frozen=True)
class BaseReport:
    """The base images that stood in for stages of a build."""

    reference: str | None
    """For all up to the preinstalled packages; None: they were made inline."""
    server: str | None
    """For the server and the installer."""
    why: str


@dataclass(frozen=True)
class BaseState:
    """A base image, and where it is."""

    combination: str
    tag: str
    parent: str
    """Reference of the parent image."""
    parent_here: bool
    """Whether the engine holds that; the tag is then that of a base image on just this one."""
    size_bytes: int | None
    """As the engine holds it; None: it does not."""
    server_tag: str
    server_here: bool
    in_registry: bool | None
    """None where no registry was asked."""

    @property
    def here(self) -> bool:
        """Whether the engine holds it and its server."""
        return self.size_bytes is not None and self.server_here


@dataclass(frozen=True)
class BuildReport:
    """The outcome of one build, its smoke test included."""

    image: ImageReport | None
    """None when no image was kept, since its smoke test failed."""
    parent: ParentReport
    stages: tuple[Stage, ...]
    """Empty when nothing had changed: the image was there already."""
    warnings: tuple[Problem, ...]
    smoke: SmokeResult | None
    """None when no smoke test was asked for."""
    pictures: tuple[Path, ...]
    seconds_total: float
    exit_code: int
    overrides: tuple[str, ...] = ()
    """What the requirements change in the preinstalled packages, a line each."""
    pushed: Pushed | None = None
    """None when no push was asked for."""
    base: BaseReport | None = None
    """None when nothing was built: the image was there already."""
    steps: tuple[Step, ...] = ()
    """Those that took time, as the builder timed them; empty where it did not tell."""


@dataclass(frozen=True)
class ModelReport:
    """The outcome of one model among many."""

    name: str
    path: Path
    tag: str = ""
    """Of its image; empty where it was not found out."""
    build: BuildReport | None = None
    """None when it did not come as far as an image."""
    unchanged: bool = False
    """Whether the image was there already."""
    failure: MdaiBuildError | None = None
    seconds: float = 0.0
    """What was done for this model alone took; building it together with others is not in it."""

    @property
    def exit_code(self) -> int:
        """As that of a `build` of this model."""
        if self.failure is not None:
            return self.failure.exit_code
        return self.build.exit_code if self.build else 1

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Why it is not good; empty when it is."""
        if self.failure is not None:
            return self.failure.problems
        return self.build.smoke.problems if self.build and self.build.smoke else ()

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is dubious about it."""
        if self.failure is not None:
            return self.failure.warnings
        return self.build.warnings if self.build else ()

    @property
    def outcome(self) -> str:
        """In one or two words."""
        if self.exit_code == 0:
            return "unchanged" if self.unchanged else "built"
        return self.failure.title if self.failure else "the smoke test failed"


@dataclass(frozen=True)
class BakeReport:
    """The outcome of many builds at once."""

    models: tuple[ModelReport, ...]
    seconds_total: float

    @property
    def exit_code(self) -> int:
        """0 when all are good; else the lowest of the others, which is that of the model that got least far."""
        return min((model.exit_code for model in self.models if model.exit_code), default=0)


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
