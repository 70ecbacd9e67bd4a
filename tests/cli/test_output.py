"""Where the output goes can fail too, and is then told as what it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/classification"


@pytest.mark.process  # only a real standard output can be full
def test_a_full_disk_is_no_bug_of_ours(tmp_path: Path) -> None:
    words = ["render", str(EXAMPLE), "--cache-folder", str(tmp_path / "cache")]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mdai_build.cli", *words],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 5
    assert "no room left on the disk" in done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
