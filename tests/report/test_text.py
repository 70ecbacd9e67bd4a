from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdai_build.report.text import clean, clean_line, duration, size


@pytest.mark.parametrize(
    ("dirty", "cleaned"),
    [
        ("plain \t text\nsecond", "plain \t text\nsecond"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        ("\x1bPq#0;1\x1b\\sixel", "sixel"),
        ("\x1bcreset", "reset"),
        ("50%\r100%\r\ndone", "50%\n100%\ndone"),
        ("bell\x07 back\x08 nul\x00", "bell\\x07 back\\x08 nul\\x00"),
        ("a\u202eb", "a\\u202eb"),
        ("half \ud800", "half \\ud800"),
        ("naïve 日本 ok", "naïve 日本 ok"),
    ],
)
def test_clean(dirty: str, cleaned: str) -> None:
    assert clean(dirty) == cleaned


def test_clean_line_is_one_line() -> None:
    assert clean_line(" a\n\tb \x1b[2Jc ") == "a b c"


@given(st.text(st.characters(codec=None, categories=None), max_size=60))
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    shown = clean(text)
    assert not any((ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 for c in shown)
    shown.encode("utf-8")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (612_345_678, "612 MB"), (1_234_567_890, "1.23 GB"),
     (5_000_000_000_000, "5000 GB")],
)  # fmt: skip
def test_size(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.0314, "0.031 s"), (4.21, "4.2 s"), (83.4, "83 s")])
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
