"""Sends the same requests many times, and notes what each step took of time and memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mdai_build.engine.target import Target
from mdai_build.errors import Problem
from mdai_build.smoke.client import Client, Reply
from mdai_build.smoke.plan import SmokePlan
from mdai_build.smoke.request import RequestBody, SmokeRequest
from mdai_build.smoke.result import Check
from mdai_build.smoke.run import Run
from mdai_build.smoke.session import StopError

STEPS = ("decode", "predict", "check", "encode")
"""What the server does with a request, in this order; `check` holds the outputs against the interface."""


@dataclass(frozen=True)
class Measurement:
    """One answer. Seconds are wall time; bytes of memory are the most that were in use during a step."""

    request: str
    seconds: float
    """As the client sees it, from the first byte sent to the last one received."""
    steps: Mapping[str, float] = field(default_factory=dict)
    """Seconds by step; empty for a server of other make."""
    peak: Mapping[str, int] = field(default_factory=dict)
    """Bytes of the model's process, by step."""
    gpu: Mapping[str, int] = field(default_factory=dict)
    """Bytes in use on all GPUs, whoever uses them, by step; empty where there is none."""
    sent_bytes: int = 0
    answer_bytes: int = 0


@dataclass(frozen=True)
class ProfileResult:
    """All that was measured; `first` is the first answer, which pays for what later ones find done."""

    checks: tuple[Check, ...]
    first: Measurement | None = None
    later: tuple[Measurement, ...] = ()
    load_seconds: float | None = None
    peak_memory: int | None = None
    """Of the container, or of the processes; in bytes."""

    @property
    def passed(self) -> bool:
        """Whether everything was answered."""
        return all(check.passed for check in self.checks)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Why it failed; empty when it did not."""
        return tuple(problem for check in self.checks if not check.passed for problem in check.problems)


def run_profile(
    target: Target,
    plan: SmokePlan,
    count: int,
    on_check: Callable[[Check], None],
    on_measured: Callable[[int], None],
) -> ProfileResult:
    """Sends `count` requests to a served model, after one of each that is not counted.

    The user's own samples take turns. Of the synthetic ones the first is taken that the model answers with outputs.
    """
    with Client(target.url) as client:
        run = Run(target, plan, client, on_check)
        first: Measurement | None = None
        later: list[Measurement] = []
        try:
            run.wait_until_ready()
            run.tell_left_out()
            chosen, first = _choose(run)
            for number in range(count if chosen else 0):
                request = chosen[number % len(chosen)]
                later.append(_measurement(request, run.post_again(request, measure=True)))
                on_measured(number + 1)
        except StopError:
            pass
        result = run.result()
    return ProfileResult(result.checks, first, tuple(later), result.load_seconds, result.peak_memory)


def _choose(run: Run) -> tuple[Sequence[SmokeRequest], Measurement | None]:
    """What is to be sent again and again, each sent once by now; and the first answer to any of it."""
    first: dict[str, Measurement] = {}
    chosen: list[SmokeRequest] = []
    empty: list[SmokeRequest] = []
    for request in run.plan.requests:
        replies: list[Reply] = []
        run.send(request, replies.append)
        answer = run.answers.pop() if run.answers else None
        if answer is None or not answer.valid:
            continue
        first[request.name] = _measurement(request, replies[0])
        (chosen if answer.outputs or request.required else empty).append(request)
        if chosen and not request.required:
            break
    chosen = chosen or empty[:1]
    if not chosen:
        run.judge()
        return (), None
    return chosen, first[chosen[0].name]


def _measurement(request: SmokeRequest, reply: Reply) -> Measurement:
    told = read_timing(reply.timing)

    def of(name: str, factor: float = 1.0) -> dict[str, float]:
        return {step: told[step][name] * factor for step in STEPS if name in told.get(step, {})}

    return Measurement(
        request.name,
        reply.seconds,
        of("dur", 0.001),
        {step: int(value) for step, value in of("peak").items()},
        {step: int(value) for step, value in of("gpu").items()},
        len(RequestBody(request)),
        len(reply.body),
    )


def read_timing(header: str) -> dict[str, dict[str, float]]:
    """The numbers of a Server-Timing header by entry and name; what is none is left out."""
    found: dict[str, dict[str, float]] = {}
    for entry in header.split(","):
        name, *parts = entry.strip().split(";")
        numbers = found.setdefault(name.strip(), {})
        for part in parts:
            key, _, value = part.partition("=")
            try:
                number = float(value)
            except ValueError:
                continue
            if math.isfinite(number) and number >= 0:
                numbers[key.strip()] = number
    return found


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
