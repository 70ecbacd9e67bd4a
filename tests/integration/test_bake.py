"""Many models at once: what each is told, that none stops another, and that nothing is left behind."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from harness.leftovers import engine_state
from harness.runner import Run, run_command

from mdai_build.engine.container import OWNER_LABEL

PREFIX = "mdai-build-test/bake-"
GOOD = "class MDAIModel:\n    def predict(self, data):\n        return []\n"
LOADS_FOREVER = f"import time\n\ntime.sleep(600)\n{GOOD}"


def write_model(folder: Path, deploy: str = GOOD, requirements: str = "", config: str = "base_image: py38\n") -> Path:
    (folder / ".mdai").mkdir(parents=True)
    (folder / ".mdai/config.yaml").write_text(config)
    (folder / ".mdai/requirements.txt").write_text(requirements)
    (folder / ".mdai/mdai_deploy.py").write_text(f"{deploy}# {time.time_ns()}\n")
    return folder


def bake(place: Path, cache_folder: Path, *words: str | Path) -> Run:
    place.mkdir()
    fixed = ("--parent", "local", "--tag-prefix", PREFIX, "--cache-folder", cache_folder, "--offline", "--json")
    return run_command(["bake", *map(str, (*words, *fixed))], place, {}, 300)


@pytest.fixture
def untag(engine: docker.DockerClient) -> Iterator[None]:
    """Removes the images of this test afterwards."""
    yield
    for image in engine.images.list():
        for tag in image.tags:
            if tag.startswith(PREFIX):
                engine.images.remove(tag, force=True)


def tags(engine: docker.DockerClient) -> set[str]:
    return {tag.removeprefix(PREFIX) for image in engine.images.list() for tag in image.tags if tag.startswith(PREFIX)}


def test_a_failure_of_one_stops_no_other(
    engine: docker.DockerClient, untag: None, cache_folder: Path, tmp_path: Path
) -> None:
    before = engine_state(engine)
    once = f"tqdm==4.66.4\ncolorama!=9.{time.time_ns()}\n"  # a step that no cache has, and that two models share
    models = [
        write_model(tmp_path / "one", requirements=once),
        write_model(tmp_path / "two", requirements=once),
        write_model(tmp_path / "unmet", requirements="tqdm==99.0\n"),
        write_model(tmp_path / "crashes", GOOD.replace("return []", "raise ValueError('no such luck')")),
        write_model(tmp_path / "misnamed", config="base_image: py99\n"),
    ]
    junit = tmp_path / "junit.xml"
    run = bake(tmp_path / "first", cache_folder, *models, "--junit", junit, "--jobs", "2")
    told = json.loads(run.stdout)
    outcomes = {model["name"]: (model["outcome"], model["exit_code"]) for model in told["models"]}
    assert outcomes == {
        "one": ("built", 0),
        "two": ("built", 0),
        "unmet": ("the requirements cannot be met", 4),
        "crashes": ("the smoke test failed", 7),
        "misnamed": ("the bundle is wrong", 3),
    }, run
    assert run.exit_code == told["exit_code"] == 3
    problems = {model["name"]: str(model["problems"]) for model in told["models"]}
    assert (
        "py99" in problems["misnamed"] and "tqdm==99.0" in problems["unmet"] and "no such luck" in problems["crashes"]
    )
    assert tags(engine) == {"one:latest", "two:latest"}
    suites = {suite.get("name"): suite for suite in ElementTree.parse(junit).getroot()}
    assert set(suites) == set(outcomes)
    assert {name for name, suite in suites.items() if suite.get("failures") != "0"} == {"unmet", "crashes", "misnamed"}
    state = engine_state(engine)
    assert [found for name in ("unmet", "crashes") for found in state.leftovers(before, name, run.process)] == []
    assert run.left == ()

    again = bake(tmp_path / "second", cache_folder, *models[:2], "--tag-untested")
    assert again.exit_code == 0, again
    assert [model["outcome"] for model in json.loads(again.stdout)["models"]] == ["unchanged", "unchanged"]


def test_what_models_share_is_made_once(
    engine: docker.DockerClient, untag: None, cache_folder: Path, tmp_path: Path
) -> None:
    once = f"tqdm==4.66.4\ncolorama!=9.{time.time_ns()}\n"
    models = [write_model(tmp_path / name, requirements=once) for name in ("one", "two", "three")]
    run = bake(tmp_path / "run", cache_folder, *models, "--tag-untested")
    assert run.exit_code == 0, run
    # The same step made anew gives another layer. The last one is the model's own code.
    layers = [engine.images.get(f"{PREFIX}{model.name}").attrs["RootFS"]["Layers"] for model in models]
    assert {tuple(each[:-1]) for each in layers} == {tuple(layers[0][:-1])}
    assert len({each[-1] for each in layers}) == len(models)


def test_an_interruption_of_many(engine: docker.DockerClient, untag: None, cache_folder: Path, tmp_path: Path) -> None:
    before = engine_state(engine)
    models = [write_model(tmp_path / name, LOADS_FOREVER) for name in ("slow", "slower")]
    words = ["bake", *map(str, models), "--parent", "local", "--tag-prefix", PREFIX, "--offline", "--jobs", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mdai_build.cli", *words, "--cache-folder", str(cache_folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    own = f"{OWNER_LABEL}={socket.gethostname()}:{process.pid}"
    deadline = time.monotonic() + 120
    while len(engine.containers.list(filters={"label": own})) < len(models):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 130 and "Traceback" not in output, output
    state = engine_state(engine)
    assert [found for model in models for found in state.leftovers(before, model.name, process.pid)] == []
