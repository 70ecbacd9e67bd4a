"""Text from strangers (logs, names, notes) made safe to show, and numbers made short."""

from __future__ import annotations

import re

# ECMA-48: CSI ... final byte; OSC, DCS, SOS, PM, APC ... up to ST or BEL; other escapes. Both as ESC and as C1.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)
# Controls but tab and newline, and what turns the direction of text around or hides in it.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def clean(text: str) -> str:
    """The text without terminal escape sequences; other control characters become visible, such as `\\x07`.

    Newlines and tabs stay; a carriage return ends a line.
    """
    text = _SEQUENCES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub(_visible, text)


def clean_line(text: str) -> str:
    """The text as one line: `clean`, with newlines and tabs made spaces."""
    return " ".join(clean(text).split())


def _visible(found: re.Match[str]) -> str:
    number = ord(found.group())
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def size(count: int) -> str:
    """Bytes for people, in powers of 1000 as `docker images` shows them: 612 MB."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if value >= 100 or unit == "bytes" else f"{value:.3g} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


def duration(seconds: float) -> str:
    """Seconds for people: 0.031 s, 4.2 s, 83 s."""
    if seconds < 1:
        return f"{seconds:.3f} s"
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds:.0f} s"
