"""The main job on the other image store: overlay2 holds images by their config, containerd by their manifest.

Debian's engine starts on overlay2, new installs of Docker on containerd.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from harness.case import Expect
from harness.runner import mistakes, run_command

MODEL = Path(__file__).parent / "bundles" / "minimal" / "model"
TAG = "mdai-build-test/other-store:latest"
pytestmark = pytest.mark.integration


def test_builds_and_tests_on_the_containerd_image_store(
    other_engine: Mapping[str, str], cache_folder: Path, tmp_path: Path
) -> None:
    words = ["build", str(MODEL), "--parent", "local", "--tag", TAG, "--cache-folder", str(cache_folder), "--json"]
    for number, built in enumerate((True, False)):
        place = tmp_path / str(number)
        place.mkdir()
        run = run_command(words, place, other_engine, 300)
        assert not mistakes(run, Expect(json_values={"exit_code": 0, "image.reference": TAG})), run
        # The second time nothing changed: the image answers from its label.
        assert ("exporting to image" in run.stderr) == built
    there = {**os.environ, **other_engine}
    subprocess.run(["docker", "rmi", "--force", TAG], env=there, check=True, stdout=subprocess.DEVNULL)
