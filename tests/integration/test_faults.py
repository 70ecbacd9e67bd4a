"""Faults that need no engine of their own, of the table in tests/faults/kinds.py; `make scoreboard` tries them all."""

from __future__ import annotations

from collections.abc import Iterator

import docker
import pytest
from kinds import KINDS, judge
from world import World

from mdai_build.engine import connect
from mdai_build.settings import load_settings

TRIED = ("killed", "old-engine", "denied", "cache-not-writable", "disappears", "same-twice")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    found = connect(load_settings().engine_folder)
    found.client.close()
    variables = {
        name: found.environment.values[name] for name in ("DOCKER_CONFIG", "PATH") if name in found.environment.values
    }
    made = World(tmp_path_factory.mktemp("faults") / "world", {**variables, "DOCKER_HOST": found.host}, "test-faulty")
    yield made
    if made.image():
        made.client.images.remove(made.tag, force=True)
    made.client.close()


@pytest.mark.parametrize("name", TRIED)
def test_fault(name: str, world: World) -> None:
    kind = next(kind for kind in KINDS if kind.name == name)
    wrong, run = judge(kind, world)
    assert not wrong, f"{wrong}\n{run}"


def test_an_untested_image_takes_no_tag_from_a_tested_one(world: World, engine: docker.DockerClient) -> None:
    other = f"{world.tag}-untested"
    world.change()
    assert world.build().exit_code == 0
    good = world.image()
    assert world.build("--no-test").exit_code == 0  # the very same image
    world.change()
    run = world.build("--no-test")
    assert run.exit_code == 0 and "usage.tag-kept" in run.stdout, run
    assert world.image() == good and engine.images.get(other).id != good
    words = ("bake", str(world.model), "--tag-prefix", "mdai-build-faults/", "--no-test", "--json", "--parent", "local")
    assert world.start(*words).finish().exit_code == 0 and world.image() == good
    run = world.build("--no-test", "--push")
    assert (run.exit_code, run.code) == (2, "usage.tag-untested")
    engine.images.remove(other)
    assert world.build("--tag-untested").exit_code == 0
    untested = world.image()
    assert untested != good and not world.leftovers()
    world.change()
    assert world.build("--no-test").exit_code == 0
    assert world.image() not in (good, untested) and not world.leftovers()
