"""Base images, made, pushed to a real registry on loopback, pulled, and built upon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
import pytest
from harness.runner import Run, run_command

from mdai_build.bases import RECIPE_LABEL
from mdai_build.engine import connect
from mdai_build.pipeline.bases import Finder, Wanted, combinations
from mdai_build.settings import load_settings

PARENT = "mdai-build/parent:local-cpu"
DEPLOY = "class MDAIModel:\n    def predict(self, data):\n        return []\n"
TAG = "mdai-build-test/bases:latest"


@pytest.fixture
def parent(engine: docker.DockerClient) -> Iterator[str]:
    """The local parent under a name of this test's own, so that no base image is anybody else's."""
    name = f"mdai-build-test/parent-{time.time_ns()}:1"
    engine.api.tag(PARENT, *name.split(":"))
    before = names(engine)
    yield name
    engine.api.remove_image(name, force=True)
    for added in names(engine) - before:
        if "base" in added or added == TAG:
            engine.api.remove_image(added, force=True)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "bases"
    (folder / ".mdai").mkdir(parents=True)
    (folder / ".mdai/config.yaml").write_text("base_image: py38\n")
    (folder / ".mdai/requirements.txt").write_text("colorama==0.4.6\n")
    (folder / ".mdai/mdai_deploy.py").write_text(DEPLOY)
    return folder


def names(engine: docker.DockerClient) -> set[str]:
    return {tag for image in engine.images.list() for tag in image.tags}


class Machine:
    """Runs commands that use one parent image, and perhaps a registry of base images."""

    def __init__(self, parent: str, cache_folder: Path, place: Path) -> None:
        self.variables = {"MDAI_BUILD_PARENT": parent, "MDAI_BUILD_CONDA_CHANNELS": "file:///opt/conda/channel"}
        self._cache = cache_folder
        self._place = place
        self._runs = 0

    def run(self, *words: str, **variables: str) -> Run:
        return self.run_plainly(*words, "--json", **variables)

    def run_plainly(self, *words: str, **variables: str) -> Run:
        self._runs += 1
        folder = self._place / f"run{self._runs}"
        folder.mkdir()
        environment: Mapping[str, str] = {**self.variables, "MDAI_BUILD_CACHE_FOLDER": str(self._cache), **variables}
        return run_command(words, folder, environment, 300)

    def notes(self) -> Iterator[Path]:
        return (self._cache / "unfinished").glob("*.json")

    def killed(self, moment: Callable[[], object], *words: str) -> None:
        """Runs a command until it is that moment, and kills it."""
        own = {**os.environ, **self.variables, "TMPDIR": str(self._place)}
        command = [sys.executable, "-m", "mdai_build.cli", *words, "--json", "--cache-folder", str(self._cache)]
        with subprocess.Popen(command, cwd=self._place, env=own, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and not moment():
                pass
            process.kill()

    def build(self, model: Path, *words: str, **variables: str) -> dict[str, Any]:
        """Of a model that no image is there for."""
        (model / ".mdai/mdai_deploy.py").write_text(f"{DEPLOY}# {time.time_ns()}\n")
        run = self.run("build", str(model), "--tag", TAG, "--tag-untested", *words, **variables)
        assert run.exit_code == 0, run
        told: dict[str, Any] = json.loads(run.stdout)
        return told


@pytest.fixture
def machine(parent: str, cache_folder: Path, tmp_path: Path) -> Machine:
    return Machine(parent, cache_folder, tmp_path)


def test_from_the_machine_that_makes_it_by_way_of_a_registry_to_one_that_builds_upon_it(
    machine: Machine, parent: str, model: Path, registry: str, engine: docker.DockerClient
) -> None:
    there = {"MDAI_BUILD_BASE_REGISTRY": f"{registry}/team"}
    inline = machine.build(model, "--offline")
    assert inline["base"]["reference"] is None and "no base image" in inline["base"]["why"]
    layers = engine.api.inspect_image(TAG)["RootFS"]["Layers"]
    assert engine.api.inspect_image(TAG)["Config"]["Labels"]["io.mdai-build.base.image"] == "inline"

    made = machine.run("base", "build", "--for", str(model))
    assert made.exit_code == 0, made
    (state,) = json.loads(made.stdout)["bases"]
    assert state["here"] and state["combination"] == "py38-cpu"
    told = machine.build(model, "--offline")
    local = f"mdai-build/base:{state['tag']}"
    assert told["base"]["reference"] == local and told["base"]["server"]
    assert not {"environment", "packages", "installer"} & {stage["name"] for stage in told["stages"]}
    labels = engine.api.inspect_image(TAG)["Config"]["Labels"]
    assert labels["io.mdai-build.base.image"] == local
    # The base image is what was made inline, to the byte, and what was built begins with it. The steps upon it run
    # anew: BuildKit knows them by what they stand on, and an image is another thing to it than a stage.
    base = engine.api.inspect_image(local)["RootFS"]["Layers"]
    parents = engine.api.inspect_image(parent)["RootFS"]["Layers"]
    assert len(base) > len(parents) and layers[: len(base)] == base
    assert engine.api.inspect_image(TAG)["RootFS"]["Layers"][: len(base)] == base

    pushed = machine.run("base", "push", "--for", str(model), **there)
    assert json.loads(pushed.stdout)["bases"][0]["in_registry"], pushed
    for name in names(engine):
        if name.startswith(("mdai-build/base:", f"{registry}/team/base:")) and state["tag"].split(".")[0] in name:
            engine.api.remove_image(name, force=True)
    engine.api.remove_image(TAG, force=True)
    # This machine has no parent image, so it takes the newest.
    engine.api.remove_image(parent, force=True)
    pulled = machine.build(model, **there)
    assert pulled["base"]["reference"] == f"{registry}/team/base:{state['tag'].split('.')[0]}"
    engine.api.tag(PARENT, *parent.split(":"))


def test_what_a_killed_one_left_goes_with_the_next(machine: Machine, model: Path, engine: docker.DockerClient) -> None:
    def untagged() -> set[str]:
        return set(engine.api.images(quiet=True, filters={"label": RECIPE_LABEL, "dangling": True}))

    before = untagged()
    machine.killed(lambda: untagged() - before, "base", "build", "--for", str(model))
    left = untagged() - before  # most of the time: it may have had its tag a moment before
    made = machine.run("base", "build", "--for", str(model))
    assert made.exit_code == 0, made
    assert not untagged() & left and not untagged() - before
    assert not list(machine.notes())


def test_what_is_on_another_parent_image_is_not_used(
    machine: Machine, parent: str, model: Path, engine: docker.DockerClient
) -> None:
    assert machine.run("base", "build", "--for", str(model)).exit_code == 0
    container = engine.containers.create(parent, command=["-"])
    try:
        container.commit(*parent.split(":"), changes=["ENV NEW=1"])
    finally:
        container.remove()
    settings = load_settings({"parent": parent, "conda_channels": "file:///opt/conda/channel", "offline": True})
    (plan,) = combinations(Wanted(models=(model,)), settings)
    found = Finder(connect(settings.engine_folder), settings, print).find(plan)
    assert found.parent is None and found.report.reference is None
    assert "another parent image" in found.report.why


def test_to_build_all_anew_is_to_take_no_base_image(
    machine: Machine, parent: str, model: Path, engine: docker.DockerClient
) -> None:
    # On a parent of its own: two results of one step in BuildKit's cache, and later builds take either.
    container = engine.containers.create(parent, ["touch", f"/made-at-{time.time_ns()}"])
    try:
        container.start()
        container.wait()
        container.commit(*parent.split(":"))
    finally:
        container.remove()
    assert machine.run("base", "build", "--for", str(model)).exit_code == 0
    assert machine.build(model, "--offline")["base"]["reference"]
    told = machine.build(model, "--offline", "--no-cache")
    assert not (told["base"] and told["base"]["reference"])
    assert {"environment", "packages", "installer"} <= {stage["name"] for stage in told["stages"]}


def test_what_needs_an_engine_besides_starts_from_one_too(
    machine: Machine, parent: str, model: Path, tmp_path: Path, engine: docker.DockerClient
) -> None:
    # What a folder needs, its own code says, so that it has to be asked in a container.
    tool = model / ".mdai" / "tool"
    tool.mkdir()
    (tool / "setup.py").write_text("import setuptools\nsetuptools.setup(name='tool', install_requires=['colorama'])\n")
    (model / ".mdai/requirements.txt").write_text("./tool\n")
    inline = machine.run("lock", str(model))
    assert inline.exit_code == 0 and json.loads(inline.stdout)["resolved_in"] == "container", inline
    assert "base image" not in inline.stderr
    assert machine.run("base", "build", "--for", str(model)).exit_code == 0
    # On a machine without the parent image nothing else could be started from.
    file, wheels = model / ".mdai/requirements.lock", tmp_path / "wheels"
    locked = file.read_bytes()
    engine.api.remove_image(parent, force=True)
    try:
        runs = [machine.run("lock", str(model))]
        assert file.read_bytes() == locked
        file.unlink()  # pip, which collects wheels, takes no lock of what is built
        runs.append(machine.run_plainly("wheels", str(model), str(wheels)))
    finally:
        engine.api.tag(PARENT, *parent.split(":"))
    for run in runs:
        assert run.exit_code == 0, run
        assert "starting from the base image mdai-build/base:py38-cpu-" in run.stderr, run
    assert list(wheels.glob("tool-*.whl")) and list(wheels.glob("colorama-*.whl"))


def test_a_registry_that_does_not_answer_is_told_of_and_stops_nothing(machine: Machine, model: Path) -> None:
    nowhere = {"MDAI_BUILD_BASE_REGISTRY": "127.0.0.1:9/team"}
    told = machine.build(model, **nowhere)
    (warning,) = [warning for warning in told["warnings"] if warning["code"] == "base.registry"]
    assert "connection refused" in warning["details"] and told["base"]["reference"] is None
    assert not [w for w in machine.build(model, "--offline", **nowhere)["warnings"] if w["code"] == "base.registry"]
    run = machine.run("base", "pull", "--for", str(model), **nowhere)
    assert (run.exit_code, json.loads(run.stdout)["problems"][0]["code"]) == (5, "engine.not-pulled"), run
    run = machine.run("base", "push", "--for", str(model))
    assert (run.exit_code, json.loads(run.stdout)["problems"][0]["code"]) == (2, "base.no-registry"), run


def test_many_at_once_start_from_one_too(
    machine: Machine, model: Path, tmp_path: Path, engine: docker.DockerClient
) -> None:
    assert machine.run("base", "build", "--for", str(model)).exit_code == 0
    models = []
    for number in range(2):
        folder = tmp_path / f"bases-{number}"
        (folder / ".mdai").mkdir(parents=True)
        (folder / ".mdai/config.yaml").write_text("base_image: py38\n")
        (folder / ".mdai/requirements.txt").write_text("")
        (folder / ".mdai/mdai_deploy.py").write_text(f"{DEPLOY}# {time.time_ns()}\n")
        models.append(str(folder))
    run = machine.run("bake", *models, "--tag-untested", "--offline", "--tag-prefix", "mdai-build-test/base-")
    assert run.exit_code == 0, run
    told = json.loads(run.stdout)
    assert all(each["build"]["base"]["reference"].startswith("mdai-build/base:py38-cpu-") for each in told["models"])
