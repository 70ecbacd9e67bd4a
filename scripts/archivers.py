"""Other programs that unpack archives, to hold ours against: Info-ZIP's `unzip` and libarchive's `bsdtar`.

What the system lacks is Debian's package, unpacked into a folder of ours once. Serves tests and `scoreboard.py`.
"""

from __future__ import annotations

import ctypes.util
import fcntl
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import debian

PACKAGES = {"unzip": ("unzip", None), "bsdtar": ("libarchive-tools", "archive")}
"""Debian's package of each program, and the library that it needs and a system may have already."""


@dataclass(frozen=True)
class Archiver:
    """A program, and the variables that it needs to start."""

    program: str
    environment: dict[str, str] = field(default_factory=dict)


def find(name: str, folder: Path) -> Archiver:
    """The program `name`, the system's own if there is one; else unpacked below `folder`.

    Raises:
        debian.Unavailable: it is not there, and cannot be had.
    """
    if own := shutil.which(name):
        return Archiver(own)
    root = folder / "archivers" / name
    program = root / "usr/bin" / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "archivers.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            work = folder / f"apt-{name}"
            package, library = PACKAGES[name]
            # A library that the system has may be newer than the suite's, which apt would not go back to.
            has_all = library is None or ctypes.util.find_library(library) is not None
            debian.unpack([package], suite=debian.codename(), into=root, work=work, dependencies=not has_all)
    libraries = ":".join(str(path) for path in sorted(root.glob("usr/lib/*-linux-gnu")) if path.is_dir())
    return Archiver(str(program), {**os.environ, "LD_LIBRARY_PATH": libraries})
