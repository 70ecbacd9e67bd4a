"""Frames as pictures with shapes upon them, for the HTML report. Nothing here is HTML."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mdai_build.report.outline import title_of
from mdai_build.report.overlay import (
    MASK_OPACITY,
    MOST_VERTICES,
    bounded,
    class_colour,
    colour_number,
    mask_area,
)
from mdai_build.report.render import NotDrawableError, Source
from mdai_build.report.text import clean_line
from mdai_build.smoke.answers import data_kind

if TYPE_CHECKING:
    from mdai_build.smoke.request import InputFile

Key = tuple[int, int]
"""The place of a file among those of its request, and a frame of it."""
Outputs = Sequence[tuple[int, Mapping[str, Any]]]
"""Outputs with their numbers."""
_LOG = logging.getLogger(__name__)
_MOST_MARKS = 64
_MASK_SIDE = 768


class Budget:
    """Bytes of pictures that a page may still take: beyond them browsers get slow."""

    def __init__(self, size: int = 48 * 1024**2) -> None:
        self._left = size

    @property
    def spent(self) -> bool:
        """Whether there is none left."""
        return self._left <= 0

    def take(self, content: bytes, content_type: str) -> str:
        """The content as a `data:` address."""
        self._left -= len(content) * 4 // 3
        return f"data:{content_type};base64,{base64.b64encode(content).decode('ascii')}"


@dataclass(frozen=True)
class Mark:
    """A shape on a frame, in pixels of the input."""

    kind: str
    """`mask`, `box`, `line`, `area` or `point`."""
    output: int
    colour: int
    title: str
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0
    points: str = ""
    """Of a `line` or an `area`, as SVG has them."""
    address: str = ""
    """Of a `mask`, its picture."""


@dataclass(frozen=True)
class FrameView:
    """One frame of one file."""

    label: str
    columns: int
    rows: int
    how: str
    """How it was made, or why it is not shown."""
    address: str
    """Of the picture; empty where there is none."""
    marks: tuple[Mark, ...]
    outputs: tuple[int, ...]
    """Those that belong to it."""


def frame_views(
    files: Sequence[InputFile],
    chosen: Sequence[Key],
    by_frame: Mapping[Key, Outputs],
    names: Mapping[str, str],
    side: int,
    budget: Budget,
) -> Iterator[FrameView]:
    """The chosen frames, in their order. `side` is the most pixels of a picture's longer side."""
    source: Source | NotDrawableError | None = None
    opened = -1
    for place, number in chosen:
        file = files[place]
        if place != opened:
            source, opened = _open(file), place
        address, how = _frame_picture(source, number, side, budget)
        found = by_frame.get((place, number), ())
        label = clean_line(file.name) + (f", frame {number} of {file.frames}" if file.frames > 1 else "")
        marks = tuple(_marks(found, file, names, budget)) if address or not budget.spent else ()
        yield FrameView(
            label,
            max(1, file.columns),
            max(1, file.rows),
            how,
            address,
            marks,
            tuple(index for index, _ in found),
        )


def _open(file: InputFile) -> Source | NotDrawableError:
    try:
        return Source(file.shown_as or file.content)
    except NotDrawableError as error:
        return error
    except OSError as error:
        return NotDrawableError(f"it cannot be read: {error.strerror or error}")


def _frame_picture(source: Source | NotDrawableError | None, number: int, side: int, budget: Budget) -> tuple[str, str]:
    if budget.spent:
        return "", "not shown: the page holds as many pictures as a browser likes"
    try:
        if not isinstance(source, Source):
            raise source or NotDrawableError("there is nothing")
        picture, how = source.render(number)
    except NotDrawableError as error:
        return "", clean_line(f"not shown: {error}")[:300]
    return budget.take(*encoded(picture, side)), clean_line(how)


def encoded(picture: Image.Image, side: int) -> tuple[bytes, str]:
    """A picture no larger than `side`: PNG where it is small, JPEG else; grey where it has no colour."""
    if max(picture.size) > side:
        scale = side / max(picture.size)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    pixels = np.asarray(picture)
    if pixels.ndim == 3 and (pixels[..., :1] == pixels).all():
        picture = Image.fromarray(np.ascontiguousarray(pixels[..., 0]))
    content = io.BytesIO()
    if picture.width * picture.height <= 128 * 128:
        picture.save(content, "PNG")
        return content.getvalue(), "image/png"
    picture.save(content, "JPEG", quality=90)
    return content.getvalue(), "image/jpeg"


def _marks(found: Outputs, file: InputFile, names: Mapping[str, str], budget: Budget) -> Iterator[Mark]:
    # Masks lie below what has no area.
    order = sorted(found, key=lambda entry: data_kind(entry[1].get("data")) != "mask")
    for index, output in order[:_MOST_MARKS]:
        try:
            yield from _mark(index, output, file, title_of(output, names), budget)
        # Whatever a stranger's output makes numpy or Pillow raise costs this mark alone.
        except Exception as error:  # noqa: BLE001
            _LOG.warning("report: outputs[%d] was not drawn: %s: %s", index, type(error).__name__, error)


def _mark(index: int, output: Mapping[str, Any], file: InputFile, title: str, budget: Budget) -> Iterator[Mark]:
    data = output.get("data")
    kind = data_kind(data)
    if kind is None or not isinstance(data, Mapping):
        return
    colour = colour_number(output.get("class_index"))
    x, y, width, height = (bounded(data.get(key)) for key in ("x", "y", "width", "height"))
    if kind == "box":
        yield Mark("box", index, colour, title, x, y, max(width, 0.0), max(height, 0.0))
    elif kind == "location":
        yield Mark("point", index, colour, title, x + 0.5, y + 0.5)
    elif kind == "vertices":
        points = [
            f"{bounded(point[0]):g},{bounded(point[1]):g}"
            for point in data["vertices"][:MOST_VERTICES]
            if isinstance(point, Sequence) and len(point) == 2
        ]
        if points:
            yield Mark("area" if len(points) > 2 else "line", index, colour, title, points=" ".join(points))
    elif kind == "mask":
        scale = min(1.0, _MASK_SIDE / max(file.columns, file.rows, 1))
        size = (max(1, round(file.columns * scale)), max(1, round(file.rows * scale)))
        found = mask_area(data["mask"], size)
        if found is not None:
            picture = Image.fromarray(found[0].astype(np.uint8) + (found[0] & ~found[1]).astype(np.uint8))
            picture.putpalette([0, 0, 0, *2 * class_colour(output.get("class_index"))])
            content = io.BytesIO()
            picture.save(content, "PNG", transparency=bytes([0, round(255 * MASK_OPACITY), 255]), optimize=True)
            yield Mark("mask", index, colour, title, address=budget.take(content.getvalue(), "image/png"))
