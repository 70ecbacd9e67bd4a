"""Reads the user's own samples (DICOM, JPEG, PNG) and groups them as the interface would."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mdai_build.errors import Location, Problem
from mdai_build.smoke.request import JPEG, PNG, InputFile, Scope

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_MAX_FILE_BYTES = 2 * 1024**3
_MAX_TAGS_BYTES = 1024**2
_NEEDED = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "InstanceNumber",
    "NumberOfFrames",
    "Rows",
    "Columns",
)
_IGNORED_SUFFIXES = {".json", ".txt", ".md", ".yaml", ".yml"}
_IGNORED_NAMES = {"DICOMDIR", ".DS_Store", "Thumbs.db", "LICENSE", "README"}


def read_files(paths: Mapping[str, Path], origin: str) -> tuple[list[tuple[float, InputFile]], tuple[Problem, ...]]:
    """All files that can be sent, each with its place in its series; and a warning for each that cannot.

    `paths` maps the names to show to the files; `origin` is where they were named (a folder, smoke.yaml).
    """
    files: list[tuple[float, InputFile]] = []
    left_out: list[Problem] = []
    for position, (name, path) in enumerate(sorted(paths.items())):
        if path.suffix.lower() in _IGNORED_SUFFIXES or path.name in _IGNORED_NAMES:
            continue
        try:
            files.append(_read_file(name, path, position))
        except (ValueError, OSError) as error:
            left_out.append(
                Problem(
                    code="smoke.sample-left-out",
                    what=f"sample `{name}` is left out: {error}",
                    where=Location(file=origin, key=name),
                    expected="DICOM, JPEG or PNG",
                    next_step="remove it, or put a file there that opens",
                )
            )
    return files, tuple(left_out)


def group_files(files: Sequence[tuple[float, InputFile]], scope: Scope) -> dict[str, tuple[InputFile, ...]]:
    """Files by instance, series or study, each group in order of its instance numbers, named by its first file."""
    groups: dict[str, list[tuple[float, InputFile]]] = {}
    for number, file in files:
        key = {
            "INSTANCE": f"{file.series_uid} {file.instance_uid} {file.name}",
            "SERIES": f"{file.study_uid} {file.series_uid}",
            "STUDY": file.study_uid,
        }[scope]
        groups.setdefault(key, []).append((number, file))
    named: dict[str, tuple[InputFile, ...]] = {}
    for members in groups.values():
        members.sort(key=lambda member: (member[1].series_uid, member[0], member[1].name))
        first = members[0][1].name
        name = first if len(members) == 1 else f"{first} and {len(members) - 1} more"
        named[name] = tuple(file for _, file in members)
    return dict(sorted(named.items()))


def _read_file(name: str, path: Path, position: int) -> tuple[float, InputFile]:
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise ValueError(f"it is larger than {_MAX_FILE_BYTES // 1024**3} GiB")
    with path.open("rb") as file:
        start = file.read(132)
    if start[:3] == b"\xff\xd8\xff":
        return float(position), _picture(name, path, JPEG)
    if start[:8] == b"\x89PNG\r\n\x1a\n":
        return float(position), _picture(name, path, PNG)
    return _dicom(name, path, start, position)


def _dicom(name: str, path: Path, start: bytes, position: int) -> tuple[float, InputFile]:
    import pydicom
    from pydicom.errors import InvalidDicomError

    if start[128:132] != b"DICM":
        raise ValueError("it is neither DICOM (no DICM at byte 128) nor JPEG nor PNG")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_NEEDED))
            return _number(ds, position), InputFile.of_dicom(name, path, ds)
    except AttributeError as error:
        raise ValueError(f"it is no DICOM image ({error})") from None
    except (InvalidDicomError, ValueError, TypeError, KeyError, EOFError, NotImplementedError) as error:
        raise ValueError(f"it does not open as DICOM ({error})") from None


def _number(ds: Dataset, position: int) -> float:
    try:
        return float(ds.InstanceNumber)
    except (AttributeError, TypeError, ValueError):
        return float(position)


def _picture(name: str, path: Path, content_type: str) -> InputFile:
    """JPEG or PNG with its tags: from `NAME.json` beside it, else made from the name.

    Without tags the files of one folder are one series, since that is how people keep them.
    """
    from PIL import Image, UnidentifiedImageError

    from mdai_build.smoke.dicom import synthetic_uid

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                columns, rows = image.size
    except (UnidentifiedImageError, OSError, ValueError, Warning, Image.DecompressionBombError) as error:
        raise ValueError(f"it does not open as an image ({error})") from None
    folder = str(Path(name).parent)
    tags = {
        "StudyInstanceUID": synthetic_uid("own study", folder),
        "SeriesInstanceUID": synthetic_uid("own series", folder),
        "SOPInstanceUID": synthetic_uid("own instance", name),
        "Rows": str(rows),
        "Columns": str(columns),
        **_tags_beside(path),
    }
    return InputFile(
        name=name,
        stored=path,
        content_type=content_type,
        study_uid=tags["StudyInstanceUID"],
        series_uid=tags["SeriesInstanceUID"],
        instance_uid=tags["SOPInstanceUID"],
        rows=rows,
        columns=columns,
        dicom_tags=tags,
    )


def _tags_beside(path: Path) -> dict[str, str]:
    for beside in (path.with_suffix(".json"), path.with_name(path.name + ".json")):
        if not beside.is_file() or beside.stat().st_size > _MAX_TAGS_BYTES:
            continue
        try:
            tags = json.loads(beside.read_text("utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"its tags in {beside.name} are not JSON ({error})") from None
        if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
            raise ValueError(f"its tags in {beside.name} are not a map of keyword to text")
        return tags
    return {}
