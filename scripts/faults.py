"""Lets runs go wrong on an engine of its own, and writes docs/faults.md: part of `make scoreboard`.

`python scripts/faults.py --only cache-full,no-home` tries some kinds, `--kills 50` so many kills, without writing.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), *(str(ROOT / folder) for folder in ("scripts", "tests/faults", "tests/integration"))]

from engine import Engine  # noqa: E402

PAGE = ROOT / "docs" / "faults.md"
PARENT = "mdai-build/parent:local-cpu"
KILLS, WORKERS = 500, 2
ENGINE_DISK = "10g"
CACHE_KEPT, LOOK_SECONDS = "4GB", 60.0
"""Of the engine's build cache, to which each kill adds the weights of its model; and how often that is looked at."""


@contextmanager
def own_engine(folder: Path) -> Iterator[Engine]:
    """A private engine that has the local parent of the engine in use, and is gone afterwards.

    It lies on a file system in memory, which can be made smaller so that it is full.
    """
    with import_module("kinds").small_disk(folder, ENGINE_DISK):
        engine = Engine(folder / "engine")
        try:
            engine.start()
            there = {**os.environ, **engine.client_environment()}
            with subprocess.Popen(["docker", "save", PARENT], stdout=subprocess.PIPE) as save:
                subprocess.run(["docker", "load"], env=there, stdin=save.stdout, check=True, stdout=subprocess.DEVNULL)
            yield engine
        finally:
            engine.stop()


def try_kinds(engine: Engine, place: Path, only: list[str]) -> list[tuple[Any, list[str], Any]]:
    """Each kind with what was wrong, and the run of the fault."""
    kinds = import_module("kinds")
    world = import_module("world").World(place / "kinds", engine.client_environment(), "faulty", revive=engine.start)
    world.change()
    world.build()
    rows = []
    for kind in kinds.KINDS:
        if only and kind.name not in only:
            continue
        begun = time.monotonic()
        try:
            wrong, run = kinds.judge(kind, world)
        except (OSError, AssertionError, TimeoutError, subprocess.CalledProcessError) as error:
            wrong, run = [f"not tried: {error}"], None
        rows.append((kind, wrong, run))
        print(f"{kind.name}: {wrong or 'as expected'} in {time.monotonic() - begun:.0f} s", flush=True)
    return rows


def try_kills(engine: Engine, place: Path, count: int, first: int, seconds: float | None) -> Any:
    """The tally of so many kills."""
    kills, services, world = map(import_module, ("kills", "services", "world"))
    total, tallies = kills.Tally(), [kills.Tally() for _ in range(WORKERS)]
    (place / "index").mkdir(parents=True)
    with services.wheel_server(place / "index") as url:
        workers = []
        for number, tally in enumerate(tallies):
            requirements = f"probe @ {url}/@NUMBER@/probe-1.0-py3-none-any.whl\n"
            own = world.World(place / str(number), engine.client_environment(), f"killed{number}", 40, requirements)
            own.change()
            own.build()
            numbers = range(first + number, first + count, WORKERS)
            workers.append(threading.Thread(target=kills.kill, args=(own, numbers, tally, seconds), daemon=True))
        for worker in workers:
            worker.start()
        for worker in workers:
            while worker.is_alive():
                worker.join(LOOK_SECONDS)
                keep_cache_small(engine)
    for tally in tallies:
        total.join(tally)
    return total


def keep_cache_small(engine: Engine) -> None:
    """Removes what no build has used for longest; steps that all builds share stay."""
    prune = ["docker", "buildx", "prune", "--force", "--keep-storage", CACHE_KEPT]
    there = {**os.environ, **engine.client_environment()}
    subprocess.run(prune, env=there, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def page(rows: list[tuple[Any, list[str], Any]], tally: Any) -> str:
    """The text of docs/faults.md."""
    kills = import_module("kills")
    from mdai_build.error_pages import error_pages

    text = [
        "# What happens when something fails",
        "",
        "Written by `make scoreboard` (scripts/faults.py) from the table in tests/faults/kinds.py: each of these was "
        "done to a build on an engine of its own, and a build without a fault followed.",
        "",
        "| what happens | exit code | message | afterwards | as expected |",
        "| --- | --: | --- | --- | --- |",
    ]
    for kind, wrong, _ in rows:
        known = error_pages().get(kind.code)
        message = f"[{known.number}](errors.md#{known.number.lower()}) {known.title}" if known else kind.says
        after = "the next run clears up" if kind.leaves else "nothing is left"
        text.append(f"| {kind.what} | {kind.exit_code} | {message} | {after} | {'no' if wrong else 'yes'} |")
    text += ["", "After each of them the next build was good, the tag of a failed one had not moved.", ""]
    text += ["## Kills", ""]
    text += [
        f"{tally.hit.total()} builds were ended at a random moment ({tally.too_late} more had ended before the signal "
        f"came); {len(tally.left)} times something was left behind (a process, container, image, "
        f"network, file or lock; after SIGKILL: after the next run), {len(tally.wrong)} times an exit code, a message "
        "or the next run was wrong.",
        "",
        f"| stage | {' | '.join(number.name for number in kills.SIGNALS)} |",
        f"| --- | {' | '.join('--:' for _ in kills.SIGNALS)} |",
    ]
    for stage in kills.STAGES:
        text.append(f"| {stage} | {' | '.join(str(tally.hit[stage, number.name]) for number in kills.SIGNALS)} |")
    text += ["", *CLOSING, ""]
    return "\n".join(text)


CLOSING = (
    "## How it is done",
    "",
    "What a run needs for a moment lies in folders `mdai-build-run-…` that it has locked (`mdai_build/scratch.py`), "
    "and the images that it makes are noted in the cache until they have a tag (`mdai_build/engine/unfinished.py`); a "
    "container carries its run's number. The system frees a lock when its process ends, so the next run knows what "
    "nobody needs any more. `mdai-build clean` looks for the same. What a run has started (`docker`, `uv`, a local "
    "server) ends with it on Linux, even where it is killed: the system sees to that "
    "(`mdai_build/engine/process.py`; it takes the `setpriv` of util-linux).",
    "",
    "A tag moves only to an image that passed its test. With `--no-test` an image takes a tag that is free, or "
    "that of an image that was not tested either; where a tested image has it, the new one gets the tag with "
    "`-untested` behind it. `--tag-untested` moves the tag all the same.",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", help="kinds, apart by commas; `none` for no kind; the page is not written then")
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--from", dest="first", type=int, default=0, help="the number of the first kill")
    parser.add_argument("--seconds", type=float, help="begin no more kills after so long")
    parser.add_argument("--engine", type=Path, help="folder of a private engine to use and keep, which has the parent")
    words = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))  # the engine is not to outlive this
    with tempfile.TemporaryDirectory(prefix="mdai-faults-") as folder:
        place = Path(folder)
        if words.engine:
            engine = Engine(words.engine)
            engine.start()
            return _run(engine, place, words)
        with own_engine(place / "disk") as engine:
            return _run(engine, place, words)


def _run(engine: Engine, place: Path, words: argparse.Namespace) -> int:
    rows = try_kinds(engine, place, words.only.split(",") if words.only else [])
    tally = try_kills(engine, place / "kills", words.kills, words.first, words.seconds)
    for line in (*tally.left, *tally.wrong):
        print(line[:2000], flush=True)
    print("".join(f"{stage} {name}: {count}\n" for (stage, name), count in sorted(tally.hit.items())), end="")
    total = f"{tally.hit.total()} kills, {tally.too_late} too late"
    print(f"{total}, {len(tally.left)} left something, {len(tally.wrong)} wrong", flush=True)
    if not words.only:
        PAGE.write_text(page(rows, tally), encoding="utf-8")
    return 1 if tally.left or tally.wrong or any(wrong for _, wrong, _ in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
