"""Finds out what a GPU is good for here: ``python .../__main__.py gpu [FRAMEWORK...]`` prints one line of JSON.

Without a device it only looks at what is installed. With one, each framework (those named, else all that are installed)
is imported in a process of its own and computes something, since a framework that cannot use the device may crash, and
tells the reason in its log at best. What the report means is for its reader to say.
"""

from __future__ import annotations

import glob
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from typing import Any, Callable

from . import cuda, processes

FORMAT = 1
_MAIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")
_CHILD_SECONDS = 120
_BEAT_SECONDS = 5
_LOG_LENGTH = 8000
_MARK = "mdai-gpu-result:"
# The distributions that bring a framework, by the name that it is imported by; the most telling first.
DISTRIBUTIONS: dict[str, tuple[str, ...]] = {
    "torch": ("torch",),
    "tensorflow": ("tensorflow", "tensorflow_gpu", "tensorflow_cpu", "intel_tensorflow"),
    "cupy": ("cupy", "cupy_*"),
}


def main(words: list[str]) -> int:
    """Prints the report; ``try NAME`` is what it starts itself."""
    ours = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != ours]
    if words[:1] == ["try"]:
        processes.be_first_to_go()  # rather than the model's worker, beside which it takes memory
        print(_MARK + json.dumps(_ATTEMPTS[words[1]]()), flush=True)
        return 0
    print(json.dumps(report(words)), flush=True)
    return 0


def report(imported: list[str]) -> dict[str, Any]:
    """What there is: the driver, the devices, the frameworks, and whether each computes."""
    driver = cuda.ask_driver()
    found = installed()
    chosen = [framework for framework in found if not imported or framework["name"] in imported]
    if driver.devices:
        for framework in chosen:
            framework.update(_tried(framework["name"]))
    return {
        "format": FORMAT,
        "device_files": cuda.device_files(),
        "driver": driver._asdict(),
        "driver_version": _driver_version(),
        "nvidia_smi": _ask_nvidia_smi(),
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "frameworks": found,
    }


def _driver_version() -> str | None:
    try:
        return cuda.Management().driver_version()
    except (OSError, AttributeError):
        return None


def _ask_nvidia_smi() -> str | None:
    """What the tool says of the devices, or why it fails; None where it is not there."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    words = [program, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stdout.decode("utf-8", "replace").strip()[:_LOG_LENGTH]


# ---- what is installed, without importing it ----


def installed() -> list[dict[str, Any]]:
    """The frameworks on ``sys.path``: ``name``, ``distribution``, ``version`` and ``built_for``.

    The last is the CUDA that it was built for, such as ``11.8``, or ``cpu``; None where its files do not tell.
    """
    found = []
    for name, distributions in DISTRIBUTIONS.items():
        for folder in sys.path:
            told = _distribution(folder or ".", distributions)
            if told is not None:
                distribution, version = told
                built_for = _BUILT_FOR[name](folder or ".", distribution, version)
                found.append({"name": name, "distribution": distribution, "version": version, "built_for": built_for})
                break
    return found


def _distribution(folder: str, names: tuple[str, ...]) -> tuple[str, str] | None:
    for name in names:
        for ending in ("dist-info", "egg-info"):
            for path in sorted(glob.glob(os.path.join(glob.escape(folder), name + "-*." + ending))):
                distribution, _, version = os.path.basename(path)[: -len(ending) - 1].partition("-")
                return distribution.replace("_", "-"), version.split("-py")[0]
    return None


def _text(*parts: str) -> str:
    try:
        with open(os.path.join(*parts), encoding="utf-8", errors="replace") as file:
            return file.read(200_000)
    except OSError:
        return ""


def _torch_built_for(folder: str, distribution: str, version: str) -> str | None:
    # It writes `cuda = '11.8'`, with a type from 1.11 on, or None.
    told = re.search(r"^cuda(?:: [^=]+)? = (?:'([\d.]+)'|(None))", _text(folder, "torch", "version.py"), re.MULTILINE)
    if told:
        hip = re.search(r"^hip(?:: [^=]+)? = '", _text(folder, "torch", "version.py"), re.MULTILINE)
        return told[1] or ("rocm" if hip else "cpu")
    return "cpu" if version.endswith("+cpu") else None


_TENSORFLOW_CUDA = r"""\('cuda_version', '([\d.]+)'|^cuda_version_number = ['"]([\d.]+)"""


def _tensorflow_built_for(folder: str, distribution: str, version: str) -> str | None:
    # From 2.3 on the file holds pairs, before that names.
    text = _text(folder, "tensorflow", "python", "platform", "build_info.py")
    told = re.search(_TENSORFLOW_CUDA, text, re.MULTILINE)
    if told:
        return told[1] or told[2]
    if re.search(r"^is_cuda_build = False|\('is_cuda_build', False\)", text, re.MULTILINE):
        return "cpu"
    return "cpu" if distribution in ("tensorflow-cpu", "intel-tensorflow") else None


def _cupy_built_for(folder: str, distribution: str, version: str) -> str | None:
    told = re.fullmatch(r"cupy-cuda(\d\d)(\d|x)", distribution)
    return "{}.{}".format(told[1], told[2]) if told else None


_BUILT_FOR: dict[str, Callable[[str, str, str], "str | None"]] = {
    "torch": _torch_built_for,
    "tensorflow": _tensorflow_built_for,
    "cupy": _cupy_built_for,
}


# ---- what computes ----


def _tried(name: str) -> dict[str, Any]:
    """What one framework made of the device, in a process of its own.

    ``devices``: how many it sees; ``error``: what went wrong, None when it computed rightly; ``log``: the end of what
    it printed; and what it tells of itself.
    """
    process = subprocess.Popen(
        [sys.executable, _MAIN, "gpu", "try", name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    timer = threading.Timer(_CHILD_SECONDS, process.kill)
    timer.start()
    beating = threading.Event()
    threading.Thread(target=_beat, args=(beating,), daemon=True).start()
    try:
        output = process.communicate()[0].decode("utf-8", "replace")
    finally:
        timed_out = not timer.is_alive()
        timer.cancel()
        beating.set()
    log, mark, told = output.rpartition(_MARK)
    if not mark:
        ended = "nothing came of it within {} s".format(_CHILD_SECONDS) if timed_out else _how(process.returncode)
        return {"devices": None, "error": ended, "log": output[-_LOG_LENGTH:]}
    result = json.loads(told.splitlines()[0])
    assert isinstance(result, dict)
    return {**result, "log": log[-_LOG_LENGTH:]}


def _beat(over: threading.Event) -> None:
    """Prints an empty line now and then: who waits for the report may give up a silent process."""
    while not over.wait(_BEAT_SECONDS):
        print(flush=True)


def _how(status: int) -> str:
    return "its process was ended by signal {}".format(-status) if status < 0 else "its process ended by itself"


def _attempt(steps: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    result: dict[str, Any] = {"devices": None, "error": None}
    begun = time.perf_counter()
    try:
        steps(result)
    except BaseException as error:
        result["error"] = "{}: {}".format(type(error).__name__, error)[:_LOG_LENGTH]
    result["seconds"] = round(time.perf_counter() - begun, 3)
    return result


def _try_torch() -> dict[str, Any]:
    def steps(result: dict[str, Any]) -> None:
        torch = importlib.import_module("torch")
        if hasattr(torch.cuda, "get_arch_list"):
            result["architectures"] = list(torch.cuda.get_arch_list())
        result["devices"] = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not result["devices"]:
            torch.zeros(1).cuda()  # it says why not
        here = torch.arange(6, dtype=torch.float32).reshape(2, 3)
        there = here.cuda()
        if not torch.equal((there @ there.t()).cpu(), here @ here.t()):
            raise ArithmeticError("it computes wrongly")
        result["cudnn"] = torch.backends.cudnn.version()
        layer = torch.nn.Conv2d(1, 1, 3).cuda()
        layer(torch.ones(1, 1, 8, 8).cuda()).sum().item()

    return _attempt(steps)


def _try_tensorflow() -> dict[str, Any]:
    def steps(result: dict[str, Any]) -> None:
        tf = importlib.import_module("tensorflow")
        config = tf.config if hasattr(tf.config, "list_physical_devices") else tf.config.experimental
        devices = config.list_physical_devices("GPU")
        result["devices"] = len(devices)
        if not tf.test.is_built_with_cuda():
            raise RuntimeError("this TensorFlow is not built with CUDA")
        if not devices:
            raise RuntimeError("TensorFlow sees no GPU")
        for device in devices:
            # It would take all of the memory, of which the model holds some.
            tf.config.experimental.set_memory_growth(device, True)
        with tf.device("/GPU:0"):
            a = tf.reshape(tf.range(6, dtype=tf.float32), (2, 3))
            product = tf.matmul(a, a, transpose_b=True).numpy().tolist()
            tf.nn.conv2d(tf.ones((1, 8, 8, 1)), tf.ones((3, 3, 1, 1)), 1, "VALID").numpy()
        if product != [[5.0, 14.0], [14.0, 50.0]]:
            raise ArithmeticError("it computes wrongly")

    return _attempt(steps)


def _try_cupy() -> dict[str, Any]:
    def steps(result: dict[str, Any]) -> None:
        cupy = importlib.import_module("cupy")
        result["devices"] = cupy.cuda.runtime.getDeviceCount()
        a = cupy.arange(6, dtype=cupy.float32).reshape(2, 3)
        # One kernel that it compiles now, and one of cuBLAS.
        total, product = cupy.asnumpy((a * 2 + 1).sum()).item(), cupy.asnumpy(a @ a.T).tolist()
        if total != 36 or product != [[5.0, 14.0], [14.0, 50.0]]:
            raise ArithmeticError("it computes wrongly")

    return _attempt(steps)


_ATTEMPTS: dict[str, Callable[[], dict[str, Any]]] = {
    "torch": _try_torch,
    "tensorflow": _try_tensorflow,
    "cupy": _try_cupy,
}


# ---- what a model's own process uses ----

_DEVICES_HERE = bool(cuda.device_files())


def usage() -> dict[str, Any] | None:
    """What this process has made of the devices so far; None where there are none.

    ``context``: whether it computes on one; ``frameworks``: those that it has imported, and the most bytes that each
    has had there, None where it does not tell. Starts nothing.
    """
    if not _DEVICES_HERE:
        return None
    frameworks = {}
    for name in DISTRIBUTIONS:
        module = sys.modules.get(name)
        if module is not None:
            try:
                frameworks[name] = _BYTES[name](module)
            except Exception:
                frameworks[name] = None
    try:
        context = cuda.has_context()
    except (OSError, AttributeError):
        context = None
    return {"context": context, "frameworks": frameworks}


def _torch_bytes(torch: Any) -> int | None:
    if not torch.cuda.is_initialized():
        return 0
    return sum(int(torch.cuda.max_memory_allocated(number)) for number in range(torch.cuda.device_count()))


def _tensorflow_bytes(tensorflow: Any) -> int | None:
    return None  # to ask it would start it


def _cupy_bytes(cupy: Any) -> int | None:
    return int(cupy.get_default_memory_pool().total_bytes())


_BYTES: dict[str, Callable[[Any], "int | None"]] = {
    "torch": _torch_bytes,
    "tensorflow": _tensorflow_bytes,
    "cupy": _cupy_bytes,
}
