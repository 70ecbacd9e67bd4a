"""What `doctor` found: values, and their report for people and machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rich.text import Text

from mdai_build.errors import Problem
from mdai_build.report.terminal import console, print_problems, print_where_to_read, table
from mdai_build.report.text import clean_line

if TYPE_CHECKING:
    from mdai_build.documents.machine import DoctorDocument

HealthOutcome = Literal["ok", "warning", "missing", "skipped"]
_STYLES = {"ok": "green", "warning": "yellow", "missing": "bold red", "skipped": "dim"}


@dataclass(frozen=True)
class HealthCheck:
    """One thing that builds depend on."""

    name: str
    outcome: HealthOutcome
    """`missing`: nothing can be built without it."""
    message: str
    seconds: float = 0.0
    problem: Problem | None = None
    """What is wrong, and the command that mends it."""


@dataclass(frozen=True)
class Health:
    """What builds depend on, on this machine."""

    checks: tuple[HealthCheck, ...]
    seconds: float

    @property
    def exit_code(self) -> int:
        """0 when builds can work, else 5."""
        return 5 if any(check.outcome == "missing" for check in self.checks) else 0


def health_as_json(health: Health) -> DoctorDocument:
    """The findings as JSON-ready values."""
    return {
        "format": 1,
        "exit_code": health.exit_code,
        "checks": [
            {
                "name": check.name,
                "outcome": check.outcome,
                "message": check.message,
                "seconds": round(check.seconds, 3),
                "problem": check.problem.as_json() if check.problem else None,
            }
            for check in health.checks
        ],
        "seconds": round(health.seconds, 3),
    }


def print_health(health: Health, to_stderr: bool = False) -> None:
    """Prints the findings: a line each, then what is wrong and how to mend it."""
    on = console(to_stderr)
    checks = table("check", "", "")
    for check in health.checks:
        checks.add_row(
            Text(check.name), Text(check.outcome, style=_STYLES[check.outcome]), Text(clean_line(check.message))
        )
    on.print(checks)
    missing = _problems(health.checks, "missing")
    dubious = _problems(health.checks, "warning")
    if missing or dubious:
        on.print()
    print_problems(dubious, "warning", on)
    print_problems(missing, "error", on)
    print_where_to_read(on, (*missing, *dubious))
    on.print()
    if health.exit_code:
        on.print(Text(f"{len(missing)} of what builds need is missing", style="bold red"))
    else:
        on.print(Text("this machine can build and test models", style="bold green"))


def _problems(checks: Sequence[HealthCheck], outcome: HealthOutcome) -> list[Problem]:
    return [check.problem for check in checks if check.problem is not None and check.outcome == outcome]
