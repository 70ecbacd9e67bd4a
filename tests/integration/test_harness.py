"""The harness notices what it is there to notice."""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path

import docker
import pytest
from harness.case import Case, Expect, FoundCase, find_cases
from harness.packing import fingerprint, make_model
from harness.runner import TRACEBACK, Run, mistakes
from harness.secrets import in_builder, in_cache_mounts
from pydantic import ValidationError

from mdai_build.engine import connect
from mdai_build.settings import load_settings


def run_of(stdout: str = "", exit_code: int = 0, left: tuple[str, ...] = ()) -> Run:
    return Run(words=("check",), process=1, exit_code=exit_code, stdout=stdout, stderr="", seconds=0.1, left=left)


@pytest.mark.parametrize(
    ("run", "expect", "told"),
    [
        (run_of(exit_code=1), Expect(), "exit code 1, expected 0"),
        (run_of("a b"), Expect(contains=("a c",)), "lacks 'a c'"),
        (run_of("a  \n b"), Expect(not_contains=("a b",)), "has 'a b'"),
        (run_of(f"{TRACEBACK}\n"), Expect(), "there is a traceback"),
        (run_of(), Expect(model_traceback=True), "traceback is missing"),
        (run_of("{"), Expect(json_values={"a": 1}), "not JSON"),
        (run_of('{"a": [{"b": 2}]}'), Expect(json_values={"a.0.b": 1}), "a.0.b is 2, expected 1"),
        (run_of('{"a": []}'), Expect(json_values={"a.0.b": 1}), "has no a.0.b"),
        (run_of(left=("tmp/x",)), Expect(), "left behind ['tmp/x']"),
        (run_of(), Expect(files=("report.json",)), "expected ['report.json']"),
    ],
)
def test_each_mistake_is_told(run: Run, expect: Expect, told: str) -> None:
    (mistake,) = mistakes(run, expect)
    assert told in mistake


def test_a_run_as_expected_has_no_mistakes() -> None:
    expect = Expect(exit_code=3, contains=("in the middle",), json_values={"a.0": None})
    assert mistakes(run_of('{"a": [null], "b": "in the middle"}', exit_code=3), expect) == []


def test_text_is_found_across_the_lines_of_a_frame() -> None:
    assert mistakes(run_of("│ in  the │\n│ middle │"), Expect(contains=("in the middle",))) == []


def test_a_change_of_content_or_mode_shows(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("a")
    before = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == before
    file.chmod(0o755)
    assert fingerprint(tmp_path) != before


@pytest.mark.parametrize("pack", ["folder", "zip", "zip in a top folder", "tar.gz", "tar.gz in a top folder"])
def test_a_case_is_packed_as_it_says(pack: str, tmp_path: Path) -> None:
    case = Case.model_validate({"about": "x", "pack": pack, "files": {"a/b.txt": "@LINKS@"}})
    model = make_model(FoundCase("x", tmp_path, case), tmp_path, {"@LINKS@": "filled in"})
    assert model.name == {"folder": "x", "zip": "x.zip", "tar.gz": "x.tar.gz"}[pack.split()[0]]
    assert [path.name for path in tmp_path.iterdir()] == [model.name]


def test_a_misspelt_key_is_refused_and_case_ids_are_unique() -> None:
    with pytest.raises(ValidationError, match="expects"):
        Case.model_validate({"about": "x", "expects": {}})
    ids = [found.id for found in find_cases()]
    assert len(ids) == len(set(ids)) > 0


def test_every_example_is_a_case() -> None:
    examples = {path.parent.name for path in (Path(__file__).parents[2] / "examples").glob("*/.mdai")}
    assert {
        found.id.removeprefix("examples/") for found in find_cases() if found.id.startswith("examples/")
    } == examples


def test_a_secret_in_a_builder_s_records_is_found(engine: docker.DockerClient, tmp_path: Path) -> None:
    """As of a step that names it, or a build argument."""
    word = f"planted-{time.time_ns()}"
    (tmp_path / "Dockerfile").write_text(f"FROM mdai-build/parent:local-cpu\nRUN true {word}\n")
    found = connect(load_settings().engine_folder)
    with contextlib.closing(found.client):
        words = ("docker", "buildx", "build", "--output=type=cacheonly", str(tmp_path))
        subprocess.run(words, env=dict(found.environment.values), check=True, capture_output=True)
    assert in_builder(engine, [word.encode()]) != []
    assert in_builder(engine, [f"other-{word}".encode()]) == []


def test_a_secret_in_a_cache_mount_is_found(engine: docker.DockerClient, tmp_path: Path) -> None:
    parent, name = "mdai-build/parent:local-cpu", "mdai-build-test-planted"
    plant = f"FROM {parent}\nARG once\nRUN --mount=type=cache,id={name},target=/c echo a-Xk29fQ-b > /c/file\n"
    (tmp_path / "Dockerfile").write_text(plant)
    found = connect(load_settings().engine_folder)

    def run(*words: str) -> None:
        subprocess.run(words, env=dict(found.environment.values), check=True, capture_output=True)

    with contextlib.closing(found.client):
        once = f"once={tmp_path}"
        run("docker", "buildx", "build", "--build-arg", once, "--output=type=cacheonly", str(tmp_path))
        assert in_cache_mounts(run, parent, [name], [b"Xk29fQ"]) == [f"/caches/{name}/file"]
        assert in_cache_mounts(run, parent, [name], [b"other"]) == []
