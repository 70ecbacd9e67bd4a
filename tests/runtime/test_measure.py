"""What a request that asks to be measured is told, by the real server as a process."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgpack
import pytest

pytestmark = pytest.mark.process

MIB = 2**20
# Holds 200 MiB for a moment, and answers with a mask that takes less.
DO = "held = bytearray(200 * 2**20); del held"
# Two GPUs, of which the first has 3 GiB in use once a file exists.
NVML = """
#include <unistd.h>
typedef struct { unsigned long long total, free, used; } memory;
int nvmlInit_v2(void) { return 0; }
const char *nvmlErrorString(int code) { return code ? "Unknown" : "Success"; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    *handle = (void *)(unsigned long)(index + 1);
    return 0;
}
int nvmlDeviceGetMemoryInfo(void *handle, memory *found) {
    unsigned long long gib = 1ULL << 30;
    found->total = 8 * gib;
    found->used = (unsigned long)handle == 1 && access(BUSY, F_OK) == 0 ? 3 * gib : gib / 2;
    found->free = found->total - found->used;
    return 0;
}
int nvmlDeviceGetUtilizationRates(void *handle, unsigned *rates) { return 3; /* not supported */ }
"""


def entries(response: Any) -> dict[str, dict[str, float]]:
    """The Server-Timing header: numbers by step and name."""
    found = {}
    for entry in response.headers["server-timing"].split(", "):
        step, *parts = entry.split(";")
        found[step] = {name: float(value) for name, value in (part.split("=") for part in parts)}
    return found


def body(do: str) -> bytes:
    files = [{"content": bytes(20 * MIB), "content_type": "application/dicom"}]
    packed: bytes = msgpack.packb({"files": files, "args": {"do": do}})
    return packed


@pytest.mark.parametrize("version", ["3.7", "3.11", "3.13"])
def test_memory_by_step(version: str, serve: Any) -> None:
    server = serve(version=version).until_ready()
    plain = entries(server.post_body(body(DO)))
    assert all(list(parts) == ["dur"] for parts in plain.values())
    measured = entries(server.post_body(body(DO), **{"mdai-measure": "memory"}))
    assert list(measured) == ["decode", "predict", "check", "encode"]
    peaks = {step: parts["peak"] for step, parts in measured.items()}
    assert peaks["predict"] > peaks["decode"] + 150 * MIB
    assert peaks["encode"] < peaks["predict"] - 150 * MIB
    # What the server tells as the peak of all time does not forget.
    assert server.status()["worker_peak_bytes"] >= peaks["predict"]


def test_a_failure_is_measured_up_to_its_step(serve: Any) -> None:
    server = serve().until_ready()
    answer = server.post_body(body("1 / 0"), **{"mdai-measure": "memory"})
    assert answer.status_code == 500
    assert {step: list(parts) for step, parts in entries(answer).items()} == {
        "decode": ["dur", "peak"],
        "predict": ["dur", "peak"],
    }


def test_memory_of_gpus(serve: Any, tmp_path: Path) -> None:
    """The driver's library is one of ours: what is tested is how it is asked, and that its peak is seen."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    busy, source = tmp_path / "busy", tmp_path / "nvml.c"
    source.write_text(NVML)
    command = [compiler, "-shared", "-fPIC", f'-DBUSY="{busy}"', str(source), "-o", str(tmp_path / "libnvidia-ml.so.1")]
    subprocess.run(command, check=True)
    server = serve(LD_LIBRARY_PATH=str(tmp_path)).until_ready()
    do = f"import os; open({str(busy)!r}, 'w'); time.sleep(0.2); os.remove({str(busy)!r})"
    measured = entries(server.post_body(body(do), **{"mdai-measure": "memory"}))
    used = {step: parts["gpu"] / 2**30 for step, parts in measured.items()}
    assert used == {"decode": 1.0, "predict": 3.5, "check": 1.0, "encode": 1.0}
