"""Finds what can compute on a GPU here: torch or cupy, whichever works. Without one numpy does it on the CPU.

An import that works proves little: the driver may be too old, or the framework without kernels for this GPU.
So each candidate computes something small before it is taken.
"""

from collections import namedtuple

import numpy as np

Backend = namedtuple("Backend", "name note to_device to_host")


def torch_backend():
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError(f"torch {torch.__version__} sees no CUDA device")
    note = f"computed by torch {torch.__version__} on {torch.cuda.get_device_name(0)}"
    return Backend("torch", note, lambda array: torch.from_numpy(array).cuda(), lambda array: array.cpu().numpy())


def cupy_backend():
    import cupy

    name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    return Backend("cupy", f"computed by cupy {cupy.__version__} on {name}", cupy.asarray, cupy.asnumpy)


def relu(array):
    """What is below zero becomes zero: @, abs and arithmetic are spelt the same in every torch, cupy and numpy."""
    return (array + abs(array)) / 2


def works(backend):
    probe = np.arange(6, dtype=np.float32).reshape(2, 3)
    on_device = backend.to_device(probe)
    return np.array_equal(backend.to_host(relu(on_device @ on_device.T - 20)), relu(probe @ probe.T - 20))


def choose():
    """The first backend that computes; its note says which, or why the CPU had to do."""
    reasons = []
    for candidate in (torch_backend, cupy_backend):
        try:
            backend = candidate()
            if works(backend):
                return backend
            reasons.append(f"{backend.name} computes wrongly")
        except Exception as error:  # noqa: BLE001  frameworks raise all kinds, and the next may work
            reasons.append(f"{candidate.__name__}: {error}")
    note = "computed by numpy on the CPU, because no GPU could be used ({})".format("; ".join(reasons))
    return Backend("numpy", note, np.asarray, np.asarray)


BACKEND = choose()
print(BACKEND.note, flush=True)
