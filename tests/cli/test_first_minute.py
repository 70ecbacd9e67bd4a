"""`init`, `doctor`, `explain` and `clean` as a user meets them, without an engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mdai_build.cli.beginning import _PYTHONS, _TASKS
from mdai_build.error_pages import error_pages
from mdai_build.pipeline.init import TASKS

Run = Callable[..., tuple[int, str, str]]


def test_from_nothing_to_a_model_that_check_likes(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("init", "my model", "--task", "segmentation")
    assert code == 0
    assert "wrote  my model/.mdai/mdai_deploy.py" in out and "mdai-build check 'my model'" in out
    code, out, err = run("check", "my model", "--parent", "local")
    assert code == 0 and "nothing is wrong" in out and not err


def test_init_again_keeps_everything(run: Run) -> None:
    run("init", "model")
    code, out, _ = run("init", "model", "--json")
    told = json.loads(out)
    assert code == 0 and told["written"] == [] and len(told["kept"]) == 4


def test_the_choices_are_those_of_the_pipeline() -> None:
    from mdai_build.config.model import BASE_IMAGES

    assert tuple(_TASKS) == TASKS
    assert [f"py{python.replace('.', '')}" for python in _PYTHONS] == [n for n in BASE_IMAGES if n.startswith("py")]


def test_a_warning_says_that_it_is_one_and_where_to_read_more(run: Run, tmp_path: Path) -> None:
    run("init", "model")
    deploy = tmp_path / "model/.mdai/mdai_deploy.py"
    deploy.write_text(deploy.read_text().replace('data["files"]', 'data["file"]'))
    code, out, err = run("check", "model", "--parent", "local")
    assert code == 0
    assert "did you mean `files`?" in err and "more about this: mdai-build explain MB223 (docs/errors.md)" in err
    assert "1 warning; nothing else is wrong" in out
    _, out, _ = run("check", "model", "--parent", "local", "--json")
    warning = json.loads(out)["warnings"][0]
    assert (warning["code"], warning["number"]) == ("bundle.request-key", "MB223")
    assert warning["page"] == "docs/errors.md#mb223"


def test_explain(run: Run) -> None:
    code, out, _ = run("explain", "mb223")
    assert code == 0 and out.startswith("MB223: ") and "To do: " in out
    code, out, _ = run("explain")
    assert code == 0 and all(page.number in out for page in error_pages().values())
    code, out, _ = run("explain", "MB211", "bundle.value-type", "--json")
    assert [message["number"] for message in json.loads(out)["messages"]] == ["MB211", "MB212"]


def test_explain_what_is_not_there(run: Run) -> None:
    code, _, err = run("explain", "bundle.no-mdia")
    assert code == 2 and "did you mean bundle.no-mdai?" in err


def test_doctor_without_an_engine(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MDAI_BUILD_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("MDAI_BUILD_MEMORY", "lots")
    code, out, err = run("doctor", "--json")
    told = json.loads(out)
    assert code == told["exit_code"] == 5
    outcomes = {check["name"]: check["outcome"] for check in told["checks"]}
    assert outcomes["settings"] == outcomes["engine"] == outcomes["package index"] == "missing"
    assert "unset MDAI_BUILD_MEMORY" in err


def test_clean_without_an_engine(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run("init", "model")
    run("render", "model", "--parent", "local")
    code, out, _ = run("clean", "--all", "--dry-run", "--json")
    told = json.loads(out)
    assert code == 0 and told["dry_run"] is True
    assert {item["name"] for item in told["items"]} >= {"unpacked bundles", "pictures", "images"}
    code, out, _ = run("clean", "--all")
    assert code == 0 and out.rstrip().endswith("removed")


def test_github_is_told_beside_the_line(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    run("init", "models/lungs")
    (tmp_path / "models/lungs/.mdai/config.yaml").write_text("base_image: py36\n")
    code, _, err = run("check", "models/lungs")
    assert code == 3
    assert "\n::error file=models/lungs/.mdai/config.yaml,line=1,col=13,title=MB305::" in err
