"""What `test`, `predict` and `profile` tell of a model that answers."""

from typing import Any, Literal

from typing_extensions import TypedDict

from mdai_build.documents.problems import Format, ProblemDocument

Scope = Literal["INSTANCE", "SERIES", "STUDY"]


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
