"""Runs `mdai-build` as a user does, in an empty working folder, and says what it left behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schema_checks import check_printed

from harness.case import Expect

TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True)
class Run:
    """A command that has ended."""

    words: tuple[str, ...]
    process: int
    """Its process id."""
    exit_code: int
    stdout: str
    stderr: str
    seconds: float
    left: tuple[str, ...]
    """What it left in its working folder, and in the folder for temporary files (as `tmp/…`)."""

    def __str__(self) -> str:
        return (
            f"$ mdai-build {' '.join(self.words)}\n{self.stdout}{self.stderr}"
            f"exit code {self.exit_code} after {self.seconds:.1f} s"
        )


def run_command(words: Sequence[str], place: Path, environment: Mapping[str, str], timeout: float) -> Run:
    """Runs `mdai-build` with these words; `place` gets the working folder and the one for temporary files."""
    work, temporary = place / "work", place / "tmp"
    work.mkdir()
    temporary.mkdir()
    own = {name: value for name, value in os.environ.items() if not name.startswith("MDAI_BUILD_")}
    begun = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "mdai_build.cli", *words],
        cwd=work,
        env={**own, "TMPDIR": str(temporary), "COLUMNS": "200", "NO_COLOR": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    check_printed(words, stdout)
    left = [str(path.relative_to(work)) for path in sorted(work.rglob("*")) if path.is_file()]
    left += [f"tmp/{path.name}" for path in sorted(temporary.iterdir())]
    seconds = time.monotonic() - begun
    return Run(tuple(words), process.pid, process.returncode, stdout, stderr, seconds, tuple(left))


def mistakes(run: Run, expect: Expect) -> list[str]:
    """How the run differs from what was expected; empty if it does not."""
    output = _folded(run.stdout + run.stderr)
    found = []
    if run.exit_code != expect.exit_code:
        found.append(f"exit code {run.exit_code}, expected {expect.exit_code}")
    found += [f"the output lacks {text!r}" for text in expect.contains if _folded(text) not in output]
    found += [f"the output has {text!r}" for text in expect.not_contains if _folded(text) in output]
    if (TRACEBACK in output) != expect.model_traceback:
        found.append("the model's traceback is missing" if expect.model_traceback else "there is a traceback")
    if expect.json_values:
        found += _json_mistakes(run.stdout, expect.json_values)
    if run.left != expect.files:
        found.append(f"left behind {list(run.left)}, expected {list(expect.files)}")
    return found


def _folded(text: str) -> str:
    # Terminal output is wrapped, and framed by lines, to fit the window.
    return re.sub(r"[\s│┃|]+", " ", text)


def _json_mistakes(text: str, expected: Mapping[str, Any]) -> list[str]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        return [f"standard output is not JSON: {error}"]
    found = []
    for path, value in expected.items():
        there: Any = document
        try:
            for key in path.split("."):
                there = there[int(key)] if isinstance(there, list) else there[key]
        except (KeyError, IndexError, ValueError, TypeError):
            found.append(f"the JSON has no {path}")
            continue
        if there != value:
            found.append(f"the JSON's {path} is {there!r}, expected {value!r}")
    return found
