"""What a smoke test found: its checks, the answers it got, and what it measured."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Literal

from mdai_build.errors import Location, Problem
from mdai_build.smoke.gpu import GpuResult
from mdai_build.smoke.request import SmokeRequest

_MOST_NAMED = 3
_MISSING_KEY = re.compile(r"the key `\w+` is missing")
_LINE_OF_CODE = re.compile(r'File "[^"\n]*", line \d+, in .*')

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
    gpu: GpuResult | None = None
    """None for a model that asks for no GPU."""

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return all(check.passed for check in self.checks)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Why it failed, the same mistake once; empty when it passed. `checks` has each with its sample."""
        return _grouped(self._of("failed"))

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is dubious and no failure, the same once, without what is a failure elsewhere."""
        failures = {mistake(problem) for problem in self._of("failed")}
        return _grouped([problem for problem in self._of("warning") if mistake(problem) not in failures])

    def _of(self, outcome: Outcome) -> list[Problem]:
        return [problem for check in self.checks if check.outcome == outcome for problem in check.problems]


def mistake(problem: Problem) -> tuple[str, str]:
    """What makes two problems the same mistake: the kind, and the place in the outputs, in the code, or the words."""
    if problem.code == "smoke.predict-raised" and (lines := _LINE_OF_CODE.findall(problem.details or "")):
        return problem.code, lines[-1]
    if problem.where is not None and problem.where.key is not None:
        # Two keys that are missing have one place.
        missing = _MISSING_KEY.search(problem.what)
        return problem.code, re.sub(r"\[\d+\]", "[]", problem.where.key) + (missing.group() if missing else "")
    return problem.code, problem.what


def _grouped(problems: list[Problem]) -> tuple[Problem, ...]:
    groups: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        groups.setdefault(mistake(problem), []).append(problem)
    return tuple(_together(members) for members in groups.values())


def _sample(where: Location) -> str:
    """The sample of a problem: beside a line of code it is the key."""
    return where.key if where.key is not None and where.key.startswith("sample ") else where.file


def _together(members: list[Problem]) -> Problem:
    first = members[0]
    samples = dict.fromkeys(_sample(member.where) for member in members if member.where is not None)
    others = [name.removeprefix("sample ") for name in samples][1:]
    if others:
        more = f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
        return replace(first, what=f"{first.what}; the same with {', '.join(others[:_MOST_NAMED])}{more}")
    if len(members) > 1:
        return replace(first, what=f"{first.what}; the same at {len(members) - 1} other places")
    return first
