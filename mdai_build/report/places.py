"""Where a problem is on this machine, for those who show it beside its line: annotations and SARIF."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mdai_build.errors import Location


@dataclass(frozen=True)
class Place:
    """A file, and a line and column in it, from 1; None where they are not known."""

    file: Path
    line: int | None = None
    column: int | None = None


def place_of(where: Location, model: Path | None) -> Place | None:
    """Where a problem of a model is; None for what is no file. `model` is the path that was given.

    What is in an archive has the archive as its place: no viewer looks into one.
    """
    if where.file.startswith(("option ", "environment variable ", "sample ", "settings")):
        return None
    file = Path(where.file)
    if model is None or file.is_absolute() or str(model) == where.file:
        return Place(file, where.line, where.column)
    if not model.is_dir():
        return Place(model)
    inside = model / file
    # The model may be in the one folder at the top of what was given.
    found = inside if inside.exists() else next(model.glob(f"*/{file.as_posix()}"), inside)
    return Place(found, where.line, where.column)
