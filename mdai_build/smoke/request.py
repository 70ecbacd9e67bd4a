"""What the smoke test sends: the files of one request and all that goes with them."""

from __future__ import annotations

import enum
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Scope = Literal["INSTANCE", "SERIES", "STUDY"]

DICOM = "application/dicom"
JPEG = "image/jpeg"
PNG = "image/png"
_PIECE = 1024 * 1024


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
    stored: bytes | Path = field(repr=False)
    """Its bytes; or, of a file of the user's, where they are: a study may be larger than this machine's memory."""
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

    @classmethod
    def of_dicom(cls, name: str, stored: bytes | Path, ds: Dataset, shown_as: bytes | None = None) -> InputFile:
        """A DICOM file, and what its dataset says of it.

        Raises:
            AttributeError: it is no image: what every image has is missing.
        """
        return cls(
            name=name,
            stored=stored,
            content_type=DICOM,
            study_uid=str(ds.StudyInstanceUID),
            series_uid=str(ds.SeriesInstanceUID),
            instance_uid=str(ds.SOPInstanceUID),
            rows=int(ds.Rows),
            columns=int(ds.Columns),
            frames=int(ds.get("NumberOfFrames") or 1),
            shown_as=shown_as,
        )

    @property
    def content(self) -> bytes:
        """Its bytes, read anew each time where they lie in a file."""
        return self.stored if isinstance(self.stored, bytes) else self.stored.read_bytes()

    @property
    def size(self) -> int:
        """Its bytes' count."""
        return len(self.stored) if isinstance(self.stored, bytes) else self.stored.stat().st_size

    def pieces(self, size: int) -> Iterator[bytes]:
        """Its bytes, of which there must be `size`; of a file never all at once.

        Raises:
            OSError: it cannot be read, or has another size by now.
        """
        if isinstance(self.stored, bytes):
            yield self.stored
            return
        with self.stored.open("rb") as file:
            if os.fstat(file.fileno()).st_size != size:
                raise OSError(f"{self.name} changed while it was sent")
            while size > 0 and (piece := file.read(min(_PIECE, size))):
                size -= len(piece)
                yield piece
        if size:
            raise OSError(f"{self.name} changed while it was sent")


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
        return b"".join(RequestBody(self))


class RequestBody:
    """The msgpack bytes of a request, piece by piece, and how many there are: files are read as they are sent."""

    def __init__(self, request: SmokeRequest) -> None:
        self._request = request

    def __len__(self) -> int:
        return self._size

    @cached_property
    def _size(self) -> int:
        return sum(part if isinstance(part, int) else len(part) for part, _ in self._parts)

    def __iter__(self) -> Iterator[bytes]:
        for part, file in self._parts:
            if isinstance(part, bytes):
                yield part
            elif file is not None:
                yield from file.pieces(part)

    @cached_property
    def _parts(self) -> list[tuple[bytes | int, InputFile | None]]:
        """What is sent as it stands, and in between how many bytes of which file."""
        import msgpack

        request, pack = self._request, msgpack.Packer(use_bin_type=True).pack
        header = msgpack.Packer(autoreset=True)
        parts: list[tuple[bytes | int, InputFile | None]] = [
            (header.pack_map_header(4) + pack("files") + header.pack_array_header(len(request.files)), None)
        ]
        for file in request.files:
            entries = 2 if file.dicom_tags is None else 3
            size = file.size
            parts.append((header.pack_map_header(entries) + pack("content") + _bin_header(size), None))
            parts.append((size, file))
            rest = pack("content_type") + pack(file.content_type)
            if file.dicom_tags is not None:
                rest += pack("dicom_tags") + pack(dict(file.dicom_tags))
            parts.append((rest, None))
        for name, value in (
            ("annotations", [dict(annotation) for annotation in request.annotations]),
            ("label_classes", [dict(label_class) for label_class in request.label_classes]),
            ("args", dict(request.args)),
        ):
            parts.append((pack(name) + pack(value), None))
        return parts


def _bin_header(size: int) -> bytes:
    """What stands before `size` bytes of the bin format family (msgpack's specification)."""
    for mark, width in ((0xC4, 1), (0xC5, 2), (0xC6, 4)):
        if size < 1 << 8 * width:
            return bytes([mark]) + size.to_bytes(width, "big")
    raise ValueError(f"msgpack holds no {size} bytes in one value")
