"""Compiles the packages of a folder, and keeps what it compiled in uv's cache, from where uv installs it the next time.

    PYTHONHASHSEED=0 python -S -s -B bytecode.py CACHE [FOLDER]

Run right after uv, by the Python that the packages are for, whose own folder of packages is meant if none is named;
`-S` so that no `.pth` file of theirs is run beside a cache that other builds read. An installer's own compilation
starts from nothing each time, which is most of its time.

The same files give the same bytes wherever they are compiled: what `marshal` writes for a string depends on what else
the process holds, so files go in batches that depend on their package alone, each in a process of its own; up to Python
3.10, the order of a set's elements depends on the hash seed. Folders named `tests` are left out: nothing that serves
imports them.
"""

from __future__ import annotations

import csv
import os
import sys
import sysconfig
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

LEFT_OUT = frozenset(("test", "tests"))
ARCHIVES = "archive-v0"
"""The folder of uv's cache with an unpacked wheel in each of its folders."""
_BATCH_FILES = 48


class Batch(NamedTuple):
    """Source files of one package that are compiled by one process, as sorted paths from the folder of packages."""

    package: str
    """The name of its `.dist-info` folder."""
    files: Tuple[str, ...]


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Compiles what has no bytecode yet."""
    words = sys.argv[1:] if arguments is None else arguments
    cache, folder = words[0], words[1] if len(words) > 1 else sysconfig.get_paths()["purelib"]
    batches = list(missing(folder))
    if batches:
        in_processes(folder, batches, archives_by_package(cache))


def missing(folder: str) -> Iterator[Batch]:
    """The batches of uv's packages of which a file has no bytecode, in the order of the packages' names."""
    for name in sorted(os.listdir(folder)):
        place = os.path.join(folder, name)
        if name.endswith(".dist-info") and installed_by_uv(place):
            files = sources(os.path.join(place, "RECORD"))
            for start in range(0, len(files), _BATCH_FILES):
                batch = Batch(name, files[start : start + _BATCH_FILES])
                if not all(os.path.exists(os.path.join(folder, compiled(file))) for file in batch.files):
                    yield batch


def installed_by_uv(place: str) -> bool:
    """Whether uv wrote this `.dist-info` folder. What the environment came with, conda has compiled."""
    try:
        with open(os.path.join(place, "INSTALLER"), "rb") as stream:
            return stream.read(3) == b"uv"
    except OSError:
        return False


def sources(record: str) -> Tuple[str, ...]:
    """The source files that a RECORD lists (PEP 376), sorted, without those in folders that are left out.

    The list is whatever the maker of a wheel wrote: a file need not be there. Paths that lead out of the folder are
    passed over.
    """
    try:
        with open(record, encoding="utf-8", errors="replace", newline="") as stream:
            listed = {row[0] for row in csv.reader(stream) if row and row[0].endswith(".py")}
    except (OSError, csv.Error):
        return ()
    return tuple(sorted(path for path in listed if not LEFT_OUT.union(("", ".", "..")).intersection(path.split("/"))))


def compiled(file: str) -> str:
    """Where Python looks for the bytecode of a source file (PEP 3147)."""
    head, name = os.path.split(file)
    return os.path.join(head, "__pycache__", "%s.%s.pyc" % (name[: -len(".py")], sys.implementation.cache_tag))


def archives_by_package(cache: str) -> Dict[str, List[str]]:
    """The unpacked wheels of uv's cache, by the name of their `.dist-info` folder."""
    found: Dict[str, List[str]] = {}
    root = os.path.join(cache, ARCHIVES)
    for archive in sorted(os.listdir(root)) if os.path.isdir(root) else ():
        place = os.path.join(root, archive)
        for name in os.listdir(place) if os.path.isdir(place) else ():
            if name.endswith(".dist-info"):
                found.setdefault(name, []).append(place)
    return found


def in_processes(folder: str, batches: Sequence[Batch], archives: Dict[str, List[str]]) -> None:
    """Compiles each batch in a process that is forked from this one, as many at a time as there are processors."""
    import py_compile  # noqa: F401  before the processes begin, so that it is in each

    running = 0
    for batch in batches:
        if running >= len(os.sched_getaffinity(0)):
            os.wait()
            running -= 1
        if os.fork() == 0:
            try:
                for file in batch.files:
                    if compile_file(folder, file):
                        for archive in archives.get(batch.package, ()):
                            keep(folder, file, archive)
            finally:
                os._exit(0)
        running += 1
    for _ in range(running):
        os.wait()


def compile_file(folder: str, file: str) -> bool:
    """Compiles one file; whether that could be done. Packages hold files that no Python of ours can read."""
    source, target = os.path.join(os.path.realpath(folder), file), os.path.join(folder, compiled(file))
    if not os.path.isfile(source) or os.path.realpath(source) != source:
        return False
    import py_compile  # most runs find nothing to do, and need not wait for it

    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    try:
        # Python puts the true path in the place of this one when it loads the file.
        py_compile.compile(source, target, dfile=file, doraise=True, invalidation_mode=mode)
    except Exception:
        return False
    return True


def keep(folder: str, file: str, archive: str) -> None:
    """Puts the bytecode of a file beside the same file in the cache; nothing if that one differs or has its own."""
    target = os.path.join(archive, compiled(file))
    try:
        with open(os.path.join(folder, file), "rb") as ours, open(os.path.join(archive, file), "rb") as theirs:
            if os.path.exists(target) or ours.read() != theirs.read():
                return
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(os.path.join(folder, compiled(file)), "rb") as stream:
            content = stream.read()
        unfinished = "%s.%d" % (target, os.getpid())
        with open(unfinished, "wb") as stream:
            stream.write(content)
        os.rename(unfinished, target)
    except OSError:
        pass


if __name__ == "__main__":
    main()
