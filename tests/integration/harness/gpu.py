"""A machine with GPUs for a private engine, where there is none: the engine asks NVIDIA's hook for them, and that, the
driver and the frameworks are stand-ins (tests/integration/gpu, tests/runtime/stand_in_gpu.c). What is ours is not: the
request, the look in the container, what is made of it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.packing import write_wheel

TESTS = Path(__file__).resolve().parents[2]
STAND_INS = TESTS / "integration" / "gpu"
DRIVER = TESTS / "runtime" / "stand_in_gpu.c"
LIBRARIES = ("libcuda.so.1", "libnvidia-ml.so.1")


class Machine:
    """What the engine's machine has. As long as nobody says what, no driver is loaded there."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "programs"
        """Belongs on dockerd's PATH: it looks for the hook when it starts."""
        self._parts = folder / "machine"
        for path in (self.programs, self._parts):
            path.mkdir()
        shutil.copy(STAND_INS / "hook.py", self._parts)
        hook = self.programs / "nvidia-container-runtime-hook"
        hook.write_text(f'#!/bin/sh\nexec {sys.executable} -I {self._parts / "hook.py"} "$@"\n')
        hook.chmod(0o755)

    def has(self, *, devices: int, cuda: str, driver: str, capability: str) -> None:
        """From now on it has so many devices of that compute capability, and a driver that can run that CUDA."""
        major, _, minor = cuda.partition(".")
        of_device = dict(zip(("MAJOR", "MINOR"), capability.split("."), strict=True))
        facts = {"CUDA": int(major) * 1000 + int(minor) * 10, "DRIVER": f'"{driver}"', **of_device}
        for name in LIBRARIES:
            compile_stand_in(self._parts / name, **facts)
        (self._parts / "machine.json").write_text(json.dumps({"devices": devices, "cuda": cuda}))

    def has_none(self) -> None:
        """From now on no driver is loaded."""
        (self._parts / "machine.json").unlink(missing_ok=True)

    def asked(self) -> list[dict[str, Any]]:
        """What containers asked for since this was called last: `devices` and `capabilities`."""
        path = self._parts / "asked.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]


def compile_stand_in(target: Path, **facts: object) -> None:
    """Compiles the stand-in of NVIDIA's libraries into a shared library of any name."""
    defined = [f"-D{name}={value}" for name, value in facts.items()]
    subprocess.run(["cc", "-shared", "-fPIC", *defined, "-o", str(target), str(DRIVER)], check=True)


def write_framework(wheel: Path, cuda: str | None = None, more: dict[str, bytes] | None = None) -> None:
    """Writes the wheel of a stand-in, torch or cupy as the name says; `cuda` is what that torch is built for."""
    name = wheel.name.partition("-")[0].partition("_")[0]
    source = (STAND_INS / name / "__init__.py").read_text()
    version = f"__version__ = {wheel.name.split('-')[1]!r}\ncuda = {cuda!r}\n"
    write_wheel(wheel, f"{name}/__init__", source, {f"{name}/version.py": version.encode(), **(more or {})})
