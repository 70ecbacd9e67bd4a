"""What `build`, `bake` and `base` tell of the images that they make."""

from typing_extensions import NotRequired, TypedDict

from mdai_build.documents.bundle import ParentDocument
from mdai_build.documents.problems import Format, ProblemDocument
from mdai_build.documents.smoke import SmokeDocument


class ImageDocument(TypedDict):
    """The image that was built."""

    reference: str
    id: str
    size_bytes: int
    digest: NotRequired[str]
    """Of the configuration of an image in its normal form (--reproducible)."""


class BaseDocument(TypedDict):
    """The base images that stood in for stages of a build."""

    reference: str | None
    server: str | None
    why: str


class StageDocument(TypedDict):
    """One stage of a build."""

    name: str
    seconds: float
    cached: bool


class StepDocument(TypedDict):
    """One step of a build: when it ran, since the build began."""

    name: str
    start: float | None
    """Null: not known; `end` is then how long it took."""
    end: float


class PushDocument(TypedDict):
    """Where the image was pushed to."""

    reference: str
    """With its digest."""
    size_bytes: int | None
    new_layers: int
    seconds: float


class BuildDocument(TypedDict):
    """What `build` made and found."""

    format: Format
    exit_code: int
    image: ImageDocument | None
    """Null when no image was kept, since its smoke test failed."""
    parent: ParentDocument
    base: BaseDocument | None
    stages: list[StageDocument]
    """Empty when nothing had changed: the image was there already."""
    steps: list[StepDocument]
    overrides: list[str]
    warnings: list[ProblemDocument]
    smoke: SmokeDocument | None
    """Null when no smoke test was asked for."""
    pictures: list[str]
    pushed: PushDocument | None
    """Null when no push was asked for."""
    seconds_total: float


class BakedModelDocument(TypedDict):
    """One model among many."""

    name: str
    path: str
    outcome: str
    """In one or two words."""
    exit_code: int
    image: str | None
    seconds: float
    problems: list[ProblemDocument]
    warnings: list[ProblemDocument]
    build: BuildDocument | None
    """Null when it did not come as far as an image."""


class BakeDocument(TypedDict):
    """What `bake` made of many models."""

    format: Format
    exit_code: int
    """0 when all are good, else the lowest of the others."""
    models: list[BakedModelDocument]
    seconds_total: float


class BaseStateDocument(TypedDict):
    """A base image, and where it is."""

    combination: str
    tag: str
    parent: str
    parent_here: bool
    size_bytes: int | None
    """As the engine holds it; null: it does not."""
    server_tag: str
    server_here: bool
    in_registry: bool | None
    """Null where no registry was asked."""
    here: bool
    """Whether the engine holds it and its server."""


class BasesDocument(TypedDict):
    """What `base list`, `base build`, `base push` and `base pull` tell."""

    format: Format
    exit_code: int
    bases: list[BaseStateDocument]
