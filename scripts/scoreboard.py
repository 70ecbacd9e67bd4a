"""Invents hostile input by the thousand, counts what goes wrong, and writes docs/scoreboard.md: `make scoreboard`.

The numbers from which the input is made are told, so that whatever is found can be made again:
`python scripts/scoreboard.py --only archives --from 4711 --count 1`.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import multiprocessing
import os
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), *(str(ROOT / folder) for folder in ("scripts", "tests/fuzz", "tests/runtime"))]
PAGE = ROOT / "docs" / "scoreboard.md"
FAULTS = ("crash", "escape", "wrong accept")
_PIECES = 40
_TOLD = 20


@dataclass
class Score:
    """What became of so many inputs."""

    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    faults: list[str] = field(default_factory=list)

    def add(self, number: int, verdict: str) -> None:
        kind = verdict.partition(":")[0]
        self.counts[kind] += 1
        if kind in FAULTS and len(self.faults) < _TOLD:
            self.faults.append(f"{number}: {verdict[:300]}")

    def join(self, other: Score) -> None:
        self.counts += other.counts
        self.faults = [*self.faults, *other.faults][:_TOLD]


def archives(numbers: range) -> Score:
    import archivers

    agreement, invented = import_module("agreement"), import_module("archives")
    score, others = Score(), {}
    for name in archivers.PACKAGES:
        with contextlib.suppress(Exception):  # told by `tools`
            others[name] = archivers.find(name, programs())
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        for number in numbers:
            suffix, content = invented.invent(number)
            archive = Path(folder, f"m{suffix}")
            archive.write_bytes(content)
            verdict = agreement.judge(archive, Path(folder), others)
            archive.unlink()
            score.add(number, f"{verdict.kind}: {verdict.why}" if verdict.kind in FAULTS else verdict.kind)
    return score


def configs(numbers: range) -> Score:
    texts = import_module("texts")
    return _judged(numbers, lambda number: texts.judge_config(texts.invent_config(number)))


def lines(numbers: range) -> Score:
    texts = import_module("texts")
    return _judged(numbers, lambda number: texts.judge_line(texts.invent_line(number)))


def messages(numbers: range) -> Score:
    return _judged(numbers, import_module("messages").judge_message)


def _judged(numbers: range, judge: Callable[[int], str]) -> Score:
    score = Score()
    for number in numbers:
        score.add(number, judge(number))
    return score


KINDS: dict[str, tuple[Callable[[range], Score], int, str]] = {
    "archives": (archives, 10_000, "zips and tar.gz with up to three things wrong, some with changed bytes"),
    "configs": (configs, 10_000, "config.yaml with tags, aliases, escapes, and env that would be Dockerfile text"),
    "lines": (lines, 100_000, "lines of requirements.txt with shell, Dockerfile and terminal text in them"),
    "messages": (messages, 1_000_000, "msgpack bodies: half of them requests, half of them outputs of a model"),
}


def programs() -> Path:
    from mdai_build.settings import load_settings

    return load_settings().engine_folder


def tools() -> Iterator[str]:
    """The programs that archives are held against, and those that could not be had."""
    import archivers
    import debian

    yield f"Python {platform.python_version()}"
    for name in archivers.PACKAGES:
        try:
            archivers.find(name, programs())
            yield name
        except debian.Unavailable as unavailable:
            yield f"not {name} ({str(unavailable).splitlines()[0]})"


def run(kind: str, first: int, count: int, processes: int) -> tuple[Score, float]:
    """The score of so many inputs, and the seconds that it took."""
    begun = time.monotonic()
    step = max(1, -(-count // _PIECES))
    pieces = [range(start, min(start + step, first + count)) for start in range(first, first + count, step)]
    total = Score()
    with multiprocessing.get_context("fork").Pool(processes, _quiet) as pool:
        for score in pool.imap_unordered(KINDS[kind][0], pieces):
            total.join(score)
    return total, time.monotonic() - begun


def _quiet() -> None:
    warnings.simplefilter("ignore")


def page(rows: list[tuple[str, Score, float]], held_against: list[str]) -> str:
    """The text of docs/scoreboard.md."""
    text = [
        "# Scoreboard of hostile input",
        "",
        "Written by `make scoreboard` (scripts/scoreboard.py), which invents the input from numbers; tests/fuzz/ has "
        "how.",
        f"Archives were held against {', '.join(held_against)}.",
        "",
        "| input | how many | refused | accepted | crash | escape | wrong accept | seconds |",
        "| --- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for kind, score, seconds in rows:
        cells = (f"{score.counts[name]:,}" for name in ("refused", "accepted", *FAULTS))
        text.append(f"| {kind} | {score.counts.total():,} | {' | '.join(cells)} | {seconds:.0f} |")
    text += ["", *(f"- {kind}: {KINDS[kind][2]}." for kind, _, _ in rows), ""]
    text += [
        "A crash is anything but a problem with its place and advice. An escape is a file outside of the store, or "
        "text that a terminal would obey. A wrong accept is an archive that another program unpacks to other files, a "
        "value that does not reach the image as it was written, a requirement that says more to the installer than it "
        "did to us, or outputs that a second, slower check refuses.",
        "",
        "Faults and kills have [a page of their own](faults.md).",
        "",
    ]
    return "\n".join(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", choices=KINDS, help="one kind, without writing the page")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first number")
    parser.add_argument("--count", type=int, help="how many; default: as many as the page tells")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    words = parser.parse_args()
    rows = []
    held_against = list(tools())
    for kind in (words.only,) if words.only else KINDS:
        score, seconds = run(kind, words.first, words.count or KINDS[kind][1], words.processes)
        rows.append((kind, score, seconds))
        print(f"{kind}: {dict(score.counts)} in {seconds:.0f} s", flush=True)
        print("".join(f"  {fault}\n" for fault in score.faults), end="", flush=True)
    if not words.only:
        PAGE.write_text(page(rows, held_against), encoding="utf-8")
    return 1 if any(score.faults for _, score, _ in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
