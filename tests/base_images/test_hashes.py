"""Every package that we pin has its hashes (scripts/pins.py writes them)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mdai_build.resources import resource

PINS = resource("base_images")
FILES = sorted([PINS / "uv.txt", *PINS.glob("preinstalled/*.txt"), *PINS.glob("server/*.txt")])
HASHES = dict(line.split(" ", 1) for line in (PINS / "hashes.txt").read_text().splitlines() if line[0] != "#")


def pins_of(file: Path) -> list[str]:
    lines = (line.split("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_each_pin_has_its_hashes(file: Path) -> None:
    assert pins_of(file)
    for pin in pins_of(file):
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+", pin)
        assert re.fullmatch(r"(?:sha256:[0-9a-f]{64} ?)+", HASHES[pin]), pin


def test_no_hash_is_left_over() -> None:
    assert set(HASHES) == {pin for file in FILES for pin in pins_of(file)}
