"""The contract: what is valid passes, each way to be wrong is refused, at its place and with what to write."""

from __future__ import annotations

import copy
import enum
import time
from typing import Any

import msgpack
import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import UID

from mdai_build.runtime.contract import OUTPUT_TYPES, Violation, check_outputs, check_request, describe

Output = dict[str, Any]


class Label(enum.IntEnum):
    TUMOUR = 1


def output(**changes: Any) -> Output:
    return {"type": "ANNOTATION", "study_uid": "1.2", "class_index": 0, **changes}


def data(**content: Any) -> Output:
    return output(data=content)


def only(outputs: Any) -> Violation:
    (violation,) = check_outputs(outputs)
    return violation


# ---- what is valid ----

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
INTS = st.integers(-(2**63), 2**64 - 1)
INDEXES = st.integers(0, 2**31)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PROBABILITIES = st.floats(0, 1)


def rectangles(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[list[list[Any]]]:
    return st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(
        lambda shape: st.lists(
            st.lists(numbers, min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
        )
    )


NUMBERS = st.one_of(INTS, FLOATS)
VALID_DATA = st.one_of(
    st.fixed_dictionaries({"mask": rectangles(NUMBERS)}),
    st.fixed_dictionaries({"vertices": st.lists(st.lists(NUMBERS, min_size=2, max_size=2), min_size=1)}),
    st.fixed_dictionaries({"x": INTS, "y": INTS}),
    st.fixed_dictionaries({"x": INTS, "y": INTS, "width": INDEXES, "height": INDEXES}),
    st.integers(0, 99).map(lambda start: {"start_frame_number": start, "end_frame_number": start + 1}),
    st.just({}),
)
EXPLANATIONS = st.lists(
    st.fixed_dictionaries(
        {"name": TEXTS, "description": TEXTS, "content": st.binary(min_size=1), "content_type": st.just("image/png")}
    ),
    max_size=2,
)
CLASS_PROBABILITIES = st.dictionaries(INDEXES, PROBABILITIES, max_size=3).map(
    lambda classes: [{"class_index": index, "probability": value} for index, value in classes.items()]
)
OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "series_uid": TEXTS,
    "instance_uid": TEXTS,
    "frame_number": INDEXES,
    "video_frame_number": INDEXES,
    "data": VALID_DATA,
    "probability": st.one_of(PROBABILITIES, CLASS_PROBABILITIES),
    "note": st.one_of(TEXTS, st.fixed_dictionaries({"input": TEXTS, "output": TEXTS})),
    "explanations": EXPLANATIONS,
    "image_output_tags": st.dictionaries(
        st.sampled_from(["PatientID", "StudyInstanceUID", "SeriesInstanceUID"]), TEXTS
    ),
}
VALID_OUTPUTS = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(OUTPUT_TYPES),
            "study_uid": st.just("1.2.3"),
            "class_index": INDEXES,
            "images": st.lists(st.binary(min_size=1), min_size=1, max_size=2),
        },
        optional={key: st.one_of(st.none(), values) for key, values in OPTIONAL.items()},
    ),
    max_size=3,
)


@given(VALID_OUTPUTS)
def test_what_is_valid_passes_and_can_be_serialised(outputs: list[Output]) -> None:
    assert check_outputs(outputs) == []
    assert check_outputs(msgpack.unpackb(msgpack.packb(outputs))) == []


@pytest.mark.parametrize("kind", OUTPUT_TYPES)
def test_the_required_keys_alone_are_enough(kind: str) -> None:
    required: dict[str, Output] = {
        "NONE": {},
        "TEXT": {},
        "ANNOTATION": {"class_index": 0},
        "IMAGE": {"class_index": 0, "images": [b"x"]},
        "DICOM": {"class_index": 0, "images": [b"x"]},
    }
    minimal = {"type": kind, "study_uid": "1.2", **required[kind]}
    assert check_outputs([minimal]) == []
    for key in minimal:
        without = {name: value for name, value in minimal.items() if name != key}
        violation = only([without])
        assert violation.path == "outputs[0]"
        assert f"`{key}` is missing" in violation.message


@pytest.mark.parametrize(
    "value",
    [
        output(explanations=[{}]),  # the document's own skeleton
        output(explanations=[{"name": "Grad-CAM", "content": b"GIF89a", "content_type": "image/gif"}]),
        output(explanations=[{"name": "a", "description": None, "content": b"1", "content_type": "text/plain"}]),
        output(probability=1.0000001),  # a softmax in single precision
        output(study_uid=UID("1.2.3")),  # pydicom's own string type
        output(class_index=Label.TUMOUR),
        data(vertices=[(0, 1.5), (2, 3)]),
        data(mask=[[0, 0.5], [2**40, -1]]),
        {"type": "NONE", "study_uid": "1", "class_index": None, "images": None},
    ],
)
def test_what_the_wire_can_carry_passes(value: Output) -> None:
    assert check_outputs([value]) == []
    assert msgpack.packb(value)


def test_no_outputs_are_valid() -> None:
    assert check_outputs([]) == []
    assert check_outputs(()) == []


# ---- what is wrong, and where ----

WRONG: list[tuple[Any, str, str]] = [
    (None, "outputs", "return outputs"),
    ({}, "outputs", "expected a list"),
    ([7], "outputs[0]", "expected a dict"),
    ([output(type="annotation")], "outputs[0].type", "'ANNOTATION'"),
    ([output(type=["NONE"])], "outputs[0].type", "'NONE'"),
    ([output(), output(probabilty=0.5)], "outputs[1]", "did you mean `probability`?"),
    ([output(zzz=1)], "outputs[0]", "known are type, study_uid"),
    ([{**output(), 5: 1}], "outputs[0]", "unknown key 5"),
    ([output(study_uid=5)], "outputs[0].study_uid", "`str(...)`"),
    ([output(study_uid="")], "outputs[0].study_uid", "not be empty"),
    ([output(study_uid=None)], "outputs[0].study_uid", "must not be None"),
    ([output(series_uid=b"1.2")], "outputs[0].series_uid", "expected a string"),
    ([output(class_index=True)], "outputs[0].class_index", "`int(...)`"),
    ([output(class_index=1.0)], "outputs[0].class_index", "`int(...)`"),
    ([output(class_index=-1)], "outputs[0].class_index", "negative"),
    ([output(class_index=numpy.int64(1))], "outputs[0].class_index", "`int(...)`"),
    ([output(class_index=2**64)], "outputs[0].class_index", "64 bits"),
    ([output(frame_number="0")], "outputs[0].frame_number", "expected an int"),
    ([output(probability=1)], "outputs[0].probability", "`float(...)`"),
    ([output(probability=numpy.float64(0.5))], "outputs[0].probability", "`float(...)`"),
    ([output(probability=numpy.float32(0.5))], "outputs[0].probability", "`float(...)`"),
    ([output(probability=float("nan"))], "outputs[0].probability", "from 0 to 1"),
    ([output(probability=87.5)], "outputs[0].probability", "from 0 to 1"),
    ([output(probability=[{"class_index": 0}])], "outputs[0].probability[0]", "`probability` is missing"),
    ([output(probability=[0.5])], "outputs[0].probability[0]", '"class_index": int'),
    (
        [output(probability=[{"class_index": 0, "probability": 0.5}] * 2)],
        "outputs[0].probability[1].class_index",
        "already",
    ),
    ([output(note=5)], "outputs[0].note", "`input` and `output`"),
    ([output(note={"input": "a"})], "outputs[0].note", "`output` is missing"),
    ([output(note={"input": "a", "output": 1})], "outputs[0].note.output", "expected a string"),
    ([output(note="\ud800")], "outputs[0].note", "lone surrogate"),
    ([output(images=[])], "outputs[0].images", "at least one"),
    ([output(images=[b""])], "outputs[0].images[0]", "not be empty"),
    ([output(images=["png"])], "outputs[0].images[0]", "expected bytes"),
    ([output(images=b"png")], "outputs[0].images", "expected a list"),
    ([output(images=numpy.zeros(3))], "outputs[0].images", "expected a list"),
    ([output(image_output_tags={"PatientId": "a"})], "outputs[0].image_output_tags", "did you mean `PatientID`?"),
    ([output(image_output_tags={"PatientID": 5})], "outputs[0].image_output_tags.PatientID", "expected a string"),
    ([output(explanations=[{"name": "a"}])], "outputs[0].explanations[0]", "is missing"),
    ([output(explanations={})], "outputs[0].explanations", "expected a list"),
    ([data(masks=[[1]])], "outputs[0].data", "did you mean `mask`?"),
    ([output(data=[[1]])], "outputs[0].data", "expected a dict"),
    ([data(mask=[])], "outputs[0].data.mask", "has no rows"),
    ([data(mask=[[]])], "outputs[0].data.mask[0]", "has no pixels"),
    ([data(mask=[1, 2])], "outputs[0].data.mask[0]", "expected a list of numbers"),
    ([data(mask=[[1, 2], [3]])], "outputs[0].data.mask[1]", "has 1 pixels and the first row 2"),
    ([data(mask=numpy.zeros((2, 2)))], "outputs[0].data.mask", "`.tolist()`"),
    ([data(mask=list(numpy.zeros((2, 2))))], "outputs[0].data.mask[0]", "`.tolist()`"),
    ([data(mask=[[[1]]])], "outputs[0].data.mask[0][0]", "an int or a float"),
    ([data(mask=numpy.zeros((1, 2, 3)).tolist())], "outputs[0].data.mask", "two dimensions"),
    ([data(mask=numpy.zeros((2, 3, 1)).tolist())], "outputs[0].data.mask", "`mask.squeeze().tolist()`"),
    (output(), "outputs", "`return [output]`"),
    (iter([output()]), "outputs", "collect the outputs in a list"),
    ([output(probability=numpy.array([0.1, 0.9]))], "outputs[0].probability", "a list of"),
    ([data(vertices=[])], "outputs[0].data.vertices", "has no points"),
    # As the document's own example has it.
    ([data(vertices=[[[0, 0], [0, 0]], [[1, 1], [1, 1]]])], "outputs[0].data.vertices[0]", "[[x, y], [x, y], ...]"),
    ([data(vertices=[[[0], 0]])], "outputs[0].data.vertices[0][0]", "an int or a float"),
    ([data(vertices=[[0, 0, 0]])], "outputs[0].data.vertices[0]", "expected [x, y] (found list of 3)"),
    ([data(x=1.5, y=2)], "outputs[0].data.x", "`int(...)`"),
    ([data(x=1, y=2, width=3)], "outputs[0].data", "`height` is missing"),
    ([data(x=1, y=2, width=-3, height=1)], "outputs[0].data.width", "negative"),
    ([data(mask=[[1]], x=1)], "outputs[0].data", "`x` does not belong to a mask"),
    ([data(start_frame_number=3, end_frame_number=2)], "outputs[0].data", "comes after"),
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("outputs", "path", "message"), WRONG)
def test_what_is_wrong_is_told_with_its_place(outputs: Any, path: str, message: str) -> None:
    found = check_outputs(outputs)
    assert path in [violation.path for violation in found]
    assert message in describe(violation for violation in found if violation.path == path)


BAD_NUMBERS: list[tuple[Any, str]] = [
    (True, "`int(...)`"),
    (None, "an int or a float"),
    ("1", "an int or a float"),
    (b"1", "an int or a float"),
    ([1], "an int or a float"),
    (1j, "an int or a float"),
    (2**64, "64 bits"),
    (-(2**63) - 1, "64 bits"),
    (10**400, "64 bits"),
    (float("nan"), "finite"),
    (float("inf"), "finite"),
    (-float("inf"), "finite"),
    (numpy.uint8(1), "`.tolist()`"),
    (numpy.float64(1), "`.tolist()`"),
    (numpy.bool_(True), "`.tolist()`"),
]


BAD_PIXELS = [bad for bad in BAD_NUMBERS if bad[0] is not True]


@given(mask=rectangles(NUMBERS), bad=st.sampled_from(BAD_PIXELS), where=st.tuples(INDEXES, INDEXES))
def test_every_pixel_is_looked_at(mask: list[list[Any]], bad: tuple[Any, str], where: tuple[int, int]) -> None:
    row, column = where[0] % len(mask), where[1] % len(mask[0])
    mask = copy.deepcopy(mask)
    mask[row][column] = bad[0]
    violation = only([data(mask=mask)])
    assert violation.path == f"outputs[0].data.mask[{row}][{column}]"
    assert bad[1] in violation.message


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1), st.sampled_from(BAD_NUMBERS), INDEXES, st.integers(0, 1))
def test_every_vertex_is_looked_at(points: list[Any], bad: tuple[Any, str], index: int, axis: int) -> None:
    vertices = [list(point) for point in points]
    index %= len(vertices)
    vertices[index][axis] = bad[0]
    assert only([data(vertices=vertices)]).path == f"outputs[0].data.vertices[{index}][{axis}]"


def test_rows_with_bytes_that_look_like_marshalled_numbers_are_refused() -> None:
    """The check of long lists counts tags in what ``marshal`` writes; no content can pose as those tags."""
    for value in (b"iiii" * 5, "i" * 25, bytearray(b"i" * 40), [105] * 5, numpy.frombuffer(b"i" * 64, numpy.uint8)):
        assert check_outputs([data(mask=[[value] * 5] * 5)])


ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.floats(), TEXTS, st.binary(max_size=5), st.just(10**400)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(st.sampled_from(["type", "data", "mask", "x", "files", "probability", "args"]), TEXTS, INTS),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(ANYTHING)
def test_nothing_breaks_the_checks(value: Any) -> None:
    for found in (check_outputs(value), check_outputs([value]), check_outputs([data(mask=value)])):
        assert all(isinstance(violation.message, str) for violation in found)
        describe(found).encode()
    check_request(value)
    check_request({"files": value, "annotations": value, "label_classes": value, "args": value})


@given(VALID_OUTPUTS, st.data())
def test_what_passes_can_be_serialised_whatever_was_put_in(outputs: list[Output], draw: st.DataObject) -> None:
    for entry in outputs:
        entry[draw.draw(st.sampled_from([*OPTIONAL, "images", "class_index", "type", "study_uid"]))] = draw.draw(
            ANYTHING
        )
    if not check_outputs(outputs):
        assert check_outputs(msgpack.unpackb(msgpack.packb(outputs))) == []


def test_many_problems_are_listed_up_to_a_limit_and_counted() -> None:
    found = check_outputs([7] * 50, limit=20)
    assert len(found) == 21
    assert found[-1].message == "30 more problems are not listed"


def test_millions_of_problems_are_not_counted_to_the_end() -> None:
    """Each of them would cost a message: seconds for a body of a megabyte, hours for one of a gigabyte."""
    reads = []

    def many() -> list[Any]:
        return [{"content": 1, "content_type": 2}] * 10**6

    for check in (lambda: check_outputs(many()), lambda: check_request({"files": many(), "annotations": many()})):
        started = time.perf_counter()
        found = check()
        reads.append(time.perf_counter() - started)
        assert found[-1].message == "at least 980 more problems are not listed"
    assert max(reads) < 1


def test_a_mask_full_of_problems_leaves_room_for_others() -> None:
    found = check_outputs([data(mask=[["1"] * 100] * 100), 7])
    assert "99 more in this list" in found[0].message
    assert found[-1].path == "outputs[1]"


def test_the_value_is_shown_short_and_without_running_its_code() -> None:
    assert only([output(note=b"x" * 1000)]).value.endswith("...")
    assert len(only([output(note=b"x" * 1000)]).value) == 60
    assert only([output(note=object())]).value == "a value of type object"
    assert only([output(study_uid=10**10000)]).value


# ---- the request ----

REQUEST: dict[str, Any] = {
    "files": [{"content": b"DICM", "content_type": "application/dicom"}],
    "annotations": [
        {
            "id": "A",
            "label_id": "L",
            "study_uid": "1",
            "series_uid": "1",
            "instance_uid": "1",
            "frame_number": 0,
            "data": {"x": 1},
            "parent_id": None,
        }
    ],
    "label_classes": [{"class_index": 0, "label": {"id": "L", "name": "n", "type": "LOCAL", "annotation_mode": None}}],
    "args": {"threshold": "0.5"},
}


def test_the_documents_request_passes() -> None:
    assert check_request(REQUEST) == []
    assert check_request({"files": []}) == []
    assert check_request({**REQUEST, "annotations": None, "label_classes": None, "args": None, "later": 1}) == []
    tags = {"content": b"", "content_type": "image/png", "dicom_tags": {"00100020": "x"}}
    assert check_request({"files": [tags]}) == []


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"files": {}}, "request.files"),
        ({"files": [b"x"]}, "request.files[0]"),
        ({"files": [{"content": "x", "content_type": "a"}]}, "request.files[0].content"),
        ({"files": [{"content": b"x"}]}, "request.files[0]"),
        ({"files": [{"content": b"x", "content_type": "a", "dicom_tags": []}]}, "request.files[0].dicom_tags"),
        ({"annotations": {}}, "request.annotations"),
        ({"annotations": [1]}, "request.annotations[0]"),
        ({"annotations": [{"id": 5}]}, "request.annotations[0].id"),
        ({"annotations": [{"frame_number": "0"}]}, "request.annotations[0].frame_number"),
        ({"label_classes": [{"class_index": None, "label": 1}]}, "request.label_classes[0].label"),
        ({"label_classes": [{"label": {"name": 1}}]}, "request.label_classes[0].label.name"),
        ({"args": []}, "request.args"),
        ({"args": {1: "a"}}, "request.args"),
    ],
)
def test_a_wrong_request_is_told_with_its_place(changes: dict[str, Any], path: str) -> None:
    assert [violation.path for violation in check_request({**REQUEST, **changes})] == [path]


@pytest.mark.parametrize("value", [None, [], b"x", {}])
def test_a_request_without_files_is_refused(value: Any) -> None:
    assert check_request(value)[0].path == "request"


def test_a_mask_of_bools_passes_and_bools_elsewhere_do_not() -> None:
    """``(image > threshold).tolist()`` is a list of bools, which the existing system takes for ints."""
    output = {"type": "ANNOTATION", "study_uid": "1", "class_index": 0}
    for mask in ([[True, False], [False, True]], [[True, 1], [0.5, False]]):
        assert check_outputs([{**output, "data": {"mask": mask}}]) == []
    (wrong,) = check_outputs([{**output, "data": {"mask": [[True, "1"], [False, True]]}}])
    assert wrong.path == "outputs[0].data.mask[0][1]"
    (vertex,) = check_outputs([{**output, "data": {"vertices": [[True, 1.0]]}}])
    assert vertex.path == "outputs[0].data.vertices[0][0]"
