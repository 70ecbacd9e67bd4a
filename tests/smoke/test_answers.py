from __future__ import annotations

from typing import Any

import pytest

from mdai_build.smoke.answers import Findings, check_answer, data_kind, files_meant
from mdai_build.smoke.request import Demand, Expectation, InputFile, SmokeRequest

ROWS, COLUMNS = 40, 60


def instance(number: int = 1, series: str = "1.2.1", frames: int = 1) -> InputFile:
    return InputFile("x", b"", "application/dicom", "1.2", series, f"{series}.{number}", ROWS, COLUMNS, frames)


def request(*files: InputFile, **more: Any) -> SmokeRequest:
    return SmokeRequest("sample", "SERIES", files or (instance(),), Demand.EXPECTED, **more)


def output(**more: Any) -> dict[str, Any]:
    values = {
        "type": "ANNOTATION",
        "study_uid": "1.2",
        "series_uid": "1.2.1",
        "instance_uid": "1.2.1.1",
        "class_index": 0,
        **more,
    }
    return {key: value for key, value in values.items() if value is not None}


def label(scope: str = "INSTANCE", kind: str = "GLOBAL", mode: str | None = None) -> tuple[dict[str, Any], ...]:
    return ({"class_index": 0, "label": {"name": "Thing", "type": kind, "scope": scope, "annotation_mode": mode}},)


def codes(findings: Findings) -> list[str]:
    return [problem.code.removeprefix("smoke.") for problem in findings.problems]


def test_a_right_answer_has_no_findings() -> None:
    assert check_answer(request(), [output(probability=0.5)]) == Findings()
    assert check_answer(request(), []) == Findings()


@pytest.mark.parametrize("outputs", [None, {}, "text", [1], [{"type": "WRONG"}], [output(class_index="0")]])
def test_what_breaks_the_contract_is_told_with_its_place(outputs: Any) -> None:
    findings = check_answer(request(), outputs)
    assert set(codes(findings)) == {"invalid-output"}
    where = findings.problems[0].where
    assert where is not None and where.file == "sample sample"
    assert where.key is not None and where.key.startswith("outputs")


def test_a_uid_that_was_not_sent() -> None:
    findings = check_answer(request(), [output(), output(instance_uid="9.9")])
    assert codes(findings) == ["wrong-uid"]
    problem = findings.problems[0]
    assert "outputs[1].instance_uid is '9.9'" in problem.what
    assert problem.expected == "'1.2.1.1'"
    assert "ds.SOPInstanceUID" in (problem.next_step or "")


def test_a_uid_of_another_level_is_told_as_such() -> None:
    findings = check_answer(request(), [output(instance_uid="1.2.1")])
    assert "is the series_uid of the input" in findings.problems[0].what


def test_an_instance_of_another_series() -> None:
    sent = request(instance(1, "1.2.1"), instance(1, "1.2.2"))
    findings = check_answer(sent, [output(series_uid="1.2.2", instance_uid="1.2.1.1")])
    assert codes(findings) == ["wrong-uid"]
    assert "another study or series" in findings.problems[0].what


def test_uids_may_be_left_out_of_what_is_not_local() -> None:
    assert check_answer(request(), [output(series_uid=None, instance_uid=None)]) == Findings()
    assert check_answer(request(), [output(series_uid="", instance_uid="")]) == Findings()


def test_a_local_annotation_needs_all_uids() -> None:
    findings = check_answer(request(), [output(instance_uid=None, data={"x": 1, "y": 1})])
    assert codes(findings) == ["missing-uid"]


def test_a_frame_of_a_video_series_belongs_to_no_instance() -> None:
    box = output(instance_uid=None, data={"x": 1, "y": 1, "width": 2, "height": 2}, video_frame_number=3)
    assert check_answer(request(), [box]) == Findings()
    assert check_answer(request(label_classes=label(kind="LOCAL", mode="bbox"), own_labels=True), [box]) == Findings()
    assert codes(check_answer(request(), [{**box, "video_frame_number": None}])) == ["missing-uid"]


def test_mask_size() -> None:
    right = [[0] * COLUMNS] * ROWS
    assert check_answer(request(), [output(data={"mask": right})]) == Findings()
    findings = check_answer(request(), [output(data={"mask": [[0] * 10] * 10})])
    assert codes(findings) == ["mask-size"]
    assert "outputs[0].data.mask has 10 rows of 10 pixels" in findings.problems[0].what
    fractions = [[0] * COLUMNS] * (ROWS - 1) + [[0.0, 1.0, 0.3712] + [1] * (COLUMNS - 3)]
    findings = check_answer(request(), [output(data={"mask": fractions})])
    assert findings.problems == ()
    (doubt,) = findings.warnings
    assert doubt.code == "smoke.mask-fractions" and "such as 0.371" in doubt.what
    for whole in (0.0, 1.0, 255, True, -3.0, 1e300):
        assert check_answer(request(), [output(data={"mask": [[whole] * COLUMNS] * ROWS})]) == Findings()
    swapped = check_answer(request(), [output(data={"mask": [[0] * ROWS] * COLUMNS})])
    assert "swapped" in swapped.problems[0].what


@pytest.mark.parametrize(
    ("data", "problems", "warnings"),
    [
        ({"x": 0, "y": 0, "width": COLUMNS, "height": ROWS}, 0, 0),
        ({"x": 0, "y": 0, "width": COLUMNS + 2, "height": ROWS}, 0, 1),
        ({"x": 0, "y": 0, "width": 600, "height": 10}, 1, 0),
        ({"x": -30, "y": 0, "width": 40, "height": 10}, 1, 0),
        ({"x": COLUMNS, "y": ROWS}, 0, 0),
        ({"x": 10, "y": COLUMNS - 1}, 1, 0),
        ({"vertices": [[0, 0], [59.5, 39.5], [0, 39]]}, 0, 0),
        ({"vertices": [[0, 0], [5, 5], [-1, 3]]}, 0, 1),
        ({"vertices": [[0, 0], [5, 5], [300, 3]]}, 1, 0),
    ],
)
def test_coordinates_lie_in_the_image(data: dict[str, Any], problems: int, warnings: int) -> None:
    findings = check_answer(request(), [output(data=data)])
    assert (len(findings.problems), len(findings.warnings)) == (problems, warnings)
    for problem in findings.problems + findings.warnings:
        assert problem.code == "smoke.outside-image"


def test_the_place_of_a_vertex_is_exact() -> None:
    findings = check_answer(request(), [output(), output(data={"vertices": [[0, 0], [5, 999]]})])
    assert "outputs[1].data.vertices[1]" in findings.problems[0].what


def test_frame_numbers() -> None:
    clip = request(instance(frames=6))
    assert check_answer(clip, [output(frame_number=5)]) == Findings()
    assert codes(check_answer(clip, [output(frame_number=6)])) == ["frame-number"]
    assert codes(check_answer(request(), [output(frame_number=1)])) == ["frame-number"]


def test_labels_are_held_against_the_users_own_classes_only() -> None:
    classes = label()
    assert check_answer(request(label_classes=classes), [output(class_index=7)]) == Findings()
    own = request(label_classes=classes, own_labels=True)
    assert codes(check_answer(own, [output(class_index=7)])) == ["class-index"]
    assert check_answer(own, [output()]) == Findings()


@pytest.mark.parametrize(
    ("scope", "given", "wrong"),
    [
        ("INSTANCE", output(instance_uid=None), True),
        ("SERIES", output(instance_uid=None), False),
        ("SERIES", output(series_uid=None, instance_uid=None), True),
        ("STUDY", output(series_uid=None, instance_uid=None), False),
        ("EXAM", output(series_uid=None, instance_uid=None), False),
    ],
)
def test_label_scope_says_which_uids_are_due(scope: str, given: dict[str, Any], wrong: bool) -> None:
    own = request(label_classes=label(scope), own_labels=True)
    assert codes(check_answer(own, [given])) == (["label-scope"] if wrong else [])


@pytest.mark.parametrize(
    ("mode", "data", "wrong"),
    [
        ("mask", {"mask": [[0] * COLUMNS] * ROWS}, False),
        ("bbox", {"x": 1, "y": 1, "width": 2, "height": 2}, False),
        ("Bounding Box", {"x": 1, "y": 1, "width": 2, "height": 2}, False),
        ("polygon", {"vertices": [[1, 1], [2, 2]]}, False),
        ("location", {"x": 1, "y": 1}, False),
        ("freeform", {"mask": [[0] * COLUMNS] * ROWS}, True),
        ("location", {"x": 1, "y": 1, "width": 2, "height": 2}, True),
        ("mask", None, True),
        ("of-the-future", {"x": 1, "y": 1}, False),
    ],
)
def test_annotation_mode_says_which_data_is_due(mode: str, data: Any, wrong: bool) -> None:
    own = request(label_classes=label(kind="LOCAL", mode=mode), own_labels=True)
    assert codes(check_answer(own, [output(data=data)])) == (["annotation-mode"] if wrong else [])


@pytest.mark.parametrize(
    ("content", "content_type", "wrong"),
    [
        (b"\x89PNG\r\n\x1a\n...", "image/png", False),
        (b"\xff\xd8\xff...", "image/png", False),
        (b"\x00\x01\x02", "image/png", True),
        (b"raw pixels", "image/jpeg", True),
        (b"<p>text</p>", "text/html", False),
    ],
)
def test_an_explanation_that_says_it_is_an_image_is_one(content: bytes, content_type: str, wrong: bool) -> None:
    explanation = {"name": "a", "description": "b", "content": content, "content_type": content_type}
    findings = check_answer(request(), [output(explanations=[{}, explanation])])
    assert codes(findings) == (["no-image"] if wrong else [])
    assert all("explanations[1].content" in problem.what for problem in findings.problems)


def test_expectations() -> None:
    wanted = request(expect=Expectation(minimum=1, maximum=1, types=("NONE",), class_indices=(3,)))
    assert codes(check_answer(wanted, [])) == ["unexpected"]
    assert codes(check_answer(wanted, [output(), output()])) == ["unexpected"] * 5
    assert check_answer(wanted, [{"type": "NONE", "study_uid": "1.2", "class_index": 3}]) == Findings()


def test_many_problems_are_shortened() -> None:
    findings = check_answer(request(), [output(instance_uid="9.9")] * 50)
    assert len(findings.problems) == 21
    assert "30 more" in findings.problems[-1].what


def test_data_kinds() -> None:
    assert data_kind({"start_frame_number": 1, "end_frame_number": 2}) == "frames"
    assert data_kind({}) is None
    assert data_kind([1]) is None
    assert files_meant((instance(1), instance(2)), {"instance_uid": "1.2.1.2"}) == (instance(2),)
