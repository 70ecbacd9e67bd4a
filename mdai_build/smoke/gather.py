"""The files that the words of a command line mean: files, folders, patterns, DICOMDIR, zip."""

from __future__ import annotations

import difflib
import glob
import os
import posixpath
import shutil
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mdai_build.errors import Location, Problem, UsageError
from mdai_build.scratch import scratch_folder

_MOST_ENTRIES = 100_000
_MOST_UNPACKED = 64 * 1024**3
_PIECE = 1024 * 1024
# Media Storage SOP Class UID of the file meta information, and how the element after it begins (PS3.10, section 7.1).
_DIRECTORY_CLASS = b"1.2.840.10008.1.3.10\x02\x00"


@contextmanager
def gathered(words: Sequence[str]) -> Iterator[dict[str, Path]]:
    """Files by the names to show; those of an archive are there for as long as the block lasts.

    Raises:
        UsageError: words mean no file; all of them at once.
    """
    problems: list[Problem] = []
    with ExitStack() as stack:
        found: dict[str, Path] = {}
        for word in words:
            try:
                for name, path in _meant(word, stack):
                    found.setdefault(name, path)
            except UsageError as error:
                problems += error.problems
            except OSError as error:
                problems.append(_problem(word, f"it cannot be read: {error.strerror or error}"))
        if problems:
            raise UsageError(problems)
        yield _short(found)


def _meant(word: str, stack: ExitStack) -> Iterator[tuple[str, Path]]:
    path = Path(word)
    if path.is_dir():
        yield from _below(path)
    elif not path.exists():
        yield from _matching(word)
    elif zipfile.is_zipfile(path):
        yield from _of_zip(path, stack)
    elif _is_directory_of_media(path):
        yield from _listed(path)
    else:
        yield path.as_posix(), path


def _below(folder: Path) -> Iterator[tuple[str, Path]]:
    for base, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(base, name)
            if path.is_file():
                yield path.as_posix(), path


def _matching(word: str) -> Iterator[tuple[str, Path]]:
    if not glob.has_magic(word):
        folder = Path(word).parent
        there = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        near = difflib.get_close_matches(Path(word).name, there, n=1)
        if near:
            step = f"did you mean {folder / near[0]}?"
        else:
            step = "check the path" if folder.is_dir() else f"there is no folder {folder} either; check the path"
        raise UsageError(_problem(word, "there is no such file or folder", step))
    matches = [Path(match) for match in sorted(glob.glob(word, recursive=True))]  # noqa: PTH207 - of any folder
    if not matches:
        raise UsageError(_problem(word, "no file matches this pattern", "`**` goes into folders, `*` does not"))
    for match in matches:
        # What a folder of a pattern holds is asked for with `**`.
        if match.is_file():
            yield match.as_posix(), match


def _problem(word: str, what: str, next_step: str | None = None) -> Problem:
    return Problem(
        code="predict.no-files",
        what=what,
        where=Location(word),
        expected="a file, a folder, a pattern, a DICOMDIR or a zip archive",
        next_step=next_step,
    )


def _is_directory_of_media(path: Path) -> bool:
    """Whether a file is a DICOMDIR, whatever its name (PS3.10, section 8.6)."""
    with path.open("rb") as file:
        start = file.read(1024)
    return start[128:132] == b"DICM" and _DIRECTORY_CLASS in start


def _listed(directory: Path) -> Iterator[tuple[str, Path]]:
    """The images that a DICOMDIR lists, which lie beside and below it (PS3.3, section F.5)."""
    import pydicom

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            records = list(pydicom.dcmread(directory).get("DirectoryRecordSequence") or ())
            places = [record.get("ReferencedFileID") for record in records if record.get("DirectoryRecordType")]
    # What pydicom raises on a broken sequence has no common base.
    except Exception as error:
        raise UsageError(_problem(str(directory), f"this DICOMDIR cannot be read: {error}")) from error
    root, missing = directory.parent, []
    for parts in places:
        if not parts:
            continue
        words = [parts] if isinstance(parts, str) else [str(part) for part in parts]
        if any(word in ("", ".", "..") or "/" in word or "\\" in word for word in words):
            raise UsageError(_problem(str(directory), f"this DICOMDIR names a file elsewhere: {'/'.join(words)}"))
        path = next((place for place in _spellings(root, words) if place.is_file()), None)
        if path is None:
            missing.append("/".join(words))
        else:
            yield path.as_posix(), path
    if missing:
        count = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        what = f"this DICOMDIR lists files that are not there: {missing[0]}{count}"
        raise UsageError(
            _problem(str(directory), what, "copy all of the medium, or name the folder in place of its DICOMDIR")
        )


def _spellings(root: Path, words: Sequence[str]) -> Iterator[Path]:
    """Media hold capitals; what is copied from them often does not."""
    yield root.joinpath(*words)
    yield root.joinpath(*(word.lower() for word in words))


def _of_zip(archive: Path, stack: ExitStack) -> Iterator[tuple[str, Path]]:
    """The files of an archive under names of ours in a folder of ours: nothing in it says where they go."""
    folder = stack.enter_context(scratch_folder())
    room = min(_MOST_UNPACKED, int(shutil.disk_usage(folder).free * 0.8))
    try:
        with zipfile.ZipFile(archive) as content:
            members = [member for member in content.infolist() if not member.is_dir()]
            if len(members) > _MOST_ENTRIES:
                raise UsageError(_problem(str(archive), f"the archive holds more than {_MOST_ENTRIES} files"))
            folders: dict[str, Path] = {}
            for number, member in enumerate(members):
                name = posixpath.normpath("/" + member.filename.replace("\\", "/")).lstrip("/")
                base, last = posixpath.split(name)
                # What lies together stays together: the tags of a picture are found by its name.
                beside = folders.setdefault(base, folder / str(len(folders)))
                beside.mkdir(exist_ok=True)
                path = beside / (last if 0 < len(last.encode()) <= 200 else f"{number}{Path(last).suffix[:10]}")
                with content.open(member) as source, path.open("wb") as target:
                    while piece := source.read(_PIECE):
                        room -= len(piece)
                        if room < 0:
                            raise UsageError(_problem(str(archive), "the archive is too large to unpack here"))
                        target.write(piece)
                yield f"{archive.as_posix()}/{name}", path
    except RuntimeError as error:  # so zipfile tells of a password
        raise UsageError(_problem(str(archive), f"{error}", "unpack it, and name the folder")) from error
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError) as error:
        raise UsageError(_problem(str(archive), f"the archive is broken: {error}")) from error


def _short(found: dict[str, Path]) -> dict[str, Path]:
    """The names without the folder that all of them are in; a lone file by its name alone."""
    if not found:
        return found
    try:
        folder = os.path.commonpath([os.path.dirname(name) for name in found])  # noqa: PTH120 - names, not paths
    except ValueError:  # some begin at the root, some do not
        return found
    short = {os.path.relpath(name, folder or "."): path for name, path in found.items()}
    return short if len(short) == len(found) else found
