"""Why a model does not compute on a GPU, from what frameworks and drivers are known to print."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from mdai_build.smoke.gpu import cpu_only, explain, judge, read_report, read_usage, untested

A100 = {"name": "NVIDIA A100-SXM4-40GB", "capability": "8.0"}


def framework(name: str = "torch", error: str | None = None, **more: Any) -> dict[str, Any]:
    version = {"torch": "1.6.0+cu101", "tensorflow": "2.4.1", "cupy": "12.3.0"}[name]
    return {"name": name, "distribution": name, "version": version, "built_for": "10.1", "error": error, **more}


def report(*frameworks: dict[str, Any], **more: Any) -> dict[str, Any]:
    driver = {"found": True, "error": "", "cuda": "11.4", "devices": [A100]}
    return {"driver": driver, "driver_version": "470.82.01", "frameworks": list(frameworks), **more}


# What was printed, as people have reported it.
TORCH_TOO_OLD = (
    "RuntimeError: The NVIDIA driver on your system is too old (found version 10010). Please update your GPU driver by "
    "downloading and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx"
)
TORCH_UNEXPECTED = (
    "RuntimeError: Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling "
    "NumCudaDevices() that might have already set an error? Error 804: forward compatibility was attempted on non "
    "supported HW"
)
CUPY_TOO_OLD = (
    "cupy_backends.cuda.api.runtime.CUDARuntimeError: cudaErrorInsufficientDriver: CUDA driver version is insufficient "
    "for CUDA runtime version"
)
TENSORFLOW_TOO_OLD = (
    "tensorflow.python.framework.errors_impl.InternalError: cudaGetDevice() failed. Status: CUDA driver version is "
    "insufficient for CUDA runtime version"
)
PTX = "RuntimeError: CUDA error: the provided PTX was compiled with an unsupported toolchain."
TORCH_NO_KERNEL = (
    "RuntimeError: CUDA error: no kernel image is available for execution on the device\n"
    "CUDA kernel errors might be asynchronously reported at some other API call,so the stacktrace below might be "
    "incorrect."
)
TORCH_WARNS = (
    "/opt/conda/lib/python3.8/site-packages/torch/cuda/__init__.py:104: UserWarning: \n"
    "NVIDIA A100-SXM4-40GB with CUDA capability sm_80 is not compatible with the current PyTorch installation.\n"
    "The current PyTorch install supports CUDA capabilities sm_37 sm_50 sm_60 sm_70.\n"
)
CUPY_NO_KERNEL = (
    "cupy_backends.cuda.api.driver.CUDADriverError: CUDA_ERROR_NO_BINARY_FOR_GPU: no kernel image is available for "
    "execution on the device"
)
CUPY_NVRTC = "cupy.cuda.compiler.CompileException: nvrtc: error: invalid value for --gpu-architecture (-arch)"
TENSORFLOW_NO_KERNEL = (
    "tensorflow.python.framework.errors_impl.InternalError: CUDA runtime implicit initialization on GPU:0 failed. "
    "Status: device kernel image is invalid"
)
TENSORFLOW_LOG = (
    "2022-07-10 15:08:09.1: I tensorflow/stream_executor/platform/default/dso_loader.cc:49] Successfully opened "
    "dynamic library libcudart.so.11.0\n"
    "2022-07-10 15:08:09.2: W tensorflow/stream_executor/platform/default/dso_loader.cc:64] Could not load dynamic "
    "library 'libnvinfer.so.7'; dlerror: libnvinfer.so.7: cannot open shared object file: No such file or directory\n"
    "2022-07-10 15:08:09.3: W tensorflow/stream_executor/platform/default/dso_loader.cc:64] Could not load dynamic "
    "library '{}'; dlerror: {}: cannot open shared object file: No such file or directory; LD_LIBRARY_PATH: /usr/lib\n"
    "2022-07-10 15:08:09.4: W tensorflow/core/common_runtime/gpu/gpu_device.cc:1850] Cannot dlopen some GPU libraries. "
    "Please make sure the missing libraries mentioned above are installed properly if you would like to use GPU.\n"
    "Skipping registering GPU devices...\n"
)


def tensorflow_log(library: str) -> str:
    return TENSORFLOW_LOG.format(library, library)


TENSORFLOW_SEES_NONE = "RuntimeError: TensorFlow sees no GPU"
TENSORFLOW_OLD_LOG = (
    "I tensorflow/stream_executor/platform/default/dso_loader.cc:53] Could not dlopen library 'libcudnn.so.7'; "
    "dlerror: libcudnn.so.7: cannot open shared object file: No such file or directory; LD_LIBRARY_PATH: /usr/lib"
)
TENSORFLOW_NEW_LOG = (
    "W tensorflow/core/common_runtime/gpu/gpu_device.cc:2348] Cannot dlopen some GPU libraries. Please make sure the "
    "missing libraries mentioned above are installed properly if you would like to use GPU."
)
TORCH_CUDNN = "RuntimeError: cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"
TORCH_CUDNN_FILE = (
    "Could not load library libcudnn_cnn_infer.so.8. Error: libcuda.so: cannot open shared object file: No such file "
    "or directory"
)
CUPY_CUBLAS = "ImportError: libcublas.so.11: cannot open shared object file: No such file or directory"
CUPY_FRAMED = (
    "ImportError: \n====\nFailed to import CuPy.\n\nOriginal error:\n"
    "  ImportError: libnvrtc.so.11.2: cannot open shared object file: No such file or directory\n====\n"
)
TORCH_CPU = "AssertionError: Torch not compiled with CUDA enabled"
TORCH_MEMORY = (
    "RuntimeError: CUDA out of memory. Tried to allocate 2.00 MiB (GPU 0; 39.59 GiB total capacity; 0 bytes already "
    "allocated; 1.19 MiB free; 0 bytes reserved in total by PyTorch)"
)


@pytest.mark.parametrize(
    ("name", "error", "log", "code"),
    [
        ("torch", TORCH_TOO_OLD, "", "driver-too-old"),
        ("torch", TORCH_UNEXPECTED, "", "driver-too-old"),
        ("torch", PTX, "", "driver-too-old"),
        ("cupy", CUPY_TOO_OLD, "", "driver-too-old"),
        (
            "tensorflow",
            TENSORFLOW_TOO_OLD,
            tensorflow_log("libnvinfer.so.7"),
            "driver-too-old",
        ),
        ("torch", TORCH_NO_KERNEL, "", "no-kernel"),
        ("torch", "RuntimeError: something", TORCH_WARNS, "no-kernel"),
        ("cupy", CUPY_NO_KERNEL, "", "no-kernel"),
        ("cupy", CUPY_NVRTC, "", "no-kernel"),
        ("tensorflow", TENSORFLOW_NO_KERNEL, "", "no-kernel"),
        ("tensorflow", TENSORFLOW_SEES_NONE, tensorflow_log("libcudnn.so.8"), "no-cudnn"),
        ("tensorflow", TENSORFLOW_SEES_NONE, TENSORFLOW_OLD_LOG, "no-cudnn"),
        ("torch", "its process was ended by signal 6", TORCH_CUDNN_FILE, "no-cudnn"),
        ("torch", TORCH_CUDNN, "", "no-cudnn"),
        (
            "tensorflow",
            TENSORFLOW_SEES_NONE,
            tensorflow_log("libcusolver.so.11"),
            "no-library",
        ),
        ("tensorflow", TENSORFLOW_SEES_NONE, TENSORFLOW_NEW_LOG, "no-library"),
        ("cupy", CUPY_CUBLAS, "", "no-library"),
        ("cupy", CUPY_FRAMED, "", "no-library"),
        ("torch", TORCH_CPU, "", "cpu-only"),
        ("tensorflow", "RuntimeError: this TensorFlow is not built with CUDA", "", "cpu-only"),
        ("torch", TORCH_MEMORY, "", "out-of-memory"),
        ("torch", "its process was ended by signal 9", "", "out-of-memory"),
        ("torch", "RuntimeError: No CUDA GPUs are available", "", "no-device"),
        ("tensorflow", TENSORFLOW_SEES_NONE, "", "no-device"),
        ("cupy", "ArithmeticError: it computes wrongly", "", "fails"),
    ],
)
def test_the_reason(name: str, error: str, log: str, code: str) -> None:
    failing = framework(name, error, log=log)
    problem = explain(failing, report(failing))
    assert problem.code == f"smoke.gpu-{code}"
    assert problem.next_step and problem.details is not None and error.split("\n")[0] in problem.details


def test_the_reason_says_what_is_there_and_what_is_wanted() -> None:
    old = explain(framework("torch", TORCH_TOO_OLD), report())
    assert "470.82.01" in old.what and "built for CUDA 10.1" in old.what and "up to 11.4" in old.what
    kernel = explain(framework("torch", TORCH_NO_KERNEL, architectures=["sm_37", "sm_70"]), report())
    assert "NVIDIA A100-SXM4-40GB (8.0)" in kernel.what and "sm_37, sm_70" in kernel.what
    assert "libcublas.so.11" in explain(framework("cupy", CUPY_CUBLAS), report()).what
    assert explain(framework("cupy", "ImportError: \n===\nOriginal error:\n  ValueError: 3\n"), report()).what.endswith(
        "3"
    )


@pytest.mark.parametrize(
    ("built_for", "driver", "told"),
    [
        ("12.1", "470.82.01", "to 525.60.13 or newer, which CUDA 12.1 needs"),
        ("12.1", "525.85.12", "to 530.30.02 or newer, which CUDA 12.1 needs"),
        ("12.x", None, "to 525.60.13 or newer, which CUDA 12.x needs"),
        ("10.1", "410.48", "to 418.39 or newer, which CUDA 10.1 needs"),
        # Such a driver would do, so that something else is the matter.
        ("12.1", "550.54.14", "have the driver updated"),
        (None, "410.48", "have the driver updated"),
        ("rocm", "unknown", "have the driver updated"),
    ],
)
def test_a_driver_that_is_too_old_is_told_with_one_that_would_do(
    built_for: str | None, driver: str | None, told: str
) -> None:
    failing = {**framework("torch", TORCH_TOO_OLD), "built_for": built_for}
    problem = explain(failing, report(driver_version=driver))
    assert (problem.next_step or "").endswith(told), problem.next_step


@pytest.mark.parametrize(
    ("capability", "told"),
    [
        ("8.0", "CUDA 11.0 is the first with kernels for Ampere"),
        ("9.0", "CUDA 11.8 is the first with kernels for Hopper"),
        ("12.0", "no cuda_version is for Blackwell"),
        ("99.0", "no cuda_version is for compute capability 99.0"),
        ("?", "this generation of GPUs"),
    ],
)
def test_a_gpu_without_kernels_is_told_with_the_cuda_that_has_some(capability: str, told: str) -> None:
    devices = [{"name": "A GPU", "capability": capability}] * 2
    driver = {"found": True, "error": "", "cuda": "12.4", "devices": devices}
    problem = explain(framework("torch", TORCH_NO_KERNEL), {**report(), "driver": driver})
    assert (problem.expected or "").endswith(told), problem.expected


GOOD = framework(error=None)
USED = {"context": True, "frameworks": {"torch": 5_000_000}, "bytes_before": 10, "peak_bytes": 900_000_000}


def codes(found: Sequence[Any]) -> list[str]:
    return [problem.code.removeprefix("smoke.gpu-") for problem in found]


def test_a_model_that_computes_there_is_told_with_what_it_took() -> None:
    result, problems = judge(report(GOOD), {**USED, "peak_utilisation": 83})
    assert problems == () and result.tested and result.used
    assert (result.peak_bytes, result.model_bytes, result.utilisation) == (900_000_000, 899_999_990, 83)
    assert result.devices == ("NVIDIA A100-SXM4-40GB (8.0)",) and result.driver == "470.82.01"


def test_a_model_that_stays_on_the_cpu_though_all_is_well_fails() -> None:
    for usage in (
        {"context": None, "frameworks": {"torch": 0}, "bytes_before": 10, "peak_bytes": 10},
        {"context": False, "frameworks": {"torch": 0}, "bytes_before": None, "peak_bytes": None},
    ):
        result, problems = judge(report(GOOD), usage)
        assert codes(problems) == ["unused"] and result.used is False


def test_one_that_computes_in_a_process_of_its_own_is_seen_by_the_memory() -> None:
    usage = {"context": None, "frameworks": {"torch": 0}, "bytes_before": 10, "peak_bytes": 2**30}
    assert judge(report(GOOD), usage)[1] == ()


def test_one_that_fell_back_fails_with_its_frameworks_reason_though_it_made_a_context() -> None:
    usage = {"context": True, "frameworks": {"torch": 512}}
    assert codes(judge(report(framework(error=TORCH_NO_KERNEL)), usage)[1]) == ["no-kernel"]


def test_only_what_the_model_has_imported_counts() -> None:
    broken = framework("tensorflow", TENSORFLOW_SEES_NONE)
    assert judge(report(broken, GOOD), USED)[1] == ()
    usage = {"context": True, "frameworks": {"torch": 5, "tensorflow": None}}
    assert judge(report(broken, GOOD), usage)[1] == ()
    usage = {"context": False, "frameworks": {"tensorflow": None}}
    assert codes(judge(report(broken, GOOD), usage)[1]) == ["no-device"]


def test_a_model_that_holds_all_memory_leaves_none_to_look_with() -> None:
    assert judge(report(framework(error=TORCH_MEMORY)), USED)[1] == ()
    nobody = {"context": False, "frameworks": {"torch": 0}}
    assert codes(judge(report(framework(error=TORCH_MEMORY)), nobody)[1]) == ["out-of-memory"]


def test_without_any_framework_nothing_could_have_computed() -> None:
    assert codes(judge(report(), {"context": None, "frameworks": {}})[1]) == ["no-framework"]
    # One that is not known to us, onnxruntime for instance.
    assert judge(report(), {"context": True, "frameworks": {}})[1] == ()


@pytest.mark.parametrize(
    ("driver", "more", "code"),
    [
        ({"found": False, "error": "libcuda.so.1: cannot open shared object file"}, {}, "no-driver"),
        ({"found": True, "error": "CUDA_ERROR_NO_DEVICE (100)"}, {"visible": "-1"}, "hidden"),
        ({"found": True, "error": "CUDA_ERROR_NO_DEVICE (100)"}, {"visible": "0"}, "no-device"),
        ({"found": True, "error": "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)"}, {}, "driver-too-old"),
        ({"found": True, "error": "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE (804)"}, {}, "driver-too-old"),
    ],
)
def test_a_driver_that_shows_no_device(driver: dict[str, Any], more: dict[str, Any], code: str) -> None:
    told = report(GOOD, driver={**driver, "cuda": "11.4", "devices": []}, **more)
    result, problems = judge(told, None)
    assert codes(problems) == [code] and result.devices == ()


def test_a_cpu_only_wheel_is_known_without_a_gpu() -> None:
    wheel = {"name": "tensorflow", "distribution": "tensorflow-cpu", "version": "2.11.0", "built_for": "cpu"}
    told = report(wheel, driver={"found": False, "error": "no libcuda", "cuda": None, "devices": []})
    assert codes(cpu_only(told)) == ["cpu-only"]
    result, problems = untested("none here", told)
    assert not result.tested and result.reason == "none here" and result.frameworks[0].computes is None
    assert codes(problems) == ["cpu-only"] and "tensorflow-cpu 2.11.0" in problems[0].what
    assert untested("none here", None)[1] == ()


def test_the_report_is_the_last_line_that_is_one() -> None:
    told = report(GOOD)
    assert read_report(f"\n\nnoise {{\n{json.dumps(told)}\n\n") == told
    wrong = [{**told, "driver": {}}, {**told, "frameworks": {}}, {**told, "frameworks": [{**GOOD, "version": 3}]}]
    for printed in ("", "Traceback", '{"driver": 3}', "{", "[]", "[" * 100_000, *map(json.dumps, wrong)):
        assert read_report(printed) is None


def test_what_a_server_tells_is_taken_only_as_far_as_it_is_that() -> None:
    assert read_usage(USED) == USED
    for told in (None, [], {"context": True}, {**USED, "frameworks": ["try"]}, {**USED, "peak_bytes": "1"}):
        assert read_usage(told) is None
