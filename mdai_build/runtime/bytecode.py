"""Compiles what was installed and has no bytecode yet; run once, while an image is built.

Installers do that themselves, in processes of the environment in which the new packages may run code (``.pth`` files).
So it is done here, in a step that has neither the cache which all builds share nor anybody's login.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import importlib.util
import os
import py_compile
import sysconfig
from typing import Iterator


def uncompiled(folder: str) -> Iterator[str]:
    """The Python files below a folder that have no bytecode."""
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(place, name)
            if name.endswith(".py") and not os.path.exists(importlib.util.cache_from_source(path)):
                yield path


def compile_file(path: str) -> None:
    """Compiles one file by its content rather than its time; one that does not compile is left alone."""
    # Some packages ship files of other Pythons.
    with contextlib.suppress(py_compile.PyCompileError, OSError, ValueError, RecursionError, MemoryError):
        py_compile.compile(path, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)


def main() -> None:
    """Compiles the packages of the environment that runs this."""
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    paths = [path for folder in sorted(folders) for path in uncompiled(folder)]
    with concurrent.futures.ProcessPoolExecutor() as pool:
        for _ in pool.map(compile_file, paths, chunksize=32):
            pass


if __name__ == "__main__":
    main()
