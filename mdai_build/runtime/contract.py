"""The one place that knows what a model is sent and what it may answer.

Sources: "MD.ai Interface Code" (the input schema, the output schema, "Supported model output label types") and, for
what that document does not say, the existing system's behaviour: type ``TEXT``, ``note`` as a dict,
``video_frame_number``, the frames of a video series, keys that may be ``None``.

The check is complete: every number of every mask and vertex list is looked at. It has no dependencies, so that the
command line checks with the same code.

Decisions that the sources leave open, and why:

- A key that the schema does not know is refused, with the nearest known one: the existing system fails on it too, so no
  published model relies on it, and a misspelt key silently loses a result.
- What msgpack writes the same way counts as the same: a tuple is a list, a pydicom ``UID`` is a string. Numpy scalars
  are refused even where they would pass (``float64`` is a ``float``): the document asks for the cast, and the same
  code with another dtype would fail in production.
- One output holds one annotation, so ``data`` mixes no two kinds.
- ``explanations: [{}]`` is accepted: the document's own skeleton returns it. A published model leaves ``description``
  out, and nothing is lost without it.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import Any, Callable, Iterable

from .values import (
    Report,
    SmallRows,
    TooMany,
    Violation,
    are_numbers,
    are_pixels,
    cast,
    check_bytes,
    check_index,
    check_int,
    check_keys,
    check_text,
    dimensions,
    is_list,
    is_plain,
    items,
    list_advice,
    report_numbers,
)

__all__ = ["API_VERSION", "OUTPUT_KEYS", "OUTPUT_TYPES", "Violation", "check_outputs", "check_request", "describe"]

API_VERSION = "0.3"
OUTPUT_TYPES = ("NONE", "ANNOTATION", "DICOM", "IMAGE", "TEXT")
EXPLANATION_MAX_BYTES = 64 * 1024 * 1024

_REQUIRED_KEYS: dict[str, tuple[str, ...]] = {
    "NONE": ("study_uid",),
    "TEXT": ("study_uid",),
    "ANNOTATION": ("study_uid", "class_index"),
    "IMAGE": ("study_uid", "class_index", "images"),
    "DICOM": ("study_uid", "class_index", "images"),
}
_DATA_KINDS: dict[str, tuple[str, ...]] = {
    "mask": ("mask",),
    "vertices": ("vertices",),
    "bounding box": ("x", "y", "width", "height"),
    "location": ("x", "y"),
    "video frames": ("start_frame_number", "end_frame_number"),
}
_IMAGE_OUTPUT_TAGS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
_EXPLANATION_KEYS = ("name", "description", "content", "content_type")
# A softmax in single precision sums to a little more than one.
_PROBABILITY_TOLERANCE = 1e-6
_ROWS_REPORTED = 3


def check_outputs(outputs: Any, limit: int = 20, small_rows: SmallRows | None = None) -> list[Violation]:
    """Everything that is wrong with what ``predict`` returned; an empty list when nothing is.

    At most ``limit`` violations are listed, and a last one counts the rest. ``small_rows``, when given, is filled with
    what the check finds on its way and encoding can use: the rows of masks that hold ints from 0 to 127 alone, as
    bytes, by the row's id.
    """
    report = Report(limit, small_rows)
    with contextlib.suppress(TooMany):
        _check_outputs(report, outputs)
    return report.result("outputs")


def check_request(data: Any, limit: int = 20) -> list[Violation]:
    """Everything that is wrong with a decoded request; an empty list when nothing is.

    What model code indexes into has to be there and of its type. Keys that the document does not name pass, since
    the platform may add some; ``annotations``, ``label_classes`` and ``args`` may be absent or ``None``.
    """
    report = Report(limit)
    with contextlib.suppress(TooMany):
        _check_request(report, data)
    return report.result("request")


def describe(violations: Iterable[Violation]) -> str:
    """The violations as text, one a line, for an error message."""
    return "\n".join("  {}".format(violation) for violation in violations)


def _check_outputs(report: Report, outputs: Any) -> None:
    if is_list(outputs):
        for index, output in enumerate(outputs):
            _check_output(report, "outputs[{}]".format(index), output)
    else:
        report.add("outputs", "expected a list of dicts" + list_advice(outputs), outputs)


# ---- the request ----


def _check_request(report: Report, data: Any) -> None:
    if not isinstance(data, dict):
        report.add("request", "expected a map with the key `files`", data)
        return
    if is_list(data.get("files")):
        for index, file in enumerate(data["files"]):
            _check_input_file(report, "request.files[{}]".format(index), file)
    elif "files" in data:
        report.add("request.files", "expected a list of maps", data["files"])
    else:
        report.add("request", "the key `files` is missing", data)
    for index, annotation in _maps(report, data, "annotations"):
        place = "request.annotations[{}]".format(index)
        _check_optional(report, place, annotation, _ANNOTATION_STRINGS, check_text)
        _check_optional(report, place, annotation, ("frame_number",), check_int)
    for index, label_class in _maps(report, data, "label_classes"):
        place = "request.label_classes[{}]".format(index)
        _check_optional(report, place, label_class, ("class_index",), check_int)
        label = label_class.get("label")
        if isinstance(label, dict):
            _check_optional(report, place + ".label", label, _LABEL_STRINGS, check_text)
        elif label is not None:
            report.add(place + ".label", "expected a map", label)
    args = data.get("args")
    if isinstance(args, dict):
        for name in args:
            if not isinstance(name, str):
                report.add("request.args", "expected names that are strings", name)
    elif args is not None:
        report.add("request.args", "expected a map of name to value", args)


_ANNOTATION_STRINGS = ("id", "label_id", "study_uid", "series_uid", "instance_uid", "parent_id")
_LABEL_STRINGS = ("id", "name", "type", "scope", "annotation_mode", "short_name", "description", "parent_id")


def _check_input_file(report: Report, place: str, file: Any) -> None:
    if not isinstance(file, dict):
        report.add(place, "expected a map with the keys `content` and `content_type`", file)
        return
    for key, kind, name in (("content", bytes, "bytes"), ("content_type", str, "a string")):
        if key not in file:
            report.add(place, "the key `{}` is missing".format(key))
        elif not isinstance(file[key], kind):
            report.add("{}.{}".format(place, key), "expected {}".format(name), file[key])
    tags = file.get("dicom_tags")
    if tags is not None and not isinstance(tags, dict):
        report.add(place + ".dicom_tags", "expected a map", tags)


def _maps(report: Report, data: dict[str, Any], key: str) -> Iterable[tuple[int, dict[str, Any]]]:
    values = data.get(key)
    if values is None:
        return
    if not is_list(values):
        report.add("request." + key, "expected a list of maps", values)
        return
    for index, value in enumerate(values):
        if isinstance(value, dict):
            yield index, value
        else:
            report.add("request.{}[{}]".format(key, index), "expected a map", value)


def _check_optional(
    report: Report,
    place: str,
    values: dict[str, Any],
    keys: Iterable[str],
    check: Callable[[Report, str, Any], bool],
) -> None:
    for key in keys:
        if values.get(key) is not None:
            check(report, "{}.{}".format(place, key), values[key])


# ---- one output ----


def _check_output(report: Report, place: str, output: Any) -> None:
    if not is_plain(output, dict):
        report.add(place, "expected a dict" + cast(output, "dict"), output)
        return
    check_keys(report, place, output, OUTPUT_KEYS)
    kind = output.get("type")
    if not is_plain(kind, str) or kind not in OUTPUT_TYPES:
        names = ", ".join(repr(name) for name in OUTPUT_TYPES)
        if "type" in output:
            report.add(place + ".type", "expected one of {}".format(names), kind)
        else:
            report.add(place, "the key `type` is missing: one of {}".format(names))
        kind = "NONE"
    for key in _REQUIRED_KEYS[kind]:
        if key not in output:
            report.add(place, "the key `{}` is missing: type {} needs it".format(key, kind))
        elif output[key] is None:
            report.add("{}.{}".format(place, key), "must not be None for type {}".format(kind))
    for key, check in _OUTPUT_CHECKS.items():
        if output.get(key) is not None:
            check(report, "{}.{}".format(place, key), output[key])


def _check_study_uid(report: Report, place: str, value: Any) -> None:
    if check_text(report, place, value) and not value:
        report.add(place, "must not be empty: the StudyInstanceUID of the input")


def _check_probability(report: Report, place: str, value: Any) -> None:
    if not is_list(value):
        _check_probability_value(report, place, value)
        return
    seen = set()
    for index, item in enumerate(value):
        item_place = "{}[{}]".format(place, index)
        if not is_plain(item, dict):
            report.add(item_place, 'expected {"class_index": int, "probability": float}', item)
            continue
        check_keys(report, item_place, item, ("class_index", "probability"), required=("class_index", "probability"))
        if "probability" in item:
            _check_probability_value(report, item_place + ".probability", item["probability"])
        class_index = item.get("class_index")
        if "class_index" in item and check_index(report, item_place + ".class_index", class_index):
            if class_index in seen:
                report.add(item_place + ".class_index", "stands in this list already", class_index)
            seen.add(class_index)


def _check_probability_value(report: Report, place: str, value: Any) -> None:
    if dimensions(value):
        report.add(place, 'expected a float, or a list of {"class_index": int, "probability": float}', value)
    elif not is_plain(value, float):
        report.add(place, "expected a float" + cast(value, "float"), value)
    elif not -_PROBABILITY_TOLERANCE <= value <= 1 + _PROBABILITY_TOLERANCE:
        report.add(place, "expected a probability from 0 to 1", value)


def _check_note(report: Report, place: str, value: Any) -> None:
    if not is_plain(value, dict):
        check_text(report, place, value, "a string, or a dict with the keys `input` and `output`")
        return
    check_keys(report, place, value, ("input", "output"), required=("input", "output"))
    for key in ("input", "output"):
        if key in value:
            check_text(report, "{}.{}".format(place, key), value[key])


def _check_explanations(report: Report, place: str, value: Any) -> None:
    for item_place, item in items(report, place, value, "a list of dicts"):
        if not is_plain(item, dict):
            report.add(item_place, "expected a dict" + cast(item, "dict"), item)
            continue
        if not item:
            continue
        check_keys(report, item_place, item, _EXPLANATION_KEYS, required=("name", "content", "content_type"))
        for key in ("name", "description", "content_type"):
            if item.get(key) is not None or (key in item and key != "description"):
                check_text(report, "{}.{}".format(item_place, key), item[key])
        content_place = item_place + ".content"
        if "content" in item and check_bytes(report, content_place, item["content"]):
            size = len(item["content"])
            if size > EXPLANATION_MAX_BYTES:
                report.add(content_place, "{} bytes, at most {}".format(size, EXPLANATION_MAX_BYTES))


def _check_images(report: Report, place: str, value: Any) -> None:
    for item_place, item in items(report, place, value, "a list of bytes: `[image_buffer.getvalue()]`"):
        check_bytes(report, item_place, item)
    if is_list(value) and not value:
        report.add(place, "must hold at least one image")


def _check_image_output_tags(report: Report, place: str, value: Any) -> None:
    if not is_plain(value, dict):
        report.add(place, "expected a dict" + cast(value, "dict"), value)
        return
    check_keys(report, place, value, _IMAGE_OUTPUT_TAGS)
    for key in _IMAGE_OUTPUT_TAGS:
        if key in value:
            check_text(report, "{}.{}".format(place, key), value[key])


# ---- the data of an annotation ----


def _check_data(report: Report, place: str, data: Any) -> None:
    if not is_plain(data, dict):
        report.add(place, "expected a dict" + cast(data, "dict"), data)
        return
    known = tuple(sorted({key for keys in _DATA_KINDS.values() for key in keys}))
    check_keys(report, place, data, known)
    kind = _data_kind(data)
    if kind is None:
        return
    keys = _DATA_KINDS[kind]
    for key in keys:
        if key in data:
            _DATA_CHECKS[key](report, "{}.{}".format(place, key), data[key])
        else:
            report.add(place, "the key `{}` is missing: a {} has {}".format(key, kind, ", ".join(keys)))
    for key in known:
        if key in data and key not in keys:
            report.add(place, "`{}` does not belong to a {}: one output, one annotation".format(key, kind))
    if kind == "video frames":
        start, end = data.get("start_frame_number"), data.get("end_frame_number")
        if isinstance(start, int) and isinstance(end, int) and start > end:
            report.add(place, "start_frame_number {} comes after end_frame_number {}".format(start, end))


def _data_kind(data: dict[Any, Any]) -> str | None:
    for kind, signs in _DATA_SIGNS:
        if any(sign in data for sign in signs):
            return kind
    return None


_DATA_SIGNS = (
    ("mask", ("mask",)),
    ("vertices", ("vertices",)),
    ("bounding box", ("width", "height")),
    ("location", ("x", "y")),
    ("video frames", ("start_frame_number", "end_frame_number")),
)


def _check_mask(report: Report, place: str, mask: Any) -> None:
    if not is_list(mask):
        report.add(place, "expected a list of rows" + cast(mask, "list"), mask)
        return
    if not mask:
        report.add(place, "has no rows: leave the output out when there is nothing to show")
        return
    if is_list(mask[0]) and len(mask[0]) > 1 and all(is_list(pixel) or dimensions(pixel) for pixel in mask[0]):
        message = "expected two dimensions, rows of numbers: return one channel, such as `mask.squeeze().tolist()`"
        report.add(place, message, mask)
        return
    bad_rows = 0
    width = len(mask[0]) if is_list(mask[0]) else -1
    for index, row in enumerate(mask):
        if is_list(row) and len(row) == width and row and are_pixels(row, report.small_rows):
            continue
        if bad_rows == _ROWS_REPORTED:
            report.add(place, "rows after {} are not listed".format(index - 1))
            return
        bad_rows += 1
        row_place = "{}[{}]".format(place, index)
        if not is_list(row):
            report.add(row_place, "expected a list of numbers" + cast(row, "list"), row)
        elif not row:
            report.add(row_place, "has no pixels")
        elif len(row) != width:
            report.add(row_place, "has {} pixels and the first row {}".format(len(row), max(width, 0)))
        else:
            report_numbers(report, row, (row_place + "[{}]").format, bools=True)


def _check_vertices(report: Report, place: str, vertices: Any) -> None:
    if not is_list(vertices):
        report.add(place, "expected a list of [x, y]" + cast(vertices, "list"), vertices)
        return
    if not vertices:
        report.add(place, "has no points: leave the output out when there is nothing to show")
        return
    for index, point in enumerate(vertices):
        if not (is_list(point) and len(point) == 2):
            report.add("{}[{}]".format(place, index), "expected [x, y]" + cast(point, "list"), point)
            return
        if is_list(point[0]) and is_list(point[1]):
            message = "expected [x, y]: write [[x, y], [x, y], ...], and for each outline an output of its own"
            report.add("{}[{}]".format(place, index), message, point)
            return
    numbers = list(itertools.chain.from_iterable(vertices))
    if not are_numbers(numbers):
        report_numbers(report, numbers, lambda i: "{}[{}][{}]".format(place, i // 2, i % 2))


_OUTPUT_CHECKS: dict[str, Callable[[Report, str, Any], Any]] = {
    "study_uid": _check_study_uid,
    "series_uid": check_text,
    "instance_uid": check_text,
    "frame_number": check_index,
    "video_frame_number": check_index,
    "class_index": check_index,
    "data": _check_data,
    "probability": _check_probability,
    "note": _check_note,
    "explanations": _check_explanations,
    "images": _check_images,
    "image_output_tags": _check_image_output_tags,
}
OUTPUT_KEYS = ("type", *_OUTPUT_CHECKS)
_DATA_CHECKS: dict[str, Callable[[Report, str, Any], Any]] = {
    "mask": _check_mask,
    "vertices": _check_vertices,
    "x": check_int,
    "y": check_int,
    "width": check_index,
    "height": check_index,
    "start_frame_number": check_index,
    "end_frame_number": check_index,
}
