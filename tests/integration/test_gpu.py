"""A model for a GPU where there is none: it is built and tested, and what could not be tested is said."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import docker
import pytest
from harness.packing import write_wheel
from harness.runner import run_command

from mdai_build.engine.gpus import no_gpu_here

TAG = "mdai-build-test/gpu:latest"
DEPLOY = """
class MDAIModel:
    def predict(self, data):
        return []
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    if no_gpu_here() is None:
        pytest.skip("this machine has a GPU; `make gpu-test` tests what is to happen there")
    folder = tmp_path / "gpu"
    (folder / ".mdai").mkdir(parents=True)
    (folder / ".mdai/config.yaml").write_text("base_image: py38\ndevice_type: gpu\ncuda_version: 11.3\n")
    wheel = "tensorflow_cpu-2.4.1-py3-none-any.whl"
    write_wheel(folder / ".mdai" / wheel, "stand_in", "")
    (folder / ".mdai/requirements.txt").write_text(f"./{wheel}\n")
    (folder / ".mdai/mdai_deploy.py").write_text(f"{DEPLOY}# {time.time_ns()}\n")
    return folder


def test_it_is_built_and_tested_but_for_the_gpu(
    model: Path, engine: docker.DockerClient, cache_folder: Path, tmp_path: Path
) -> None:
    def run(name: str, *words: str, exit_code: int = 0) -> dict[str, Any]:
        (tmp_path / name).mkdir()
        environment = {"MDAI_BUILD_CACHE_FOLDER": str(cache_folder), "MDAI_BUILD_PARENT": "local"}
        done = run_command([*words, "--json"], tmp_path / name, environment, 200)
        assert done.exit_code == exit_code, done
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    smoke = run("build", "build", str(model), "--tag", TAG, "--offline")["smoke"]
    try:
        assert not smoke["gpu"]["tested"] and "no GPU to give" in smoke["gpu"]["reason"]
        # The look was in the container: it found the wheel there.
        (framework,) = smoke["gpu"]["frameworks"]
        assert (framework["name"], framework["built_for"]) == ("tensorflow", "cpu")
        (check,) = [check for check in smoke["checks"] if check["name"] == "GPU"]
        assert check["outcome"] == "warning" and "not tested" in check["message"]
        assert [problem["code"] for problem in check["problems"]] == ["smoke.gpu-not-tested", "smoke.gpu-cpu-only"]

        (problem,) = run("all", "test", TAG, "--gpus", "all", exit_code=5)["problems"]
        assert problem["code"] == "engine.no-gpu" and "could not select device driver" in problem["details"]
        assert "none was asked for" in run("none", "test", TAG, "--gpus", "none")["smoke"]["gpu"]["reason"]
        assert not [c for c in engine.containers.list(all=True) if c.image and TAG in c.image.tags]
    finally:
        engine.images.remove(TAG, force=True)
