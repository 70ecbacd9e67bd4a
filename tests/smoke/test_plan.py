from __future__ import annotations

import io
import json
from pathlib import Path

import msgpack
import pytest
from PIL import Image

from mdai_build.bundle import UnpackedBundle, read_bundle, unpack_bundle
from mdai_build.errors import BundleError, UsageError
from mdai_build.settings import Settings
from mdai_build.smoke import Demand, SmokePlan, make_smoke_plan
from mdai_build.smoke.files import group_files, read_files
from mdai_build.smoke.samples import NAMES, synthetic_request

SETTINGS = Settings(ready_timeout=12, predict_timeout=34)


@pytest.fixture(scope="module")
def ct_study() -> list[bytes]:
    return [file.content for file in synthetic_request("ct-study").files]


@pytest.fixture
def samples(tmp_path: Path, ct_study: list[bytes]) -> Path:
    """A study of two series, its files in an order that is not theirs; a still, a thumbnail, and what is no sample."""
    folder = tmp_path / "samples"
    (folder / "ct").mkdir(parents=True)
    for number, content in enumerate(ct_study):
        (folder / "ct" / f"{(number * 5) % len(ct_study):02d}").write_bytes(content)
    (folder / "still.dcm").write_bytes(synthetic_request("us-still").files[0].content)
    (folder / "thumb.jpg").write_bytes(synthetic_request("jpeg").files[0].content)
    (folder / "README.md").write_text("about")
    (folder / "notes.docx").write_bytes(b"PK\3\4 no image")
    return folder


def bundle(folder: Path, smoke_yaml: str, **files: bytes) -> UnpackedBundle:
    root = folder / "model"
    (root / ".mdai").mkdir(parents=True)
    (root / ".mdai" / "config.yaml").write_text("base_image: py310\n")
    (root / ".mdai" / "mdai_deploy.py").write_text("")
    (root / ".mdai" / "smoke.yaml").write_text(smoke_yaml)
    for name, content in files.items():
        (root / name.replace("__", ".")).write_bytes(content)
    return unpack_bundle(read_bundle(root), folder / "store")


def sizes(plan: SmokePlan) -> list[int]:
    return sorted(len(request.files) for request in plan.requests)


def test_without_help_the_synthetic_samples_are_sent() -> None:
    plan = make_smoke_plan(SETTINGS)
    assert tuple(request.name for request in plan.requests) == NAMES
    assert (plan.ready_seconds, plan.predict_seconds) == (12, 34)
    assert not any(request.required or request.own_labels for request in plan.requests)


@pytest.mark.parametrize(
    ("scope", "expected"), [("INSTANCE", [1] * 18), ("SERIES", [1, 1, 8, 8]), ("STUDY", [1, 1, 16])]
)
def test_own_files_are_grouped_by_scope(samples: Path, scope: str, expected: list[int]) -> None:
    plan = make_smoke_plan(SETTINGS, samples=samples, scope=scope)  # type: ignore[arg-type]
    assert sizes(plan) == expected
    assert all(request.required and request.scope == scope for request in plan.requests)


def test_own_files_without_a_scope_go_by_series_in_order(samples: Path) -> None:
    plan = make_smoke_plan(SETTINGS, samples=samples)
    assert sizes(plan) == [1, 1, 8, 8]
    series = next(request for request in plan.requests if len(request.files) == 8)
    import pydicom

    numbers = [pydicom.dcmread(io.BytesIO(file.content)).InstanceNumber for file in series.files]
    assert numbers == list(range(1, 9))


def test_what_cannot_be_sent_is_told(samples: Path) -> None:
    plan = make_smoke_plan(SETTINGS, samples=samples)
    assert [problem.code for problem in plan.warnings] == ["smoke.sample-left-out"]
    assert "notes.docx" in plan.warnings[0].what


@pytest.mark.parametrize(
    "content",
    [
        b"\0" * 128 + b"DICM",
        b"\0" * 128 + b"DICM" + b"\xff" * 300,
        b"\xff\xd8\xff\xe0broken",
        b"\x89PNG\r\n\x1a\nbroken",
        b"",
    ],
)
def test_a_broken_file_is_left_out(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(content)
    files, warnings = read_files({"x.dcm": path}, "samples")
    assert files == []
    assert len(warnings) == 1


def test_a_picture_takes_its_tags_from_the_json_beside_it(tmp_path: Path) -> None:
    Image.new("L", (6, 4)).save(tmp_path / "a.png")
    (tmp_path / "a.json").write_text(json.dumps({"StudyInstanceUID": "1.2", "PatientSex": "F"}))
    ((_, file),), _ = read_files({"a.png": tmp_path / "a.png", "a.json": tmp_path / "a.json"}, "x")
    assert (file.study_uid, file.rows, file.columns) == ("1.2", 4, 6)
    assert file.dicom_tags is not None and file.dicom_tags["PatientSex"] == "F"


@pytest.mark.parametrize("tags", ["no json", "[]", '{"Rows": 5}', "[" * 100_000])
def test_tags_that_are_none(tmp_path: Path, tags: str) -> None:
    Image.new("L", (6, 4)).save(tmp_path / "a.png")
    (tmp_path / "a.json").write_text(tags)
    files, warnings = read_files({"a.png": tmp_path / "a.png"}, "x")
    assert files == [] and "a.json" in warnings[0].what


def test_pictures_of_one_folder_are_one_series(tmp_path: Path) -> None:
    names = ["one/a.png", "one/b.png", "two/c.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (6, 4)).save(tmp_path / name)
    files, _ = read_files({name: tmp_path / name for name in names}, "x")
    groups = group_files(files, "SERIES")
    assert {name: len(members) for name, members in groups.items()} == {"one/a.png and 1 more": 2, "two/c.png": 1}
    assert len(group_files(files, "INSTANCE")) == 3


def test_no_samples_in_the_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        make_smoke_plan(SETTINGS, samples=tmp_path)
    assert caught.value.problems[0].code == "smoke.no-samples"


def test_samples_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        make_smoke_plan(SETTINGS, samples=tmp_path / "missing")


def test_a_single_file_is_a_sample_too(samples: Path) -> None:
    (request,) = make_smoke_plan(SETTINGS, samples=samples / "still.dcm").requests
    assert [file.name for file in request.files] == ["still.dcm"]


def test_smoke_yaml_says_what_goes_with_synthetic_samples(tmp_path: Path) -> None:
    text = "scope: STUDY\nargs: {threshold: '0.7'}\nlabel_classes: [{class_index: 4, label: {name: A}}]\n"
    plan = make_smoke_plan(SETTINGS, unpacked=bundle(tmp_path, text))
    (request,) = plan.requests
    assert (request.name, request.own_labels, request.required) == ("ct-study", True, False)
    body = msgpack.unpackb(request.body())
    assert body["args"] == {"threshold": "0.7"}
    assert [entry["class_index"] for entry in body["label_classes"]] == [4]


def test_smoke_yaml_names_samples_of_the_bundle(tmp_path: Path, ct_study: list[bytes]) -> None:
    unpacked = bundle(tmp_path, "samples: s.dcm\n", s__dcm=ct_study[0])
    (request,) = make_smoke_plan(SETTINGS, unpacked=unpacked).requests
    assert (request.name, request.required, request.scope) == ("s.dcm", True, "SERIES")


def test_the_users_folder_goes_before_the_bundles_samples(tmp_path: Path, samples: Path) -> None:
    unpacked = bundle(tmp_path, "samples: nowhere\nargs: {a: b}\nexpect: {min_outputs: 2}\n")
    plan = make_smoke_plan(SETTINGS, samples=samples, unpacked=unpacked)
    assert all(request.args == {"a": "b"} and request.expect.minimum == 2 for request in plan.requests)
    assert all(request.demand is Demand.REQUIRED for request in plan.requests)


def test_a_wrong_smoke_yaml_is_the_bundles_fault(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        make_smoke_plan(SETTINGS, unpacked=bundle(tmp_path, "scope: none\n"))
