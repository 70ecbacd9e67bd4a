"""Invents request bodies and outputs, and holds the checks of the server and of the smoke test against them."""

from __future__ import annotations

import copy
import random
from typing import Any

import msgpack
from test_reference import GOOD, OTHER_GOOD, agree, integer, text

from mdai_build.runtime import contract
from mdai_build.smoke.answers import check_answer
from mdai_build.smoke.decode import NotDecodableError, decode_answer
from mdai_build.smoke.request import DICOM, Demand, InputFile, SmokeRequest

REQUEST: dict[str, Any] = {
    "files": [{"content": b"x", "content_type": "image/png", "dicom_tags": {"a": "b"}}],
    "annotations": [{"id": "a", "frame_number": 1}],
    "label_classes": [{"class_index": 0, "label": {"id": "a"}}],
    "args": {"a": "b"},
}
_ODD: tuple[Any, ...] = (
    None, True, 0, 1, -1, 255, 256, 2**31, 2**63, -(2**63), 2**64 - 1, 0.5, float("nan"), float("inf"), -0.0, "", "x", "é", "\x1b[2J", "\u202e",
    "a" * 300, b"", b"x", b"\xff" * 9, [], [[]], [[0]], [[0, 1], [1]], [[0, 1], [1, 0]], {}, {"x": 1}, {1: 2}, {None: 1}, {"x": 1, "y": 2},
    [0.5], ["x"], [None], (1, 2), [[[0, 0], [0, 0]]], {"mask": []}, {"mask": [[]]}, {"vertices": [[0]]}, {"mask": [[1]], "vertices": [[0, 0]]},
    msgpack.ExtType(5, b"x"), msgpack.Timestamp(0), "NONE", "ANNOTATION", "DICOM", "IMAGE", "TEXT",
)  # fmt: skip
_ASKED = SmokeRequest(
    name="x",
    scope="INSTANCE",
    demand=Demand.REQUIRED,
    files=(
        InputFile(
            name="x",
            stored=b"",
            content_type=DICOM,
            study_uid="1.2",
            series_uid="1",
            instance_uid="1",
            rows=2,
            columns=2,
        ),
    ),
)


def judge_message(number: int) -> str:
    """Of a body that is made from this number: `refused`, `accepted`, or what was wrong."""
    chance = random.Random(number)
    value: Any = copy.deepcopy(REQUEST if number % 2 else _output(chance))
    for _ in range(chance.choice((0, 1, 1, 2, 3))):
        value = _changed(chance, value, 5)
    try:
        body = bytearray(msgpack.packb(value, strict_types=False))
    except (ValueError, TypeError, OverflowError):
        return "refused"
    for _ in range(chance.choice((0, 0, 0, 1, 2, 5))):
        if body:
            body[chance.randrange(len(body))] = chance.randrange(256)
    if chance.random() < 0.05:
        del body[chance.randrange(len(body) or 1) :]
    return _judge_request(bytes(body)) if number % 2 else _judge_outputs(bytes(body))


def _judge_request(body: bytes) -> str:
    try:
        data = msgpack.unpackb(body, raw=False)
    except Exception:  # noqa: BLE001 - the worker takes whatever comes here for a body that does not decode
        return "refused"
    try:
        violations = contract.check_request(data)
        contract.describe(violations).encode()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        return f"crash: {type(error).__name__}: {error}"
    if _is_request(data) == bool(violations):
        return f"wrong accept: {data!r} {violations}"
    return "refused" if violations else "accepted"


def _is_request(data: Any) -> bool:
    """What the interface's document asks of a request, written for nothing but to be read."""

    def maps(values: Any) -> bool:
        return values is None or (isinstance(values, list) and all(isinstance(value, dict) for value in values))

    def texts(value: dict[str, Any], names: str) -> bool:
        return all(value.get(name) is None or text(value[name]) for name in names.split())

    if not isinstance(data, dict) or not isinstance(data.get("files"), list):
        return False
    for file in data["files"]:
        if not isinstance(file, dict) or not isinstance(file.get("content"), bytes):
            return False
        tags = file.get("dicom_tags")
        if not isinstance(file.get("content_type"), str) or not isinstance({} if tags is None else tags, dict):
            return False
    annotations, classes, args = data.get("annotations"), data.get("label_classes"), data.get("args")
    if not maps(annotations) or not maps(classes):
        return False
    for annotation in annotations or ():
        number = annotation.get("frame_number")
        if not texts(annotation, "id label_id study_uid series_uid instance_uid parent_id"):
            return False
        if number is not None and not integer(number):
            return False
    for entry in classes or ():
        index, label = entry.get("class_index"), entry.get("label")
        if (index is not None and not integer(index)) or not isinstance({} if label is None else label, dict):
            return False
        if not texts(label or {}, "id name type scope annotation_mode short_name description parent_id"):
            return False
    return args is None or (isinstance(args, dict) and all(isinstance(name, str) for name in args))


def _judge_outputs(body: bytes) -> str:
    try:
        outputs = decode_answer(body)
    except NotDecodableError:
        return "refused"
    except Exception as error:  # noqa: BLE001
        return f"crash: {type(error).__name__}: {error}"
    try:
        findings = check_answer(_ASKED, outputs)
        for problem in (*findings.problems, *findings.warnings):
            str(problem).encode("utf-8", "surrogatepass")
        agree(outputs)
    except AssertionError as error:
        return f"wrong accept: {error} {outputs!r}"
    except Exception as error:  # noqa: BLE001
        return f"crash: {type(error).__name__}: {error}"
    return "refused" if findings.problems else "accepted"


def _output(chance: random.Random) -> list[dict[str, Any]]:
    value = {key: item for key, item in GOOD.items() if key in ("type", "study_uid") or chance.random() < 0.6}
    for key, choices in OTHER_GOOD.items():
        if key in value and chance.random() < 0.6:
            value[key] = chance.choice(choices)
    return [value] * chance.choice((1, 1, 2))


def _changed(chance: random.Random, value: Any, depth: int) -> Any:
    if depth == 0 or not isinstance(value, (dict, list)) or not value or chance.random() < 0.15:
        return chance.choice(_ODD)
    if isinstance(value, list):
        place = chance.randrange(len(value))
        return [*value[:place], _changed(chance, value[place], depth - 1), *value[place + 1 :]]
    key = chance.choice(list(value))
    what = chance.random()
    if what < 0.15:
        return {name: item for name, item in value.items() if name != key}
    if what < 0.3:
        try:
            return {**value, chance.choice(_ODD): value[key]}
        except TypeError:
            return value
    return {**value, key: _changed(chance, value[key], depth - 1)}
