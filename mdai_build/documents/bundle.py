"""What `check`, `lock` and `init` tell of a bundle."""

from typing import Literal

from typing_extensions import TypedDict

from mdai_build.documents.problems import Format, ProblemDocument


class ConfigDocument(TypedDict):
    """What config.yaml says, with every default filled in."""

    base_image: str
    device_type: Literal["cpu", "gpu"]
    cuda_version: str | None
    env: dict[str, str]
    clara_version: str | None


class ParentDocument(TypedDict):
    """The image that a model's image is built upon, and why that one."""

    reference: str
    why: str


class CheckedParentDocument(ParentDocument):
    """The image that a model's image would be built upon."""

    kind: str


class CheckDocument(TypedDict):
    """What `check` found of a bundle in which nothing is wrong."""

    format: Format
    exit_code: int
    """0; with --strict and warnings 3."""
    bundle: str
    """Its name."""
    kind: Literal["zip", "tar.gz", "folder"]
    files: int
    bytes: int
    config: ConfigDocument
    parent: CheckedParentDocument
    requirements: list[str]
    lock: str | None
    """The lock file that the requirements were read from."""
    overrides: list[str]
    """What the requirements change in the preinstalled packages, a sentence each."""
    warnings: list[ProblemDocument]


class LockDocument(TypedDict):
    """What `lock` wrote."""

    format: Format
    exit_code: int
    file: str
    belongs_at: str
    in_bundle: bool
    """Whether it lies where a build finds it."""
    packages: int
    without_hash: list[str]
    changed: bool
    resolved_in: Literal["container", "host"]
    warnings: list[ProblemDocument]


class LockCheckDocument(TypedDict):
    """What `lock --check` found of a lock that is right."""

    format: Format
    exit_code: int
    file: str
    up_to_date: Literal[True]


class InitDocument(TypedDict):
    """What `init` wrote, and what it found to write it from."""

    format: Format
    exit_code: int
    folder: str
    written: list[str]
    kept: list[str]
    python: str
    framework: str | None
    requirements: list[str]
    weights: str | None
