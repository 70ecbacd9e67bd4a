"""Measures how long `check` takes to say whether a bundle's requirements can be met. Wall seconds, medians.

Cold: nothing is in the cache folder. Asked again: uv has what the index said in the last ten minutes. Unchanged: the
answer of before holds. Offline: nothing is looked up, which is what the rest of `check` takes.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results import write_section

REQUIREMENTS = {
    "TensorFlow 2.8, pydicom, scikit-image (py310)": ("py310", "tensorflow==2.8.0\npydicom\nscikit-image\n"),
    "PyTorch 2.1, MONAI, pydicom (py310)": ("py310", "torch==2.1.0\ntorchvision\nmonai==1.3.0\npydicom\n"),
    "a TensorFlow without a wheel for its Python": ("py310", "pydicom\ntensorflow==2.2.0\n"),
}
ROUNDS = 5


def check(model: Path, cache: Path, *words: str) -> float:
    """Wall seconds of one `check`."""
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "mdai_build.cli", "check", model, *words],
        env={**os.environ, "MDAI_BUILD_CACHE_FOLDER": str(cache)},
        check=False,
        capture_output=True,
    )
    return time.perf_counter() - begun


def measure(folder: Path, base_image: str, requirements: str) -> tuple[float, ...]:
    """Seconds cold, asked again, unchanged, offline."""
    model, cache = folder / "model", folder / "cache"
    (model / ".mdai").mkdir(parents=True)
    (model / ".mdai" / "config.yaml").write_text(f"base_image: {base_image}\n")
    (model / ".mdai" / "mdai_deploy.py").write_text(
        "class MDAIModel:\n    def __init__(self): ...\n    def predict(self, data):\n        return []\n"
    )
    (model / ".mdai" / "requirements.txt").write_text(requirements)
    cold, again, unchanged, offline = [], [], [], []
    for _ in range(3):
        shutil.rmtree(cache, ignore_errors=True)
        cold.append(check(model, cache))
    for _ in range(ROUNDS):
        shutil.rmtree(cache / "preflight", ignore_errors=True)
        again.append(check(model, cache))
        unchanged.append(check(model, cache))
        offline.append(check(model, cache, "--offline"))
    return tuple(statistics.median(seconds) for seconds in (cold, again, unchanged, offline))


def main() -> None:
    """Measures and writes the table."""
    rows = []
    for what, (base_image, requirements) in REQUIREMENTS.items():
        with tempfile.TemporaryDirectory() as folder:
            seconds = measure(Path(folder), base_image, requirements)
        rows.append((what, *(f"{value:.2f} s" for value in seconds)))
        print(" | ".join(rows[-1]))
    head = ("`check` of a bundle that asks for", "cold (floor 10 s)", "asked again (floor 1 s)", "unchanged", "offline")
    write_section("Whether requirements can be met", head, rows)


if __name__ == "__main__":
    main()
