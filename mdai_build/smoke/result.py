"""What a smoke test found: its checks, the answers it got, and what it measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from mdai_build.errors import Problem
from mdai_build.smoke.request import SmokeRequest

Outcome = Literal["passed", "warning", "failed"]


@dataclass(frozen=True)
class Check:
    """One thing that was tried."""

    name: str
    outcome: Outcome
    seconds: float
    message: str
    """One line: what was seen."""
    problems: tuple[Problem, ...] = ()
    """Why it failed; with the outcome `warning`, what is dubious."""

    @property
    def passed(self) -> bool:
        """Whether it is no reason to fail the smoke test."""
        return self.outcome != "failed"


@dataclass(frozen=True)
class Answer:
    """A request that the model answered, and its decoded outputs."""

    request: SmokeRequest
    outputs: tuple[Any, ...]
    seconds: float
    valid: bool


@dataclass(frozen=True)
class SmokeResult:
    """All that a smoke test found. Seconds are wall time; memory is in bytes; None is: not measured."""

    checks: tuple[Check, ...]
    answers: tuple[Answer, ...] = ()
    load_seconds: float | None = None
    first_seconds: float | None = None
    """The first answer that the model gave to a request it can handle."""
    later_seconds: float | None = None
    """The median of answers to that same request afterwards."""
    peak_memory: int | None = None
    api_version: str | None = None

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return all(check.passed for check in self.checks)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Why it failed; empty when it passed."""
        return tuple(problem for check in self.checks if check.outcome == "failed" for problem in check.problems)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is dubious and no failure."""
        return tuple(problem for check in self.checks if check.outcome == "warning" for problem in check.problems)
