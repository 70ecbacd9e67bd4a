"""The look at the GPUs, on each Python that an image may have. A small C library stands in for the driver, which this
machine need not have: it shows that the calls are made as NVIDIA's headers say, not that a GPU computes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MAIN = Path(__file__).parents[2] / "mdai_build" / "runtime" / "__main__.py"
VERSIONS = ["3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13"]
# Starts the program, as `docker exec` does, and a C compiler.
pytestmark = pytest.mark.process

Look = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stand-ins."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    folder = tmp_path_factory.mktemp("driver")
    source = Path(__file__).with_name("stand_in_gpu.c")
    for name in ("libcuda.so.1", "libnvidia-ml.so.1"):
        subprocess.run([compiler, "-shared", "-fPIC", "-o", str(folder / name), str(source)], check=True)
    return folder


@pytest.fixture
def look(tmp_path: Path, python_of: Callable[[str], str]) -> Look:
    def run(version: str, *words: str, driver: Path | None = None, **variables: str) -> dict[str, Any]:
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), **variables}
        if driver is not None:
            environment["LD_LIBRARY_PATH"] = str(driver)
        command = [python_of(version), str(MAIN), "gpu", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
        assert done.stderr == ""
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told

    return run


def install(folder: Path, distribution: str, files: dict[str, str]) -> None:
    (folder / f"{distribution}.dist-info").mkdir()
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize("version", VERSIONS)
def test_on_a_machine_without_a_driver(version: str, look: Look) -> None:
    told = look(version)
    if told["driver"]["found"]:
        pytest.skip("this machine has a CUDA driver")
    assert "libcuda.so.1" in told["driver"]["error"] and told["driver"]["devices"] == []
    assert told["driver_version"] is None and told["frameworks"] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_driver_tells(version: str, look: Look, driver: Path) -> None:
    told = look(version, driver=driver)
    assert told["driver"] == {
        "found": True,
        "error": "",
        "cuda": "11.4",
        "devices": [{"name": "Stand-in", "capability": "8.6", "bytes": 80 * 2**30}],
    }
    assert told["driver_version"] == "470.82.01"


def test_a_driver_that_does_not_start(look: Look, driver: Path) -> None:
    told = look("3.11", driver=driver, STAND_IN_INIT="100", STAND_IN_NVML="18", CUDA_VISIBLE_DEVICES="-1")
    assert told["driver"]["error"] == "CUDA_ERROR_NO_DEVICE (100)" and told["driver"]["cuda"] == "11.4"
    assert told["driver_version"] is None and told["visible"] == "-1"
    assert look("3.11", driver=driver, STAND_IN_INIT="999")["driver"]["error"] == "error 999"


@pytest.mark.parametrize(
    ("distribution", "files", "name", "built_for"),
    [
        ("torch-1.6.0+cu101", {"torch/version.py": "__version__ = '1.6.0'\ncuda = '10.1'\n"}, "torch", "10.1"),
        (
            "torch-2.1.2",
            {"torch/version.py": "cuda: Optional[str] = '12.1'\nhip: Optional[str] = None\n"},
            "torch",
            "12.1",
        ),
        ("torch-2.1.2+cpu", {"torch/version.py": "cuda: Optional[str] = None\nhip = None\n"}, "torch", "cpu"),
        ("torch-2.1.2+rocm5.6", {"torch/version.py": "cuda = None\nhip: Optional[str] = '5.6'\n"}, "torch", "rocm"),
        (
            "tensorflow-2.8.0",
            {
                "tensorflow/python/platform/build_info.py": "build_info = collections.OrderedDict([('cuda_version', "
                "'11.2'), ('cudnn_version', '8'), ('is_cuda_build', True)])"
            },
            "tensorflow",
            "11.2",
        ),
        (
            "tensorflow-2.11.0",
            {"tensorflow/python/platform/build_info.py": "build_info = x([('is_cuda_build', False)])"},
            "tensorflow",
            "cpu",
        ),
        ("tensorflow_cpu-2.4.1", {}, "tensorflow", "cpu"),
        ("cupy_cuda11x-12.3.0", {}, "cupy", "11.x"),
        ("cupy_cuda101-9.6.0", {}, "cupy", "10.1"),
    ],
)
def test_what_is_installed_is_known_without_importing_it(
    distribution: str, files: dict[str, str], name: str, built_for: str, look: Look, tmp_path: Path
) -> None:
    install(tmp_path, distribution, {f"{name}/__init__.py": "raise SystemExit('imported')", **files})
    (framework,) = look("3.11")["frameworks"]
    assert (framework["name"], framework["built_for"]) == (name, built_for)
    assert framework["distribution"] == distribution.rpartition("-")[0].replace("_", "-")
    assert framework["version"] == distribution.rpartition("-")[2] and "error" not in framework


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("raise RuntimeError('No CUDA GPUs are available')", "RuntimeError: No CUDA GPUs are available"),
        ("print('the reason', flush=True)\nimport os; os.abort()", "its process was ended by signal 6"),
        ("import os; os._exit(0)", "its process ended by itself"),
    ],
)
def test_a_framework_is_tried_where_its_crash_costs_nothing(
    source: str, error: str, look: Look, driver: Path, tmp_path: Path
) -> None:
    install(tmp_path, "cupy-12.3.0", {"cupy/__init__.py": source})
    install(tmp_path, "torch-1.6.0", {"torch/__init__.py": "raise SystemExit('this one was not asked for')"})
    torch, cupy = look("3.11", "cupy", driver=driver)["frameworks"]
    assert cupy["error"] == error and "error" not in torch
    assert "the reason" not in source or "the reason" in cupy["log"]


PROGRAM = """
import ctypes, importlib.util, json, sys
sys.path.insert(0, {package!r})
from mdai_runtime import cuda
before = cuda.has_context()
library = ctypes.CDLL("libcuda.so.1")
idle = cuda.has_context()
library.cuInit(0)
if {computes}:
    library.cuDevicePrimaryCtxRetain(ctypes.byref(ctypes.c_void_p()), 7)
print(json.dumps([before, idle, cuda.has_context(), cuda.Management().sample()]))
"""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("computes", [False, True])
def test_whether_a_process_computes_is_known_without_starting_anything(
    version: str, computes: bool, driver: Path, python_of: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "mdai_runtime").symlink_to(MAIN.parent)
    done = subprocess.run(
        [python_of(version), "-c", PROGRAM.format(package=str(tmp_path), computes=computes)],
        env={"LD_LIBRARY_PATH": str(driver)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [None, False, computes, [5 * 2**30, 83]]
