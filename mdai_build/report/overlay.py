"""Draws one output's annotation on a picture: masks, boxes, vertices, points. Hostile values are bounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from mdai_build.smoke.answers import data_kind

Colour = tuple[int, int, int]
Area = npt.NDArray[np.bool_]

# Told apart by people with colour blindness too, and visible on black, grey and white (after Okabe and Ito).
PALETTE: tuple[Colour, ...] = (
    (255, 176, 0),
    (86, 180, 233),
    (0, 200, 140),
    (240, 80, 60),
    (225, 120, 200),
    (240, 228, 66),
    (120, 140, 255),
    (160, 230, 90),
)
MOST_VERTICES = 20_000
MASK_OPACITY = 0.38


NO_CLASS: Colour = (200, 200, 200)


def colour_number(class_index: Any) -> int:
    """The place of a class's colour in the palette, always the same; beyond its end for what is no class."""
    return class_index % len(PALETTE) if isinstance(class_index, int) else len(PALETTE)


def class_colour(class_index: Any) -> Colour:
    """The colour of a class, always the same."""
    return (*PALETTE, NO_CLASS)[colour_number(class_index)]


def draw_output(picture: Image.Image, output: Mapping[str, Any], rows: int, columns: int) -> Image.Image:
    """The picture with the output's annotation on it, if it has one that can be drawn.

    `rows` and `columns` are the size of the input, to whose pixels coordinates refer.
    """
    data = output.get("data")
    kind = data_kind(data)
    colour = class_colour(output.get("class_index"))
    if kind is None or not isinstance(data, Mapping):
        return picture
    if kind == "mask":
        return _draw_mask(picture, data["mask"], colour)
    scale = (picture.width / max(columns, 1), picture.height / max(rows, 1))
    draw = ImageDraw.Draw(picture)
    if kind == "box":
        x, y, width, height = (bounded(data.get(key)) for key in ("x", "y", "width", "height"))
        left, top = _place(x, y, scale)
        right, bottom = _place(x + max(width, 0), y + max(height, 0), scale)
        _outlined(draw.rectangle, (left, top, max(right, left), max(bottom, top)), colour)
    elif kind == "location":
        x, y = _place(bounded(data.get("x")) + 0.5, bounded(data.get("y")) + 0.5, scale)
        for radius, width, ink in ((9, 5, (0, 0, 0)), (9, 3, colour)):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=ink, width=width)
        draw.line((x - 15, y, x + 15, y), fill=colour, width=1)
        draw.line((x, y - 15, x, y + 15), fill=colour, width=1)
    elif kind == "vertices":
        points = [
            _place(bounded(point[0]), bounded(point[1]), scale)
            for point in data["vertices"][:MOST_VERTICES]
            if isinstance(point, Sequence) and len(point) == 2
        ]
        closed = [*points, points[0]] if len(points) > 2 else points
        if len(points) > 1:
            draw.line(closed, fill=(0, 0, 0), width=5, joint="curve")
            draw.line(closed, fill=colour, width=3, joint="curve")
        for x, y in points[:: max(1, len(points) // 64)]:
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour)
    return picture


def mask_area(mask: Any, size: tuple[int, int]) -> tuple[Area, Area] | None:
    """What a mask covers, and of that what lies more than 2 pixels inside, at a size of (columns, rows).

    A mask of numbers from 0 to 1 that are not all whole is cut at a half. None: it is no mask.
    """
    values = np.asarray(mask)
    if values.ndim != 2 or values.dtype.kind not in "biuf" or values.size == 0:
        return None
    inside = values >= 0.5 if values.dtype.kind == "f" and values.max() <= 1 else values > 0
    stencil = Image.fromarray(inside.astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST)
    area = np.asarray(stencil) > 0
    core = area.copy()
    for axis in (0, 1):
        for step in (-1, 1, -2, 2):
            core &= np.roll(area, step, axis=axis)
    return area, core


def _draw_mask(picture: Image.Image, mask: Any, colour: Colour) -> Image.Image:
    found = mask_area(mask, picture.size)
    if found is None:
        return picture
    area, core = found
    pixels = np.asarray(picture).astype(np.float64)
    ink = np.array(colour, dtype=np.float64)
    pixels[core] = (1 - MASK_OPACITY) * pixels[core] + MASK_OPACITY * ink
    pixels[area & ~core] = ink
    return Image.fromarray(pixels.astype(np.uint8))


def _outlined(shape: Any, corners: tuple[float, float, float, float], colour: Colour) -> None:
    """A shape in its colour between dark lines, so that it shows on any ground."""
    left, top, right, bottom = corners
    shape((left - 2, top - 2, right + 2, bottom + 2), outline=(0, 0, 0), width=5)
    shape((left - 1, top - 1, right + 1, bottom + 1), outline=colour, width=3)


def _place(x: float, y: float, scale: tuple[float, float]) -> tuple[float, float]:
    return x * scale[0], y * scale[1]


def bounded(value: Any) -> float:
    """A coordinate that Pillow can take: anything else counts as 0, far away is cut off."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        return 0.0
    return float(min(max(value, -20_000), 20_000))
