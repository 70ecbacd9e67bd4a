"""What a user asks a model: files, grouped into requests, and what goes with them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdai_build.errors import Location, Problem, UsageError
from mdai_build.smoke.plan import DEFAULT_SCOPE, SmokePlan
from mdai_build.smoke.request import Demand, InputFile, Scope, SmokeRequest

if TYPE_CHECKING:
    from mdai_build.settings import Settings
    from mdai_build.smoke.smoke_file import SmokeFile

_UIDS = ("study_uid", "series_uid", "instance_uid")
_MOST_TOLD = 5


@dataclass(frozen=True)
class Asked:
    """The words of one `predict` or `profile`."""

    files: tuple[str, ...] = ()
    """Files, folders, patterns, DICOMDIRs and zip archives."""
    scope: Scope | None = None
    """What one request holds; None: as the model's smoke.yaml says, else a series."""
    args: Mapping[str, str] = field(default_factory=dict)
    annotations: Path | None = None
    label_classes: Path | None = None


def make_request_plan(
    settings: Settings, files: Mapping[str, Path], asked: Asked, smoke_file: SmokeFile | None = None
) -> SmokePlan:
    """The requests for `files` (by the names to show), each of which must be answered.

    What the user says goes before what the model's smoke.yaml says; what that expects of its own samples is not asked.

    Raises:
        UsageError: no file can be sent, or what goes with them is wrong.
    """
    from mdai_build.smoke.files import group_files, read_files

    annotations, fields = _beside_files(asked, smoke_file)
    origin = ", ".join(asked.files)
    found, left_out = read_files(files, origin)
    if not found:
        raise UsageError(_nothing_to_send(origin, len(files), left_out))
    scope = asked.scope or (smoke_file.scope if smoke_file else None) or DEFAULT_SCOPE
    requests = tuple(
        SmokeRequest(
            name=name,
            scope=scope,
            files=members,
            demand=Demand.REQUIRED,
            annotations=_of_files(annotations, members),
            **fields,
        )
        for name, members in group_files(found, scope).items()
    )
    warnings = [*left_out, *_unused(annotations, requests, asked.annotations)]
    return SmokePlan(requests, settings.ready_timeout, settings.predict_timeout, warnings=tuple(warnings))


def make_synthetic_plan(settings: Settings, asked: Asked, smoke_file: SmokeFile | None = None) -> SmokePlan:
    """The synthetic samples, for a user who brings no files; the same goes with them.

    Raises:
        UsageError: what goes with them is wrong.
    """
    from mdai_build.smoke.samples import synthetic_requests

    annotations, fields = _beside_files(asked, smoke_file)
    scope = asked.scope or (smoke_file.scope if smoke_file else None)
    requests = synthetic_requests(scope, annotations=annotations, **fields)
    return SmokePlan(requests, settings.ready_timeout, settings.predict_timeout)


def _beside_files(asked: Asked, smoke_file: SmokeFile | None) -> tuple[tuple[Mapping[str, Any], ...], dict[str, Any]]:
    """Annotations, of which each request gets its own, and what is the same in all requests."""
    from mdai_build.smoke.samples import label_classes

    annotations = read_annotations(asked.annotations) if asked.annotations else ()
    fields: dict[str, Any] = {"args": dict(asked.args), "label_classes": label_classes()}
    if smoke_file is not None:
        annotations = annotations or tuple(smoke_file.annotations)
        fields["args"] = {**smoke_file.args, **asked.args}
        if smoke_file.label_classes:
            fields |= {"label_classes": tuple(entry.as_body() for entry in smoke_file.label_classes)}
            fields["own_labels"] = True
    if asked.label_classes:
        fields |= {"label_classes": read_label_classes(asked.label_classes), "own_labels": True}
    return annotations, fields


def _nothing_to_send(origin: str, count: int, left_out: Sequence[Problem]) -> Problem:
    details = "\n".join(problem.what for problem in left_out[:_MOST_TOLD])
    if len(left_out) > _MOST_TOLD:
        details += f"\nand {len(left_out) - _MOST_TOLD} more"
    what = f"none of the {count} files can be sent" if count > 1 else "the file cannot be sent"
    return Problem(
        code="smoke.no-samples",
        what=what if count else "there is no file here",
        where=Location(file=origin),
        expected="DICOM images, JPEG or PNG",
        next_step="name files that hold images"
        if not left_out
        else "a DICOM file without its first 132 bytes (preamble and DICM) needs them: save it anew with pydicom, "
        "enforce_file_format=True"
        if any("DICM" in problem.what for problem in left_out)
        else None,
        details=details or None,
    )


def read_annotations(path: Path) -> tuple[Mapping[str, Any], ...]:
    """Annotations from a JSON file: a list as the interface sends it, or a map with that list as `annotations`.

    Raises:
        UsageError: it is none, or cannot be read.
    """
    content = _read_json(path, "--annotations")
    if isinstance(content, dict):
        content = content.get("annotations")
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise UsageError(
            Problem(
                code="predict.annotations",
                what="this is no list of annotations",
                where=Location(str(path)),
                expected='[{"label_id": "L_1", "study_uid": "...", "instance_uid": "...", "data": {...}}, ...]',
            )
        )
    return tuple(content)


def read_label_classes(path: Path) -> tuple[Mapping[str, Any], ...]:
    """Label classes from a JSON or YAML file: a list, or a map with that list as `label_classes`.

    Raises:
        UsageError: it is none; every problem at once, each with its line.
    """
    from mdai_build.smoke.smoke_file import parse_label_classes

    return tuple(entry.as_body() for entry in parse_label_classes(_read_text(path, "--label-classes"), str(path)))


def _read_text(path: Path, option: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(
            Problem("predict.unreadable", f"the file of {option} cannot be read: {reason}", Location(str(path)))
        ) from None


def _read_json(path: Path, option: str) -> Any:
    try:
        return json.loads(_read_text(path, option))
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        reason = getattr(error, "msg", str(error))
        raise UsageError(
            Problem("predict.not-json", f"the file of {option} is not JSON: {reason}", Location(str(path), line))
        ) from None


def _of_files(annotations: Sequence[Mapping[str, Any]], files: Sequence[InputFile]) -> tuple[Mapping[str, Any], ...]:
    """Those that belong to the files, as the interface sends them: by the UIDs that they name."""
    return tuple(
        annotation
        for annotation in annotations
        if any(
            all(annotation.get(key) in (None, "", getattr(file, key)) for key in _UIDS if key in annotation)
            for file in files
        )
    )


def _unused(
    annotations: Sequence[Mapping[str, Any]], requests: Sequence[SmokeRequest], path: Path | None
) -> list[Problem]:
    sent = {id(annotation) for request in requests for annotation in request.annotations}
    count = sum(id(annotation) not in sent for annotation in annotations)
    if not count or path is None:
        return []
    return [
        Problem(
            code="predict.annotations-left-out",
            what=f"{count} of {len(annotations)} annotations name UIDs of none of the files, and are not sent",
            where=Location(str(path)),
            expected="the study_uid, series_uid and instance_uid of a file",
        )
    ]


def parse_args(words: Sequence[str]) -> dict[str, str]:
    """`--args name=value …` as a map.

    Raises:
        UsageError: a word has no `=`, or no name.
    """
    wrong = [word for word in words if not word.partition("=")[0] or "=" not in word]
    if wrong:
        raise UsageError(
            Problem("usage.args", f"{word!r} is no argument of a model", Location("option --args"), "NAME=VALUE")
            for word in wrong
        )
    return {name: value for name, _, value in (word.partition("=") for word in words)}
