"""What BuildKit's plain progress tells of a build: its steps, their seconds and their logs.

`steps.StepReader` reads the same lines for what is on the move; this keeps what a report and a failure need.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mdai_build.engine.steps import ShowsSteps, StepReader

_VERTEX = re.compile(r"^#(\d+) (.*)$")
_DONE = re.compile(r"^DONE (\d+(?:\.\d+)?)s$")
_LOG = re.compile(r"^(\d+\.\d+) (.*)$")
_FLAG = re.compile(r"--(?:mount|link|chown|from)(?:=\S+)? ")
_STAGE = re.compile(r"^\[(\S+)(?: +\d+/\d+)?\] ")
_NOT_TOLD = ("[internal]", "[auth]")
"""How the names of steps begin that are of no interest."""
_WORTH_TELLING_SECONDS = 0.05
_KEPT_LINES = 20_000


@dataclass(frozen=True)
class Stage:
    """One stage of the Dockerfile, or the export of the image; its steps' seconds added up."""

    name: str
    seconds: float
    cached: bool
    """Whether every step of it came from the cache."""


@dataclass(frozen=True)
class Step:
    """One step of a build, in wall seconds since the build began."""

    name: str
    start: float
    end: float


@dataclass
class Progress:
    """What BuildKit's plain progress has told so far."""

    names: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)
    """When each vertex began and ended, by time.monotonic(); BuildKit tells the seconds at the end."""
    cached: set[str] = field(default_factory=set)
    logs: dict[str, list[str]] = field(default_factory=dict)
    failed: str | None = None
    rest: list[str] = field(default_factory=list)

    def read(self, line: str) -> str | None:
        """Takes one line; gives the name of the step that it starts, if it starts one."""
        match = _VERTEX.match(line)
        if not match:
            self.rest = [*self.rest[-_KEPT_LINES:], line]
            return None
        vertex, text = match.groups()
        if vertex not in self.names:
            self.names[vertex] = readable_step(text)
            return self.names[vertex] if vertex != "0" else None
        if done := _DONE.match(text):
            seconds, now = float(done.group(1)), time.monotonic()
            self.seconds[vertex] = self.seconds.get(vertex, 0.0) + seconds
            self.spans[vertex] = (self.spans.get(vertex, (now - seconds, now))[0], now)
        elif text == "CACHED":
            self.cached.add(vertex)
        elif text.startswith("ERROR: "):
            self.failed = vertex
            if not (text.startswith("ERROR: process ") and self.logs.get(vertex)):  # the step's own log says more
                self.logs.setdefault(vertex, []).append(text)
        elif printed := _LOG.match(text):
            lines = self.logs.setdefault(vertex, [])
            lines += printed.group(2).rstrip("\r").split("\r")
            del lines[:-_KEPT_LINES]
        return None

    def steps(self, begun: float) -> tuple[Step, ...]:
        """What took time; `begun` is when the build began, by time.monotonic().

        Of BuildKit's own steps the sending of the build context alone.
        """
        found = []
        for vertex, name in self.names.items():
            if name.startswith(_NOT_TOLD) and "load build context" not in name:
                continue
            start, end = self.spans.get(vertex, (None, None))
            if start is not None and end is not None and end - start >= _WORTH_TELLING_SECONDS:
                found.append(Step(name.removeprefix("[internal] "), max(0.0, start - begun), end - begun))
        return tuple(sorted(found, key=lambda step: step.start))

    def stages(self) -> tuple[Stage, ...]:
        """The Dockerfile's stages and the export, in the order in which they began."""
        stages: dict[str, Stage] = {}
        for vertex, step in self.names.items():
            if vertex not in self.seconds and vertex not in self.cached:
                continue
            if step.startswith("exporting"):
                name = "export"
            elif (match := _STAGE.match(step)) and match.group(1) not in ("internal", "auth"):
                name = match.group(1)
            else:
                continue
            # FROM is never "CACHED", though nothing is done for it when the parent is there.
            cached = vertex in self.cached or (" FROM " in step and self.seconds[vertex] == 0)
            before = stages.get(name, Stage(name, 0.0, cached=True))
            stages[name] = Stage(name, before.seconds + self.seconds.get(vertex, 0.0), before.cached and cached)
        return tuple(stages.values())


def readable_step(name: str) -> str:
    """A step's name without the flags of its instruction: what it does rather than what it is given."""
    return " ".join(_FLAG.sub("", re.sub(r"\s+", " ", name)).split())


def follow(lines: Iterable[str], progress: Progress, on_step: Callable[[str], None]) -> None:
    """Reads BuildKit's lines to their end. Who can show more than the name of each step is told more."""
    shows = on_step if isinstance(on_step, ShowsSteps) else None
    steps = StepReader(readable_step)
    for line in lines:
        now = steps.read(line.rstrip("\n")) if shows else None
        if shows and now is not None and not now.name.startswith(_NOT_TOLD):
            shows.step(now)
        name = progress.read(line.rstrip("\n"))
        if name is not None and not name.startswith(_NOT_TOLD):
            on_step(name)
