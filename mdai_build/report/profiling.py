"""A profile told on the terminal: a table, and the answers as a line of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from mdai_build.report.charts import STATISTICS, profile_facts, profile_rows, sparkline
from mdai_build.report.terminal import console, print_facts, print_problems

if TYPE_CHECKING:
    from mdai_build.errors import Problem
    from mdai_build.smoke.profile import ProfileResult


def print_profile(profile: ProfileResult, warnings: Sequence[Problem] = (), to_stderr: bool = False) -> None:
    """Prints what was measured."""
    on = console(to_stderr)
    print_problems(warnings, "warning", on)
    print_problems(profile.problems, "error", on)
    if not profile.later:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("of an answer", no_wrap=True)
    for name in ("first", *(name for name, _ in STATISTICS)):
        table.add_column(name, justify="right", no_wrap=True)
    for row in profile_rows(profile):
        table.add_row(Text(row.name), row.first, *row.values)
    on.print(table)
    on.print()
    rows = [*profile_facts(profile), ("answer by answer", sparkline([found.seconds for found in profile.later]))]
    print_facts(on, rows)
