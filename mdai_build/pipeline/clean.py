"""Removes what mdai-build keeps: unpacked bundles, build contexts, pictures, answers of indexes, images without a name.

What a run that is going on uses stays. Images with a name are results and stay too.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mdai_build.bundle import Keep, forget_bundles
from mdai_build.context import forget_contexts
from mdai_build.errors import MdaiBuildError, Problem
from mdai_build.matrix import support_matrix
from mdai_build.pipeline.store import BUNDLES, UNFINISHED, kept
from mdai_build.plan import LABEL_PREFIX
from mdai_build.scratch import abandoned_folders, temporary_folder
from mdai_build.settings import Settings

if TYPE_CHECKING:
    from mdai_build.documents.machine import CleanDocument
    from mdai_build.engine import Engine

Outcome = Literal["removed", "would remove", "nothing", "in use", "kept", "not reached"]

_CONTEXTS = ("contexts", "printed", "wheels-folder", "lock")
_DAY = 24 * 3600
_IMAGE_SECONDS = 3600
"""A younger image without a tag may be one that is tested just now."""


@dataclass(frozen=True)
class CleanItem:
    """One kind of what is kept."""

    name: str
    place: str
    """A folder, or the engine."""
    bytes_before: int
    """What it took, what is linked to from elsewhere not counted."""
    bytes_removed: int
    outcome: Outcome
    note: str = ""


@dataclass(frozen=True)
class CleanReport:
    """What was removed, or would be."""

    items: tuple[CleanItem, ...]
    problems: tuple[Problem, ...]
    dry_run: bool

    @property
    def bytes_removed(self) -> int:
        """Of all kinds together."""
        return sum(item.bytes_removed for item in self.items)

    def as_json(self) -> CleanDocument:
        """The report as JSON-ready values."""
        return {
            "format": 1,
            "exit_code": 0,
            "dry_run": self.dry_run,
            "bytes_removed": self.bytes_removed,
            "items": [
                {
                    "name": item.name,
                    "place": item.place,
                    "bytes_before": item.bytes_before,
                    "bytes_removed": item.bytes_removed,
                    "outcome": item.outcome,
                    "note": item.note or None,
                }
                for item in self.items
            ],
            "problems": [problem.as_json() for problem in self.problems],
        }


def clean(settings: Settings, everything: bool = False, dry_run: bool = False) -> CleanReport:
    """Removes what was not used for long; with `everything`, all that no run uses just now.

    With `dry_run` nothing is removed, and what would be is told.
    """
    cleaning = _Cleaning(settings, everything, dry_run)
    cleaning.contexts()
    cleaning.bundles()
    cleaning.folder("pictures", "reports", old=settings.keep_days * _DAY)
    cleaning.folder("answers of indexes", "preflight", old=60 * _DAY)
    cleaning.folder("packages of local servers", "server-packages", old=None)
    cleaning.uv()
    cleaning.temporary()
    cleaning.images()
    return CleanReport(tuple(cleaning.items), tuple(cleaning.problems), dry_run)


class _Cleaning:
    def __init__(self, settings: Settings, everything: bool, dry_run: bool) -> None:
        self._settings = settings
        self._everything = everything
        self._dry_run = dry_run
        self.items: list[CleanItem] = []
        self.problems: list[Problem] = []

    def _told(self, name: str, place: Path | str, before: int, removed: int, note: str = "") -> None:
        outcome: Outcome = "kept" if before else "nothing"
        if removed:
            outcome = "would remove" if self._dry_run else "removed"
        self.items.append(CleanItem(name, str(place), before, removed, outcome, note))

    def contexts(self) -> None:
        """Contexts cost a moment to lay out again: all that no build holds go."""
        for name in _CONTEXTS:
            folder = self._settings.cache_folder / name
            before = _size(folder)
            if before or folder.is_dir():
                removed = forget_contexts(folder, -1, self._dry_run)
                self._told("build contexts", folder, before, removed, "" if removed == before else "a build uses some")

    def bundles(self) -> None:
        folder = self._settings.cache_folder / BUNDLES
        before = _size(folder, linked=True)
        try:
            done = forget_bundles(folder, Keep(0, 0) if self._everything else kept(self._settings), self._dry_run)
        except OSError as error:
            self._cannot(folder, error)
            return
        if done is None:
            self.items.append(CleanItem("unpacked bundles", str(folder), before, 0, "in use", "a build is going on"))
            return
        days = f"used in the last {self._settings.keep_days:g} days"
        self._told(
            "unpacked bundles", folder, before, done.bytes, days if before > done.bytes and done.bytes == 0 else ""
        )

    def folder(self, name: str, folder_name: str, old: float | None) -> None:
        """Removes the entries of a folder that are older than `old` seconds; None: those of `everything` alone."""
        folder = self._settings.cache_folder / folder_name
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
        before = sum(_size(entry) for entry in entries)
        if not self._everything:
            entries = [] if old is None else [entry for entry in entries if time.time() - _last_change(entry) > old]
        self._told(name, folder, before, sum(self._remove(entry) for entry in entries))

    def uv(self) -> None:
        """uv's own cache is emptied by uv, which knows whether another uv uses it."""
        from mdai_build.engine import Resolver

        folder = self._settings.cache_folder / "uv"
        before = _size(folder)
        removed = 0
        if self._everything and before:
            removed = before
            if not self._dry_run:
                resolver = Resolver.find(self._settings)
                if resolver is None or not resolver.forget():
                    self.items.append(CleanItem("what indexes said", str(folder), before, 0, "in use"))
                    return
                removed = before - _size(folder)
        self._told("what indexes said", folder, before, removed)

    def temporary(self) -> None:
        """Folders that killed runs left in the system's temporary folder."""
        folder = temporary_folder()
        sizes = [(_size(entry), self._remove(entry)) for entry in abandoned_folders(folder)]
        before, removed = (sum(part) for part in zip(*sizes, strict=True)) if sizes else (0, 0)
        self._told("left by killed runs", folder, before, removed)

    def images(self) -> None:
        """Images without a tag that are ours; with everything, the parent that was made here too."""
        from mdai_build.engine import connect
        from mdai_build.engine.container import remove_abandoned
        from mdai_build.engine.leftovers import remove_tag, tagged_images, untagged_images

        try:
            engine = connect(self._settings.engine_folder)
        except MdaiBuildError as failure:
            self.items.append(CleanItem("images", "the engine", 0, 0, "not reached", failure.problems[0].what))
            return
        place = f"the engine at {engine.host}"
        try:
            if not self._dry_run:
                remove_abandoned(engine)
                self._unfinished(engine)
            left = untagged_images(engine, f"{LABEL_PREFIX}version", _IMAGE_SECONDS)
            removed = [image for image in left if self._image(partial(engine.remove_image, image.id))]
            note = f"{len(left)} without a name; layers that others share stay" if left else ""
            self._told("images", place, sum(i.bytes for i in left), sum(i.bytes for i in removed), note)
            repository = support_matrix().local.cpu.image.partition(":")[0]
            parents = tagged_images(engine, repository)
            gone = []
            if self._everything:
                gone = [p for p in parents if self._image(partial(remove_tag, engine, p.name))]
            note = "; ".join(p.name for p in parents) + ("" if gone else ", kept: `clean --all` removes it")
            if parents:
                self._told("parent images", place, sum(p.bytes for p in parents), sum(p.bytes for p in gone), note)
        except MdaiBuildError as failure:
            self.problems += failure.problems

    def _unfinished(self, engine: Engine) -> None:
        from mdai_build.engine import remove_unfinished

        place = self._settings.cache_folder / UNFINISHED
        try:
            remove_unfinished(engine, place)
        except OSError as error:
            self._cannot(place, error)

    def _image(self, remove: Callable[[], None]) -> bool:
        if not self._dry_run:
            try:
                remove()
            except MdaiBuildError as failure:
                self.problems += failure.problems
                return False
        return True

    def _remove(self, path: Path) -> int:
        """The bytes that removing a file or folder frees."""
        size = _size(path)
        if not self._dry_run:
            try:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            except OSError as error:
                self._cannot(path, error)
                return size - _size(path)
        return size

    def _cannot(self, path: Path, error: OSError) -> None:
        self.problems.append(
            Problem(
                "clean.cannot-remove",
                f"{error.filename or path} cannot be removed: {error.strerror or error}",
                next_step="look at whose it is: ls -l; try again once nothing is built",
            )
        )


def _size(path: Path, linked: bool = False) -> int:
    """Bytes of a file or of all files below a folder; those that are linked to from elsewhere count with `linked`."""
    total = 0
    places = [path] if not path.is_dir() or path.is_symlink() else None
    walk = (Path(place, name) for place, _, names in os.walk(path) for name in names)
    for file in places if places is not None else walk:
        with contextlib.suppress(OSError):
            status = file.lstat()
            total += status.st_size if linked or status.st_nlink == 1 else 0
    return total


def _last_change(path: Path) -> float:
    """When a file, or something directly in a folder, was last changed."""
    times = [path.lstat().st_mtime]
    if path.is_dir() and not path.is_symlink():
        for entry in path.iterdir():
            with contextlib.suppress(OSError):
                times.append(entry.lstat().st_mtime)
    return max(times)
