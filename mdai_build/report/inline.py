"""A small picture in the terminal, where it can show one: by kitty's, iTerm2's or sixel's words, else by half blocks.

Sources: kitty's graphics protocol; iTerm2's inline images; DEC STD 070 for sixel.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
from PIL import Image

Way = Literal["kitty", "iterm", "sixel", "blocks"]

_CHUNK = 4096
_COLUMNS = 44
_SIDE = 400
_COLOURS = 64
_SIXEL_TERMINALS = ("foot", "mlterm", "contour", "yaft")


def way_of(environment: Mapping[str, str]) -> Way | None:
    """How this terminal shows pictures, as far as its variables tell; None: it does not.

    A multiplexer (tmux, screen) between us and the terminal passes colours on, and no pictures.
    """
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if environment.get("NO_COLOR") or term in ("", "dumb"):
        return None
    if not environment.get("TMUX") and not term.startswith(("screen", "tmux")):
        if "kitty" in term or environment.get("KITTY_WINDOW_ID") or program == "ghostty":
            return "kitty"
        if program in ("iTerm.app", "WezTerm") or environment.get("LC_TERMINAL") == "iTerm2":
            return "iterm"
        if term.startswith(_SIXEL_TERMINALS):
            return "sixel"
    return "blocks" if environment.get("COLORTERM", "").lower() in ("truecolor", "24bit") else None


def side_of(way: Way) -> int:
    """How many pixels the longer side of a picture may have."""
    return _COLUMNS if way == "blocks" else _SIDE


def inline_picture(picture: Image.Image, way: Way) -> str:
    """The words that have the terminal show the picture, with the line's end after it."""
    if way == "kitty":
        return "".join(_kitty(_png(picture))) + "\n"
    if way == "iterm":
        content = _png(picture)
        encoded = base64.b64encode(content).decode("ascii")
        words = f"inline=1;size={len(content)};width={picture.width}px;height={picture.height}px"
        return f"\x1b]1337;File={words}:{encoded}\x07\n"
    return _sixel(picture) + "\n" if way == "sixel" else _blocks(picture)


def _png(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def _kitty(content: bytes) -> Iterator[str]:
    encoded = base64.b64encode(content).decode("ascii")
    for begin in range(0, len(encoded), _CHUNK):
        first = "a=T,f=100,q=2," if begin == 0 else ""
        more = int(begin + _CHUNK < len(encoded))
        yield f"\x1b_G{first}m={more};{encoded[begin : begin + _CHUNK]}\x1b\\"


def _sixel(picture: Image.Image) -> str:
    reduced = picture.convert("RGB").quantize(_COLOURS)
    pixels = np.asarray(reduced)
    palette = reduced.getpalette() or []
    words = [f'\x1bPq"1;1;{reduced.width};{reduced.height}']
    used = [int(colour) for colour in np.unique(pixels)]
    for colour in used:
        red, green, blue = (round(value / 2.55) for value in palette[3 * colour : 3 * colour + 3])
        words.append(f"#{colour};2;{red};{green};{blue}")
    for top in range(0, reduced.height, 6):
        band = pixels[top : top + 6]
        weights = 1 << np.arange(len(band))
        rows = []
        for colour in used:
            bits = ((band == colour) * weights[:, None]).sum(axis=0)
            if bits.any():
                rows.append(f"#{colour}" + "".join(_runs(bits.tolist())))
        words.append("$".join(rows) + "-")
    return "".join(words) + "\x1b\\"


def _runs(bits: list[int]) -> Iterator[str]:
    begin = 0
    while begin < len(bits):
        end = begin
        while end < len(bits) and bits[end] == bits[begin]:
            end += 1
        sign, count = chr(63 + bits[begin]), end - begin
        yield f"!{count}{sign}" if count > 3 else sign * count
        begin = end


def _blocks(picture: Image.Image) -> str:
    """Two pixels in each place of the terminal: the upper one as the block's colour, the lower one behind it."""
    pixels = np.asarray(picture.convert("RGB")).tolist()
    lines = []
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=False):
        line = "".join(
            f"\x1b[38;2;{a[0]};{a[1]};{a[2]};48;2;{b[0]};{b[1]};{b[2]}m▀" for a, b in zip(upper, lower, strict=True)
        )
        lines.append(f"{line}\x1b[0m\n")
    return "".join(lines)
