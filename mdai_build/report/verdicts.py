"""The verdicts of `dev` for people: one line each, and of the problems what was not told with the verdict before."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.text import Text

from mdai_build.errors import Problem
from mdai_build.report.terminal import Heading, console, print_problems
from mdai_build.report.text import clean_line
from mdai_build.report.values import Verdict


class VerdictPrinter:
    """Prints the verdicts of one session on standard output."""

    def __init__(self) -> None:
        self._on = console()
        self._errors: tuple[Problem, ...] = ()
        self._warnings: tuple[Problem, ...] = ()
        self._begins = True

    def print(self, verdict: Verdict) -> None:
        """Prints a verdict. Warnings that stay the same are counted, not shown again and again."""
        if self._begins:
            self._errors = ()
        errors = _without(verdict.problems, self._errors)
        warnings = _without(verdict.warnings, self._warnings)
        self._on.print(_line(verdict, len(verdict.warnings) - len(warnings)), soft_wrap=True)
        self._print_problems(warnings, "warning")
        self._print_problems(errors, "error")
        self._errors = (*self._errors, *verdict.problems)
        if verdict.complete:
            self._warnings = verdict.warnings
        self._begins = verdict.complete
        self._on.file.flush()

    def _print_problems(self, problems: Sequence[Problem], heading: Heading) -> None:
        if problems:
            self._on.print()
            print_problems(problems, heading, self._on)


def _line(verdict: Verdict, known_warnings: int) -> Text:
    line = Text(time.strftime("%H:%M:%S  "), style="dim")
    if not verdict.passed:
        line.append("FAILED", style="bold red")
    else:
        line.append("ok", style="bold green")
    if not verdict.complete:
        line.append(" so far")
    line.append(f"  {verdict.seconds:.2f} s")
    if verdict.samples:
        line.append(f"  {verdict.tried} of {verdict.samples} samples")
    if verdict.problems:
        first = verdict.problems[0]
        place = f"{first.where}: " if first.where is not None and first.where.line is not None else ""
        line.append(f"  {clean_line(f'{place}{first.what}')}")
    elif known_warnings:
        line.append(f"  ({known_warnings} warning{'s' if known_warnings > 1 else ''} as before)")
    if verdict.pictures:
        line.append(f"  {len(verdict.pictures)} pictures in {clean_line(str(verdict.pictures[0].parent))}")
    return line


def _without(problems: Sequence[Problem], told: Sequence[Problem]) -> list[Problem]:
    """Those that were not told yet; of the same mistake at more samples, its first words are the same."""
    return [
        problem
        for problem in problems
        if not any(problem.code == other.code and problem.what.startswith(other.what) for other in told)
    ]
