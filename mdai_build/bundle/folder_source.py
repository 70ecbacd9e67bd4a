"""Bundles that are plain folders: the user's own files, read where they lie."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mdai_build.bundle.limits import too_many_entries
from mdai_build.bundle.model import Limits
from mdai_build.bundle.names import UnsafeNameError, left_out_part, safe_path, shown
from mdai_build.bundle.reader import MemberReader, telling_damage
from mdai_build.bundle.stamp import changed
from mdai_build.bundle.tree import Refusals
from mdai_build.errors import BundleError

_LOOK_DEPTH = 3
_LOOK_ENTRIES = 2000
_REPLACE_LINK = "put the file itself in the place of the link, or take the link out"


def look_into(folder: Path) -> tuple[set[str], set[str]]:
    """Files and folders near the top of a folder: enough to find `.mdai`, or to say what is there instead."""
    files: set[str] = set()
    folders: set[str] = set()
    waiting = [""]
    while waiting:
        place = waiting.pop(0)
        # The top and its folders are read in full, as `.mdai` may be there; below, it is for the message only.
        if "/" in place and len(files) + len(folders) > _LOOK_ENTRIES:
            break
        try:
            found = sorted(os.scandir(folder / place), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in found:
            path = f"{place}/{entry.name}" if place else entry.name
            if left_out_part(path):
                continue
            if not _is_folder(entry):
                files.add(path)
                continue
            folders.add(path)
            if path.count("/") + 1 < _LOOK_DEPTH:
                waiting.append(path)
    return files, folders


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads back to itself
        return False


@dataclass
class FolderSource:
    """The files under a model root, each with its real place and its stat."""

    root: Path
    places: list[Path] = field(default_factory=list)
    statuses: list[os.stat_result] = field(default_factory=list)
    contents: dict[str, int] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    dangling: list[str] = field(default_factory=list)

    def stream(self, numbers: Collection[int]) -> Iterator[tuple[int, MemberReader]]:
        """See `Source.stream`."""
        for number in numbers:
            place = self.places[number]
            name = place.name
            with telling_damage(place, name):
                stream = place.open("rb")
            with stream:
                yield number, MemberReader(stream, place, name, self.statuses[number].st_size, packed=False)

    def check_unchanged(self, smallest: int) -> None:
        """See `Source.check_unchanged`."""
        for place, status in zip(self.places, self.statuses, strict=True):
            if status.st_size >= smallest and file_key(status) != _key_of(place):
                raise changed(place, "file")

    @property
    def paths(self) -> Mapping[str, Path]:
        """The real place of each member."""
        return {path: self.places[number] for path, number in self.contents.items()}


def file_key(status: os.stat_result) -> list[int]:
    """What tells that a file of a folder is still the one that it was."""
    # Not the time of change: a hard link into a build context alters it.
    return [status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev]


def _key_of(place: Path) -> list[int]:
    try:
        return file_key(place.stat())
    except OSError:
        return []


def walk(root: Path, limits: Limits) -> FolderSource:
    """All files under a model root. Links inside the tree are followed.

    Raises:
        BundleError: a link leaves the tree, a name is unsafe, something is no file; all of these at once.
    """
    walker = _Walker(root, limits)
    walker.walk()
    walker.refusals.raise_if_any()
    return walker.source


class _Walker:
    def __init__(self, root: Path, limits: Limits) -> None:
        self.source = FolderSource(root)
        self.refusals = Refusals(root)
        self._limits = limits
        self._real_root = root.resolve()

    def walk(self) -> None:
        # Each folder with its path in the bundle and the real folders that led to it, to see a link that never ends.
        waiting: list[tuple[str, Path, tuple[Path, ...]]] = [("", self._real_root, ())]
        while waiting:
            prefix, place, above = waiting.pop()
            with telling_damage(place, place.name):
                entries = sorted(os.scandir(place), key=lambda entry: entry.name)
            for entry in entries:
                path = f"{prefix}/{entry.name}" if prefix else entry.name
                if left_out_part(path):
                    continue
                real = self._real(entry, path)
                if real is None:
                    continue
                if not real.is_dir():
                    self._add(path, real)
                elif entry.is_symlink() and real in (*above, place):
                    self._refuse("link", path, "is a link to a folder that it lies in; it never ends")
                else:
                    # By links to one another a few can stand for any number, without a file in any.
                    if len(self.source.folders) >= self._limits.entries:
                        raise BundleError(too_many_entries(self.source.root, self._limits, "folders"))
                    self.source.folders.append(path)
                    waiting.append((path, real, (*above, place)))

    def _real(self, entry: os.DirEntry[str], path: str) -> Path | None:
        try:
            safe_path(path)
        except UnsafeNameError as unsafe:
            self._refuse(unsafe.code, path, unsafe.reason, "rename it, or take it out")
            return None
        place = Path(entry.path)
        if not entry.is_symlink():
            return place
        try:
            real = place.resolve()
        except (OSError, RuntimeError):  # a loop, before Python 3.13
            real = place
        if not real.is_relative_to(self._real_root):
            self._refuse("link", path, f"is a link that leaves the model folder: `{shown(str(place.readlink()))}`")
            return None
        try:
            real.stat()
        except OSError as error:
            if error.errno == errno.ELOOP:
                self._refuse("link", path, "is a link that leads back to itself")
            else:
                self.source.dangling.append(path)
            return None
        return real

    def _add(self, path: str, real: Path) -> None:
        with telling_damage(real, real.name):
            status = real.stat()
        if not stat.S_ISREG(status.st_mode):
            self._refuse("special-file", path, "is a device, pipe or socket; a bundle holds files and folders only")
            return
        if len(self.source.places) >= self._limits.entries:
            raise BundleError(too_many_entries(self.source.root, self._limits, "files"))
        self.source.contents[path] = len(self.source.places)
        self.source.places.append(real)
        self.source.statuses.append(status)

    def _refuse(self, code: str, path: str, reason: str, next_step: str = _REPLACE_LINK) -> None:
        self.refusals.add(code, path, reason, next_step)
