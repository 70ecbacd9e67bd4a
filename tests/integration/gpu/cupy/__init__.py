"""Stands in for cupy: as much of it as the look at the GPUs and examples/gpu call, computed by numpy.

As with the real one, a driver that is too old for its CUDA is told, in its words.
"""

import ctypes

import numpy

__version__ = "99.0"
CUDA = 11080
float32 = numpy.float32


def _driver():
    library = ctypes.CDLL("libcuda.so.1")
    newest, count = ctypes.c_int(), ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(newest))
    if newest.value // 1000 < CUDA // 1000:
        raise RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version")
    library.cuInit(0)
    library.cuDeviceGetCount(ctypes.byref(count))
    return library, count.value


def asarray(array):
    library, _ = _driver()
    library.cuDevicePrimaryCtxRetain(ctypes.byref(ctypes.c_void_p()), 7)
    library.cuMemAlloc_v2(ctypes.byref(ctypes.c_ulonglong()), ctypes.c_size_t(array.nbytes))
    cuda.allocated += array.nbytes
    return array


def asnumpy(array):
    return numpy.asarray(array)


def arange(stop, dtype=float32):
    return asarray(numpy.arange(stop, dtype=dtype))


class cuda:
    allocated = 0

    class runtime:
        @staticmethod
        def getDeviceCount():
            return _driver()[1]

        @staticmethod
        def getDeviceProperties(number):
            _driver()
            return {"name": b"Stand-in"}


class _Pool:
    def total_bytes(self):
        return cuda.allocated


def get_default_memory_pool():
    return _Pool()
