"""Images that are being made. Each run keeps a note of its own; what a killed one left, the next one removes.

PLACE/lock      held for a moment by whoever writes, reads or removes notes
PLACE/*.json    a note: the engine, and the label of the images; locked as long as its run goes on
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from mdai_build.engine.connection import Engine
from mdai_build.engine.container import remove_abandoned
from mdai_build.errors import Location, MdaiBuildError, Problem, UnavailableError
from mdai_build.interrupts import uninterrupted
from mdai_build.scratch import locked, remove_abandoned_folders


@dataclass(frozen=True)
class _Note:
    engine: str
    label: str
    values: tuple[str, ...]
    without: str = ""


@contextmanager
def unfinished_images(
    engine: Engine, place: Path, label: str, values: Sequence[str], without: str = ""
) -> Iterator[None]:
    """Sees to it that images with one of these values of a label have a tag once the block is left, or are gone.

    Those that have the label `without` too are not meant: they inherited the other from the image that they stand on.
    Another run that makes the same image keeps it. What killed runs left in this engine is removed first.

    Raises:
        UnavailableError: `place` cannot be written, or the engine does not answer.
    """
    own = _Note(engine.host, label, tuple(values), without)
    with contextlib.ExitStack() as stack:
        try:
            # Until a note is locked nobody looks at notes. One of a run that is killed before is not whole.
            with locked(place / "lock"):
                _remove_abandoned(engine, place, own)
                with uninterrupted():
                    path, handle = _write(place, own)
                    stack.callback(_end, engine, place, own, path, handle)
        except OSError as error:
            raise UnavailableError(
                Problem(
                    code="engine.no-notes",
                    what=f"the cache cannot be written: {error.strerror or error}",
                    where=Location(str(error.filename or place)),
                    next_step="free some disk, or choose another place with the setting cache_folder",
                )
            ) from error
        yield


def remove_unfinished(engine: Engine, place: Path) -> None:
    """Removes what killed runs left in this engine.

    Raises:
        OSError: `place` cannot be written.
        UnavailableError: the engine does not answer.
    """
    if place.is_dir():
        with locked(place / "lock"):
            _remove_abandoned(engine, place, None)


def _write(place: Path, note: _Note) -> tuple[Path, int]:
    """A new file with the note, and what holds its lock."""
    handle, name = tempfile.mkstemp(suffix=".json", dir=place)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        os.write(handle, json.dumps(asdict(note)).encode())
    except BaseException:
        Path(name).unlink()
        os.close(handle)
        raise
    return Path(name), handle


def _end(engine: Engine, place: Path, own: _Note, path: Path, handle: int) -> None:
    """Removes what has no tag, and the note."""
    with uninterrupted():
        # An engine that is gone was told of already; the note stays for the next run.
        with contextlib.suppress(OSError, MdaiBuildError), locked(place / "lock"):
            _remove(engine, own, _held(place, but=path))
            path.unlink(missing_ok=True)
        os.close(handle)


def _remove_abandoned(engine: Engine, place: Path, own: _Note | None) -> None:
    remove_abandoned_folders()  # a run whose image is there already makes no folder, and would look for none
    remove_abandoned(engine)  # a container would keep its image
    for path in place.glob("*.json"):
        with contextlib.suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            note = _read(path)
            if note is not None and note.engine == engine.host:
                _remove(engine, note, [*_held(place, but=path), *([own] if own else [])])
            if note is None or note.engine == engine.host:
                path.unlink(missing_ok=True)


def _held(place: Path, but: Path) -> list[_Note]:
    """The notes of the runs that go on."""
    found = []
    for path in place.glob("*.json"):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                note = None if path == but else _read(path)
                found += [note] if note else []
    return found


def _read(path: Path) -> _Note | None:
    """A note; None for one that was not written to its end."""
    try:
        told = json.loads(path.read_bytes())
        values = tuple(map(str, told["values"]))
        return _Note(str(told["engine"]), str(told["label"]), values, str(told.get("without", "")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remove(engine: Engine, note: _Note, kept: Iterable[_Note]) -> None:
    wanted = {value for other in kept if other.label == note.label for value in other.values}
    for value in note.values:
        for image in engine.images_labelled(note.label, value) if value not in wanted else ():
            if note.without not in image.labels:
                engine.remove_image(image.id)
