"""The Python API with a real engine: the same results as the command line, as values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from harness.runner import run_command
from schema_checks import check_report

from mdai_build import UnavailableError, as_json, build, predict, test
from mdai_build.cli import completing
from mdai_build.smoke.samples import synthetic_request

ROOT = Path(__file__).resolve().parents[2]
TAG = "mdai-build-test/machines-api:latest"


@pytest.fixture
def tag(engine: docker.DockerClient) -> Iterator[str]:
    yield TAG
    for image in engine.images.list(name=TAG):
        engine.images.remove(image.id, force=True)


def test_build_test_and_predict(tag: str, tmp_path: Path, cache_folder: Path) -> None:
    model = ROOT / "examples/classification"
    settings: dict[str, Any] = {"parent": "local", "cache_folder": cache_folder, "offline": True}
    samples = tmp_path / "samples"
    samples.mkdir()
    for file in synthetic_request("cr").files:
        (samples / "one.dcm").write_bytes(file.content)
    lines: list[str] = []
    checks: list[str] = []
    report = build(
        model,
        tag=tag,
        samples=samples,
        on_progress=lines.append,
        on_check=lambda check: checks.append(check.name),
        **settings,
    )
    assert report.exit_code == 0 and report.image is not None and report.smoke is not None
    assert report.image.reference == tag
    assert checks == [check.name for check in report.smoke.checks]
    assert "checking the bundle and its requirements" in lines
    document = json.loads(json.dumps(as_json(report)))
    check_report("build", document)

    words = ["build", str(model), "--tag", tag, "--samples", str(samples), "--parent", "local", "--offline", "--json"]
    told = run_command([*words, "--cache-folder", str(cache_folder)], tmp_path, {}, 200)
    assert told.exit_code == 0, told
    printed = json.loads(told.stdout)
    for name in ("image", "parent", "overrides", "warnings", "exit_code", "pushed"):
        assert printed[name] == document[name], name
    for part in (printed, document):
        for check in part["smoke"]["checks"]:
            del check["seconds"], check["message"]
    assert printed["smoke"]["checks"] == document["smoke"]["checks"]

    tried = test(tag, samples=samples, cache_folder=cache_folder)
    assert (tried.exit_code, tried.target) == (0, tag)
    check_report("test", json.loads(json.dumps(as_json(tried))))

    answers: list[Any] = []
    found = predict(tag, samples / "one.dcm", on_answer=lambda request, answer, check: answers.append(answer))
    assert (found.exit_code, found.requests) == (0, 1)
    assert answers[0].valid and answers[0].outputs[0]["type"] == "ANNOTATION"

    # What a shell offers for `mdai-build test <TAB>`.
    context: Any = type("Context", (), {"params": {}})()
    offered = [item.value for item in completing.images(context, context, "mdai-build-test/machines-")]
    assert offered == [tag]


def test_an_image_that_is_not_there_is_an_exception() -> None:
    with pytest.raises(UnavailableError) as caught:
        test("mdai-build-test/there-is-none:latest")
    assert caught.value.exit_code == 5
