"""Stands in for `nvidia-container-runtime-hook` of NVIDIA's container toolkit, on a machine without a GPU.

dockerd has a runtime start this in front of a container that asks for GPUs, with the container's state on standard
input (OCI runtime specification, "Prestart"). As the real one does, it reads from the container's environment which
devices and which parts of the driver are wanted, and puts just these into its root file system; the driver is
tests/runtime/stand_in_gpu.c. What the machine has is in `machine.json` beside this file.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

HERE = Path(__file__).parent
LIBRARIES = {"libcuda.so.1": "compute", "libnvidia-ml.so.1": "utility"}


def refuse(reason: str) -> NoReturn:
    """In the words of the real one (NVIDIA/libnvidia-container, src/cli)."""
    sys.exit(f"nvidia-container-cli: {reason}")


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def wanted_devices(wanted: str, machine: dict[str, Any]) -> list[int]:
    if wanted in ("", "void", "none"):
        return []
    if wanted == "all":
        return list(range(machine["devices"]))
    chosen = wanted.split(",")
    for name in chosen:
        if not name.isdigit() or int(name) >= machine["devices"]:
            refuse(f"device error: {name}: unknown device: unknown")
    return [int(name) for name in chosen]


def main() -> None:
    state = json.load(sys.stdin)
    if not (HERE / "machine.json").exists():
        refuse("initialization error: nvml error: driver not loaded: unknown")
    machine = json.loads((HERE / "machine.json").read_text())
    config = json.loads((Path(state["bundle"]) / "config.json").read_text())
    environment = dict(line.split("=", 1) for line in config["process"]["env"])
    capabilities = set(environment.get("NVIDIA_DRIVER_CAPABILITIES", "utility").split(","))
    with (HERE / "asked.jsonl").open("a") as asked:
        told = {"devices": environment.get("NVIDIA_VISIBLE_DEVICES"), "capabilities": sorted(capabilities)}
        asked.write(json.dumps({"container": state["id"], **told}) + "\n")
    needed = re.match(r"cuda>=([\d.]+)", environment.get("NVIDIA_REQUIRE_CUDA", ""))
    if needed and numbers(needed[1]) > numbers(machine["cuda"]):
        advice = "please update your driver to a newer version, or use an earlier cuda container: unknown"
        refuse(f"requirement error: unsatisfied condition: {needed[0]}, {advice}")
    root = Path(f"/proc/{state['pid']}/root{config['root']['path']}")
    for device in wanted_devices(environment.get("NVIDIA_VISIBLE_DEVICES", ""), machine):
        (root / f"dev/nvidia{device}").touch()
    for library, part in LIBRARIES.items():
        if part in capabilities or "all" in capabilities:
            shutil.copy(HERE / library, root / "usr/lib/x86_64-linux-gnu" / library)
    subprocess.run(["ldconfig", "-r", str(root)], check=True)


if __name__ == "__main__":
    main()
