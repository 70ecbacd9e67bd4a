"""What tells that a file is still the file that it was."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mdai_build.errors import BundleError, Location, Problem


@dataclass(frozen=True)
class Stamp:
    """Size in bytes, times of change in ns, and identity of a file, from one `stat`."""

    size: int
    modified: int
    changed: int
    """When content, mode or links changed last; unlike `modified` no user can set it."""
    inode: int
    device: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """The stamp of the file at `path`, links followed."""
        return cls.from_stat(path.stat())

    @classmethod
    def from_stat(cls, status: os.stat_result) -> Stamp:
        """The stamp in a stat result."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)

    def check(self, path: Path) -> None:
        """Raises a BundleError if the file at `path` is not the one of this stamp any more."""
        try:
            if Stamp.of(path) == self:
                return
        except OSError:
            pass
        raise changed(path)


def changed(path: Path, what: str = "archive") -> BundleError:
    """Of an archive or folder that is not what it was any more, or is gone."""
    return BundleError(
        Problem(
            "bundle.changed",
            f"the {what} changed while it was read",
            Location(str(path)),
            next_step="wait until it is written in full, then run the command again",
        )
    )
