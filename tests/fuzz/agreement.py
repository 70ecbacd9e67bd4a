"""Whether four programs make the same files of an archive: ours, Python's own, Info-ZIP's unzip, libarchive's bsdtar.

What ours accepts, every other one has to unpack to the same names and bytes; else ours should have refused it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import subprocess
import tarfile
import time
import unicodedata
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from archivers import Archiver

from mdai_build.bundle import read_bundle, unpack_bundle
from mdai_build.bundle.names import LEFT_OUT, left_out_part
from mdai_build.errors import BundleError

Files = dict[str, bytes]
_SECONDS = 20
"""Of the processor: others may have the machine."""


@dataclass(frozen=True)
class Verdict:
    """What became of one archive: `refused`, `accepted`, or one of the faults `crash`, `escape`, `wrong accept`."""

    kind: str
    why: str = ""


def judge(archive: Path, place: Path, others: Mapping[str, Archiver]) -> Verdict:
    """Unpacks an archive by ours and, if that accepts it, by the others, in an empty folder that holds nothing else.

    Args:
        archive: to be judged; lies in `place`.
        place: a folder that is emptied afterwards, but for the archive.
        others: `unzip` and `bsdtar`, as far as there are any.
    """
    store = place / "store"
    begun = time.process_time()
    try:
        ours = _ours(archive, store)
    except BundleError as refusal:
        if any(problem.where is None or not (problem.next_step or problem.expected) for problem in refusal.problems):
            return Verdict("crash", f"a refusal without a place or advice: {refusal}")
        return _in_time(Verdict("refused", refusal.problems[0].code), begun)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        return Verdict("crash", f"{type(error).__name__}: {error}")
    finally:
        stray = {path.name for path in place.iterdir()} - {archive.name, "store"}
        _removed(store)
    if _in_time(Verdict("accepted"), begun).kind != "accepted":
        return _in_time(Verdict("accepted"), begun)
    if stray:
        return Verdict("escape", f"wrote {sorted(stray)}")
    for name, theirs in _theirs(archive, place, others):
        if isinstance(theirs, str):
            return Verdict("wrong accept", f"{name}: {theirs}")
        if difference := _difference(ours, theirs):
            return Verdict("wrong accept", f"{name}: {difference}")
    return Verdict("accepted")


def _in_time(verdict: Verdict, begun: float) -> Verdict:
    seconds = time.process_time() - begun
    return verdict if seconds < _SECONDS else Verdict("crash", f"it took {seconds:.0f} s")


def _ours(archive: Path, store: Path) -> Files:
    return {file.path: file.source.read_bytes() for file in unpack_bundle(read_bundle(archive), store).files}


def _theirs(archive: Path, place: Path, others: Mapping[str, Archiver]) -> Iterator[tuple[str, Files | str]]:
    out = place / "out"
    is_zip = archive.suffix == ".zip"
    commands = {
        "unzip": ["-o", "-qq", str(archive), "-d", str(out)],
        "bsdtar": ["-x", "--no-xattrs", "--no-acls", "--no-fflags", "-f", str(archive), "-C", str(out)],
    }
    with _folder(out):
        try:
            _by_python(archive, out, is_zip)
            yield "Python", _found(out)
        except Exception as error:  # noqa: BLE001
            yield "Python", f"{type(error).__name__}: {error}"
    for name, other in others.items():
        # unzip takes also a name that is marked as UTF-8 for one in a code page, where Windows made the archive.
        if name == "unzip" and (not is_zip or _has_letters_of_windows(archive)):
            continue
        # bsdtar leaves the bytes of a code page as they are; Python reads them.
        if name == "bsdtar" and is_zip and _has_letters_of_windows(archive, marked=False):
            continue
        with _folder(out):
            done = subprocess.run(
                [other.program, *commands[name]],
                env={**(other.environment or os.environ), "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_SECONDS,
                check=False,
            )
            said = done.stderr.decode("utf-8", "replace").strip()
            # unzip's 1 is a warning, and bsdtar skips an entry for the top itself; the files say whether it matters.
            harmless = name == "unzip" or all(words in said for words in ("empty or unreadable filename", "delayed"))
            harmless |= any(f"{name}/" in said for name in LEFT_OUT)  # nobody needs what is wrong there
            if done.returncode > harmless:
                yield name, f"exit code {done.returncode}: {said[:300]}"
            else:
                yield name, _found(out)


def _has_letters_of_windows(archive: Path, marked: bool = True) -> bool:
    """Whether a name that is not of Unix has letters; without `marked`, one that is not marked as UTF-8."""
    with zipfile.ZipFile(archive) as packed:
        letters = [info for info in packed.infolist() if info.create_system != 3 and not info.orig_filename.isascii()]
    return any(marked or not info.flag_bits & 0x800 for info in letters)


@contextlib.contextmanager
def _folder(out: Path) -> Iterator[None]:
    out.mkdir()
    try:
        yield
    finally:
        _removed(out)


def _removed(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")] if folder.exists() else []:
        if not path.is_symlink() and path.is_dir():
            path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _by_python(archive: Path, out: Path, is_zip: bool) -> None:
    if not is_zip:
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(out, filter="data")
        return
    with zipfile.ZipFile(archive) as packed:
        for info in packed.infolist():
            # For zipfile an unmarked name is CP437, as the format says; what Macs write is UTF-8, and unmarked.
            if not info.flag_bits & 0x800:
                with contextlib.suppress(UnicodeError):
                    info.filename = info.filename.encode("cp437").decode("utf-8")
        for info in packed.infolist():
            packed.extract(info, out)
        # zipfile knows no links; it writes a file that holds the target.
        for info in packed.infolist():
            written = out / info.filename
            if info.create_system == 3 and stat.S_ISLNK(info.external_attr >> 16) and written.is_file():
                target = written.read_bytes()
                written.unlink()
                if target:
                    written.symlink_to(os.fsdecode(target))


def _readable(path: str) -> str:
    """A path as it was meant, where a program writes some letters in its own way."""
    # unzip: letters that it cannot convert; and letters of Windows, as Latin-1.
    path = re.sub("#U([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), path)
    path = re.sub("[\udc80-\udcff]", lambda found: chr(ord(found[0]) - 0xDC00), path)
    # Tools of Windows that separate folders by it are believed, by ours and by some of the others.
    return path.replace("\\", "/")


def _found(out: Path) -> Files | str:
    """Every file below a folder by its path, links followed; or what is wrong with it."""
    files: Files = {}
    real_out = out.resolve()
    waiting = [("", out, 0)]
    while waiting:
        prefix, folder, depth = waiting.pop()
        for entry in os.scandir(folder):
            path = _readable(f"{prefix}{entry.name}")
            if left_out_part(path):
                continue
            real = Path(entry.path).resolve()
            if not real.is_relative_to(real_out):
                return f"`{path!r}` leads out to {real}"
            if real.is_dir():
                if depth > 400:
                    return "it never ends"
                waiting.append((f"{path}/", Path(entry.path), depth + 1))
            elif real.is_file():
                files[path] = real.read_bytes()
            else:
                return f"`{path!r}` is no file"
    return files


def _difference(ours: Files, theirs: Files) -> str:
    """How their files differ from ours, by paths relative to the folder that holds `.mdai`."""
    root = next((path.partition(".mdai/")[0] for path in theirs if path.startswith((".mdai/", "model/.mdai/"))), "")
    # bsdtar composes accents; what would fall together by that is refused by ours.
    ours = {unicodedata.normalize("NFC", path): content for path, content in ours.items()}
    theirs = {unicodedata.normalize("NFC", path): content for path, content in theirs.items()}
    seen = {
        path[len(root) :]: content
        for path, content in theirs.items()
        if path.startswith(root) and not left_out_part(path)
    }
    if missing := sorted(ours.keys() - seen.keys()):
        return f"lacks {missing[:3]}"
    if more := sorted(seen.keys() - ours.keys()):
        return f"also has {more[:3]}"
    other = sorted(path for path in ours if ours[path] != seen[path])
    return f"has other bytes in {other[:3]}" if other else ""
