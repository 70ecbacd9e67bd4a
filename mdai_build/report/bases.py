"""Base images, for people: a table of what is where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from mdai_build.report.terminal import console, table
from mdai_build.report.text import clean_line, size

if TYPE_CHECKING:
    from mdai_build.report.values import BaseState


def print_bases(states: Sequence[BaseState], to_stderr: bool = False) -> None:
    """Prints a line for each base image."""
    on = console(to_stderr)
    rows = table("base image", "here", "size", "registry", "parent")
    for state in states:
        here = "yes" if state.here else "without server" if state.size_bytes is not None else "no"
        rows.add_row(
            Text(state.tag),
            Text(here),
            Text(size(state.size_bytes) if state.size_bytes is not None else ""),
            Text({True: "yes", False: "no", None: "not asked"}[state.in_registry]),
            Text(clean_line(state.parent) + ("" if state.parent_here else " (not here)")),
        )
    on.print(rows)
