"""docs/scoreboard.md is what scripts/scoreboard.py writes of the numbers that stand in it; no fault is among them."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from scoreboard import FAULTS, KINDS, PAGE, Score, page

TEXT = Path(PAGE).read_text(encoding="utf-8")
COLUMNS = ("refused", "accepted", *FAULTS)


def rows() -> list[tuple[str, Score, float]]:
    found = []
    for kind, cells in re.findall(r"^\| (\w+) \| ([\d,| ]+) \|$", TEXT, re.M):
        _, *counts, seconds = (int(cell.replace(",", "")) for cell in cells.split(" | "))
        found.append((kind, Score(Counter(dict(zip(COLUMNS, counts, strict=True)))), float(seconds)))
    return found


def test_the_page_is_as_the_script_writes_it() -> None:
    held_against = re.search(r"held against (.*)\.$", TEXT, re.M)
    assert held_against and page(rows(), held_against[1].split(", ")) == TEXT


def test_every_kind_was_tried_as_often_as_it_is_today_without_a_fault() -> None:
    assert {kind: score.counts.total() for kind, score, _ in rows()} == {kind: each[1] for kind, each in KINDS.items()}
    assert not any(score.counts[fault] for _, score, _ in rows() for fault in FAULTS)
