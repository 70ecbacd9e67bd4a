"""Holds an answer against the request: what the contract alone cannot know.

The contract (`mdai_build.runtime.contract`) checks the outputs' shape. Here: UIDs were sent, masks are as large as the
image, coordinates lie in it, frames exist, classes and label kinds are those of the model's card.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mdai_build.errors import Location, Problem
from mdai_build.smoke.failures import output_hint
from mdai_build.smoke.request import JPEG, PNG, InputFile, SmokeRequest

_MOST_PROBLEMS = 20
_UIDS = (
    ("study_uid", "StudyInstanceUID"),
    ("series_uid", "SeriesInstanceUID"),
    ("instance_uid", "SOPInstanceUID"),
)
_UIDS_OF_SCOPE = {"STUDY": 1, "EXAM": 1, "SERIES": 2, "INSTANCE": 3}
_LOCAL_KINDS = ("mask", "box", "vertices", "location")
# The names that the interface's label editor, its JSON export and its documentation use for the same thing.
_KINDS_OF_MODE = {
    "mask": ("mask",),
    "bbox": ("box",),
    "boundingbox": ("box",),
    "box": ("box",),
    "freeform": ("vertices",),
    "polygon": ("vertices",),
    "line": ("vertices",),
    "location": ("location",),
    "point": ("location",),
}
_KEYS_OF_KIND = {
    "mask": '{"mask": [[...], ...]}',
    "box": '{"x": int, "y": int, "width": int, "height": int}',
    "vertices": '{"vertices": [[x, y], ...]}',
    "location": '{"x": int, "y": int}',
}


@dataclass(frozen=True)
class Findings:
    """What is wrong with an answer (it fails) and what is dubious about it (it does not)."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def check_answer(request: SmokeRequest, outputs: Any) -> Findings:
    """Everything that is wrong with the decoded outputs, first the contract and then what the request says."""
    from mdai_build.runtime.contract import check_outputs

    violations = check_outputs(outputs)
    if violations:
        return Findings(
            tuple(
                Problem(
                    code="smoke.invalid-output",
                    what=f"{violation.path}: {violation.message}"
                    + (f", found {violation.value}" if violation.value else ""),
                    where=Location(file=f"sample {request.name}", key=violation.path),
                    next_step=output_hint(f"{violation.path}: {violation.message}, found {violation.value}")
                    or "correct what `predict` returns in mdai_deploy.py",
                )
                for violation in violations
            )
        )
    problems: list[Problem] = []
    warnings: list[Problem] = []
    for index, output in enumerate(outputs):
        for problem, severe in _OutputCheck(request, f"outputs[{index}]", output).run():
            (problems if severe else warnings).append(problem)
    problems += _expectations(request, outputs)
    return Findings(_shortened(problems, request), _shortened(warnings, request))


def data_kind(data: Any) -> str | None:
    """What an output's `data` holds: `mask`, `box`, `vertices`, `location`, `frames`; None for nothing known."""
    if not isinstance(data, Mapping):
        return None
    if data.get("mask") is not None:
        return "mask"
    if data.get("vertices") is not None:
        return "vertices"
    if "width" in data or "height" in data:
        return "box"
    if "x" in data and "y" in data:
        return "location"
    if "start_frame_number" in data:
        return "frames"
    return None


def files_meant(files: Sequence[InputFile], output: Mapping[str, Any]) -> tuple[InputFile, ...]:
    """The files of a request that an output's UIDs name; UIDs that it leaves out match all."""
    return tuple(file for file in files if all(output.get(key) in (None, "", getattr(file, key)) for key, _ in _UIDS))


def _shortened(problems: list[Problem], request: SmokeRequest) -> tuple[Problem, ...]:
    if len(problems) <= _MOST_PROBLEMS:
        return tuple(problems)
    rest = Problem(
        code="smoke.more",
        what=f"{len(problems) - _MOST_PROBLEMS} more problems of this answer are not listed",
        where=Location(file=f"sample {request.name}"),
    )
    return (*problems[:_MOST_PROBLEMS], rest)


# How the files begin (PNG, 5.2; JPEG, B.1.1.3; DICOM PS3.10, 7.1), what was expected, what to do.
_IMAGE_STARTS: dict[Any, tuple[re.Pattern[bytes], str, str]] = {
    "IMAGE": (
        re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff"),
        "the bytes of a PNG or JPEG file",
        'image.save(buffer, format="PNG"), then buffer.getvalue()',
    ),
    "DICOM": (
        re.compile(rb".{128}DICM", re.DOTALL),
        "the bytes of a DICOM file",
        "ds.save_as(buffer, enforce_file_format=True), or write_like_original=False before pydicom 3; "
        "then buffer.getvalue()",
    ),
}


class _OutputCheck:
    """The checks of one output; each yields problems, and whether they are severe."""

    def __init__(self, request: SmokeRequest, place: str, output: Mapping[str, Any]) -> None:
        self.request = request
        self.place = place
        self.output = output
        self.kind = data_kind(output.get("data"))
        self.files = files_meant(request.files, output)

    def run(self) -> Iterator[tuple[Problem, bool]]:
        wrong_uids = list(self._uids())
        yield from wrong_uids
        if not wrong_uids:
            yield from self._frame()
            yield from self._missing_uids()
            yield from self._geometry()
        yield from self._images()
        yield from self._explanations()
        if self.request.own_labels and self.output.get("type") == "ANNOTATION":
            yield from self._labels()

    def _problem(self, code: str, key: str, what: str, expected: str, next_step: str) -> Problem:
        place = f"{self.place}.{key}" if key else self.place
        return Problem(
            code=f"smoke.{code}",
            what=f"{place} {what}",
            where=Location(file=f"sample {self.request.name}", key=place),
            expected=expected,
            next_step=next_step,
        )

    def _uids(self) -> Iterator[tuple[Problem, bool]]:
        files: Sequence[InputFile] = self.request.files
        for key, keyword in _UIDS:
            value = self.output.get(key)
            if value in (None, ""):
                continue
            matching = [file for file in files if getattr(file, key) == value]
            if not matching:
                sent = sorted({getattr(file, key) for file in files})
                elsewhere = any(getattr(file, key) == value for file in self.request.files)
                other = next((name for name, _ in _UIDS for file in files if getattr(file, name) == value), None)
                what = f"is {value!r}, "
                if elsewhere:
                    what += "which was sent, but in another study or series than this output names"
                elif other is not None:
                    what += f"which is the {other} of the input, not its {key}"
                else:
                    what += "which is not among the files that were sent"
                yield (
                    self._problem(
                        "wrong-uid",
                        key,
                        what,
                        f"{sent[0]!r}" if len(sent) == 1 else f"one of {len(sent)}, such as {sent[0]!r}",
                        f"take it from the input file: str(ds.{keyword}); outputs name the input, also for "
                        f"images that the model makes",
                    ),
                    True,
                )
                return
            files = matching

    def _missing_uids(self) -> Iterator[tuple[Problem, bool]]:
        if self.output.get("type") != "ANNOTATION" or self.kind not in _LOCAL_KINDS:
            return
        for key, keyword in _UIDS[: self._most_uids()]:
            if self.output.get(key) in (None, ""):
                yield (
                    self._problem(
                        "missing-uid",
                        "",
                        f"has a {self.kind} and no {key}",
                        "study_uid, series_uid and instance_uid: a local label belongs to one image",
                        f'add "{key}": str(ds.{keyword}) to the output',
                    ),
                    True,
                )

    def _most_uids(self) -> int:
        """How many of the three UIDs an output can owe: a frame of a video series belongs to no instance."""
        return 2 if self.output.get("video_frame_number") is not None else 3

    def _frame(self) -> Iterator[tuple[Problem, bool]]:
        number = self.output.get("frame_number")
        if number is None or not self.files:
            return
        frames = max(file.frames for file in self.files)
        if number >= frames:
            yield (
                self._problem(
                    "frame-number",
                    "frame_number",
                    f"is {number}, and the image has {frames} frame{'s' if frames > 1 else ''}",
                    f"0 to {frames - 1}" if frames > 1 else "0, or leave it out",
                    "frames are counted from 0; instances of a series are no frames",
                ),
                True,
            )

    def _images(self) -> Iterator[tuple[Problem, bool]]:
        kind = self.output.get("type")
        for index, content in enumerate(self.output.get("images") or () if kind in _IMAGE_STARTS else ()):
            start, expected, next_step = _IMAGE_STARTS[kind]
            if not start.match(content):
                yield (
                    self._problem(
                        "no-image",
                        f"images[{index}]",
                        f"holds no such image: {len(content)} bytes that begin with {bytes(content[:8])!r}",
                        expected,
                        next_step,
                    ),
                    True,
                )
                return

    def _explanations(self) -> Iterator[tuple[Problem, bool]]:
        start, expected, next_step = _IMAGE_STARTS["IMAGE"]
        for index, explanation in enumerate(self.output.get("explanations") or ()):
            content, content_type = explanation.get("content"), explanation.get("content_type")
            if content and content_type in (PNG, JPEG) and not start.match(content):
                yield (
                    self._problem(
                        "no-image",
                        f"explanations[{index}].content",
                        f"holds no {content_type}: {len(content)} bytes that begin with {bytes(content[:8])!r}",
                        expected,
                        next_step,
                    ),
                    True,
                )
                return

    def _geometry(self) -> Iterator[tuple[Problem, bool]]:
        if self.kind not in _LOCAL_KINDS or not self.files:
            return
        sizes = {(file.rows, file.columns) for file in self.files}
        data = self.output["data"]
        if self.kind == "mask":
            yield from self._mask(data["mask"], sizes)
        elif len(sizes) == 1:  # without an instance there is no one image to measure against
            rows, columns = next(iter(sizes))
            yield from self._coordinates(data, rows, columns)

    def _mask(self, mask: Sequence[Sequence[float]], sizes: set[tuple[int, int]]) -> Iterator[tuple[Problem, bool]]:
        yield from self._fractions(mask)
        found = (len(mask), len(mask[0]))
        if found in sizes:
            return
        rows, columns = min(sizes)
        transposed = found[::-1] in sizes
        yield (
            self._problem(
                "mask-size",
                "data.mask",
                f"has {found[0]} rows of {found[1]} pixels, and the image has {rows} rows of {columns}"
                + (": rows and columns are swapped" if transposed else ""),
                f"one number for each pixel of the input: {rows} x {columns}",
                "transpose the mask (mask.T.tolist())"
                if transposed
                else "scale the mask back to the size of the input (nearest neighbour) before you return it",
            ),
            True,
        )

    def _fractions(self, mask: Sequence[Sequence[float]]) -> Iterator[tuple[Problem, bool]]:
        """The document asks for a segmentation mask as a list and says nothing of its numbers: a doubt, no mistake."""
        fraction = next((value for row in mask for value in set(row) if value != int(value)), None)
        if fraction is not None:
            yield (
                self._problem(
                    "mask-fractions",
                    "data.mask",
                    f"holds fractions, such as {fraction:.3g}",
                    "whole numbers: a pixel belongs to the label, or it does not",
                    "cut the network's probabilities at a threshold: (mask > 0.5).astype(int).tolist()",
                ),
                False,
            )

    def _coordinates(self, data: Mapping[str, Any], rows: int, columns: int) -> Iterator[tuple[Problem, bool]]:
        points: Iterator[tuple[str, float, float]]
        if self.kind == "vertices":
            points = ((f"data.vertices[{i}]", x, y) for i, (x, y) in enumerate(data["vertices"]))
        elif self.kind == "box":
            x, y = data["x"], data["y"]
            points = iter([("data", x, y), ("data", x + data["width"], y + data["height"])])
        else:
            points = iter([("data", data["x"], data["y"])])
        # What a network says is off by a pixel or two after scaling back; the rest is a mistake.
        slack = 2 + 0.02 * max(rows, columns)
        for key, x, y in points:
            beyond = max(-x, -y, x - columns, y - rows)
            if beyond <= 0:
                continue
            shape = "corner" if self.kind == "box" else "point"
            yield (
                self._problem(
                    "outside-image",
                    key,
                    f"has its {shape} at x={x:g}, y={y:g}, outside the image",
                    f"x from 0 to {columns} and y from 0 to {rows}, in pixels of the input",
                    "scale coordinates back from the size that the network sees; x counts columns, y counts rows"
                    if beyond > slack
                    else "clip coordinates to the image before you return them",
                ),
                beyond > slack,
            )
            return

    def _labels(self) -> Iterator[tuple[Problem, bool]]:
        labels = {entry.get("class_index"): entry.get("label") for entry in self.request.label_classes}
        index = self.output["class_index"]
        if index not in labels:
            yield (
                self._problem(
                    "class-index",
                    "class_index",
                    f"is {index}, and label_classes has no such class",
                    f"one of {sorted(key for key in labels if isinstance(key, int))}",
                    "return the class_index that the model's card gives to the label",
                ),
                True,
            )
            return
        label = labels[index]
        if not isinstance(label, Mapping):
            return
        scope = str(label.get("scope") or "").upper()
        needed = 3 if str(label.get("type") or "").upper() == "LOCAL" else _UIDS_OF_SCOPE.get(scope, 0)
        needed = min(needed, self._most_uids())
        missing = [key for key, _ in _UIDS[:needed] if self.output.get(key) in (None, "")]
        if missing and self.kind not in _LOCAL_KINDS:
            yield (
                self._problem(
                    "label-scope",
                    "",
                    f"has no {' and no '.join(missing)}, which label {label.get('name')!r} needs",
                    f"a label of scope {scope or 'INSTANCE'} needs {', '.join(key for key, _ in _UIDS[:needed])}",
                    "add the UIDs to the output, or change the label's scope",
                ),
                True,
            )
        mode = "".join(c for c in str(label.get("annotation_mode") or "").lower() if c.isalpha())
        kinds = _KINDS_OF_MODE.get(mode)
        if kinds and self.kind not in kinds:
            yield (
                self._problem(
                    "annotation-mode",
                    "data",
                    f"holds {self.kind or 'nothing'}, and label {label.get('name')!r} is a {mode} label",
                    _KEYS_OF_KIND[kinds[0]],
                    "return the data of the label's kind, or change the label's annotation mode",
                ),
                True,
            )


def _expectations(request: SmokeRequest, outputs: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    expect = request.expect
    where = Location(file=f"sample {request.name}", key="outputs")

    def problem(what: str, expected: str) -> Problem:
        return Problem(
            code="smoke.unexpected",
            what=what,
            where=where,
            expected=expected,
            next_step="correct the model, or `expect` in .mdai/smoke.yaml",
        )

    if expect.minimum is not None and len(outputs) < expect.minimum:
        yield problem(f"{len(outputs)} outputs came back", f"at least {expect.minimum}")
    if expect.maximum is not None and len(outputs) > expect.maximum:
        yield problem(f"{len(outputs)} outputs came back", f"at most {expect.maximum}")
    for index, output in enumerate(outputs):
        if expect.types and output["type"] not in expect.types:
            yield problem(f"outputs[{index}].type is {output['type']!r}", f"one of {list(expect.types)}")
        class_index = output.get("class_index")
        if expect.class_indices and class_index is not None and class_index not in expect.class_indices:
            yield problem(f"outputs[{index}].class_index is {class_index}", f"one of {list(expect.class_indices)}")
