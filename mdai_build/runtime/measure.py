"""The steps of a request, timed; and, where a request asks for it (`mdai-build profile`), what each takes of memory."""

from __future__ import annotations

import contextlib
import time
from typing import Any, Callable

from . import cuda

_CLEAR_REFS = "/proc/self/clear_refs"
_STATUS = "/proc/self/status"
_FORGET_PEAK = "5"
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
        gpus = _gpus()
        watch = cuda.Watch(gpus, _GPU_SECONDS) if gpus is not None else None
        try:
            with watch or contextlib.nullcontext():
                return super().run(step, action, *arguments)
        finally:
            peak = _peak()
            if forgotten and peak:
                self.peak_bytes[step] = peak
            if watch is not None and watch.peak is not None:
                self.gpu_bytes[step] = watch.peak.used_bytes


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


_managements: list[cuda.Management | None] = []


def _gpus() -> cuda.Management | None:
    """What tells of the GPUs, or None where there are none; found out once."""
    if not _managements:
        management = None
        # Whatever a driver's library makes ctypes raise, a measurement must not cost the answer.
        with contextlib.suppress(Exception):
            management = cuda.Management()
        _managements.append(management if management is not None and management.has_devices() else None)
    return _managements[0]
