"""The steps of a request, timed; and, where a request asks for it (`mdai-build profile`), what each takes of memory."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from typing import Any, Callable

_CLEAR_REFS = "/proc/self/clear_refs"
_STATUS = "/proc/self/status"
_FORGET_PEAK = "5"
_GPU_LIBRARY = "libnvidia-ml.so.1"
_GPU_SECONDS = 0.01


class Steps:
    """Runs the steps of one request, and knows how many seconds each took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def run(self, step: str, action: Callable[..., Any], *arguments: Any) -> Any:
        """What the action returns or raises."""
        started = time.perf_counter()
        try:
            return action(*arguments)
        finally:
            self.seconds[step] = time.perf_counter() - started


class MeasuredSteps(Steps):
    """Knows too how many bytes were in use at the most while each step ran: of this process, and on the GPUs.

    A step is missing where the machine does not tell. Of GPUs it is all that is in use, whoever uses it: in a
    container NVIDIA's library knows no process numbers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak_bytes: dict[str, int] = {}
        self.gpu_bytes: dict[str, int] = {}

    def run(self, step: str, action: Callable[..., Any], *arguments: Any) -> Any:
        forgotten = _forget_peak()
        with _GpuWatch() as gpu:
            try:
                return super().run(step, action, *arguments)
            finally:
                peak = _peak()
                if forgotten and peak:
                    self.peak_bytes[step] = peak
                used = gpu.most()
                if used is not None:
                    self.gpu_bytes[step] = used


def _forget_peak() -> bool:
    """Has the kernel count this process's largest resident size anew (proc(5), clear_refs); whether it does."""
    try:
        with open(_CLEAR_REFS, "w") as file:
            file.write(_FORGET_PEAK)
    except OSError:
        return False
    return True


def _peak() -> int:
    with contextlib.suppress(OSError, ValueError, IndexError), open(_STATUS) as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


class _GpuWatch:
    """Looks at the GPUs' memory again and again while the block lasts; does nothing where there are none."""

    def __init__(self) -> None:
        self._read = _gpu_reader()
        self._most: int | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="gpu", daemon=True)

    def __enter__(self) -> _GpuWatch:
        if self._read is not None:
            self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._read is not None:
            self._ended.set()
            self._thread.join()

    def most(self) -> int | None:
        """The most bytes seen so far, and now."""
        if self._read is not None:
            self._note()
        return self._most

    def _look(self) -> None:
        while not self._ended.wait(_GPU_SECONDS):
            self._note()

    def _note(self) -> None:
        used = self._read() if self._read is not None else None
        if used is not None:
            self._most = max(used, self._most or 0)


class _Memory(ctypes.Structure):
    """nvmlMemory_t."""

    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


_readers: list[Callable[[], int | None] | None] = []


def _gpu_reader() -> Callable[[], int | None] | None:
    """What tells the bytes in use on all GPUs, or None where there are none; found out once."""
    if not _readers:
        reader = None
        # Whatever a driver's library makes ctypes raise, a measurement must not cost the answer.
        with contextlib.suppress(Exception):
            reader = _nvml()
        _readers.append(reader)
    return _readers[0]


def _nvml() -> Callable[[], int | None] | None:
    nvml = ctypes.CDLL(_GPU_LIBRARY)
    count = ctypes.c_uint()
    if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) or not count.value:
        return None
    handles = []
    for index in range(count.value):
        handle = ctypes.c_void_p()
        if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) == 0:
            handles.append(handle)

    def read() -> int | None:
        total = 0
        for handle in handles:
            memory = _Memory()
            if nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)):
                return None
            total += memory.used
        return total

    return read if handles else None
