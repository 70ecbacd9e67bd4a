"""Measures the command line on an example: what a user waits for. Wall seconds, medians.

The baseline is an interpreter that starts and does nothing.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from results import write_section

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "classification"
COMMAND = [sys.executable, "-m", "mdai_build.cli"]
TAG = "mdai-build-benchmark/classification"


def median(action: Callable[[], None], rounds: int) -> float:
    """The median wall seconds of an action."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        action()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def large_zip(folder: Path) -> Path:
    """The example with 4 GiB of weights, in a zip that only stores."""
    weights = folder / "weights.bin"
    with weights.open("wb") as file:
        file.truncate(4 * 2**30)
    path = folder / "large.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.write(weights, "classification/weights.bin")
        for file_path in sorted((folder / "classification").rglob("*")):
            archive.write(file_path, file_path.relative_to(folder))
    weights.unlink()
    return path


def peak_memory(*words: str | Path) -> float:
    """Peak resident memory of a command, MiB."""
    process = subprocess.Popen([*map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"failed: {words}")
    return usage.ru_maxrss / 1024


def run(*words: str | Path) -> None:
    subprocess.run([*map(str, words)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "classification")
        shutil.copytree(EXAMPLE, model)
        deploy = model / ".mdai" / "mdai_deploy.py"

        def change_a_line() -> None:
            deploy.write_text(deploy.read_text() + f"# {time.time_ns()}\n")
            build("--tag-untested")

        def build(*words: str) -> None:
            run(*COMMAND, "build", model, "--parent", "local", "--tag", TAG, *words)

        large = large_zip(Path(folder))
        check_large = (*COMMAND, "check", large)
        run(*check_large)
        start = median(lambda: run(sys.executable, "-c", "pass"), 10)
        build("--tag-untested")
        measured = {
            "`--help`": median(lambda: run(*COMMAND, "--help"), 10),
            "`check` of a folder": median(lambda: run(*COMMAND, "check", model), 10),
            "`check` of a zip of 4 GiB (floor 0.5 s)": median(lambda: run(*check_large), 5),
            "`build --tag-untested`, nothing changed": median(lambda: build("--tag-untested"), 5),
            "`build --tag-untested`, one line of code changed": median(change_a_line, 5),
            "`build` with the smoke test, nothing changed": median(build, 3),
        }
        memory = peak_memory(*check_large)
    rows = [(what, f"{seconds:.2f} s", f"{seconds / start:.0f}") for what, seconds in measured.items()]
    rows.append(("`check` of a zip of 4 GiB, peak memory (floor 80 MiB)", f"{memory:.0f} MiB", ""))
    for row in rows:
        print(" | ".join(row))
    write_section("The command line", ("what", "wall", "times an empty interpreter"), rows)


if __name__ == "__main__":
    main()
