"""Every folder of bundles/ is a test, or several: what they hold is told in bundles/README.md."""

from __future__ import annotations

import re
from pathlib import Path

import docker.errors
import pytest
from harness.case import FoundCase, find_cases
from harness.leftovers import engine_state
from harness.packing import filled, fingerprint, make_model
from harness.runner import mistakes, run_command


@pytest.mark.parametrize("found", [pytest.param(found, id=found.id) for found in find_cases()])
def test_bundle(found: FoundCase, tmp_path: Path, cache_folder: Path, request: pytest.FixtureRequest) -> None:
    case = found.case
    client = request.getfixturevalue("engine") if case.needs_engine else None
    tag = f"mdai-build-test/{re.sub('[^a-z0-9]+', '-', found.id.lower())}:latest"
    text = str(case.model_dump())
    placeholders = {"@TAG@": tag}
    for name, fixture in {"@LINKS@": "links_url", "@GIT@": "git_url"}.items():
        if name in text:
            placeholders[name] = request.getfixturevalue(fixture)
    source = tmp_path / "source"
    source.mkdir()
    model = make_model(found, source, placeholders)
    placeholders["@MODEL@"] = str(model)

    words = [filled(word, placeholders) for word in case.command]
    if words[0] == "build" and "--tag" not in words:
        words += ["--tag", tag]
    environment = {"MDAI_BUILD_CACHE_FOLDER": str(cache_folder), "MDAI_BUILD_PARENT": "local", **case.environment}
    untouched = fingerprint(model)
    before = engine_state(client) if client is not None else None
    run = run_command(words, tmp_path, environment, case.timeout)

    found_mistakes = mistakes(run, case.expect)
    if fingerprint(model) != untouched:
        found_mistakes.append("the model's own files were changed")
    if client is not None and before is not None:
        try:
            client.api.remove_image(tag)
            tagged = True
        except docker.errors.ImageNotFound:
            tagged = False
        if tagged != (words[0] == "build" and run.exit_code == 0):
            found_mistakes.append(f"the tag {'was' if tagged else 'was not'} made")
        title = model.name.split(".")[0]
        left = engine_state(client).leftovers(before, title, run.process)
        found_mistakes += [f"left in the engine: {each}" for each in left]
    if found_mistakes:
        pytest.fail("\n".join(["", *found_mistakes, "", str(run)]), pytrace=False)
