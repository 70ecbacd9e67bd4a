"""What `clean` removed, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rich.text import Text

from mdai_build.errors import Problem
from mdai_build.report.terminal import console, print_problems, table
from mdai_build.report.text import clean_line, size

if TYPE_CHECKING:
    from collections.abc import Sequence


class Cleaned(Protocol):
    """One kind of what is kept."""

    @property
    def name(self) -> str: ...
    @property
    def place(self) -> str: ...
    @property
    def bytes_before(self) -> int: ...
    @property
    def outcome(self) -> str: ...
    @property
    def note(self) -> str: ...


def print_cleaned(
    items: Sequence[Cleaned], bytes_removed: int, problems: Sequence[Problem], dry_run: bool, to_stderr: bool = False
) -> None:
    """Prints a line for each kind, and how much was removed."""
    on = console(to_stderr)
    kinds = table("what", "size", "", "where")
    for item in items:
        kinds.add_row(
            Text(item.name),
            size(item.bytes_before) if item.bytes_before else "-",
            Text(item.outcome, style="bold" if item.outcome in ("removed", "would remove") else "dim"),
            Text(clean_line(f"{item.place}{f' ({item.note})' if item.note else ''}")),
        )
    on.print(kinds)
    on.print()
    print_problems(problems, "warning", on)
    verb = "would be removed" if dry_run else "removed"
    on.print(Text(f"{size(bytes_removed)} {verb}", style="bold"))
