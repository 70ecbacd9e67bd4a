"""What BuildKit is doing just now, read from its plain progress line by line: for whoever watches a build.

`progress.Progress` keeps what a report needs; this keeps what is on the move: bytes, packages, the last line of a log.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

State = Literal["running", "done", "cached", "failed"]

_VERTEX = re.compile(r"^#(\d+) (.*)$")
_LOG = re.compile(r"^\d+\.\d+ (.*)$")
_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_AMOUNT = r"(\d+(?:\.\d+)?) ?(B|[kMG]B|[KMG]iB)"
# `sha256:… 10.49MB / 29.15MB 0.4s`, `transferring context: 1.05GB 3.1s`
_LAYER = re.compile(rf"^(sha256:\w+|\S+) {_AMOUNT} / {_AMOUNT}\b")
_SENT = re.compile(rf"^(transferring [\w ]+|sending tarball|copying files[\w .]*):? {_AMOUNT}\b")
# uv: `Resolved 9 packages in 443ms`, `Downloading scipy (33.7MiB)`, ` Downloaded scipy`, `Prepared 9 packages in …`
_RESOLVED = re.compile(r"^Resolved (\d+) packages? in")
_DOWNLOADING = re.compile(rf"^\s*(?:Downloading|Building) (\S+)(?: \({_AMOUNT}\))?")
_DOWNLOADED = re.compile(r"^\s*(?:Downloaded|Built) (\S+)")
_INSTALLING = re.compile(
    r"^(?:Prepared|Installed) \d+ packages?|^Installing collected packages|^Successfully installed"
)
# pip: `Collecting torch==1.13.1`
_COLLECTING = re.compile(r"^Collecting ([\w.-]+)")


@dataclass(frozen=True)
class Packages:
    """How far an installer is."""

    total: int | None = None
    """How many there are to install, once that is known."""
    seen: int = 0
    """pip: how many it has looked at."""
    downloading: tuple[tuple[str, int], ...] = ()
    """Names, and bytes where they are told, of what is being downloaded or built."""
    downloaded: int = 0


@dataclass(frozen=True)
class StepNow:
    """One step of a build, as it is now."""

    id: str
    name: str
    state: State
    begun: float
    """By time.monotonic()."""
    line: str = ""
    """The last line of its log."""
    done_bytes: int = 0
    total_bytes: int = 0
    """0 where it is not known."""
    packages: Packages | None = None


@runtime_checkable
class ShowsSteps(Protocol):
    """Whoever is told of a build can show what its steps are doing."""

    def step(self, now: StepNow) -> None:
        """A step began, got further or ended."""


class StepReader:
    """Follows the steps of one build."""

    def __init__(self, readable: Callable[[str], str]) -> None:
        self._readable = readable
        self._steps: dict[str, StepNow] = {}
        self._layers: dict[str, dict[str, tuple[int, int]]] = {}

    def read(self, line: str) -> StepNow | None:
        """Takes one line; gives the step that it tells something new of."""
        match = _VERTEX.match(line)
        if not match or match[1] == "0":
            return None
        vertex, text = match.groups()
        step = self._steps.get(vertex)
        if step is None:
            step = StepNow(vertex, self._readable(text), "running", time.monotonic())
        else:
            step = self._further(step, text)
        self._steps[vertex] = step
        return step

    def _further(self, step: StepNow, text: str) -> StepNow:
        if text.startswith("DONE "):
            return replace(step, state="done")
        if text == "CACHED":
            return replace(step, state="cached")
        if text.startswith(("ERROR: ", "CANCELED")):
            return replace(step, state="failed")
        if moved := _LAYER.match(text):
            layers = self._layers.setdefault(step.id, {})
            layers[moved[1]] = (_bytes(moved[2], moved[3]), _bytes(moved[4], moved[5]))
            done, total = (sum(part) for part in zip(*layers.values(), strict=True))
            return replace(step, done_bytes=done, total_bytes=total)
        if moved := _SENT.match(text):
            return replace(step, line=moved[1], done_bytes=_bytes(moved[2], moved[3]))
        if printed := _LOG.match(text):
            said = printed[1].rstrip().rpartition("\r")[2]
            return replace(step, line=said or step.line, packages=packages_after(step.packages, said))
        return step


def packages_after(packages: Packages | None, line: str) -> Packages | None:
    """How far an installer is after one more line of its log; None for other logs."""
    now = packages or Packages()
    if found := _RESOLVED.match(line):
        return replace(now, total=int(found[1]))
    if found := _COLLECTING.match(line):
        return replace(now, seen=now.seen + 1)
    if packages is None:
        return None
    if _INSTALLING.match(line):
        return replace(now, downloading=())
    if found := _DOWNLOADED.match(line):
        rest = tuple(each for each in now.downloading if each[0] != found[1])
        return replace(now, downloading=rest, downloaded=now.downloaded + 1)
    if found := _DOWNLOADING.match(line):
        size = _bytes(found[2], found[3]) if found[2] else 0
        # pip downloads one after the other and does not tell the end.
        before = () if now.seen else now.downloading
        return replace(now, downloading=(*before, (found[1], size)))
    return packages


def _bytes(number: str, unit: str) -> int:
    return int(float(number) * _UNITS[unit])
