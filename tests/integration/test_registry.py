"""Images and build caches in a real registry, on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import docker
import pytest
from harness.runner import Run, run_command

from mdai_build.engine import connect
from mdai_build.settings import load_settings

GOOD = "class MDAIModel:\n    def predict(self, data):\n        return []\n"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "pushed"
    (folder / ".mdai").mkdir(parents=True)
    (folder / ".mdai/config.yaml").write_text("base_image: py38\n")
    (folder / ".mdai/requirements.txt").write_text("")
    (folder / ".mdai/mdai_deploy.py").write_text(f"{GOOD}# {time.time_ns()}\n")  # an unchanged one is not built
    return folder


def build(place: Path, cache_folder: Path, environment: Mapping[str, str], *words: str | Path) -> Run:
    place.mkdir()
    fixed = ("--parent", "local", "--cache-folder", cache_folder, "--offline", "--json")
    return run_command(["build", *map(str, (*words, *fixed))], place, environment, 200)


def ask(registry: str, path: str) -> dict[str, object]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    kind = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    with opener.open(urllib.request.Request(f"http://{registry}/v2/{path}", headers=kind), timeout=20) as answer:
        told: dict[str, object] = json.loads(answer.read())
        return told


def test_a_cache_and_an_image_pass_from_one_engine_to_another(
    model: Path, registry: str, other_engine: Mapping[str, str], cache_folder: Path, tmp_path: Path
) -> None:
    tag, cache = f"{registry}/models/pushed:1.0", f"{registry}/cache/{{name}}"
    there = {**os.environ, **other_engine}
    prune = ("docker", "buildx", "prune", "--all", "--force")
    # BuildKit of Docker 26 may never end writing a cache, and take all memory, where many builds have met.
    subprocess.run(prune, env=there, check=True, stdout=subprocess.DEVNULL)
    first = build(tmp_path / "1", cache_folder, other_engine, model, "--tag", tag, "--push", "--cache-to", cache)
    assert first.exit_code == 0, first
    pushed = json.loads(first.stdout)["pushed"]
    manifest = ask(registry, f"models/pushed/manifests/{pushed['reference'].partition('@')[2]}")
    layers = manifest["layers"]
    assert isinstance(layers, list)
    # What was packed by zstd, and all of it: what a registry does not have is small.
    assert {layer["mediaType"] for layer in layers} == {"application/vnd.oci.image.layer.v1.tar+zstd"}
    assert sum(layer["size"] for layer in layers) == pushed["size_bytes"]
    assert ask(registry, "cache/pushed/tags/list")["tags"] == ["latest"]

    # The same engine with nothing of it left is as good as another.
    subprocess.run(["docker", "rmi", "--force", tag], env=there, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(prune, env=there, check=True, stdout=subprocess.DEVNULL)
    (model / ".mdai/mdai_deploy.py").write_text(f"{GOOD}# changed at {time.time_ns()}\n")
    words = ("--tag", tag, "--push", "--cache-from", cache, "--tag-untested")
    second = build(tmp_path / "2", cache_folder, other_engine, model, *words)
    assert second.exit_code == 0, second
    told = json.loads(second.stdout)
    cached = {stage["name"]: stage["cached"] for stage in told["stages"]}
    assert cached["packages"] and cached["environment"] and cached["server"] and not cached["model"], second
    assert told["pushed"]["new_layers"] == 1 and told["pushed"]["reference"] != pushed["reference"]
    subprocess.run(["docker", "rmi", "--force", tag], env=there, check=True, stdout=subprocess.DEVNULL)


def test_what_fails_its_smoke_test_is_not_pushed(
    model: Path, registry: str, engine: docker.DockerClient, cache_folder: Path, tmp_path: Path
) -> None:
    (model / ".mdai/mdai_deploy.py").write_text("raise SystemExit('no')\n" + GOOD)
    run = build(tmp_path / "1", cache_folder, {}, model, "--tag", f"{registry}/models/bad:1.0", "--push")
    assert run.exit_code == 7, run
    assert json.loads(run.stdout)["pushed"] is None
    assert "models/bad" not in str(ask(registry, "_catalog")["repositories"])


def test_a_registry_that_does_not_answer(
    model: Path, engine: docker.DockerClient, cache_folder: Path, tmp_path: Path
) -> None:
    tag = "127.0.0.1:9/mdai-build-test/unpushed:latest"
    run = build(tmp_path / "1", cache_folder, {}, model, "--tag", tag, "--push", "--tag-untested")
    problem = json.loads(run.stdout)["problems"][0]
    assert (run.exit_code, problem["code"]) == (5, "engine.not-pushed"), run
    assert "connection refused" in problem["details"] and tag in problem["what"]
    engine.images.remove(tag)  # it is good all the same


def test_an_engine_that_cannot_write_a_cache_says_so(
    model: Path, registry: str, engine: docker.DockerClient, cache_folder: Path, tmp_path: Path
) -> None:
    found = connect(load_settings().engine_folder)
    with_containerd = found.has_containerd_store()
    found.client.close()
    if with_containerd:
        pytest.fail("the engine in use is on the containerd image store; this needs one that is not")
    run = build(tmp_path / "1", cache_folder, {}, model, "--tag-untested", "--cache-to", f"{registry}/cache/none")
    problem = json.loads(run.stdout)["problems"][0]
    assert (run.exit_code, problem["code"]) == (5, "engine.no-cache-export"), run
    assert "containerd" in problem["expected"]
