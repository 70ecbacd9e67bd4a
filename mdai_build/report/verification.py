"""Whether an image is what its model builds to, told to people and to machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from rich.text import Text

from mdai_build.errors import NotVerifiedError
from mdai_build.report.document import FORMAT
from mdai_build.report.terminal import console, table
from mdai_build.report.text import clean_line, duration

if TYPE_CHECKING:
    from mdai_build.canonical import Difference
    from mdai_build.documents.image import VerifyDocument

_MOST_ROWS = 20
_WIDEST = 60


@dataclass(frozen=True)
class Verification:
    """What building an image again showed."""

    reference: str
    digest: str
    """Of all that the image holds and does (`canonical.NormalImage.digest`)."""
    rebuilt: str
    """The same of what was built from the model now."""
    files: int
    """How many files differ from the parent's, in the image."""
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    """What explains differences, or limits what their absence says."""
    seconds: float

    @property
    def same(self) -> bool:
        """Whether both are the same."""
        return self.digest == self.rebuilt


def verification_as_json(found: Verification) -> VerifyDocument:
    """A verification as JSON-ready values, every differing file included."""
    return {
        "format": FORMAT,
        "exit_code": 0 if found.same else NotVerifiedError.exit_code,
        "image": found.reference,
        "same": found.same,
        "digest": found.digest,
        "rebuilt_digest": found.rebuilt,
        "files": found.files,
        "differences": [
            {
                "path": difference.path,
                "what": difference.what,
                "made_by": difference.made_by,
                "package": difference.package,
            }
            for difference in found.differences
        ],
        "notes": list(found.notes),
        "seconds": round(found.seconds, 3),
    }


def print_verification(found: Verification) -> None:
    """Prints a verification; of what differs, the packages and folders."""
    on = console()
    for note in found.notes:
        on.print(Text(clean_line(note), style="yellow"))
    name, seconds = clean_line(found.reference), duration(found.seconds)
    if found.same:
        on.print(
            Text(f"{name} is what the model builds to: {found.files} files alike, in {seconds}", style="bold green")
        )
        on.print(Text(found.digest))
        return
    count = len(found.differences)
    on.print(Text(f"{name} is not what the model builds to: {count} differences, in {seconds}", style="bold red"))
    shown = table("where", "files", "what", "made by")
    groups = _groups(found.differences)
    for place, what, made_by, paths in groups[:_MOST_ROWS]:
        files = clean_line(paths[0]) if len(paths) == 1 else f"{len(paths)}, such as {clean_line(paths[0])}"
        shown.add_row(Text(clean_line(place)), Text(files), Text(_short(what)), Text(_short(made_by)))
    on.print(shown)
    if len(groups) > _MOST_ROWS:
        on.print(f"and {len(groups) - _MOST_ROWS} more places; --json lists every file")


def _groups(differences: Sequence[Difference]) -> list[tuple[str, str, str, list[str]]]:
    """What differs alike: the place (a package, else a folder), what, the instruction, the paths; most files first."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for difference in differences:
        place = difference.package or _folder(difference.path)
        found.setdefault((place, difference.what, difference.made_by), []).append(difference.path)
    groups = [(*key, paths) for key, paths in found.items()]
    return sorted(groups, key=lambda group: (-len(group[3]), group[0]))


def _folder(path: str) -> str:
    if path.startswith(("label ", "setting ")):
        return "the configuration"
    return f"/{PurePosixPath(path).parent}".removesuffix("/.")


def _short(text: str) -> str:
    text = clean_line(text)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"
