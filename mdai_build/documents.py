"""The shapes of all reports for machines: what `--json` prints, command by command.

mypy holds the code that makes a report to its shape here, and the published JSON schemas are made from the same
(`report/schemas.py`). Sizes are bytes, times are wall seconds; null stands for what is not known or does not apply.

Nothing but types is in here, so that no command waits for this module: others import it for type checkers only.
"""

from typing import Any, Literal

from typing_extensions import NotRequired, TypedDict

Format = Literal[1]
Scope = Literal["INSTANCE", "SERIES", "STUDY"]


class WhereDocument(TypedDict):
    """Where in the user's files a problem is. Lines and columns count from 1."""

    file: str
    line: NotRequired[int]
    column: NotRequired[int]
    key: NotRequired[str]
    """The key of a map, the requirement, the sample or the archive member that is meant."""


class ProblemDocument(TypedDict):
    """One thing that is wrong or dubious."""

    code: str
    """Stable name of the kind, such as `config.unknown-key`."""
    what: str
    number: NotRequired[str]
    """Stable number of the kind, such as MB306; `mdai-build explain` takes it."""
    page: NotRequired[str]
    """Where that kind is written about."""
    where: NotRequired[WhereDocument]
    expected: NotRequired[str]
    next_step: NotRequired[str]
    details: NotRequired[str]
    """Longer text that belongs to it: a traceback, the log of a failed step."""


class FailureDocument(TypedDict):
    """Why a command came to no result."""

    format: Format
    exit_code: int
    error: str
    problems: list[ProblemDocument]
    """Why; never empty."""
    warnings: list[ProblemDocument]


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


class CheckOfModelDocument(TypedDict):
    """One check of the smoke test."""

    name: str
    outcome: Literal["passed", "warning", "failed"]
    passed: bool
    """Whether it is no reason to fail the test: also true of a warning."""
    seconds: float
    message: str
    problems: list[ProblemDocument]


class AnswerDocument(TypedDict):
    """A request that the model answered."""

    request: str
    scope: Scope
    files: int
    outputs: int
    types: dict[str, int]
    """How many outputs of each type."""
    valid: bool
    seconds: float


class FrameworkDocument(TypedDict):
    """A framework in the model's environment."""

    name: str
    version: str
    built_for: str | None
    """The CUDA that it was built for, or `cpu`."""
    computes: bool | None
    """Whether it computed rightly on the device."""


class GpuDocument(TypedDict):
    """What the smoke test found of the GPUs."""

    tested: bool
    reason: str
    """Why it was not tested; else empty."""
    driver: str | None
    cuda: str | None
    """The newest that the driver can run."""
    devices: list[str]
    frameworks: list[FrameworkDocument]
    used: bool | None
    """Whether the model computed there."""
    peak_bytes: int | None
    model_bytes: int | None
    utilisation: int | None
    """Percent, of the busiest device while the model predicted."""


class SmokeDocument(TypedDict):
    """What the smoke test found."""

    passed: bool
    checks: list[CheckOfModelDocument]
    answers: list[AnswerDocument]
    load_seconds: float | None
    first_seconds: float | None
    """The first answer to a request that the model can handle."""
    later_seconds: float | None
    """The median of answers to that same request afterwards."""
    peak_memory_bytes: int | None
    api_version: str | None
    gpu: GpuDocument | None
    """Null for a model that asks for no GPU."""


class SmokeTestDocument(TypedDict):
    """What `test` found."""

    format: Format
    exit_code: int
    target: str
    warnings: list[ProblemDocument]
    """Of the bundle, where one was read."""
    smoke: SmokeDocument
    pictures: list[str]


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


class SentFileDocument(TypedDict):
    """A file of a request."""

    name: str
    series_uid: str
    instance_uid: str


class RequestDocument(TypedDict):
    """A request, and how it was answered."""

    name: str
    scope: Scope
    files: list[SentFileDocument]
    seconds: float | None
    valid: bool
    message: str
    problems: list[ProblemDocument]


class AnsweredRequestDocument(RequestDocument):
    """A request, and what it was answered."""

    outputs: list[Any]
    """As the model gave them; bytes as `{"base64": "…"}`, what is not finite as null."""


class PredictDocument(TypedDict):
    """What `predict` was answered; outputs.json of its folder holds the same."""

    format: Format
    target: str
    requests: list[AnsweredRequestDocument]
    exit_code: int


class MeasurementDocument(TypedDict):
    """One answer."""

    request: str
    seconds: float
    """As the client sees it."""
    steps_seconds: dict[str, float]
    """By step (decode, predict, check, encode); empty for a server of other make."""
    peak_memory_bytes: dict[str, int]
    """Of the model's process, by step."""
    gpu_memory_bytes: dict[str, int]
    """In use on all GPUs, by step; empty where there is none."""
    sent_bytes: int
    answer_bytes: int


class ProfileDocument(TypedDict):
    """What `profile` measured."""

    format: Format
    exit_code: int
    target: str
    warnings: list[ProblemDocument]
    problems: list[ProblemDocument]
    load_seconds: float | None
    peak_memory_bytes: int | None
    requests: int
    """How many of `measurements`."""
    statistics: dict[str, dict[str, float]]
    """By quantity, such as `predict` or `predict_memory`: least, median and so on."""
    first: MeasurementDocument | None
    """The first answer, which is not among `measurements`."""
    measurements: list[MeasurementDocument]


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
