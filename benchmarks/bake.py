"""Measures many models at once: the same requirements, own weights, each a zip that only stores. Wall seconds.

A further model is what a bake of all takes over a bake of one, shared among the others. Beside it, one `build` after
the other. Uses the engine that is in use, and removes what it made there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from results import write_section

COMMAND = [sys.executable, "-m", "mdai_build.cli"]
PREFIX = "mdai-build-benchmark/bake-"
DEPLOY = "class MDAIModel:\n    def predict(self, data):\n        return []\n"


class Models:
    """Some models in a folder of their own, each a zip."""

    def __init__(self, folder: Path, count: int, megabytes: int) -> None:
        self.zips = [folder / f"model{number:02}.zip" for number in range(count)]
        self.cache = folder / "cache"
        self._requirements = ""
        self.require_something_new()
        for path in self.zips:
            self.write(path, os.urandom(megabytes * 2**20))

    def require_something_new(self) -> None:
        """From here on the models ask for what no cache has, once `write` or `change_code` has written them."""
        self._requirements = f"pillow==10.2.0\ntqdm==4.66.2\n# {time.time_ns()}\ncolorama!=9.{time.time_ns()}\n"

    def write(self, path: Path, weights: bytes) -> None:
        """Makes one of the zips, beside and moved, as any tool does."""
        half = path.with_suffix(".half")
        with zipfile.ZipFile(half, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("model/.mdai/config.yaml", "base_image: py38\n")
            archive.writestr("model/.mdai/requirements.txt", self._requirements)
            archive.writestr("model/.mdai/mdai_deploy.py", f"{DEPLOY}# {time.time_ns()}\n")
            archive.writestr("model/weights.bin", weights)
        half.replace(path)

    def change_code(self) -> None:
        """Another line of code, the same weights."""
        for path in self.zips:
            with zipfile.ZipFile(path) as archive:
                weights = archive.read("model/weights.bin")
            self.write(path, weights)

    def run(self, command: str, zips: list[Path], *words: str) -> float:
        """Seconds of one command."""
        begun = time.perf_counter()
        done = subprocess.run(
            [*COMMAND, command, *map(str, zips), "--parent", "local", "--cache-folder", str(self.cache), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(f"{command} failed:\n{done.stdout[-6000:]}")
        return time.perf_counter() - begun

    def bake(self, zips: list[Path], *words: str) -> float:
        return self.run("bake", zips, "--tag-prefix", PREFIX, *words)

    def remove(self) -> None:
        tags = [f"{PREFIX}{path.stem}:latest" for path in self.zips]
        subprocess.run(["docker", "rmi", "--force", *tags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def measure(models: Models) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    first, others = models.zips[:1], models.zips[1:]

    def row(what: str, one: float, all_of_them: float) -> None:
        further = (all_of_them - one) / len(others)
        rows.append((what, f"{one:.2f} s", f"{all_of_them:.2f} s", f"{further:.2f} s"))
        print(" | ".join(rows[-1]), flush=True)

    one = models.bake(first, "--tag-untested")
    rest = models.bake(others, "--tag-untested")
    row("bake, all new: the requirements installed by the first", one, one + rest)
    models.require_something_new()
    models.change_code()
    alone = one
    row(
        "bake, all with new requirements: one graph installs them once",
        alone,
        models.bake(models.zips, "--tag-untested"),
    )
    models.change_code()
    one = models.bake(first, "--tag-untested")
    models.change_code()
    row("bake, a line of code changed in each", one, models.bake(models.zips, "--tag-untested"))
    row("bake, nothing changed", models.bake(first, "--tag-untested"), models.bake(models.zips, "--tag-untested"))
    row("bake, nothing changed, each tested", models.bake(first), models.bake(models.zips))
    models.change_code()
    each = [models.run("build", [path], "--tag-untested", "--tag", f"{PREFIX}{path.stem}") for path in models.zips]
    row("build, one after the other, a line of code changed in each", each[0], sum(each))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--megabytes", type=int, default=50, help="of weights in each")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mdai-build-bench-"))
    try:
        models = Models(folder, options.models, options.megabytes)
        try:
            rows = measure(models)
        finally:
            models.remove()
    finally:
        shutil.rmtree(folder)
    title = f"{options.models} models at once, {options.megabytes} MiB of weights each"
    write_section(title, ("what", "one", "all", "per further model (floor 1.5 s, goal 0.5 s)"), rows)


if __name__ == "__main__":
    main()
