"""The line of a failed step's log that says why; installers and compilers write it among hundreds of others."""

from __future__ import annotations

import re

_LONGEST = 300
# The first of these that is found anywhere counts; "first" or "last": which of its lines.
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"^[\w.]*(?:Error|Exception|NotFound)(?:: .*)?$"), "last"),  # the end of Python's traceback
    (re.compile(r"^(?:\S+: )?fatal(?: error)?: ", re.IGNORECASE), "first"),  # git, compilers
    (re.compile(r"^(?:.*: )?error(?:\[\w+\])?: ", re.IGNORECASE), "first"),  # uv, pip, gcc, cargo
    (re.compile(r"^\s*[×╰─▶]+ "), "first"),  # uv's explanations
    (re.compile(r"^E: "), "first"),  # apt
    (re.compile(r"command not found|: not found$|No such file or directory|Permission denied|cannot "), "last"),
)


def line_that_matters(log: str) -> str:
    """The line that tells why a step failed; the last one where none is known to; empty for an empty log."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    for pattern, which in _PATTERNS:
        found = [line for line in lines if pattern.search(line)]
        if found:
            return _cut(found[0 if which == "first" else -1])
    return _cut(lines[-1]) if lines else ""


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."
