"""SARIF of `check`: held against OASIS's schema, of which pydantic-sarif's models are made, and against its prose."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from click.testing import CliRunner
from pydantic_sarif.model import StaticAnalysisResultsFormatSarifVersion210JsonSchema as SarifLog

from mdai_build.cli.main import cli
from mdai_build.error_pages import page_of
from mdai_build.errors import Location, Problem
from mdai_build.report.sarif import sarif_log

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "examples/classification", tmp_path / "my models/über")
    return Path("my models/über")


def run(model: Path, *words: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(cli, ["check", str(model), "--offline", "--sarif", "out.sarif", *words])
    log: dict[str, Any] = json.loads(Path("out.sarif").read_text(encoding="utf-8"))
    SarifLog.model_validate(log)
    code = getattr(done.exception, "exit_code", done.exit_code)
    assert log["runs"][0]["invocations"] == [{"executionSuccessful": True, "exitCode": code}]
    return code, log["runs"][0]


def test_a_good_model_has_no_results(model: Path) -> None:
    code, found = run(model)
    assert code == 0 and found["results"] == []


def test_a_model_whose_name_is_not_utf8(model: Path) -> None:
    strange = Path(os.fsdecode(b"m\xff"))
    model.rename(strange)
    (strange / ".mdai/config.yaml").write_text("base_image: py3x\n")
    code, found = run(strange)
    assert code == 3
    place = found["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert place["uri"] == "m%FF/.mdai/config.yaml"


def test_what_is_wrong_is_at_its_line_with_its_rule(model: Path) -> None:
    (model / ".mdai/config.yaml").write_text("device_type: cpu\nbase_image: py3x\nbase: 1\n")
    code, found = run(model)
    assert code == 3
    rules = found["tool"]["driver"]["rules"]
    for result in found["results"]:
        page = page_of(result["ruleId"])
        rule = rules[result["ruleIndex"]]
        assert page is not None
        assert (rule["id"], rule["shortDescription"]["text"]) == (page.number, page.title)
        assert page.fix in rule["help"]["text"] and page.link in rule["help"]["markdown"]
    assert sorted(result["level"] for result in found["results"]) == ["error", "warning"]
    (error,) = (result for result in found["results"] if result["level"] == "error")
    assert "did you mean `py39`?" in error["message"]["text"]
    (location,) = error["locations"]
    place = location["physicalLocation"]
    assert place["region"] == {"startLine": 2, "startColumn": 13, "snippet": {"text": "base_image: py3x"}}
    # Relative to the folder that it ran in, percent-encoded (RFC 3986), so that a forge finds it in its repository.
    assert place["artifactLocation"]["uriBaseId"] == "SRCROOT"
    assert place["artifactLocation"]["uri"].isascii()
    assert Path(unquote(place["artifactLocation"]["uri"])) == model / ".mdai/config.yaml"
    assert found["originalUriBaseIds"]["SRCROOT"]["uri"].endswith("/")


def test_an_archive_is_the_place_of_what_is_in_it(model: Path) -> None:
    (model / ".mdai/config.yaml").write_text("base_image: py3x\n")
    archive = Path(shutil.make_archive("packed", "zip", model)).relative_to(Path.cwd())
    _, found = run(archive)
    (result,) = found["results"]
    assert result["locations"] == [
        {"physicalLocation": {"artifactLocation": {"uri": "packed.zip", "uriBaseId": "SRCROOT"}}}
    ]
    assert result["message"]["text"].startswith(".mdai/config.yaml:1:13: ")


def test_what_is_in_the_bundle_cannot_break_it(tmp_path: Path) -> None:
    evil = "\x1b]0;x\x07\u202e\udcff\x00"
    problem = Problem("config.unknown-key", evil, Location(f"a{evil[:3]}?#%.yaml", 0 + 1, 2, source=evil), evil, evil)
    log = sarif_log(tmp_path, (problem, Problem("no.page", "what")), (), 3)
    text = json.dumps(log, ensure_ascii=False)
    text.encode("utf-8")
    assert not set(text) & set("\x1b\x07\u202e\x00")
    SarifLog.model_validate(log)
    # What has no file is shown at the model: code scanning drops a result without a place.
    assert log["runs"][0]["results"][1]["locations"][0]["physicalLocation"]["artifactLocation"] == {
        "uri": tmp_path.as_uri()
    }


def test_strict_fails_for_a_warning_and_says_no_more(model: Path) -> None:
    assert run(model, "--strict")[0] == 0
    with (model / ".mdai/config.yaml").open("a") as config:
        config.write("colour: red\n")
    assert run(model)[0] == 0
    code, found = run(model, "--strict")
    assert code == 3
    assert [result["level"] for result in found["results"]] == ["warning"]
    printed = CliRunner().invoke(cli, ["check", str(model), "--offline", "--strict", "--json"])
    assert printed.exit_code == json.loads(printed.stdout)["exit_code"] == 3


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_done(model: Path) -> None:
    done = CliRunner().invoke(cli, ["check", str(model), "--sarif", "nowhere/out.sarif"])
    assert done.exit_code == 2 and "there is no folder 'nowhere'" in done.output
