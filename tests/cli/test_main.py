"""The command line as a user meets it, without an engine: what it prints where, and the exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]
GOOD = "class MDAIModel:\n    def __init__(self):\n        pass\n\n    def predict(self, data):\n        return []\n"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "lungs"
    (folder / ".mdai").mkdir(parents=True)
    (folder / ".mdai" / "config.yaml").write_text("base_image: py38\n")
    (folder / ".mdai" / "mdai_deploy.py").write_text(GOOD)
    (folder / ".mdai" / "requirements.txt").write_text("numpy==1.23.3\n")
    return folder


def test_check_of_a_good_model(run: Run, model: Path) -> None:
    code, out, _ = run("check", model)
    assert code == 0
    assert "lungs" in out and "py38" in out


def test_check_as_json_prints_nothing_else_on_standard_output(run: Run, model: Path) -> None:
    code, out, _ = run("check", model, "--json")
    told = json.loads(out)
    assert (code, told["exit_code"], told["config"]["base_image"]) == (0, 0, "py38")


def test_problems_of_all_parts_are_told_at_once(run: Run, model: Path) -> None:
    (model / ".mdai" / "config.yaml").write_text("base_image: py36\ndevice_type: tpu\n")
    (model / ".mdai" / "mdai_deploy.py").write_text("class Model:\n    pass\n")
    (model / ".mdai" / "requirements.txt").write_text("./missing-1.0-py3-none-any.whl\n")
    code, _, err = run("check", model)
    assert code == 3
    for words in ("py36", "tpu", "MDAIModel", "missing-1.0-py3-none-any.whl"):
        assert words in err
    assert "Traceback" not in err


def test_requirements_alone_have_their_own_exit_code(run: Run, model: Path) -> None:
    (model / ".mdai" / "requirements.txt").write_text("numpy=1.2\n")
    code, _, err = run("check", model)
    assert code == 4
    assert "requirements.txt:1" in err


def test_a_failure_as_json(run: Run, model: Path) -> None:
    (model / ".mdai" / "config.yaml").write_text("base_image: py36\n")
    code, out, _ = run("check", model, "--json")
    told = json.loads(out)
    assert code == told["exit_code"] == 3
    assert told["problems"][0]["where"]["line"] == 1


def test_wrong_usage_as_json(run: Run) -> None:
    code, out, err = run("check", "nowhere.zip", "--json")
    told = json.loads(out)
    assert code == told["exit_code"] == 2
    assert "nowhere.zip" in told["problems"][0]["what"] and "nowhere.zip" in err


def test_a_report_that_cannot_be_written_is_told_before_anything_is_built(
    run: Run, model: Path, tmp_path: Path
) -> None:
    code, _, err = run("build", model, "--junit", tmp_path / "nowhere/junit.xml")
    assert code == 2
    assert "--junit" in err and "nowhere" in err


def test_a_build_context_does_not_become_part_of_the_model(run: Run, model: Path) -> None:
    code, _, err = run("render", model, "-o", model / "context")
    assert code == 2
    assert "part of the model" in err
    assert not (model / "context").exists()


def test_the_command_to_build_a_context_can_be_copied(run: Run, model: Path, tmp_path: Path) -> None:
    code, _, err = run("render", model, "-o", tmp_path / "a context")
    assert code == 0
    assert f"docker build '{tmp_path}/a context'" in err


def test_warnings_are_told_when_the_build_fails_too(run: Run, model: Path) -> None:
    code, _, err = run("build", model, "--parent", "lcoal")
    assert code == 5
    assert "did you mean `local`?" in err


def test_a_misspelled_command_is_named(run: Run) -> None:
    code, _, err = run("chek", "model.zip")
    assert code == 2
    assert "Did you mean 'check'?" in err


@pytest.mark.parametrize("words", [("nowhere.zip",), ("build", "nowhere.zip"), ("check", "nowhere.zip")])
def test_a_path_that_is_not_there_is_wrong_usage(run: Run, words: tuple[str, ...]) -> None:
    code, _, err = run(*words)
    assert code == 2
    assert "nowhere.zip" in err and "does not exist" in err


def test_a_wrong_setting_is_wrong_usage(run: Run, model: Path) -> None:
    code, _, err = run("build", model, "--memory", "lots")
    assert code == 2
    assert "lots" in err


@pytest.mark.parametrize("tag", ["", "My Model", "x:y:z", "name@sha256:00", "-x"])
def test_a_tag_that_no_image_can_have_is_wrong_usage(run: Run, model: Path, tag: str) -> None:
    code, _, err = run("build", model, "--tag", tag)
    assert code == 2
    assert repr(tag) in err and "--tag" in err


def test_render_prints_the_dockerfile_alone(run: Run, model: Path) -> None:
    code, out, _ = run("render", model, "--parent", "local")
    assert code == 0
    assert out.startswith("# Made by mdai-build")
    assert "FROM mdai-build/parent:local-cpu" in out
    assert run("render", model, "--parent", "local")[1] == out


def test_the_working_folder_and_the_model_stay_as_they_were(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    before = {path: path.stat().st_mtime_ns for path in model.rglob("*")}
    run("check", model)
    run("render", model)
    assert not list(elsewhere.iterdir())
    assert {path: path.stat().st_mtime_ns for path in model.rglob("*")} == before


def test_no_engine_at_all(run: Run, model: Path) -> None:
    code, _, err = run("build", model, "--parent", "local")
    assert code == 5
    assert "no container engine answers" in err and "make engine" in err


def test_help_names_every_command_and_exit_code(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    for word in ("build", "check", "render", "test", "130 interrupted"):
        assert word in out
