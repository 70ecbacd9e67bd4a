"""The main job on the other image store: overlay2 holds images by their config, containerd by their manifest.

Debian's engine starts on overlay2, new installs of Docker on containerd. A second private engine is started here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import docker
import pytest
from harness.case import Expect
from harness.runner import mistakes, run_command

from mdai_build.engine import Engine, connect
from mdai_build.engine.process import Environment
from mdai_build.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
MODEL = Path(__file__).parent / "bundles" / "minimal" / "model"
PARENT = "mdai-build/parent:local-cpu"
TAG = "mdai-build-test/other-store:latest"
pytestmark = pytest.mark.integration


def test_which_store_merges_layers(engine: docker.DockerClient, other_engine: Mapping[str, str]) -> None:
    def layers_merge(host: str) -> bool:
        client = docker.DockerClient(base_url=host)
        try:
            return Engine(client, host, "", Environment({})).layers_merge
        finally:
            client.close()

    assert layers_merge(other_engine["DOCKER_HOST"])
    usual = connect(load_settings().engine_folder)
    assert usual.layers_merge == (engine.info()["Driver"] == "overlayfs")


@pytest.fixture(scope="module")
def other_engine(engine: docker.DockerClient) -> Iterator[Mapping[str, str]]:
    """Environment variables that lead to a private engine on the containerd image store, which has the local parent."""
    script = [sys.executable, str(ROOT / "scripts" / "engine.py")]
    subprocess.run([*script, "start", "--containerd-store"], check=True)
    try:
        line = subprocess.run(
            [*script, "env", "--containerd-store"], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        variables = dict(word.split("=", 1) for word in line.split()[1:])
        variables["PATH"] = variables["PATH"].replace('"$PATH"', os.environ["PATH"])
        there = {**os.environ, **variables}
        has_parent = subprocess.run(["docker", "image", "inspect", PARENT], env=there, capture_output=True, check=False)
        if has_parent.returncode != 0:
            here = {**os.environ, **connect(load_settings().engine_folder).environment.values}
            with subprocess.Popen(["docker", "save", PARENT], env=here, stdout=subprocess.PIPE) as save:
                subprocess.run(["docker", "load"], env=there, stdin=save.stdout, check=True, stdout=subprocess.DEVNULL)
        # A run that was killed may have left it.
        subprocess.run(["docker", "rmi", "--force", TAG], env=there, check=True, capture_output=True)
        yield variables
        subprocess.run(["docker", "rmi", "--force", TAG], env=there, check=True, capture_output=True)
    finally:
        subprocess.run([*script, "stop", "--containerd-store"], check=True)


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
