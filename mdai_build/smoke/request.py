"""What the smoke test sends: the files of one request and all that goes with them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Scope = Literal["INSTANCE", "SERIES", "STUDY"]

DICOM = "application/dicom"
JPEG = "image/jpeg"
PNG = "image/png"


class Demand(enum.Enum):
    """How much a model owes a request.

    Not every model can eat every image: a chest X-ray model may rightly choke on an ultrasound clip. So the requests
    that nobody asked for demand less than those that the user chose.
    """

    REQUIRED = "required"
    """The user's own sample: must be answered, and rightly."""
    EXPECTED = "expected"
    """A usual image: the model may refuse it (raise), but what it answers must be right."""
    UNUSUAL = "unusual"
    """An image of a shape that many models do not foresee (frames, colours): neither is held against the model as
    long as it answers others."""


@dataclass(frozen=True)
class InputFile:
    """One element of a request's `files`, with what the checks of the answer need to know about it."""

    name: str
    content: bytes = field(repr=False)
    content_type: str
    study_uid: str
    series_uid: str
    instance_uid: str
    rows: int
    columns: int
    frames: int = 1
    dicom_tags: Mapping[str, str] | None = field(default=None, repr=False)
    """The DICOM tags by keyword; only beside JPEG and PNG content."""
    shown_as: bytes | None = field(default=None, repr=False)
    """The same image in a form that this machine can decode, where `content` is not."""

    def as_body(self) -> dict[str, Any]:
        """The file as the interface sends it (specification, input schema)."""
        body: dict[str, Any] = {"content": self.content, "content_type": self.content_type}
        if self.dicom_tags is not None:
            body["dicom_tags"] = dict(self.dicom_tags)
        return body


@dataclass(frozen=True)
class Expectation:
    """What the user says about the outputs of every sample. None and empty mean: anything."""

    minimum: int | None = None
    maximum: int | None = None
    types: tuple[str, ...] = ()
    class_indices: tuple[int, ...] = ()


@dataclass(frozen=True)
class SmokeRequest:
    """One `POST /inference`."""

    name: str
    scope: Scope
    files: tuple[InputFile, ...]
    demand: Demand
    label_classes: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    annotations: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    args: Mapping[str, str] = field(default_factory=dict)
    own_labels: bool = False
    """Whether `label_classes` are the user's own, so that outputs can be held against them."""
    expect: Expectation = Expectation()

    @property
    def required(self) -> bool:
        """Whether the user asked for this very request."""
        return self.demand is Demand.REQUIRED

    def body(self) -> bytes:
        """The request's msgpack bytes (specification, input schema)."""
        import msgpack

        packed: bytes = msgpack.packb(
            {
                "files": [file.as_body() for file in self.files],
                "annotations": [dict(annotation) for annotation in self.annotations],
                "label_classes": [dict(label_class) for label_class in self.label_classes],
                "args": dict(self.args),
            },
            use_bin_type=True,
        )
        return packed
