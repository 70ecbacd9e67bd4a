"""Mistakes that researchers make: the first message that `check` prints is enough to mend each (bundles.yaml)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from mdai_build.errors import MdaiBuildError, Problem
from mdai_build.pipeline.check import check_model
from mdai_build.settings import Settings

CONTENT = yaml.safe_load(Path(__file__).with_name("bundles.yaml").read_text(encoding="utf-8"))


def write(folder: Path, files: Mapping[str, str | None]) -> Path:
    for path, content in files.items():
        if content is not None:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(content, encoding="utf-8")
    return folder


def bundle(mistake: Mapping[str, Any]) -> dict[str, str | None]:
    """The files of the good model with a mistake in them."""
    files: dict[str, str | None] = dict(CONTENT["model"])
    deploy = str(files[".mdai/mdai_deploy.py"])
    for old, new in mistake.get("change", {}).items():
        assert old in deploy, f"nothing to change: {old!r}"
        deploy = deploy.replace(old, new)
    return {**files, ".mdai/mdai_deploy.py": deploy, **mistake.get("files", {})}


def findings(folder: Path, cache: Path) -> list[Problem]:
    """What check tells: errors first, as they matter more."""
    settings = Settings(parent="local", cache_folder=cache, offline=True)
    try:
        return list(check_model(folder, settings, look_up=True).warnings)
    except MdaiBuildError as failure:
        return [*failure.problems, *failure.warnings]


def test_there_is_nothing_to_say_of_the_good_model(tmp_path: Path) -> None:
    assert findings(write(tmp_path / "model", CONTENT["model"]), tmp_path / "cache") == []


@pytest.mark.parametrize("name", CONTENT["mistakes"])
def test_the_first_message_mends_it(name: str, tmp_path: Path) -> None:
    mistake = CONTENT["mistakes"][name]
    found = findings(write(tmp_path / "model", bundle(mistake)), tmp_path / "cache")
    assert found, "nothing was found"
    first = found[0]
    told = "\n".join(filter(None, (first.what, first.expected, first.next_step)))
    assert first.code == mistake["code"], [str(problem) for problem in found]
    if mistake["where"] is not None:
        assert str(first.where) == mistake["where"]
        if first.where is not None and first.where.line is not None:
            assert first.where.source, "the line is not shown"
    for word in mistake["words"]:
        assert re.search(re.escape(word), told), f"{word!r} is not in:\n{told}"
