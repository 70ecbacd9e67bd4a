"""What `inspect` and `verify` tell of an image that exists."""

from typing_extensions import TypedDict

from mdai_build.documents.problems import Format


class InspectedImageDocument(TypedDict):
    """The image itself."""

    reference: str
    id: str
    tags: list[str]
    size_bytes: int
    created: str
    """In RFC 3339."""
    platform: str


class RunsDocument(TypedDict):
    """How the image is started."""

    user: str
    entry_point: list[str]
    command: list[str]
    working_folder: str
    ports: list[str]
    environment: list[str]


class PackageDocument(TypedDict):
    """A package that is installed in the image."""

    name: str
    version: str
    group: str
    """`model`, `server` or `conda`; empty where it does not say."""
    preinstalled: str | None
    """The version that the environment began with, of a package that is preinstalled."""
    changed: bool
    source: str | None
    licences: list[str]


class LayerDocument(TypedDict):
    """A layer of an image."""

    made_by: str
    size_bytes: int


class ProvenanceDocument(TypedDict):
    """A statement of what the image was built from."""

    where: str
    signed_by: str | None
    """The id of the key whose signature was checked."""
    signatures: int
    subjects: list[str]
    bundle_digest: str | None
    parent: str | None
    builder: str
    versions: dict[str, str]
    started: str
    finished: str
    packages: int


class InspectDocument(TypedDict):
    """What `inspect` found in an image."""

    format: Format
    exit_code: int
    image: InspectedImageDocument
    built: dict[str, str] | None
    """What its labels say that it was built from; null for an image that is none of ours."""
    runs: RunsDocument
    packages: list[PackageDocument]
    removed: list[str]
    """Preinstalled packages that are no longer there."""
    layers: list[LayerDocument]
    labels: dict[str, str]
    sbom: str | None
    """Where the bill of materials is, in the image."""
    notes: list[str]
    provenance: ProvenanceDocument | None


class DifferenceDocument(TypedDict):
    """One thing that differs between two images."""

    path: str
    what: str
    made_by: str
    package: str | None


class VerifyDocument(TypedDict):
    """Whether an image is what a model builds to."""

    format: Format
    exit_code: int
    image: str
    same: bool
    digest: str
    rebuilt_digest: str
    files: int
    differences: list[DifferenceDocument]
    notes: list[str]
    seconds: float
