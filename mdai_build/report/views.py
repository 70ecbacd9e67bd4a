"""What the HTML report shows of a sample: its frames as pictures, with what the model found as shapes upon them.

Outputs come from strangers' code: sizes are bounded, pictures are decoded and encoded anew, and what fails to be drawn
costs itself alone. Nothing here is HTML; the templates escape every text.
"""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mdai_build.report.outputs import json_text
from mdai_build.report.overlay import (
    MASK_OPACITY,
    MOST_VERTICES,
    bounded,
    class_colour,
    colour_number,
    mask_area,
)
from mdai_build.report.render import NotDrawableError, Source, render
from mdai_build.report.text import clean, clean_line
from mdai_build.smoke.answers import data_kind, files_meant

if TYPE_CHECKING:
    from mdai_build.errors import Problem
    from mdai_build.smoke.request import InputFile, SmokeRequest
    from mdai_build.smoke.result import Answer, Check

MOST_FRAMES, MOST_OWN_FRAMES = 24, 120
"""Of a synthetic sample, and of one of the user's own."""
_LOG = logging.getLogger(__name__)
_MOST_OUTPUTS = 300
_MOST_MARKS = 64
_MOST_IMAGES = 24
_MOST_BARS = 30
_MOST_JSON = 4000
_LONE_SIDE, _SERIES_SIDE, _EXTRA_SIDE, _MASK_SIDE = 1024, 512, 384, 768
_MAX_EXTRA_BYTES = 64 * 1024**2


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


@dataclass(frozen=True)
class ImageView:
    """An explanation, or an image that the model made."""

    name: str
    description: str
    address: str
    how: str


@dataclass(frozen=True)
class Bar:
    """A probability."""

    label: str
    share: float
    """From 0 to 1."""
    text: str


@dataclass(frozen=True)
class OutputView:
    """One output, told."""

    number: int
    colour: int
    title: str
    kind: str
    place: str
    """What it belongs to: an image, a series, a study."""
    frame: int | None
    """The number of its frame among those of the sample that are shown."""
    bars: tuple[Bar, ...]
    note: str
    images: tuple[ImageView, ...]
    more_images: int
    text: str
    """The output as JSON, shortened."""


@dataclass(frozen=True)
class SampleView:
    """One request, and what became of it."""

    name: str
    scope: str
    files: int
    seconds: float
    outcome: str
    message: str
    problems: tuple[Problem, ...]
    frames: tuple[FrameView, ...]
    all_frames: int
    first: int
    """The frame that is shown first."""
    outputs: tuple[OutputView, ...]
    more_outputs: int


def sample_view(request: SmokeRequest, answer: Answer | None, check: Check | None, budget: Budget) -> SampleView:
    """What a page shows of a request; None stands for an answer or a check that there is not."""
    outputs = [(index, output) for index, output in enumerate(answer.outputs if answer else ()) if _is_map(output)]
    by_frame, frame_of = _placed(request.files, outputs)
    chosen = _chosen(request, by_frame)
    number_of = {key: number for number, key in enumerate(chosen)}
    names = _class_names(request)
    side = _LONE_SIDE if len(chosen) == 1 else _SERIES_SIDE
    frames = tuple(_frames(request.files, chosen, by_frame, names, side, budget))
    views = tuple(
        _output_view(index, output, names, request, number_of.get(frame_of[index] or (-1, -1)), budget)
        for index, output in outputs[:_MOST_OUTPUTS]
    )
    marked = [number for number, frame in enumerate(frames) if frame.marks]
    return SampleView(
        name=clean_line(request.name),
        scope=request.scope,
        files=len(request.files),
        seconds=check.seconds if check else 0.0,
        outcome=check.outcome if check else "failed",
        message=clean_line(check.message) if check else "not sent",
        problems=check.problems if check else (),
        frames=frames,
        all_frames=sum(file.frames for file in request.files),
        first=marked[len(marked) // 2] if marked else len(frames) // 2,
        outputs=views,
        more_outputs=max(0, len(outputs) - _MOST_OUTPUTS),
    )


def _is_map(output: Any) -> bool:
    return isinstance(output, Mapping)


_Key = tuple[int, int]
"""The place of a file among those of its request, and a frame of it."""
_Outputs = Sequence[tuple[int, Mapping[str, Any]]]


def _placed(
    files: Sequence[InputFile], outputs: _Outputs
) -> tuple[dict[_Key, list[tuple[int, Mapping[str, Any]]]], dict[int, _Key | None]]:
    """The outputs by the frame that they name, and the frame of each; None where it names a series or a study."""
    place = {id(file): number for number, file in enumerate(files)}
    by_frame: dict[_Key, list[tuple[int, Mapping[str, Any]]]] = {}
    frame_of: dict[int, _Key | None] = {}
    for index, output in outputs:
        meant = files_meant(files, output)
        number = output.get("frame_number")
        frame_of[index] = None
        if len(meant) == 1 and (output.get("instance_uid") or len(files) == 1):
            key = (place[id(meant[0])], number if isinstance(number, int) and 0 <= number < meant[0].frames else 0)
            frame_of[index] = key
            by_frame.setdefault(key, []).append((index, output))
    return by_frame, frame_of


def _chosen(request: SmokeRequest, by_frame: Mapping[_Key, Any]) -> list[_Key]:
    """The frames that a page shows: all of a series, as far as there are not too many; then evenly spread ones."""
    most = MOST_OWN_FRAMES if request.required else MOST_FRAMES
    every = [(place, frame) for place, file in enumerate(request.files) for frame in range(min(file.frames, 100_000))]
    if len(every) <= most:
        return every
    wanted = [key for key in every if key in by_frame]
    if len(wanted) > most // 2:
        wanted = _spread(wanted, most // 2)
    return sorted({*wanted, *_spread(every, most - len(wanted))})


def _spread(keys: Sequence[_Key], count: int) -> list[_Key]:
    if count <= 1:
        return [keys[len(keys) // 2]][:count]
    return [keys[round(place * (len(keys) - 1) / (count - 1))] for place in range(count)]


def _frames(
    files: Sequence[InputFile],
    chosen: Sequence[_Key],
    by_frame: Mapping[_Key, _Outputs],
    names: Mapping[str, str],
    side: int,
    budget: Budget,
) -> Iterator[FrameView]:
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
            tuple(index for index, _ in found if index < _MOST_OUTPUTS),
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
    return budget.take(*_encoded(picture, side)), clean_line(how)


def _encoded(picture: Image.Image, side: int) -> tuple[bytes, str]:
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


def _marks(found: _Outputs, file: InputFile, names: Mapping[str, str], budget: Budget) -> Iterator[Mark]:
    # Masks lie below what has no area.
    order = sorted(found, key=lambda entry: data_kind(entry[1].get("data")) != "mask")
    for index, output in order[:_MOST_MARKS]:
        try:
            yield from _mark(index, output, file, _title(output, names), budget)
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


def _class_names(request: SmokeRequest) -> dict[str, str]:
    """The names of the user's own label classes; the ones made for synthetic samples say nothing."""
    if not request.own_labels:
        return {}
    return {
        str(entry.get("class_index")): clean_line(str((entry.get("label") or {}).get("name", "")))[:80]
        for entry in request.label_classes
    }


def _title(output: Mapping[str, Any], names: Mapping[str, str]) -> str:
    index = output.get("class_index")
    if index is None:
        return "no class"
    name = names.get(str(index)[:40])
    return f"class {str(index)[:12]}" + (f", {name}" if name else "")


def _output_view(
    number: int,
    output: Mapping[str, Any],
    names: Mapping[str, str],
    request: SmokeRequest,
    frame: int | None,
    budget: Budget,
) -> OutputView:
    images, more = _images(output, budget)
    return OutputView(
        number=number,
        colour=colour_number(output.get("class_index")),
        title=_title(output, names),
        kind=" ".join(filter(None, (clean_line(str(output.get("type")))[:12], _kind_text(output.get("data"))))),
        place=_place(output, request),
        frame=frame,
        bars=tuple(_bars(output.get("probability"), names)),
        note=_note(output.get("note")),
        images=images,
        more_images=more,
        text=clean(json_text(_short(output)))[:_MOST_JSON],
    )


def _kind_text(data: Any) -> str:
    kind = data_kind(data)
    if kind == "mask" and isinstance(data["mask"], Sequence) and data["mask"]:
        first = data["mask"][0]
        return f"mask, {len(data['mask'])} x {len(first) if isinstance(first, Sequence) else '?'}"
    if kind == "vertices" and isinstance(data["vertices"], Sequence):
        return f"{len(data['vertices'])} vertices"
    if kind == "frames":
        return clean_line(f"frames {data.get('start_frame_number')} to {data.get('end_frame_number')}")[:60]
    return kind or ""


def _place(output: Mapping[str, Any], request: SmokeRequest) -> str:
    meant = files_meant(request.files, output)
    number = output.get("frame_number")
    frame = f", frame {str(number)[:8]}" if number is not None else ""
    if output.get("instance_uid"):
        return (clean_line(meant[0].name) if len(meant) == 1 else "an image that was not sent") + frame
    whole = "series" if output.get("series_uid") else "study" if output.get("study_uid") else "request"
    return f"the {whole}, {len(meant)} file{'s' if len(meant) != 1 else ''}{frame}"


def _bars(probability: Any, names: Mapping[str, str]) -> Iterator[Bar]:
    if isinstance(probability, (int, float)) and not isinstance(probability, bool):
        yield _bar("probability", probability)
    elif isinstance(probability, Sequence) and not isinstance(probability, (str, bytes)):
        entries = [entry for entry in probability if isinstance(entry, Mapping)]
        for entry in entries[:_MOST_BARS]:
            value = entry.get("probability")
            if isinstance(value, (int, float)):
                yield _bar(_title(entry, names), value)


def _bar(label: str, value: float) -> Bar:
    share = min(max(float(value), 0.0), 1.0) if value == value else 0.0
    return Bar(label, share, f"{value:.3f}" if abs(value) < 1e6 else "out of bounds")


def _note(note: Any) -> str:
    if note in (None, ""):
        return ""
    return clean(note if isinstance(note, str) else json_text(note))[:2000]


def _images(output: Mapping[str, Any], budget: Budget) -> tuple[tuple[ImageView, ...], int]:
    """Explanations, and images that the model made, and how many more there are than are shown."""
    contents = list(_contents(output))
    views = []
    for name, description, content in contents[:_MOST_IMAGES]:
        address, how = "", "not shown: the page holds as many pictures as a browser likes"
        if not budget.spent:
            try:
                if len(content) > _MAX_EXTRA_BYTES:
                    raise NotDrawableError(f"{len(content)} bytes are too many")
                picture, how = render(content)
                address = budget.take(*_encoded(picture, _EXTRA_SIDE))
            except (NotDrawableError, OSError) as error:
                how = f"not shown: {error}"
        views.append(ImageView(clean_line(name)[:120], clean(description)[:600], address, clean_line(how)[:200]))
    return tuple(views), max(0, len(contents) - _MOST_IMAGES)


def _contents(output: Mapping[str, Any]) -> Iterator[tuple[str, str, bytes]]:
    explanations, images = output.get("explanations"), output.get("images")
    for number, entry in enumerate(explanations if isinstance(explanations, (list, tuple)) else ()):
        if isinstance(entry, Mapping) and isinstance(entry.get("content"), bytes) and entry["content"]:
            name = str(entry.get("name") or f"explanation {number}")
            yield name, str(entry.get("description") or ""), entry["content"]
    for number, entry in enumerate(images if isinstance(images, (list, tuple)) else ()):
        if isinstance(entry, bytes):
            yield f"image {number}", "", entry


def _short(value: Any, depth: int = 0) -> Any:
    """A value from msgpack with its long parts told by their length."""
    if isinstance(value, (bytes, bytearray)):
        return f"({len(value)} bytes)"
    if isinstance(value, str):
        return value if len(value) <= 300 else value[:300] + "…"
    if isinstance(value, Mapping):
        if depth > 5:
            return "{…}"
        return {str(key)[:80]: _short(entry, depth + 1) for key, entry in list(value.items())[:40]}
    if isinstance(value, (list, tuple)):
        if depth > 5:
            return "[…]"
        if len(value) > 12:
            return [*(_short(entry, depth + 1) for entry in value[:3]), f"… {len(value)} in all"]
        return [_short(entry, depth + 1) for entry in value]
    return value
