"""Measures what a prebuilt base image saves: the smallest example, on a machine that has built nothing yet.

The machine holds the parent image, or that and the base image, and no build cache. Wall seconds, medians; engines of
our own, on both image stores.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from engines import ROOT, Engine
from results import write_section

EXAMPLE = ROOT / "examples" / "series"
TAG = "mdai-build-benchmark/bases"


class Bench:
    """One example on one engine."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._cache = folder / "cache"
        self.model = folder / "model"
        shutil.copytree(EXAMPLE, self.model, ignore=shutil.ignore_patterns("__pycache__"))

    def command(self, *words: str | Path) -> None:
        self._engine.run(sys.executable, "-m", "mdai_build.cli", *words, "--parent", "local")

    def build(self, *words: str) -> None:
        self.command("build", self.model, "--tag", TAG, "--cache-folder", self._cache, "--offline", *words)

    def make_base(self) -> None:
        self.command("base", "build", "--for", self.model)

    def forget(self, base: bool) -> None:
        """Removes what builds left; the base image too if it is said so."""
        images = self._engine.output("docker", "images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
        gone = [name for name in images if name.startswith(TAG) or (base and name.startswith("mdai-build/base:"))]
        if gone:
            self._engine.run("docker", "rmi", "--force", *gone)
        self._engine.run("docker", "image", "prune", "--force")
        self._engine.run("docker", "buildx", "prune", "--all", "--force")
        shutil.rmtree(self._cache, ignore_errors=True)

    def change_code(self) -> None:
        deploy = self.model / ".mdai" / "mdai_deploy.py"
        deploy.write_text(deploy.read_text() + f"# {time.time_ns()}\n")


def seconds(action: Callable[[], None]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def measure(bench: Bench, rounds: int) -> list[tuple[str, ...]]:
    rows = []
    for what, words in (("build alone", ("--tag-untested",)), ("build and smoke test", ())):
        taken: dict[bool, list[float]] = {False: [], True: []}
        for base in (False, True):
            bench.forget(base=True)
            if base:
                bench.make_base()
            for _ in range(rounds if base else max(1, rounds // 2)):
                bench.forget(base=False)
                bench.change_code()
                taken[base].append(seconds(lambda words=words: bench.build(*words)))  # type: ignore[misc]
        without, on_it = (statistics.median(taken[base]) for base in (False, True))
        rows.append((what, f"{on_it:.2f} s", f"{without:.2f} s", f"{on_it / without:.2f}"))
        print(" | ".join(rows[-1]), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--store", choices=["overlay2", "containerd"], action="append")
    parser.add_argument("--dry", action="store_true", help="write nothing into the results")
    options = parser.parse_args()
    for store in options.store or ["overlay2", "containerd"]:
        engine = Engine(store)
        try:
            with tempfile.TemporaryDirectory(prefix="mdai-build-bench-") as folder:
                rows = measure(Bench(engine, Path(folder)), options.rounds)
        finally:
            engine.stop()
        if not options.dry:
            title = f"A first build of the smallest example, image store {store}"
            write_section(title, ("what", "on a base image (goal under 3 s)", "without", "ratio"), rows)


if __name__ == "__main__":
    main()
