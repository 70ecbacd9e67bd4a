"""What NVIDIA's own libraries tell, through ctypes: the driver (libcuda) and the management library (NVML).

Neither belongs to an image: the container toolkit puts them into a container together with the devices. Names and
structures are those of "CUDA Driver API" and "NVML API Reference".
"""

from __future__ import annotations

import ctypes
import os
import re
import threading
from typing import Any, NamedTuple

_DEVICE_FILES = re.compile(r"nvidia\d+$")
# WSL 2 has one device for all.
_WSL_DEVICE = "/dev/dxg"
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
_NAME_BYTES = 96


class Driver(NamedTuple):
    """The driver as a process sees it."""

    found: bool
    """Whether the library could be loaded."""
    error: str
    """Why it could not be, or the name of what cuInit answered; empty when all is well."""
    cuda: str | None
    """The newest CUDA that it can run, such as ``12.4``."""
    devices: list[dict[str, Any]]
    """``name``, ``capability`` such as ``8.6``, and ``bytes``."""


class Sample(NamedTuple):
    """What NVML tells of all devices together, at one moment."""

    used_bytes: int
    utilisation: int
    """Of the busiest device, in percent, over its last sample period (a sixth of a second to a second)."""


def device_files() -> list[str]:
    """The devices that this container was given."""
    found = ["/dev/" + name for name in sorted(_listed("/dev")) if _DEVICE_FILES.match(name)]
    return found + ([_WSL_DEVICE] if os.path.exists(_WSL_DEVICE) else [])


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def ask_driver() -> Driver:
    """Starts the driver in this process, and asks what there is; makes no context."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return Driver(False, str(error), None, [])
    version = ctypes.c_int()
    cuda = None
    if library.cuDriverGetVersion(ctypes.byref(version)) == 0 and version.value:
        cuda = "{}.{}".format(version.value // 1000, version.value % 1000 // 10)
    code = library.cuInit(0)
    if code != 0:
        return Driver(True, _error_name(library, code), cuda, [])
    count = ctypes.c_int()
    library.cuDeviceGetCount(ctypes.byref(count))
    return Driver(True, "", cuda, [_device(library, number) for number in range(count.value)])


def _device(library: Any, number: int) -> dict[str, Any]:
    device, size = ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(_NAME_BYTES)
    library.cuDeviceGet(ctypes.byref(device), number)
    library.cuDeviceGetName(name, _NAME_BYTES, device)
    library.cuDeviceTotalMem_v2(ctypes.byref(size), device)
    parts = []
    for attribute in (_MAJOR, _MINOR):
        value = ctypes.c_int()
        library.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        parts.append(str(value.value))
    return {"name": name.value.decode("utf-8", "replace"), "capability": ".".join(parts), "bytes": size.value}


def _error_name(library: Any, code: int) -> str:
    name = ctypes.c_char_p()
    if library.cuGetErrorName(code, ctypes.byref(name)) == 0 and name.value:
        return "{} ({})".format(name.value.decode("ascii", "replace"), code)
    return "error {}".format(code)


def has_context() -> bool | None:
    """Whether this process computes on a device: it holds a primary context, as all of CUDA's runtime does.

    Nothing is started by asking. None: the driver is not loaded in this process, so it cannot.
    """
    try:
        # Only where somebody has loaded it already.
        library = ctypes.CDLL("libcuda.so.1", mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
    except OSError:
        return None
    count = ctypes.c_int()
    if library.cuDeviceGetCount(ctypes.byref(count)) != 0:  # cuInit was never called
        return False
    for number in range(count.value):
        device, flags, active = ctypes.c_int(), ctypes.c_uint(), ctypes.c_int()
        if library.cuDeviceGet(ctypes.byref(device), number) != 0:
            continue
        answer = library.cuDevicePrimaryCtxGetState(device, ctypes.byref(flags), ctypes.byref(active))
        if answer == 0 and active.value:
            return True
    return False


class _Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


class _Utilisation(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


class Management:
    """NVML, started. It needs no context on any device."""

    def __init__(self) -> None:
        """Raises OSError where there is none, or it does not start."""
        self._library = ctypes.CDLL("libnvidia-ml.so.1")
        self._library.nvmlErrorString.restype = ctypes.c_char_p
        code = self._library.nvmlInit_v2()
        if code != 0:
            text = self._library.nvmlErrorString(code) or b"?"
            raise OSError("NVML does not start: {}".format(text.decode("utf-8", "replace")))
        count = ctypes.c_uint()
        self._library.nvmlDeviceGetCount_v2(ctypes.byref(count))
        self._devices = []
        for number in range(count.value):
            device = ctypes.c_void_p()
            if self._library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(number), ctypes.byref(device)) == 0:
                self._devices.append(device)

    def driver_version(self) -> str:
        """Such as ``550.54.15``."""
        text = ctypes.create_string_buffer(80)
        self._library.nvmlSystemGetDriverVersion(text, 80)
        return text.value.decode("ascii", "replace")

    def has_devices(self) -> bool:
        """Whether there is a device to ask about."""
        return bool(self._devices)

    def sample(self) -> Sample:
        """What is in use now."""
        used = busiest = 0
        for device in self._devices:
            memory, rates = _Memory(), _Utilisation()
            if self._library.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)) == 0:
                used += memory.used
            if self._library.nvmlDeviceGetUtilizationRates(device, ctypes.byref(rates)) == 0:
                busiest = max(busiest, rates.gpu)
        return Sample(used, busiest)


class Watch:
    """Samples all devices again and again, and keeps the most of each: from ``begin`` to ``end``, or in a block.

    It may begin anew; what it has seen stays.
    """

    def __init__(self, management: Management, seconds: float) -> None:
        self._management = management
        self._seconds = seconds
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.peak: Sample | None = None

    def begin(self) -> None:
        """Samples from now on, in a thread."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, args=(self._over,), name="gpu", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Has a last sample taken, and does not wait for it."""
        self._over.set()

    def __enter__(self) -> Watch:
        self.begin()
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()
        if self._thread is not None:
            self._thread.join()

    def _look(self, over: threading.Event) -> None:
        ended = False
        while not ended:
            ended = over.wait(self._seconds)
            now = self._management.sample()
            with self._lock:
                peak = self.peak or now
                self.peak = Sample(max(peak.used_bytes, now.used_bytes), max(peak.utilisation, now.utilisation))


class Meter:
    """Watches the devices while the model computes; does nothing where there are none."""

    _PERIOD_SECONDS = 0.2

    def __init__(self) -> None:
        self._watch: Watch | None = None
        self.before: Sample | None = None
        """Before the model was loaded, or shortly after that began."""
        if device_files():
            # Where no other process keeps the driver awake, this takes a second.
            threading.Thread(target=self._open, name="gpu", daemon=True).start()

    @property
    def peak(self) -> Sample | None:
        """The most of each, while the model predicted."""
        return self._watch.peak if self._watch is not None else None

    def begin(self) -> None:
        """Samples from now on until ``end``."""
        if self._watch is not None:
            self._watch.begin()

    def end(self) -> None:
        """Has a last sample taken."""
        if self._watch is not None:
            self._watch.end()

    def _open(self) -> None:
        try:
            management = Management()
            self.before = management.sample()
            self._watch = Watch(management, self._PERIOD_SECONDS)
        except (OSError, AttributeError):
            return
