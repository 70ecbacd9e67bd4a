"""Builds one model many times over, and counts the digests: one is what is wanted.

Each build is as on another machine: an empty cache, every step anew, another time zone, umask and language, the bundle
as a folder, a zip or a tar.gz with other times of its files, on both image stores in turn. Packages come from a folder
of wheels, which is filled once, so that an index that moves meanwhile does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

from engines import ROOT, Engine
from results import write_section

COMMAND = [sys.executable, "-m", "mdai_build.cli"]
TAG = "mdai-build-benchmark/reproduce:latest"


def packed(model: Path, folder: Path, number: int) -> Path:
    """A copy of the model under the same name, in the form that this build gets, with times of its own."""
    copy = folder / model.name
    shutil.copytree(model, copy)
    paths = [path for path in copy.rglob("*") if path.is_file()]
    for path in paths:
        moment = random.randrange(10**9, 2 * 10**9)
        os.utime(path, (moment, moment))
    random.shuffle(paths)
    form = number % 3
    if form == 1:
        with zipfile.ZipFile(folder / f"{model.name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in paths:
                archive.write(path, path.relative_to(folder))
        return folder / f"{model.name}.zip"
    if form == 2:
        with tarfile.open(folder / f"{model.name}.tar.gz", "w:gz") as packing:
            for path in paths:
                packing.add(path, path.relative_to(folder).as_posix())
        return folder / f"{model.name}.tar.gz"
    return copy


def digest_of_build(engine: Engine, model: Path, wheels: Path, number: int) -> tuple[str, float]:
    """The digest that one build comes to, and its wall seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        variables = {"TZ": random.choice(["UTC", "Asia/Tokyo", "America/New_York"]), "LANG": "C"}
        words = ["build", str(packed(model, folder, number)), "--parent", "local", "--reproducible", "--no-cache"]
        words += ["--tag-untested", "--tag", TAG, "--cache-folder", str(folder / "cache"), "--json"]
        words += ["--wheels", str(wheels), "--network", "none"]
        begun = time.perf_counter()
        done = subprocess.run(
            [*COMMAND, *words],
            env={**engine.environment, "PYTHONPATH": str(ROOT), **variables},
            umask=random.choice([0o022, 0o077, 0o002]),
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            stderr=subprocess.DEVNULL,
        )
        seconds = time.perf_counter() - begun
        engine.run("docker", "rmi", "--force", TAG)
        engine.run("docker", "buildx", "prune", "--force", "--keep-storage", "3GB")
        return str(json.loads(done.stdout)["image"]["digest"]), seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--model", type=Path, default=ROOT / "examples" / "classification")
    options = parser.parse_args()
    engines = [Engine(store) for store in ("overlay2", "containerd")]
    engines[1].take_parent(engines[0])
    found: dict[str, list[str]] = {}
    seconds: dict[str, list[float]] = {engine.store: [] for engine in engines}
    with tempfile.TemporaryDirectory() as wheels:
        engines[0].run(*COMMAND, "wheels", str(options.model), wheels, "--parent", "local", PYTHONPATH=str(ROOT))
        for number in range(options.count):
            engine = engines[number % 2]
            digest, took = digest_of_build(engine, options.model, Path(wheels), number)
            found.setdefault(digest, []).append(engine.store)
            seconds[engine.store].append(took)
            print(f"{number + 1:3}  {engine.store:10}  {took:6.1f} s  {digest}", flush=True)
    for engine in engines:
        engine.stop()
    rows = [[digest, str(len(stores)), ", ".join(sorted(set(stores)))] for digest, stores in found.items()]
    write_section(f"{options.count} rebuilds of one model", ["digest", "builds", "image stores"], rows)
    return 0 if len(found) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
