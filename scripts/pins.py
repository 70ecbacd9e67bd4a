"""Writes base_images/hashes.txt: what each package that we pin must hash to, one pin a line, from the package index.

Run it after a change of a pin: `.venv/bin/python scripts/pins.py`. A build hands the hashes to the installers, which
refuse any other file.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from mdai_build.requirements.target import MACHINE, uv_platform

PINS = Path(__file__).resolve().parent.parent / "base_images"
PLATFORM = uv_platform(MACHINE)


def hashes_of(file: Path, python: str) -> dict[str, set[str]]:
    """The hashes of each pin of a file, by `name==version`."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-deps", "--generate-hashes", "--no-header"]
    command += ["--no-annotate", "--python-version", python, "--python-platform", PLATFORM, str(file)]
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    printed = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    found: dict[str, set[str]] = {}
    for entry in re.split(r"\n(?=\S)", printed.replace("\\\n", "")):
        if pin := re.match(r"[^\s;]+==[^\s;]+", entry):
            found[pin.group()] = set(re.findall(r"--hash=(sha256:[0-9a-f]{64})", entry))
    return found


def main() -> None:
    found: dict[str, set[str]] = {}
    for file in sorted([PINS / "uv.txt", *PINS.glob("preinstalled/*.txt"), *PINS.glob("server/*.txt")]):
        version = re.fullmatch(r"py(\d)(\d+)", file.stem)
        for pin, hashes in hashes_of(file, f"{version[1]}.{version[2]}" if version else "3.10").items():
            found.setdefault(pin, set()).update(hashes)
    lines = [f"{pin} {' '.join(sorted(hashes))}\n" for pin, hashes in sorted(found.items())]
    head = "# Written by scripts/pins.py: the hashes of all files that the index has of each package that we pin.\n"
    (PINS / "hashes.txt").write_text(head + "".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
