"""The contract against a second one, written for nothing but to be read: slow, value by value, from the same sources.

Hypothesis makes outputs that are nearly valid, in which strange values stand in random places.
"""

from __future__ import annotations

import collections
import enum
import math
from collections.abc import Callable
from typing import Any

import msgpack
import numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import UID
from pydicom.valuerep import IS, DSfloat

from mdai_build.runtime.contract import check_outputs
from mdai_build.runtime.encode import encode

# ---- the reference ----

Check = Callable[[Any], bool]


def integer(value: Any) -> bool:
    own = isinstance(value, (Sly, bool, numpy.generic))
    return isinstance(value, int) and not own and -(2**63) <= int(value) < 2**64


def index(value: Any) -> bool:
    return integer(value) and value >= 0


def number(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value) and not isinstance(value, numpy.generic)
    return integer(value)


def pixel(value: Any) -> bool:
    return number(value) or value is True or value is False


def text(value: Any) -> bool:
    if not isinstance(value, str) or isinstance(value, (Sly, numpy.generic)):
        return False
    return not any(0xD800 <= ord(character) <= 0xDFFF for character in value)


def binary(value: Any) -> bool:
    return isinstance(value, (bytes, bytearray)) and not isinstance(value, (Sly, numpy.generic)) and len(value) > 0


def list_of(check: Check, least: int = 0) -> Check:
    return lambda value: sequence(value) and len(value) >= least and all(check(item) for item in value)


def sequence(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and not isinstance(value, Sly)


def dict_of(required: dict[str, Check], optional: dict[str, Check]) -> Check:
    def check(value: Any) -> bool:
        if not issubclass(type(value), dict) or isinstance(value, Sly):
            return False
        known = {**required, **optional}
        if not all(text(key) and key in known for key in value):
            return False
        return all(key in value for key in required) and all(known[key](value[key]) for key in value)

    return check


def probability_value(value: Any) -> bool:
    return isinstance(value, float) and not isinstance(value, numpy.generic) and -1e-6 <= value <= 1 + 1e-6


def probability(value: Any) -> bool:
    entry = dict_of({"class_index": index, "probability": probability_value}, {})
    if not list_of(entry)(value):
        return probability_value(value)
    classes = [int(item["class_index"]) for item in value]
    return len(set(classes)) == len(classes)


def mask(value: Any) -> bool:
    return list_of(list_of(pixel, 1), 1)(value) and len({len(row) for row in value}) == 1


def annotation(value: Any) -> bool:
    kinds = [
        dict_of({}, {}),
        dict_of({"mask": mask}, {}),
        dict_of({"vertices": list_of(lambda point: list_of(number)(point) and len(point) == 2, 1)}, {}),
        dict_of({"x": integer, "y": integer}, {}),
        dict_of({"x": integer, "y": integer, "width": index, "height": index}, {}),
        dict_of({"start_frame_number": index, "end_frame_number": index}, {}),
    ]
    if not any(kind(value) for kind in kinds):
        return False
    return bool(value.get("start_frame_number", 0) <= value.get("end_frame_number", 0))


def explanation(value: Any) -> bool:
    keys = {"name": text, "content": binary, "content_type": text}
    description = {"description": lambda item: item is None or text(item)}  # published models leave it out
    return dict_of({}, {})(value) or dict_of(keys, description)(value)


def output(value: Any) -> bool:
    def optional(check: Check) -> Check:
        return lambda item: item is None or check(item)

    keys = {
        "study_uid": lambda item: text(item) and item != "",
        "series_uid": text,
        "instance_uid": text,
        "frame_number": index,
        "video_frame_number": index,
        "class_index": index,
        "data": annotation,
        "probability": probability,
        "note": lambda item: text(item) or dict_of({"input": text, "output": text}, {})(item),
        "explanations": list_of(explanation),
        "images": list_of(binary, 1),
        "image_output_tags": dict_of({}, dict.fromkeys(("PatientID", "StudyInstanceUID", "SeriesInstanceUID"), text)),
    }
    if not dict_of({"type": text}, {key: optional(check) for key, check in keys.items()})(value):
        return False
    needed = {
        "NONE": ["study_uid"],
        "TEXT": ["study_uid"],
        "ANNOTATION": ["study_uid", "class_index"],
        "IMAGE": ["study_uid", "class_index", "images"],
        "DICOM": ["study_uid", "class_index", "images"],
    }.get(value["type"])
    return needed is not None and all(value.get(key) is not None for key in needed)


# ---- what is put in ----


class Sly:
    """Marks the classes whose methods lie about what msgpack would write."""


class SlyList(Sly, list):  # type: ignore[type-arg]
    def __len__(self) -> int:
        return 2


class SlyBuffer(Sly, list):  # type: ignore[type-arg]
    """From Python 3.12 on ``marshal`` asks for this."""

    def __iter__(self) -> Any:
        return iter([1, 1])

    def __buffer__(self, flags: int) -> memoryview:
        return memoryview(b"i\0\0\0\0" * 2)


class SlyTuple(Sly, tuple):  # type: ignore[type-arg]
    def __iter__(self) -> Any:
        return iter([1, 2])


class SlyDict(Sly, dict):  # type: ignore[type-arg]
    def items(self) -> Any:
        return [("data", 1), (2, 3)]

    def __len__(self) -> int:
        return 5


class SlyText(Sly, str):
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("type")


class SlyBytes(Sly, bytes):
    def __len__(self) -> int:
        return 3


class SlyInt(Sly, int):
    def __le__(self, other: object) -> bool:
        return True

    def __lt__(self, other: object) -> bool:
        return True


class Pretender:
    """Says that it is a dict."""

    __class__ = dict  # type: ignore[assignment]


class Kind(str, enum.Enum):
    NONE = "NONE"


class Level(enum.IntEnum):
    HIGH = 200


class Plain(list):  # type: ignore[type-arg]
    pass


Pair = collections.namedtuple("Pair", "x y")

NUMBERS: list[Any] = [
    *(0, 1, 127, 128, 255, 256, 2**31 - 1, 2**31, 2**32, 2**63, 2**64 - 1, 2**64, 10**400, -1),
    *(-(2**31), -(2**31) - 1, -(2**63), -(2**63) - 1, 0.0, 0.5, -0.0, 1e308, -1e308, 5e-324, 1.0000001, 1.1),
    *(math.nan, math.inf, -math.inf, True, False, Level.HIGH, IS("7"), DSfloat("0.5"), SlyInt(-3), SlyInt(10**30)),
    *(numpy.float64(0.5), numpy.float32(0.5), numpy.int64(1), numpy.bool_(True), numpy.uint8(1)),
]
OTHERS: list[Any] = [
    *(None, "", "1", "\ud800", b"", b"i\0\0\0\0", bytearray(b"g"), 1j, [], (), {}, object(), Pretender()),
    *(b"iiii" * 5, "T" * 5, "NONE", Kind.NONE, UID("1.2"), numpy.str_("1"), numpy.bytes_(b"1"), numpy.zeros(2)),
    *(Plain([1, 2]), Pair(1, 2), SlyList([1]), SlyBuffer(["a", "b"]), SlyTuple([1]), SlyDict(), SlyText("x")),
    *(SlyBytes(b"x"), collections.OrderedDict(x=1, y=2), [[1, 2]], [[True], [1]], {"x": 1, "y": 2}, {"mask": [[1]]}),
    *({SlyText("a"): 1}, {1: 2}, SlyDict({"x": 1, "y": 2}), memoryview(b"x"), {1}, range(2)),
]
ODD = st.sampled_from([*NUMBERS, *OTHERS])
ROWS = st.integers(1, 6).flatmap(
    lambda width: st.lists(
        st.sampled_from([[0, 1, 127], [0, 128, 2**31], [0.5, 1e308], [True, False], NUMBERS, [*NUMBERS, *OTHERS]])
        .flatmap(lambda alphabet: st.lists(st.sampled_from(alphabet), min_size=width, max_size=width))
        .flatmap(lambda row: st.sampled_from([row, tuple(row), Plain(row), SlyList(row), SlyBuffer(row)])),
        min_size=1,
        max_size=4,
    )
)
GOOD: dict[str, Any] = {
    "type": "IMAGE",
    "study_uid": "1.2",
    "class_index": 0,
    "series_uid": "1",
    "instance_uid": "1",
    "frame_number": 0,
    "video_frame_number": 0,
    "data": {"mask": [[0, 1], [1, 0]]},
    "probability": 0.5,
    "note": "n",
    "explanations": [{"name": "a", "description": "b", "content": b"c", "content_type": "d"}],
    "images": [b"x"],
    "image_output_tags": {"PatientID": "a"},
}
OTHER_GOOD: dict[str, list[Any]] = {
    "type": ["NONE", "ANNOTATION", "DICOM", "TEXT"],
    "data": [
        {"vertices": [[0, 1.5], (2, 3)]},
        {"x": 1, "y": 2},
        {"x": 1, "y": 2, "width": 3, "height": 4},
        {"start_frame_number": 1, "end_frame_number": 2},
        {},
    ],
    "probability": [[{"class_index": 0, "probability": 0.5}, {"class_index": 1, "probability": 0.5}]],
    "note": [{"input": "a", "output": "b"}],
}


def changed(draw: st.DataObject, value: Any, depth: int) -> Any:
    """The value with something odd at a random place at most so deep: another value, a missing or strange key."""
    inside = depth > 0 and type(value) in (dict, list, tuple) and value and draw.draw(st.booleans())
    if not inside:
        return draw.draw(ODD)
    if isinstance(value, dict):
        key = draw.draw(st.sampled_from(list(value)))
        rest = {name: item for name, item in value.items() if name != key}
        what = draw.draw(st.sampled_from(["value", "value", "value", "missing", "key"]))
        if what == "missing":
            return rest
        if what == "key":
            return {**rest, draw.draw(st.sampled_from(["x", "mask", "typ", 5, None, SlyText("zzz"), b"x"])): value[key]}
        return {**rest, key: changed(draw, value[key], depth - 1)}
    items = list(value)
    position = draw.draw(st.integers(0, len(items) - 1))
    items[position] = changed(draw, items[position], depth - 1)
    return type(value)(items)


def agree(outputs: Any) -> None:
    """Both say the same, and what they let pass goes over the wire as it is."""
    passes = sequence(outputs) and all(output(item) for item in outputs)
    small_rows: dict[int, bytes] = {}
    found = check_outputs(outputs, small_rows=small_rows)
    assert (found == []) == passes, found
    if passes:
        written = b"".join(encode(outputs, msgpack.Packer(), small_rows))
        assert written == msgpack.packb(outputs)
        assert all(output(item) for item in msgpack.unpackb(written))


RELAXED = settings(suppress_health_check=[HealthCheck.too_slow], max_examples=300, deadline=None)


@RELAXED
@given(ROWS)
def test_both_agree_on_masks(rows: Any) -> None:
    agree([{"type": "ANNOTATION", "study_uid": "1", "class_index": 0, "data": {"mask": rows}}])


@RELAXED
@given(st.lists(st.lists(ODD, min_size=2, max_size=2), min_size=1, max_size=4))
def test_both_agree_on_vertices(points: Any) -> None:
    agree([{"type": "ANNOTATION", "study_uid": "1", "class_index": 0, "data": {"vertices": points}}])


@RELAXED
@given(st.data())
def test_both_agree_on_what_is_nearly_valid(draw: st.DataObject) -> None:
    value = {key: item for key, item in GOOD.items() if key in ("type", "study_uid") or draw.draw(st.booleans())}
    for key, choices in OTHER_GOOD.items():
        if key in value and draw.draw(st.booleans()):
            value[key] = draw.draw(st.sampled_from(choices))
    for _ in range(draw.draw(st.integers(0, 2))):
        value = changed(draw, value, 4)
    agree([value])
