"""Measures the command line on an example: what a user waits for. Wall seconds, medians.

The baseline is an interpreter that starts and does nothing.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
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


def run(*words: str | Path) -> None:
    subprocess.run([*map(str, words)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "classification")
        shutil.copytree(EXAMPLE, model)
        deploy = model / ".mdai" / "mdai_deploy.py"

        def change_a_line() -> None:
            deploy.write_text(deploy.read_text() + f"# {time.time_ns()}\n")
            build("--no-test")

        def build(*words: str) -> None:
            run(*COMMAND, "build", model, "--parent", "local", "--tag", TAG, *words)

        start = median(lambda: run(sys.executable, "-c", "pass"), 10)
        build("--no-test")
        measured = {
            "`--help`": median(lambda: run(*COMMAND, "--help"), 10),
            "`check` of a folder": median(lambda: run(*COMMAND, "check", model), 10),
            "`build --no-test`, nothing changed": median(lambda: build("--no-test"), 5),
            "`build --no-test`, one line of code changed": median(change_a_line, 5),
            "`build` with the smoke test, nothing changed": median(build, 3),
        }
    rows = [(what, f"{seconds:.2f} s", f"{seconds / start:.0f}") for what, seconds in measured.items()]
    for row in rows:
        print(" | ".join(row))
    write_section("The command line", ("what", "wall", "times an empty interpreter"), rows)


if __name__ == "__main__":
    main()
