"""A picture in the terminal: each way decoded again, as a terminal would."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mdai_build.report.inline import inline_picture, side_of, way_of


@pytest.fixture
def picture() -> Image.Image:
    pixels = np.zeros((30, 44, 3), dtype=np.uint8)
    pixels[:15, :20] = (250, 0, 0)
    pixels[15:, 20:] = (0, 0, 250)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("environment", "way"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm"),
        ({"TERM": "foot"}, "sixel"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "blocks"),
        ({"TERM": "tmux-256color", "COLORTERM": "truecolor", "TMUX": "x", "TERM_PROGRAM": "iTerm.app"}, "blocks"),
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "dumb", "COLORTERM": "truecolor"}, None),
        ({"COLORTERM": "truecolor"}, None),
        ({"TERM": "xterm-kitty", "NO_COLOR": "1"}, None),
    ],
)
def test_what_a_terminal_can(environment: dict[str, str], way: str | None) -> None:
    assert way_of(environment) == way


def same(found: np.ndarray[Any, Any], picture: Image.Image, slack: int = 0) -> bool:
    return bool(np.abs(found.astype(int) - np.asarray(picture).astype(int)).max() <= slack)


def test_kitty(picture: Image.Image) -> None:
    # Noise does not fit into one piece.
    pixels = np.random.default_rng(1).integers(0, 255, (60, 60, 3)).astype(np.uint8)
    for one in (picture, Image.fromarray(pixels)):
        pieces = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", inline_picture(one, "kitty"))
        assert pieces[0][0].startswith("a=T,f=100")
        assert [keys[-1] for keys, _ in pieces] == ["1"] * (len(pieces) - 1) + ["0"]
        assert all(len(content) <= 4096 for _, content in pieces)
        with Image.open(io.BytesIO(base64.b64decode("".join(content for _, content in pieces)))) as shown:
            assert same(np.asarray(shown), one)
    assert len(pieces) > 1


def test_iterm(picture: Image.Image) -> None:
    found = re.fullmatch(r"\x1b\]1337;File=([^:]*):(.*)\x07\n", inline_picture(picture, "iterm"))
    assert found is not None and "inline=1" in found[1]
    with Image.open(io.BytesIO(base64.b64decode(found[2]))) as shown:
        assert same(np.asarray(shown), picture)


def test_sixel(picture: Image.Image) -> None:
    found = re.fullmatch(r'\x1bPq"1;1;(\d+);(\d+)(.*)\x1b\\\n', inline_picture(picture, "sixel"))
    assert found is not None
    shown = np.zeros((36, int(found[1]), 3), dtype=np.uint8)
    palette: dict[int, list[float]] = {}
    colour, row, column = 0, 0, 0
    for number, values, count, sign, motion in re.findall(r"#(\d+)((?:;\d+)*)|(?:!(\d+))?([?-~])|([$-])", found[3]):
        if number:
            colour = int(number)
            if values:
                palette[colour] = [float(value) * 2.55 for value in values.split(";")[2:]]
        elif motion:
            column, row = 0, row + (6 if motion == "-" else 0)
        else:
            width = int(count or 1)
            for bit in range(6):
                if ord(sign) - 63 & 1 << bit:
                    shown[row + bit, column : column + width] = palette[colour]
            column += width
    assert same(shown[: int(found[2])], picture, slack=4)


def test_half_blocks(picture: Image.Image) -> None:
    lines = inline_picture(picture, "blocks").splitlines()
    assert len(lines) == picture.height // 2 and all(line.endswith("\x1b[0m") for line in lines)
    rows = []
    for line in lines:
        places = re.findall(r"38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m▀", line)
        values = np.array(places, dtype=int)
        rows += [values[:, :3], values[:, 3:]]
    assert same(np.array(rows), picture)
    assert side_of("blocks") <= 80
