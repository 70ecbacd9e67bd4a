"""Signals at random moments of a build, over all its stages; then: what is left, and does the next run work?"""

from __future__ import annotations

import collections
import random
import signal
import sys
import time
from dataclasses import dataclass, field

from world import TRACEBACK, World, until

STAGES: dict[str, tuple[str | None, float]] = {
    "start-up": (None, 0.35),
    "read": ("checking the bundle", 0.06),
    "resolve": (r"^\$ .*uv pip compile", 0.25),
    "unpack": ("unpacking ", 0.15),
    "build": (r"\[model", 1.2),
    "export": ("exporting to image", 0.6),
    "start": ("starting the image for the smoke test", 0.5),
    "smoke": ("smoke test: model loads", 0.5),
    "report": ("smoke test: answers again", 0.3),
}
"""What a build says when each stage begins (nothing before the first), and about how many seconds the stage takes."""
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_GRACE_SECONDS = 15.0
_END_SECONDS = 5.0
"""For commands that end with a killed run."""


@dataclass
class Tally:
    """What became of so many kills."""

    hit: collections.Counter[tuple[str, str]] = field(default_factory=collections.Counter)
    """By stage and signal."""
    too_late: int = 0
    """Runs that had ended before the signal came."""
    left_at_once: collections.Counter[str] = field(default_factory=collections.Counter)
    """What lay about right after SIGKILL, which leaves a run no time to clear up; by kind."""
    left: list[str] = field(default_factory=list)
    """What was there after the next run, or after a signal that leaves time."""
    wrong: list[str] = field(default_factory=list)
    """A wrong exit code, a traceback, a next run that failed, a tag that moved."""

    def join(self, other: Tally) -> None:
        self.hit += other.hit
        self.too_late += other.too_late
        self.left_at_once += other.left_at_once
        self.left += other.left
        self.wrong += other.wrong


def kill_once(world: World, chance: random.Random, stage: str, number: signal.Signals, tally: Tally) -> None:
    """Ends one build by a signal in a stage, and lets the next one run."""
    world.change()
    before = world.image()
    running = world.start_build()
    marker, length = STAGES[stage]
    name = f"{number.name} in {stage}"
    if marker is not None and not running.says(marker):
        run = running.finish()
        tally.wrong.append(f"{name}: it ended before that stage: {run}")
        return
    time.sleep(chance.uniform(0, length))
    running.end(number)
    run = running.finish(60)
    killed = run.exit_code == -number if number == signal.SIGKILL else run.exit_code in (130, -number)
    if run.exit_code == 0:
        tally.too_late += 1
    else:
        tally.hit[stage, number.name] += 1
        # Of a signal in its own start, before any code of ours, the interpreter tells as it likes.
        ours = stage != "start-up" or TRACEBACK not in run.stderr or "mdai_build" in run.stderr
        if ours and (not killed or (number != signal.SIGKILL and run.exit_code != 130 and stage != "start-up")):
            tally.wrong.append(f"{name}: {run}")
        if ours and TRACEBACK in run.stderr:
            tally.wrong.append(f"{name}: a traceback: {run.stderr[-1500:]}")
        if number == signal.SIGKILL:
            tally.left_at_once.update({what.split()[0] for what in world.leftovers()})
            if sys.platform == "linux" and not until(lambda: not world.alive(), _END_SECONDS):
                tally.left.append(f"{name}: what it had started runs on: {world.alive()}")
        elif not until(lambda: not world.leftovers(), 2):
            tally.left.append(f"{name}: {world.leftovers()}")
        if stage not in ("report", "smoke") and world.image() != before:
            tally.wrong.append(f"{name}: the tag moved")
    again = world.build()
    if again.exit_code != 0:
        tally.wrong.append(f"{name}: the next run failed: {again}")
    if not until(lambda: not world.leftovers(), _GRACE_SECONDS):
        tally.left.append(f"{name}, after the next run: {world.leftovers()}")


def kill(world: World, numbers: range, tally: Tally, seconds: float | None = None) -> None:
    """So many kills; each number gives the stage, the signal and the moment. No more are begun after `seconds`."""
    deadline = None if seconds is None else time.monotonic() + seconds
    stages = list(STAGES)
    for index in numbers:
        if deadline is not None and time.monotonic() > deadline:
            return
        stage, number = stages[index % len(stages)], SIGNALS[index // len(stages) % len(SIGNALS)]
        kill_once(world, random.Random(index), stage, number, tally)
