from __future__ import annotations

from pathlib import Path

import pytest

from mdai_build.bundle import UnpackedBundle, read_bundle, unpack_bundle
from mdai_build.errors import BundleError, Problem
from mdai_build.smoke.smoke_file import SMOKE_FILE, SmokeFile, bundled_samples, parse_smoke_file

WHOLE = """\
scope: series
samples: samples/
label_classes:
  - class_index: 0
    label: {name: Lung, type: LOCAL, annotation_mode: mask}
annotations:
  - {label_id: L_1, study_uid: "1.2", data: {x: 1, y: 2}}
args:
  threshold: "0.5"
expect:
  min_outputs: 1
  types: [ANNOTATION]
  class_indices: [0]
"""


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(BundleError) as caught:
        parse_smoke_file(text)
    return caught.value.problems


def test_the_whole_file() -> None:
    parsed = parse_smoke_file(WHOLE)
    assert parsed.scope == "SERIES"
    assert parsed.samples == ["samples/"]
    assert parsed.args == {"threshold": "0.5"}
    assert parsed.expect.min_outputs == 1
    body = parsed.label_classes[0].as_body()
    assert body["class_index"] == 0
    assert body["label"]["annotation_mode"] == "mask"
    assert body["label"]["id"] == "L_000000"


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}"])
def test_an_empty_file_says_nothing(text: str) -> None:
    assert parse_smoke_file(text) == SmokeFile()


def test_every_problem_at_once_each_with_its_line() -> None:
    found = problems("scope: WHOLE\nsample: x\nargs:\n  threshold: 0.5\nexpect:\n  min_outputs: -1\n  typs: [NONE]\n")
    lines = {problem.where.line: problem for problem in found if problem.where}
    assert sorted(lines) == [1, 2, 4, 6, 7]
    assert "'WHOLE'" in lines[1].what
    assert lines[2].next_step == "did you mean `samples`?"
    assert lines[4].next_step == "put the value in quotes"
    assert lines[7].next_step == "did you mean `types`?"
    assert lines[4].where is not None and lines[4].where.source == "  threshold: 0.5"


def test_a_place_in_a_list() -> None:
    (found,) = problems("label_classes:\n  - class_index: 0\n    label: {name: A}\n  - class_index: 1\n")
    assert found.where is not None
    assert (found.where.line, found.where.key) == (4, "label_classes[1].label")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("scope: [", 1, "not YAML"),
        ("a:\n\t- b\n", 2, "not YAML"),
        ("scope: SERIES\nscope: STUDY\n", 2, "twice"),
        ("args: &a {}\nexpect: *a\n", 2, "aliases"),
        ("- a\n- b\n", 1, "the file"),
        ("just text", 1, "the file"),
        ("[" * 200_000, 1, "nested too deep"),
        ("args: {a: 0x" + "9" * 5000 + "}", 1, "too many digits"),
        ("args: {a: -" + "9" * 5000 + "}", 1, "too many digits"),
        ('args: {a: "\\UFFFFFFFF"}', 1, "not YAML"),
        ('args: {a: "\\ud800"}', 1, "surrogate"),
        ("samples:\n" + "- a\n" * 100_000, 49_998, "more than 50000 parts"),
        ("scope: \x00", 1, "not YAML"),
    ],
)
def test_what_is_no_smoke_file(text: str, line: int, words: str) -> None:
    found = problems(text)
    assert any(words in problem.what for problem in found)
    assert found[0].where is not None and found[0].where.line == line


@pytest.fixture
def unpacked(tmp_path: Path) -> UnpackedBundle:
    files = [
        ".mdai/config.yaml",
        ".mdai/mdai_deploy.py",
        "samples/a/1.dcm",
        "samples/a/2.dcm",
        "samples/b.png",
        "weights.bin",
    ]
    for name in files:
        path = tmp_path / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return unpack_bundle(read_bundle(tmp_path / "model"), tmp_path / "store")


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ("samples", ["samples/a/1.dcm", "samples/a/2.dcm", "samples/b.png"]),
        ("./samples/a/", ["samples/a/1.dcm", "samples/a/2.dcm"]),
        ("samples/b.png", ["samples/b.png"]),
        ("samples/*.dcm", ["samples/a/1.dcm", "samples/a/2.dcm"]),
    ],
)
def test_samples_are_found_in_the_bundle(unpacked: UnpackedBundle, entry: str, found: list[str]) -> None:
    assert list(bundled_samples(SmokeFile(samples=[entry]), [file.path for file in unpacked.files])) == found


@pytest.mark.parametrize("entry", ["sample", "/etc/passwd", "../secret", "samples/c"])
def test_samples_outside_the_bundle_are_not_found(unpacked: UnpackedBundle, entry: str) -> None:
    with pytest.raises(BundleError) as caught:
        bundled_samples(SmokeFile(samples=[entry]), [file.path for file in unpacked.files])
    assert entry in caught.value.problems[0].what
    assert caught.value.problems[0].where is not None and caught.value.problems[0].where.file == SMOKE_FILE
