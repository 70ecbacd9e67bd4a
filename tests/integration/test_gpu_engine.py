"""GPUs through an engine that gives some: the request, the look in the container, and each reason why a model does not
compute there. NVIDIA's hook, driver and frameworks are stand-ins (harness/gpu.py): that a GPU computes is not shown.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
import pytest
from harness.gpu import Machine, compile_stand_in, write_framework
from harness.private import private_files
from harness.runner import run_command

from mdai_build.smoke.samples import synthetic_request

ROOT = Path(__file__).resolve().parents[2]
GOOD = {"devices": 4, "cuda": "12.4", "driver": "550.54.14", "capability": "8.6"}
MODEL_BYTES = 512 * 2**20
# As many models do, it takes the CPU where the GPU does not work, and tells nobody.
DEPLOY = """
import time, torch

class MDAIModel:
    def __init__(self):
        try:
            self.weights = torch.zeros({floats}).cuda()
            (torch.ones(2, 2).cuda() @ torch.ones(2, 2).cuda()).cpu()
        except (AssertionError, RuntimeError):
            self.weights = torch.zeros({floats})

    def predict(self, data):
        return []
"""
ON_CPU = """
import torch

class MDAIModel:
    def __init__(self):
        self.weights = torch.ones(2, 2)

    def predict(self, data):
        (self.weights @ self.weights).sum().item()
        return []
"""
pytestmark = pytest.mark.integration

Command = Callable[..., dict[str, Any]]


@pytest.fixture
def command(
    other_engine: Mapping[str, str], gpu_machine: Machine, cache_folder: Path, tmp_path: Path
) -> Iterator[Command]:
    """Runs a command on the engine, and gives its JSON; the machine has GPUs until a test says otherwise."""
    gpu_machine.has(**GOOD)
    gpu_machine.asked()

    def run(*words: str, exit_code: int = 0) -> dict[str, Any]:
        place = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        place.mkdir()
        settings = {"MDAI_BUILD_CACHE_FOLDER": str(cache_folder), "MDAI_BUILD_PARENT": "local"}
        done = run_command([*words, "--json"], place, {**other_engine, **settings}, 300)
        assert done.exit_code == exit_code, done
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    yield run
    gpu_machine.has_none()


def model(place: Path, cuda: str | None = "11.8", deploy: str = DEPLOY, cudnn: bool = True, env: str = "{}") -> Path:
    folder = place / "gpu"
    (folder / ".mdai").mkdir(parents=True)
    (folder / ".mdai/config.yaml").write_text(f"base_image: py310\ndevice_type: gpu\ncuda_version: 11.8\nenv: {env}\n")
    wheel = f"torch-2.1.2+{'cu118' if cuda else 'cpu'}-py3-none-any.whl"
    more = {}
    if cudnn:
        compile_stand_in(place / "cudnn.so")
        more["torch/lib/libcudnn_cnn_infer.so.8"] = (place / "cudnn.so").read_bytes()
    write_framework(folder / ".mdai" / wheel, cuda, more)
    (folder / ".mdai/requirements.txt").write_text(f"./{wheel}\n")
    (folder / ".mdai/mdai_deploy.py").write_text(deploy.format(floats=MODEL_BYTES // 4))
    return folder


@pytest.fixture(scope="module")
def image(
    other_engine: Mapping[str, str], cache_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A model that computes on a GPU if it can; not tested yet."""
    place, tag = tmp_path_factory.mktemp("gpu"), "mdai-build-test/gpu-engine:latest"
    (place / "run").mkdir()
    settings = {"MDAI_BUILD_CACHE_FOLDER": str(cache_folder), "MDAI_BUILD_PARENT": "local"}
    words = ["build", str(model(place)), "--tag", tag, "--no-test", "--offline"]
    done = run_command(words, place / "run", {**other_engine, **settings}, 300)
    assert done.exit_code == 0, done.stderr
    yield tag
    client = docker.DockerClient(base_url=other_engine["DOCKER_HOST"])
    client.images.remove(tag, force=True)
    client.close()


def gpu_check(told: dict[str, Any]) -> dict[str, Any]:
    (check,) = [check for check in told["smoke"]["checks"] if check["name"] == "GPU"]
    assert isinstance(check, dict)
    return check


@pytest.mark.parametrize(
    ("words", "visible", "devices"),
    [
        ((), "all", 4),
        (("--gpus", "all"), "all", 4),
        (("--gpus", "2"), "0,1", 2),
        (("--gpus", "device=1,3"), "1,3", 2),
    ],
)
def test_the_container_gets_what_was_asked_for(
    words: tuple[str, ...], visible: str, devices: int, command: Command, image: str, gpu_machine: Machine
) -> None:
    told = command("test", image, *words)
    assert gpu_check(told)["outcome"] == "passed"
    assert gpu_check(told)["message"] == f"computed on {', '.join(['Stand-in (8.6)'] * devices)}"
    (asked,) = gpu_machine.asked()
    assert (asked["devices"], set(asked["capabilities"]) - {"gpu"}) == (visible, {"compute", "utility"})
    gpu = told["smoke"]["gpu"]
    assert (gpu["tested"], gpu["used"], gpu["driver"], gpu["cuda"]) == (True, True, "550.54.14", "12.4")
    assert [(each["name"], each["built_for"], each["computes"]) for each in gpu["frameworks"]] == [
        ("torch", "11.8", True)
    ]
    assert gpu["model_bytes"] >= MODEL_BYTES and gpu["peak_bytes"] - gpu["model_bytes"] == 5 * 2**30
    assert gpu["utilisation"] == 83


def test_none_is_none(command: Command, image: str, gpu_machine: Machine) -> None:
    told = command("test", image, "--gpus", "none")
    assert not told["smoke"]["gpu"]["tested"] and "none was asked for" in told["smoke"]["gpu"]["reason"]
    assert gpu_machine.asked() == []


@pytest.mark.parametrize(
    ("machine", "code", "said"),
    [
        (
            {"cuda": "10.1", "driver": "418.39"},
            "driver-too-old",
            ["torch 2.1.2+cu118, built for CUDA 11.8,", "driver 418.39", "up to 10.1"],
        ),
        ({"capability": "9.0"}, "no-kernel", ["Stand-in (9.0)", "sm_70, sm_75, sm_80, sm_86"]),
    ],
)
def test_a_machine_that_the_image_does_not_fit_is_told(
    machine: dict[str, str], code: str, said: list[str], command: Command, image: str, gpu_machine: Machine
) -> None:
    gpu_machine.has(**{**GOOD, **machine})
    check = gpu_check(command("test", image, exit_code=7))
    (problem,) = check["problems"]
    assert problem["code"] == f"smoke.gpu-{code}"
    assert all(text in problem["what"] for text in said), problem


@pytest.mark.parametrize(
    ("bundle", "code", "said"),
    [
        ({"cuda": None}, "cpu-only", "torch 2.1.2+cpu can compute on no GPU"),
        ({"cudnn": False}, "no-cudnn", "libcudnn_cnn_infer.so.8 is not there"),
        ({"deploy": ON_CPU}, "unused", "torch 2.1.2+cu118 computes well"),
        ({"env": "{CUDA_VISIBLE_DEVICES: '-1'}"}, "hidden", "CUDA_VISIBLE_DEVICES is '-1'"),
        # As NVIDIA's own images have it.
        ({"env": "{NVIDIA_REQUIRE_CUDA: 'cuda>=12.8'}"}, "driver-too-old", "the image asks for cuda>=12.8"),
    ],
)
def test_an_image_that_does_not_use_the_machine_is_told(
    bundle: dict[str, Any], code: str, said: str, command: Command, tmp_path: Path
) -> None:
    told = command("build", str(model(tmp_path, **bundle)), "--offline", exit_code=7)
    check = gpu_check(told)
    assert check["outcome"] == "failed"
    (problem,) = check["problems"]
    assert problem["code"] == f"smoke.gpu-{code}" and said in problem["what"], problem


def test_a_device_that_is_not_there(command: Command, image: str) -> None:
    (problem,) = command("test", image, "--gpus", "device=9", exit_code=5)["problems"]
    assert problem["code"] == "engine.no-gpu" and "device error: 9: unknown device" in problem["what"]


def test_a_driver_that_is_not_loaded(command: Command, image: str, gpu_machine: Machine) -> None:
    gpu_machine.has_none()
    told = command("test", image)
    assert gpu_check(told)["outcome"] == "warning"
    assert "driver not loaded" in told["smoke"]["gpu"]["reason"]
    (problem,) = command("test", image, "--gpus", "all", exit_code=5)["problems"]
    assert problem["code"] == "engine.no-gpu" and "driver not loaded" in problem["what"]


def test_predict_gets_them_too(command: Command, image: str, gpu_machine: Machine, tmp_path: Path) -> None:
    file = tmp_path / "seen.dcm"
    file.write_bytes(synthetic_request("mr-series").files[0].content)
    command("predict", image, str(file), "--gpus", "device=3")
    assert [asked["devices"] for asked in gpu_machine.asked()] == ["3"]


def test_run_gets_them_too(other_engine: Mapping[str, str], image: str, gpu_machine: Machine) -> None:
    gpu_machine.has(**GOOD)
    gpu_machine.asked()
    words = [sys.executable, "-m", "mdai_build.cli", "run", image, "--gpus", "1", "--port", "0"]
    with subprocess.Popen(
        words, env={**os.environ, **other_engine}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as serving:
        output = []
        for line in serving.stdout or ():
            output.append(line)
            if "http://127.0.0.1:" in line:
                break
        serving.send_signal(signal.SIGINT)
        output += serving.stdout or ()
    gpu_machine.has_none()
    assert [asked["devices"] for asked in gpu_machine.asked()] == ["0"], "".join(output)


def test_doctor_does_not_say_that_containers_cannot_have_them(
    other_engine: Mapping[str, str], gpu_machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mdai_build.engine import connect
    from mdai_build.engine.probe import engine_facts
    from mdai_build.settings import load_settings

    monkeypatch.setenv("DOCKER_HOST", other_engine["DOCKER_HOST"])
    monkeypatch.setenv("PATH", other_engine["PATH"])
    found = connect(load_settings().engine_folder)
    assert not engine_facts(found).gives_gpus
    monkeypatch.setenv("PATH", f"{gpu_machine.programs}:{other_engine['PATH']}")
    assert engine_facts(found).gives_gpus
    found.client.close()


@pytest.mark.parametrize(
    ("machine", "exit_code", "row"),
    [
        (GOOD, 0, r"gpu +3\.10 +11\.8 +ok +cupy 99\.0 +\d{4} MB +83 % +\d+"),
        ({**GOOD, "cuda": "10.1"}, 1, r"gpu +3\.10 +11\.8 +FAILED +(\d{4} MB +83 % +)?\d+"),
        (None, 77, None),
    ],
)
def test_the_gpu_test_prints_its_table(
    machine: dict[str, Any] | None,
    exit_code: int,
    row: str | None,
    other_engine: Mapping[str, str],
    gpu_machine: Machine,
    cache_folder: Path,
    tmp_path: Path,
) -> None:
    if machine:
        gpu_machine.has(**machine)
    write_framework(tmp_path / "cupy_cuda11x-99.0-py3-none-any.whl")
    with private_files(tmp_path, None) as index:
        done = subprocess.run(
            [sys.executable, str(ROOT / "scripts/gpu_test.py"), "--only", "py310:11.8"],
            env={
                **os.environ,
                **other_engine,
                "MDAI_BUILD_CACHE_FOLDER": str(cache_folder),
                "MDAI_BUILD_PARENT": "local",
                "MDAI_BUILD_BUILD_NETWORK": "host",
                "MDAI_BUILD_EXTRA_INDEX_URLS": f"{index.url}/simple/",
            },
            capture_output=True,
            text=True,
            check=False,
        )
    gpu_machine.has_none()
    assert done.returncode == exit_code, done
    assert (row is None and done.stdout == "") or re.search(f"^{row}$", done.stdout, re.M), done
    if exit_code == 1:
        assert "driver is too old for this CUDA: cupy-cuda11x 99.0, built for CUDA 11.x" in done.stdout
    if machine is None:
        assert "nothing was tested" in done.stderr and "driver not loaded" in done.stderr
