"""What a user asks a model: files into requests, and what goes with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mdai_build.errors import UsageError
from mdai_build.settings import Settings
from mdai_build.smoke.asked import Asked, make_request_plan, make_synthetic_plan, parse_args
from mdai_build.smoke.files import read_files
from mdai_build.smoke.samples import synthetic_request
from mdai_build.smoke.smoke_file import parse_smoke_file

SETTINGS = Settings(ready_timeout=12, predict_timeout=34)
LABELS = '[{"class_index": 0, "label": {"name": "lung", "type": "LOCAL"}}]'


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A study of two series, and a JPEG."""
    folder = tmp_path_factory.mktemp("files")
    found = {}
    for number, file in enumerate((*synthetic_request("ct-study").files, *synthetic_request("jpeg").files)):
        name = f"{number:02d}.{'jpg' if file.dicom_tags else 'dcm'}"
        (folder / name).write_bytes(file.content)
        found[name] = folder / name
    return found


@pytest.mark.parametrize(("scope", "counts"), [("INSTANCE", [1] * 17), ("SERIES", [1, 8, 8]), ("STUDY", [1, 16])])
def test_files_become_requests_by_scope(files: dict[str, Path], scope: str, counts: list[int]) -> None:
    plan = make_request_plan(SETTINGS, files, Asked(("x",), scope))  # type: ignore[arg-type]
    assert sorted(len(request.files) for request in plan.requests) == counts
    assert all(request.required and request.scope == scope for request in plan.requests)
    assert (plan.ready_seconds, plan.predict_seconds) == (12, 34)
    assert all(isinstance(file.stored, Path) for request in plan.requests for file in request.files)


def test_the_user_goes_before_smoke_yaml(files: dict[str, Path], tmp_path: Path) -> None:
    text = "scope: study\nargs: {a: one, b: two}\nlabel_classes: [{class_index: 5, label: {name: x}}]\n"
    smoke_file = parse_smoke_file(text)
    plan = make_request_plan(SETTINGS, files, Asked(("x",)), smoke_file)
    first = plan.requests[0]
    assert (first.scope, first.args, first.own_labels) == ("STUDY", {"a": "one", "b": "two"}, True)
    assert [entry["class_index"] for entry in first.label_classes] == [5]
    (tmp_path / "labels.json").write_text(LABELS)
    asked = Asked(("x",), "SERIES", {"a": "mine"}, label_classes=tmp_path / "labels.json")
    first = make_request_plan(SETTINGS, files, asked, smoke_file).requests[0]
    assert (first.scope, first.args) == ("SERIES", {"a": "mine", "b": "two"})
    assert first.label_classes[0]["label"]["name"] == "lung"
    assert make_synthetic_plan(SETTINGS, asked).requests[0].args == {"a": "mine"}


def test_each_request_gets_its_own_annotations(files: dict[str, Path], tmp_path: Path) -> None:
    read, _ = read_files(files, "x")
    first, last = read[0][1], read[-1][1]
    annotations = [
        {
            "id": "of one",
            "study_uid": first.study_uid,
            "series_uid": first.series_uid,
            "instance_uid": first.instance_uid,
        },
        {"id": "of a study", "study_uid": first.study_uid, "series_uid": "", "instance_uid": None},
        {"id": "of the jpeg", "instance_uid": last.instance_uid},
        {"id": "of all"},
        {"id": "of none", "instance_uid": "9.9"},
    ]
    path = tmp_path / "a.json"
    for content in (annotations, {"annotations": annotations}):
        path.write_text(json.dumps(content))
        plan = make_request_plan(SETTINGS, files, Asked(("x",), "STUDY", annotations=path))
        got = {len(request.files): [entry["id"] for entry in request.annotations] for request in plan.requests}
        assert got == {16: ["of one", "of a study", "of all"], 1: ["of the jpeg", "of all"]}
        assert [problem.what for problem in plan.warnings] == [
            "1 of 5 annotations name UIDs of none of the files, and are not sent"
        ]


@pytest.mark.parametrize(
    "text", [LABELS, '{"label_classes": ' + LABELS + "}", "- class_index: 0\n  label: {name: lung}\n"]
)
def test_label_classes_as_people_write_them(files: dict[str, Path], tmp_path: Path, text: str) -> None:
    (tmp_path / "x").write_text(text)
    plan = make_request_plan(SETTINGS, files, Asked(("x",), label_classes=tmp_path / "x"))
    assert plan.requests[0].label_classes[0]["label"]["name"] == "lung"


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("- class_index: 0\n  label:\n    nmae: x\n", "x:3", "unknown key `[0].label.nmae`"),
        ("- class_indx: 0\n  label: {name: x}\n", "x:1", "unknown key `[0].class_indx`"),
        ("label_classes:\n- class_index: -1\n  label: {name: x}\n", "x:2", "greater than or equal to 0"),
        ("class_index: 0\n", "x:1", "class_index"),
        ("{", "x:1", "not YAML"),
        ("just text", "x:1", "list"),
    ],
)
def test_label_classes_that_are_wrong(tmp_path: Path, text: str, where: str, what: str) -> None:
    path = tmp_path / "x"
    path.write_text(text)
    with pytest.raises(UsageError) as raised:
        make_synthetic_plan(SETTINGS, Asked(label_classes=path))
    told = [(str(problem.where), problem.what) for problem in raised.value.problems]
    assert any(place == f"{tmp_path}/{where}" and what in words for place, words in told), told


@pytest.mark.parametrize("content", ["", "5", '{"x": []}', "[1]", "[" * 100_000, "\xff"])
def test_annotations_that_are_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(UsageError) as raised:
        make_synthetic_plan(SETTINGS, Asked(annotations=tmp_path / "a.json"))
    assert str(raised.value.problems[0].where).startswith(str(tmp_path / "a.json"))


def test_a_file_beside_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--annotations cannot be read: No such file"):
        make_synthetic_plan(SETTINGS, Asked(annotations=tmp_path / "none"))


@pytest.mark.parametrize(
    ("content", "step"), [(b"", "preamble"), (b"\0" * 128 + b"DICM", None), (b"\x89PNG\r\n\x1a\nx", None)]
)
def test_files_of_which_none_can_be_sent(tmp_path: Path, content: bytes, step: str | None) -> None:
    (tmp_path / "x.dcm").write_bytes(content)
    with pytest.raises(UsageError) as raised:
        make_request_plan(SETTINGS, {"x.dcm": tmp_path / "x.dcm"}, Asked(("x.dcm",)))
    problem = raised.value.problems[0]
    assert "`x.dcm` is left out" in (problem.details or "")
    assert step is None or step in (problem.next_step or "")


def test_arguments() -> None:
    assert parse_args(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    with pytest.raises(UsageError) as raised:
        parse_args(["a", "=b", "c=1"])
    assert len(raised.value.problems) == 2
