"""A model folder as it lies on disk: where its root is, who can read it, what changed in it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from mdai_build.bundle import read_bundle
from mdai_build.bundle.folder_source import FolderSource
from mdai_build.bundle.names import left_out_part


def model_root(folder: Path) -> Path:
    """The folder that holds `.mdai`: `folder` itself, or one in it.

    Raises:
        BundleError: there is none.
    """
    source = read_bundle(folder).source
    if not isinstance(source, FolderSource):
        raise TypeError(f"not a folder: {folder}")
    return source.root.resolve()


def stamps(root: Path, paths: list[str] | tuple[str, ...]) -> tuple[tuple[str, int, int], ...]:
    """Size and time of change of files, by path; those that are gone are left out."""
    found = []
    for path in paths:
        try:
            status = (root / path).stat()
        except OSError:
            continue
        found.append((path, status.st_size, status.st_mtime_ns))
    return tuple(found)


def reader(root: Path) -> str | None:
    """The numeric user that can read the folder: None, the image's own, where everyone can; else its owner."""
    for place, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not left_out_part(name)]
        for name in (".", *files):
            try:
                mode = Path(place, name).stat(follow_symlinks=False).st_mode
            except OSError:  # an editor's, gone again
                continue
            needed = stat.S_IROTH | stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IROTH
            if mode & needed != needed:
                owner = root.stat()
                return f"{owner.st_uid}:{owner.st_gid}"
    return None
