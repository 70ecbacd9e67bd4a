"""Stands in for torch: as much of it as the look at the GPUs and the models of test_gpu_engine.py call, by numpy.

Whether it computes depends on what the real one needs too: a build with CUDA, a driver that is new enough, kernels for
the device's generation, cuDNN. What is missing it tells in the real one's words.
"""

import ctypes
import os
from pathlib import Path

import numpy

from . import version

__version__ = version.__version__
float32 = numpy.float32
ARCHITECTURES = ("sm_70", "sm_75", "sm_80", "sm_86")
_MAJOR, _MINOR = 75, 76
_TOO_OLD = (
    "The NVIDIA driver on your system is too old (found version {}). Please update your GPU driver by downloading and "
    "installing a new version from the URL: http://www.nvidia.com/Download/index.aspx"
)


def _driver():
    if version.cuda is None:
        raise AssertionError("Torch not compiled with CUDA enabled")
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise RuntimeError("Found no NVIDIA driver on your system.") from None
    newest, count = ctypes.c_int(), ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(newest))
    if newest.value // 1000 < int(version.cuda.split(".")[0]):
        raise RuntimeError(_TOO_OLD.format(newest.value))
    if library.cuInit(0) != 0 or library.cuDeviceGetCount(ctypes.byref(count)) != 0 or not count.value:
        raise RuntimeError("No CUDA GPUs are available")
    return library, count.value


def _has_kernels(library):
    device, numbers = ctypes.c_int(), []
    library.cuDeviceGet(ctypes.byref(device), 0)
    for attribute in (_MAJOR, _MINOR):
        value = ctypes.c_int()
        library.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        numbers.append(value.value)
    kinds = [divmod(int(name[3:]), 10) for name in ARCHITECTURES]
    return any(major == numbers[0] and minor <= numbers[1] for major, minor in kinds)


class Tensor:
    def __init__(self, array, on_device=False):
        self.array, self.on_device = array, on_device

    def cuda(self):
        library, _ = _driver()
        library.cuDevicePrimaryCtxRetain(ctypes.byref(ctypes.c_void_p()), 7)
        library.cuMemAlloc_v2(ctypes.byref(ctypes.c_ulonglong()), ctypes.c_size_t(self.array.nbytes))
        cuda.allocated += self.array.nbytes
        return Tensor(self.array, True)

    def _computed(self, array):
        if self.on_device and not _has_kernels(_driver()[0]):
            raise RuntimeError("CUDA error: no kernel image is available for execution on the device")
        return Tensor(array, self.on_device)

    def cpu(self):
        return Tensor(self.array)

    def reshape(self, *shape):
        return Tensor(self.array.reshape(*shape), self.on_device)

    def t(self):
        return Tensor(self.array.T, self.on_device)

    def __matmul__(self, other):
        return self._computed(self.array @ other.array)

    def sum(self):
        return self._computed(self.array.sum())

    def item(self):
        return self.array.item()


def arange(stop, dtype=float32):
    return Tensor(numpy.arange(stop, dtype=dtype))


def zeros(*shape):
    return Tensor(numpy.zeros(shape, float32))


def ones(*shape):
    return Tensor(numpy.ones(shape, float32))


def equal(one, other):
    return numpy.array_equal(one.array, other.array)


class cuda:
    allocated = 0

    @staticmethod
    def is_available():
        try:
            return _driver()[1] > 0
        except (AssertionError, RuntimeError):
            return False

    @staticmethod
    def device_count():
        return _driver()[1]

    @staticmethod
    def get_arch_list():
        return list(ARCHITECTURES) if version.cuda else []

    @staticmethod
    def is_initialized():
        return cuda.allocated > 0

    @staticmethod
    def max_memory_allocated(device):
        return cuda.allocated if device == 0 else 0


class _Convolution:
    def __init__(self, *numbers):
        pass

    def cuda(self):
        return self

    def __call__(self, tensor):
        try:
            ctypes.CDLL(str(Path(__file__).parent / "lib" / "libcudnn_cnn_infer.so.8"))
        except OSError:
            name = "libcudnn_cnn_infer.so.8"
            print(f"Could not load library {name}. Error: {name}: cannot open shared object file", flush=True)
            os.abort()
        return tensor.sum()


class nn:
    Conv2d = _Convolution


class backends:
    class cudnn:
        @staticmethod
        def version():
            return None
