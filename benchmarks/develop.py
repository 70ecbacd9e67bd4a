"""Measures the loop: from a saved file to the verdict of `dev`, in a container and in a Python of this machine.

Wall seconds, medians, from the end of the write to the line on standard output. The small model reads every DICOM file
with pydicom and answers with an annotation; the example classifies, and draws a heat map for each image. A first word
("ok so far") is told where there is no verdict after half a second.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Queue

from engines import ROOT
from results import write_section

SMALL = """
from io import BytesIO

import numpy as np
import pydicom


class MDAIModel:
    def predict(self, data):
        outputs = []
        for file in data["files"]:
            if file["content_type"] != "application/dicom":
                continue
            ds = pydicom.dcmread(BytesIO(file["content"]))
            outputs.append(
                {
                    "type": "ANNOTATION",
                    "study_uid": str(ds.StudyInstanceUID),
                    "series_uid": str(ds.SeriesInstanceUID),
                    "instance_uid": str(ds.SOPInstanceUID),
                    "class_index": int(np.uint8(0)),
                }
            )
        return outputs
"""
EXAMPLE = ROOT / "examples" / "classification"
VERDICT = re.compile(r"\d\d:\d\d:\d\d  (ok|FAILED)(?: (so far))?  ")


class Session:
    """One `dev`, and what it says."""

    def __init__(self, model: Path, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mdai_build.cli", "dev", str(model), "--port", "0", *words],
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._told: Queue[tuple[float, str, bool]] = Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.after(lambda: None, "ok")

    def _read(self) -> None:
        for line in self.process.stdout or ():
            if found := VERDICT.match(line):
                self._told.put((time.perf_counter(), found[1], found[2] is None))

    def after(self, action: Callable[[], object], expected: str) -> tuple[float, float]:
        """Seconds from the action's end to the first word and to the verdict."""
        action()
        begun = time.perf_counter()
        first: float | None = None
        while True:
            at, outcome, complete = self._told.get(timeout=300)
            first = at if first is None else first
            if complete:
                if outcome != expected:
                    raise SystemExit(f"the verdict is {outcome}, expected {expected}")
                return first - begun, at - begun

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)


def measure(model: Path, words: list[str], rounds: int) -> tuple[str, ...]:
    deploy = model / ".mdai" / "mdai_deploy.py"
    right = deploy.read_text()
    session = Session(model, *words)
    firsts, verdicts, mistakes = [], [], []
    try:
        for number in range(rounds):
            time.sleep(0.5)
            first, verdict = session.after(lambda n=number: deploy.write_text(f"{right}# {n}\n"), "ok")  # type: ignore[misc]
            firsts.append(first)
            verdicts.append(verdict)
        for _ in range(rounds):
            time.sleep(0.5)
            mistakes.append(session.after(lambda: deploy.write_text(f"{right}\ndef f(:\n"), "FAILED")[1])
            time.sleep(0.5)
            session.after(lambda: deploy.write_text(right), "ok")
    finally:
        session.end()
    return tuple(f"{statistics.median(values):.2f} s" for values in (firsts, verdicts, mistakes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-write", action="store_true", help="print the figures, and leave the results as they are")
    options = parser.parse_args()
    rows = []
    for where, words in (
        ("container", ["--parent", "local", "--offline"]),
        ("local", ["--local", "--python", sys.executable]),
    ):
        for name in ("small", "example"):
            with tempfile.TemporaryDirectory(prefix="mdai-build-bench-") as folder:
                model = Path(folder) / "model"
                shutil.copytree(EXAMPLE, model)
                if name == "small":
                    (model / ".mdai" / "mdai_deploy.py").write_text(SMALL)
                    (model / ".mdai" / "requirements.txt").write_text("")
                told = measure(model, [*words, "--cache-folder", str(Path(folder) / "cache")], options.rounds)
            rows.append((f"{name} model, {where}", "1.5 s (0.7 s)" if name == "small" else "", *told))
            print(" | ".join(rows[-1]), flush=True)
    if not options.no_write:
        head = ("`dev`: saved file to", "floor (goal)", "first word", "verdict", "verdict on a syntax error")
        write_section("The loop", head, rows)


if __name__ == "__main__":
    main()
