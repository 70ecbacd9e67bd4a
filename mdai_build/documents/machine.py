"""What `doctor`, `clean`, `parents` and `explain` tell: of this machine, and of mdai-build itself."""

from typing import Literal

from typing_extensions import TypedDict

from mdai_build.documents.problems import Format, ProblemDocument


class HealthCheckDocument(TypedDict):
    """One thing that builds depend on."""

    name: str
    outcome: Literal["ok", "warning", "missing", "skipped"]
    """`missing`: nothing can be built without it."""
    message: str
    seconds: float
    problem: ProblemDocument | None
    """What is wrong, and the command that mends it."""


class DoctorDocument(TypedDict):
    """What `doctor` found."""

    format: Format
    exit_code: int
    checks: list[HealthCheckDocument]
    seconds: float


class CleanItemDocument(TypedDict):
    """One kind of what is kept."""

    name: str
    place: str
    bytes_before: int
    bytes_removed: int
    outcome: Literal["removed", "would remove", "nothing", "in use", "kept", "not reached"]
    note: str | None


class CleanDocument(TypedDict):
    """What `clean` removed, or would."""

    format: Format
    exit_code: int
    dry_run: bool
    bytes_removed: int
    items: list[CleanItemDocument]
    problems: list[ProblemDocument]


class ListedParentDocument(TypedDict):
    """A parent image, and what it serves."""

    serves: str
    kind: str
    name: str
    reference: str
    digest: str | None
    platforms: list[str]
    distribution: str | None
    glibc: str | None
    cudnn: str | None
    pythons: list[str]
    patched_until: str | None
    """A date."""
    available_until: str | None
    """A date."""
    past_availability: bool
    oldest_driver: str | None
    compute_capabilities: list[str] | None
    """The first and the last."""
    gpu_generations: list[str] | None
    problems: list[str]


class ParentsListDocument(TypedDict):
    """What `parents list` tells."""

    format: Format
    exit_code: int
    parents: list[ListedParentDocument]


class ParentsPinDocument(TypedDict):
    """What `parents pin` wrote."""

    format: Format
    exit_code: int
    file: str
    pins: dict[str, str]
    """Digests by the names of parents."""
    warnings: list[ProblemDocument]


class ExplanationDocument(TypedDict):
    """What a kind of message means."""

    code: str
    number: str
    title: str
    cause: str
    fix: str
    example: str | None
    page: str


class ExplainDocument(TypedDict):
    """What `explain` tells."""

    format: Format
    exit_code: int
    messages: list[ExplanationDocument]
