"""What a look at the GPUs means: whether a model computes there, and if not, why.

The look itself is the runtime's (`mdai_build/runtime/gpu.py`). What is here are functions of what it told.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, replace

from pydantic import TypeAdapter
from typing_extensions import NotRequired, TypedDict

from mdai_build.errors import Location, Problem
from mdai_build.matrix import is_older, is_version, support_matrix

_CONFIG = Location(".mdai/config.yaml", key="cuda_version")
_REQUIREMENTS = Location(".mdai/requirements.txt")
_CHILD_BYTES = 64 * 2**20
"""From so much more GPU memory in use on, some process of the model's is taken to compute there."""
_HIDDEN = ("", "-1", "NoDevFiles")

_KILLED = re.compile(r"was ended by signal 9\b")
_OUT_OF_MEMORY = re.compile(
    r"(?i)out of memory|OUT_OF_MEMORY|CUBLAS_STATUS_ALLOC_FAILED|memory allocation failure|" + _KILLED.pattern
)
_CPU_ONLY = re.compile(r"not compiled with CUDA|not built with CUDA")
_DRIVER_TOO_OLD = re.compile(
    r"(?i)driver version is insufficient|NVIDIA driver on your system is too old|cudaErrorInsufficientDriver"
    r"|CUDA_ERROR_SYSTEM_DRIVER_MISMATCH|unsupported display driver / cuda driver combination"
    r"|CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE|forward compatibility was attempted on non supported HW"
    r"|CUDA_ERROR_UNSUPPORTED_PTX_VERSION|PTX was compiled with an unsupported toolchain"
)
# In the words of `engine.gpus.refusal`: images of NVIDIA's name the CUDA that they need (NVIDIA_REQUIRE_CUDA).
_IMAGE_ASKS_FOR_MORE = re.compile(r"too old: the image asks for cuda")
_NO_KERNEL = re.compile(
    r"(?i)no kernel image is available|CUDA_ERROR_NO_BINARY_FOR_GPU|device kernel image is invalid"
    r"|CUDA_ERROR_INVALID_IMAGE|_STATUS_ARCH_MISMATCH|invalid value for --gpu-architecture"
    r"|is not compatible with the current PyTorch installation|CUDA_ERROR_INVALID_PTX"
)
_LIBRARY = re.compile(
    r"Could not (?:load (?:dynamic )?|dlopen )library '?(?P<a>lib[\w.+-]*\w)"
    r"|(?P<b>lib[\w.+-]+): cannot open shared object"
)
# TensorRT and the driver's own: TensorFlow asks for the first without needing it.
_NOT_NEEDED = re.compile(r"libnvinfer|libcuda\.so")
_SOME_LIBRARY = re.compile(r"Cannot dlopen some GPU libraries")
_CUDNN = re.compile(r"CUDNN_STATUS_NOT_INITIALIZED|cuDNN version incompatibility|Loaded runtime CuDNN library: \S+ but")
_NO_DEVICE = re.compile(
    r"(?i)no CUDA-capable device is detected|No CUDA GPUs are available|sees no GPU|cudaErrorNoDevice"
)


@dataclass(frozen=True)
class Framework:
    """A framework in the model's environment."""

    name: str
    version: str
    built_for: str | None
    """The CUDA that it was built for, `cpu`, or None where it does not tell."""
    computes: bool | None
    """Whether it computed rightly on the device; None: not tried."""


@dataclass(frozen=True)
class GpuResult:
    """What a smoke test found of the GPUs. Bytes are those of all devices."""

    tested: bool
    reason: str = ""
    """Why it was not tested."""
    driver: str | None = None
    cuda: str | None = None
    """The newest that the driver can run."""
    devices: tuple[str, ...] = ()
    frameworks: tuple[Framework, ...] = ()
    used: bool | None = None
    """Whether the model computed there; None: not known."""
    peak_bytes: int | None = None
    """Most memory in use while the model predicted, by all processes."""
    model_bytes: int | None = None
    """How much of that came with the model."""
    utilisation: int | None = None
    """Percent, of the busiest device while the model predicted."""


class DeviceTold(TypedDict):
    """A device, as the runtime's look tells it."""

    name: str
    capability: str


class DriverTold(TypedDict):
    """The driver, likewise."""

    found: bool
    error: str
    cuda: NotRequired[str | None]
    devices: list[DeviceTold]


class FrameworkTold(TypedDict):
    """A framework, likewise; with an `error`, which may be None, it was tried."""

    name: str
    version: str
    distribution: NotRequired[str]
    built_for: NotRequired[str | None]
    error: NotRequired[str | None]
    log: NotRequired[str]
    architectures: NotRequired[list[str]]


class Report(TypedDict):
    """What the runtime's look prints."""

    driver: DriverTold
    frameworks: list[FrameworkTold]
    driver_version: NotRequired[str | None]
    nvidia_smi: NotRequired[str | None]
    visible: NotRequired[str | None]


class Usage(TypedDict):
    """What a server tells of its model's use of GPUs (`gpu` of `/status`)."""

    context: bool | None
    frameworks: dict[str, int | None]
    bytes_before: NotRequired[int | None]
    peak_bytes: NotRequired[int | None]
    peak_utilisation: NotRequired[int | None]


_REPORT: TypeAdapter[Report] = TypeAdapter(Report)
_USAGE: TypeAdapter[Usage] = TypeAdapter(Usage)


def read_report(printed: str) -> Report | None:
    """The report in what the runtime's look printed: its last line that is one; None where there is none.

    It was printed in a stranger's container, so it may be anything.
    """
    for line in reversed(printed.splitlines()):
        if line.startswith("{"):
            with contextlib.suppress(ValueError, RecursionError):  # a ValidationError is a ValueError
                return _REPORT.validate_json(line, strict=True)
    return None


def read_usage(told: object) -> Usage | None:
    """What a server tells of its model's use of GPUs, as far as it is that."""
    with contextlib.suppress(ValueError):
        return _USAGE.validate_python(told, strict=True)
    return None


def judge(report: Report, usage: Usage | None) -> tuple[GpuResult, tuple[Problem, ...]]:
    """What a report on devices that are there means, and why the model does not compute on them; empty when it does.

    Args:
        report: of the runtime's look.
        usage: what the server tells of its model's use; None where it does not.
    """
    result = _result(report, usage)
    driver = report["driver"]
    if not driver.get("devices"):
        return result, (_no_device(report, driver),)
    imported = usage["frameworks"] if usage else {}
    tried = [each for each in report["frameworks"] if "error" in each and (not imported or each["name"] in imported)]
    # Beside a model that holds all of the memory, nothing else can compute.
    crowded = [each for each in tried if result.used and _OUT_OF_MEMORY.search(_said(each))]
    failing = [each for each in tried if each["error"] is not None and each not in crowded]
    if result.used is not False and len(failing) < max(1, len(tried)):
        return result, ()
    reasons = tuple(explain(each, report) for each in failing)
    if failing and len(failing) == len(tried):
        return result, reasons
    if not tried:
        return result, (_no_framework(),)
    return result, (*reasons, _on_cpu(tried))


def untested(reason: str, report: Report | None) -> tuple[GpuResult, tuple[Problem, ...]]:
    """What is known without a GPU: what is installed, and which of that can compute on none, wherever it runs."""
    if report is None:
        return GpuResult(tested=False, reason=reason), ()
    return replace(_result(report, None), tested=False, reason=reason), cpu_only(report)


def too_old_for_image(refusal: str) -> Problem | None:
    """What an engine's refusal means where there is a GPU, whose driver cannot run what the image asks for."""
    if not _IMAGE_ASKS_FOR_MORE.search(refusal):
        return None
    return Problem(
        code="smoke.gpu-driver-too-old",
        what=f"the driver is too old for this CUDA: {refusal}",
        where=_CONFIG,
        expected="a CUDA that the driver can run",
        next_step="ask for an older cuda_version, and packages built for it; or have the driver updated",
    )


def cpu_only(report: Report) -> tuple[Problem, ...]:
    """Frameworks that can compute on no GPU, wherever they run: known without one."""
    return tuple(_cpu_only(each) for each in report["frameworks"] if each.get("built_for") == "cpu")


def explain(framework: FrameworkTold, report: Report) -> Problem:
    """Why a framework does not compute on a device that is there.

    Args:
        framework: its part of the report, with an `error`.
        report: the whole.
    """
    said, name = _said(framework), _named(framework)
    driver = report["driver"]
    if framework.get("built_for") == "cpu" or _CPU_ONLY.search(said):
        return _cpu_only(framework)
    if _DRIVER_TOO_OLD.search(said):
        built = f", built for CUDA {framework['built_for']}," if framework.get("built_for") else ""
        return Problem(
            code="smoke.gpu-driver-too-old",
            what=f"the driver is too old for this CUDA: {name}{built} on driver {report.get('driver_version') or '?'}, "
            f"which runs CUDA up to {driver.get('cuda') or '?'}",
            where=_CONFIG,
            expected=f"a CUDA that the driver can run, {driver.get('cuda') or 'or an older one'} at most",
            next_step=_newer_driver(framework.get("built_for"), report),
            details=said,
        )
    if _NO_KERNEL.search(said):
        kinds = sorted({f"{device['name']} ({device['capability']})" for device in driver["devices"]})
        listed = (
            f"; it has kernels for {', '.join(framework['architectures'])}" if framework.get("architectures") else ""
        )
        return Problem(
            code="smoke.gpu-no-kernel",
            what=f"{name} has no kernel image for this GPU: {', '.join(kinds)}{listed}",
            where=_REQUIREMENTS,
            expected=f"a build of it that was made for this generation of GPUs{_first_cuda(driver['devices'])}",
            next_step="take a newer version of it, and the cuda_version that it is built for",
            details=said,
        )
    if _KILLED.search(said):
        return Problem(
            code="smoke.gpu-out-of-memory",
            what=f"{name} was killed for want of memory when it was tried beside the model",
            expected="a container in which both fit",
            next_step="raise the limit: --memory 8g",
            details=said,
        )
    if _OUT_OF_MEMORY.search(said):
        return Problem(
            code="smoke.gpu-out-of-memory",
            what=f"{name} found no free memory on the GPU",
            expected="some hundred megabytes for the smoke test",
            next_step="see with nvidia-smi who holds it; choose another device with --gpus device=N",
            details=said,
        )
    if (missing := _missing_library(said)) or _CUDNN.search(said):
        if missing is None or "cudnn" in missing:
            return Problem(
                code="smoke.gpu-no-cudnn",
                what=f"cuDNN is missing, or is not the one that {name} was built for"
                + (f": {missing} is not there" if missing else ""),
                where=_REQUIREMENTS,
                expected="the cuDNN that it asks for, in the parent image or as a package",
                next_step="take a version of it that fits the parent's CUDA and cuDNN, or require nvidia-cudnn-cu11 or "
                "nvidia-cudnn-cu12",
                details=said,
            )
        return Problem(
            code="smoke.gpu-no-library",
            what=f"{name} does not find {missing or 'some of the libraries of CUDA'}",
            where=_REQUIREMENTS,
            expected="the libraries of the CUDA that it was built for"
            + (f" ({framework['built_for']})" if framework.get("built_for") else ""),
            next_step="take a version of it that is built for the cuda_version of config.yaml, or change that",
            details=said,
        )
    if _SOME_LIBRARY.search(said):
        return Problem(
            code="smoke.gpu-no-library",
            what=f"{name} does not find some of the libraries of CUDA or cuDNN, and does not say which",
            where=_REQUIREMENTS,
            expected="CUDA and cuDNN of the versions that it was built for",
            next_step="take a version of it that is built for the cuda_version of config.yaml, or change that",
            details=said,
        )
    if _NO_DEVICE.search(said):
        return _no_device(report, driver, name, said)
    return Problem(
        code="smoke.gpu-fails",
        what=f"{name} does not compute on the GPU: {_first_line(str(framework.get('error')))}",
        where=_REQUIREMENTS,
        next_step="what it printed is below",
        details=said,
    )


def _result(report: Report, usage: Usage | None) -> GpuResult:
    driver = report["driver"]
    before, peak = (usage.get("bytes_before"), usage.get("peak_bytes")) if usage else (None, None)
    model_bytes = max(0, peak - before) if before is not None and peak is not None else None
    used = None
    if usage is not None:
        own = any(usage["frameworks"].values())
        used = bool(usage["context"]) or own or (model_bytes or 0) >= _CHILD_BYTES
    return GpuResult(
        tested=True,
        driver=report.get("driver_version"),
        cuda=driver.get("cuda"),
        devices=tuple(f"{each['name']} ({each['capability']})" for each in driver["devices"]),
        frameworks=tuple(
            Framework(
                each["name"], each["version"], each.get("built_for"), each["error"] is None if "error" in each else None
            )
            for each in report["frameworks"]
        ),
        used=used,
        peak_bytes=peak,
        model_bytes=model_bytes,
        utilisation=usage.get("peak_utilisation") if usage else None,
    )


def _said(framework: FrameworkTold) -> str:
    return "\n".join(filter(None, (str(framework.get("error") or ""), str(framework.get("log") or "")))).strip()


def _named(framework: FrameworkTold) -> str:
    return f"{framework.get('distribution') or framework['name']} {framework['version']}"


def _first_line(text: str) -> str:
    """The line of an error that says something: cupy frames that which matters."""
    lines = [line.strip() for line in text.partition("Original error:")[2].splitlines() or text.splitlines()]
    return next((line for line in lines if line.strip("=")), "it does not say why")


def _missing_library(said: str) -> str | None:
    for found in _LIBRARY.finditer(said):
        library = found["a"] or found["b"]
        if not _NOT_NEEDED.search(library):
            return str(library)
    return None


def _cpu_only(framework: FrameworkTold) -> Problem:
    return Problem(
        code="smoke.gpu-cpu-only",
        what=f"a CPU-only wheel is installed: {_named(framework)} can compute on no GPU",
        where=_REQUIREMENTS,
        expected=f"a build of {framework['name']} with CUDA",
        next_step="name the index or the build with CUDA, such as torch==2.1.2+cu118 with --extra-index-url, or "
        "tensorflow in place of tensorflow-cpu",
        details=_said(framework) or None,
    )


def _no_device(report: Report, driver: DriverTold, name: str = "the driver", said: str | None = None) -> Problem:
    error = str(driver.get("error") or "")
    if report.get("visible") in _HIDDEN:
        return Problem(
            code="smoke.gpu-hidden",
            what=f"{name} sees no GPU, since CUDA_VISIBLE_DEVICES is {report['visible']!r}",
            where=Location(".mdai/config.yaml", key="env"),
            next_step="leave that variable to the platform",
            details=said,
        )
    if not driver.get("found"):
        return Problem(
            code="smoke.gpu-no-driver",
            what="there are GPUs, but the driver's library is not: " + error,
            expected="libcuda.so.1, which NVIDIA's container toolkit puts into the container",
            next_step="leave NVIDIA_DRIVER_CAPABILITIES alone, or have it name `compute`",
        )
    if _DRIVER_TOO_OLD.search(error):
        return Problem(
            code="smoke.gpu-driver-too-old",
            what=f"the driver is too old for this CUDA: it answers {error}, and runs CUDA up to {driver.get('cuda')}",
            where=_CONFIG,
            next_step=_newer_driver(_newest_built_for(report), report),
        )
    return Problem(
        code="smoke.gpu-no-device",
        what=f"{name} sees no GPU" + (f": {error}" if error else ""),
        expected="at least one device",
        next_step="see whether nvidia-smi works on the machine",
        details="\n".join(filter(None, (said, report.get("nvidia_smi")))) or None,
    )


def _newest_built_for(report: Report) -> str | None:
    """The newest CUDA that something in the model's environment is built for."""
    built = (each.get("built_for") or "" for each in report["frameworks"])
    return max(filter(is_version, built), key=lambda cuda: [int(part) for part in cuda.split(".")], default=None)


def _newer_driver(cuda: str | None, report: Report) -> str:
    """What mends a driver that is too old for a CUDA, with the driver that the support matrix knows to be enough."""
    told = report.get("driver_version") or ""
    present = told if is_version(told) else None
    needed = support_matrix().driver_for(cuda, present) if cuda else None
    enough = needed is None or (present is not None and not is_older(present, needed))
    updated = "" if enough else f", to {needed} or newer, which CUDA {cuda} needs"
    return f"ask for an older cuda_version, and packages built for it; or have the driver updated{updated}"


def _first_cuda(devices: list[DeviceTold]) -> str:
    """From which CUDA on there are kernels for these GPUs, by the support matrix."""
    matrix, told = support_matrix(), []
    for capability in sorted({device["capability"] for device in devices if is_version(device["capability"])}):
        generation, first = matrix.generation_of(capability), matrix.first_cuda_for(capability)
        name = generation.name if generation else f"compute capability {capability}"
        told.append(f"CUDA {first} is the first with kernels for {name}" if first else f"no cuda_version is for {name}")
    return "".join(f"; {each}" for each in dict.fromkeys(told))


def _no_framework() -> Problem:
    return Problem(
        code="smoke.gpu-no-framework",
        what="the model did not compute on the GPU: nothing that could is installed (torch, tensorflow and cupy are "
        "looked for)",
        where=_REQUIREMENTS,
        next_step="add the framework to the requirements, or set device_type: cpu",
    )


def _on_cpu(tried: list[FrameworkTold]) -> Problem:
    working = ", ".join(_named(each) for each in tried if each["error"] is None)
    return Problem(
        code="smoke.gpu-unused",
        what=f"the model did not compute on the GPU, where {working} computes well",
        where=Location(".mdai/mdai_deploy.py"),
        expected="the model and its inputs on the device",
        next_step='move both: model.to("cuda") and tensor.to("cuda") with torch; or set device_type: cpu; its log says '
        "whether it chose to",
    )
