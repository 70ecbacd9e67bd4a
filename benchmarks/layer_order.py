"""Measures from which size on weights are better below the requirements, where layers do not merge (overlay2).

A change of the lower layer costs the upper one again: weights below cost an install whenever weights change, weights
above cost a copy of them whenever a requirement changes. `plan.WEIGHTS_FIRST_FROM_BYTES` is chosen by this table.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from build import TAG, Bench, seconds
from engines import Engine
from results import write_section

SIZES = (128, 256, 512, 1024)
FORCED = (
    "import sys, mdai_build.plan as plan; plan.WEIGHTS_FIRST_FROM_BYTES = int(sys.argv.pop(1)); "
    "from mdai_build.cli import main; main()"
)


class OrderedBench(Bench):
    """Builds with the weights below the requirements, or above them."""

    def build(self, weights_first: bool) -> None:
        self.engine.run(
            *(sys.executable, "-c", FORCED, "0" if weights_first else str(2**60)),
            *("build", self.model.folder, "--parent", "local", "--tag", f"{TAG}/order", "--no-test"),
            *("--cache-folder", self._cache),
        )


def measure(engine: Engine, megabytes: int, rounds: int) -> tuple[str, ...]:
    with tempfile.TemporaryDirectory(prefix="mdai-build-bench-") as folder:
        bench = OrderedBench(engine, Path(folder), megabytes)
        changes = {"weights": bench.model.change_weights, "requirement": bench.model.toggle_requirement}
        taken: dict[tuple[bool, str], list[float]] = {}
        for first in (True, False):
            bench.build(first)
            for _ in range(rounds):
                for name, change in changes.items():
                    change()
                    taken.setdefault((first, name), []).append(seconds(lambda first=first: bench.build(first)))  # type: ignore[misc]
                    engine.tidy()
    medians = {key: statistics.median(values) for key, values in taken.items()}
    row = [f"{megabytes} MiB", *(f"{medians[first, name]:.2f} s" for name in changes for first in (True, False))]
    both = [sum(medians[first, name] for name in changes) for first in (True, False)]
    print(" | ".join(row), flush=True)
    return (*row, "below" if both[0] <= both[1] else "above")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    engine = Engine("overlay2")
    try:
        rows = [measure(engine, megabytes, options.rounds) for megabytes in SIZES]
    finally:
        engine.stop()
    head = ("weights", "weights changed: below", "above", "a requirement changed: below", "above", "both together")
    write_section("The order of weights and requirements, overlay2", head, rows)


if __name__ == "__main__":
    main()
