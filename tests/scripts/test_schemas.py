"""What docs/machines.md promises to readers of reports cannot be broken by writing the schemas anew."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import schemas

from mdai_build.report.schemas import schema


def test_new_keys_and_other_words_break_nothing() -> None:
    before = schema("check")
    now = copy.deepcopy(before)
    now["$defs"]["CheckDocument"]["properties"]["new"] = {"type": "string"}
    now["$defs"]["CheckDocument"]["required"].append("new")
    now["$defs"]["CheckDocument"]["properties"]["bundle"]["description"] = "in other words"
    assert list(schemas.broken_promises(before, now)) == []


def test_what_goes_away_or_changes_does() -> None:
    before = schema("check")
    now = copy.deepcopy(before)
    check = now["$defs"]["CheckDocument"]
    del check["properties"]["lock"]
    check["properties"]["files"]["type"] = "string"
    check["required"].remove("kind")
    del now["$defs"]["WhereDocument"]
    assert set(schemas.broken_promises(before, now)) == {
        "CheckDocument.lock is gone",
        "CheckDocument.files has another type",
        "CheckDocument.kind may be missing",
        "WhereDocument is gone",
    }


def test_the_script_writes_what_keeps_the_promise_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "FOLDER", tmp_path)
    (tmp_path / "old.json").touch()
    schemas.main()
    schemas.main()
    assert {file.stem for file in tmp_path.iterdir()} == set(schemas.NAMES)
    text = (tmp_path / "check.json").read_text(encoding="utf-8").replace('"lock"', '"lock_file"')
    (tmp_path / "check.json").write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit, match=r"CheckDocument\.lock_file is gone"):
        schemas.main()
    assert (tmp_path / "check.json").read_text(encoding="utf-8") == text
