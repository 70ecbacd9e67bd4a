"""What is asked of an engine that has GPUs, and what is understood of one that has none."""

from __future__ import annotations

import pytest

from mdai_build.engine.gpus import GpuRequest, gpu_request, refusal


@pytest.mark.parametrize(
    ("setting", "count", "ids"),
    [
        ("all", -1, None),
        ("2", 2, None),
        ("device=0,2", None, ["0", "2"]),
        ("0,2", None, ["0", "2"]),
        ("device=GPU-3a23c669-1f69", None, ["GPU-3a23c669-1f69"]),
        ("GPU-3a23c669-1f69", None, ["GPU-3a23c669-1f69"]),
    ],
)
def test_the_words_of_the_engine(setting: str, count: int | None, ids: list[str] | None) -> None:
    request = gpu_request(setting, wanted=False)
    assert request is not None and request.required
    told = request.as_device_request()
    assert told["Count"] == (count or 0) and told["DeviceIDs"] == (ids or [])
    assert told["Capabilities"] == [["gpu", "compute", "utility"]]


def test_by_itself_a_model_for_a_gpu_gets_what_there_is_and_no_other_one() -> None:
    assert gpu_request("auto", wanted=True) == GpuRequest(required=False)
    assert gpu_request("auto", wanted=False) is None
    assert gpu_request("none", wanted=True) is None


def test_a_process_sees_the_same_devices() -> None:
    assert GpuRequest().visible_devices is None
    assert GpuRequest(count=2).visible_devices == "0,1"
    assert GpuRequest(ids=("1", "3")).visible_devices == "1,3"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ('could not select device driver "" with capabilities: [[gpu compute utility]]', "no GPU to give"),
        ("failed to discover GPU vendor from CDI: no known GPU vendor found", "no GPU to give"),
        (
            "failed to create task for container: OCI runtime create failed: nvidia-container-cli: requirement error: "
            "unsatisfied condition: cuda>=11.8, please update your driver to a newer version",
            "the image asks for cuda>=11.8, which driver 520.61.05 and newer have",
        ),
        ("nvidia-container-cli: requirement error: unsatisfied condition: cuda>=99.1, please", "asks for cuda>=99.1"),
        ("nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown", "driver not loaded"),
        ("nvidia-container-cli: device error: 7: unknown device: unknown", "7: unknown device"),
        (
            "error running hook: stderr: invoking the NVIDIA Container Runtime Hook directly (e.g. specifying the "
            "docker --gpus flag) is not supported. Please use the NVIDIA Container Runtime",
            "Please use the NVIDIA Container Runtime",
        ),
    ],
)
def test_why_an_engine_gives_none(said: str, meant: str) -> None:
    assert meant in str(refusal(said))


def test_another_failure_is_not_taken_for_it() -> None:
    assert refusal("driver failed programming external connectivity: port is already allocated") is None
