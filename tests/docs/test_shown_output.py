"""What a page shows of an output is held against what was printed."""

from __future__ import annotations

import pytest
from harness.pages import shows

PRINTED = """\
    0.1 s  checking the bundle
bundle  body (folder, 7 files, 4.08 kB)
image   sha256:7e7812a86cdf46e77ee03a98413a64d51dae6ed61ff43b987784e8cd5db20401

warning[MB211]: `mask` is a value of numpy
built and tested in 1.6 s: body:1
"""


@pytest.mark.parametrize(
    "shown",
    [
        PRINTED,
        "bundle body (folder, 7 files, 9.9 kB)\nimage sha256:0123456789abcdef\n...\nbuilt and tested in 12 s: body:1\n",
        "...\nwarning[MB211]: `mask` is ...\nbuilt and tested in 1.6 s: body:1\n",
        "...\n",
    ],
)
def test_what_is_shown_was_printed(shown: str) -> None:
    assert shows(shown, PRINTED)


@pytest.mark.parametrize(
    "shown",
    [
        "",
        PRINTED.replace("7 files", "8 files"),
        PRINTED.replace("MB211", "MB212"),
        PRINTED.replace("body:1", "body:2"),
        "built and tested in 1.6 s: body:1\n...\n",
        PRINTED + "one more line\n",
    ],
)
def test_what_was_not_printed_is_found(shown: str) -> None:
    assert not shows(shown, PRINTED)
