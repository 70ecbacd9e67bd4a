"""The main job on the other image store: overlay2 holds images by their config, containerd by their manifest.

Debian's engine starts on overlay2, new installs of Docker on containerd.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import docker
import pytest
from harness.case import Expect
from harness.runner import mistakes, run_command

from mdai_build.engine import Engine
from mdai_build.engine.process import Environment

MODEL = Path(__file__).parent / "bundles" / "minimal" / "model"
PARENT = "mdai-build/parent:local-cpu"
TAG = "mdai-build-test/other-store:latest"
pytestmark = pytest.mark.integration


def test_builds_and_tests_on_the_containerd_image_store(
    other_engine: Mapping[str, str], cache_folder: Path, tmp_path: Path
) -> None:
    # Of its own, so that no image of an earlier run answers for it.
    model = shutil.copytree(MODEL, tmp_path / "model")
    (model / "made-for.txt").write_text(str(uuid.uuid4()))
    words = ["build", str(model), "--parent", "local", "--tag", TAG, "--cache-folder", str(cache_folder), "--json"]
    for number, built in enumerate((True, False)):
        place = tmp_path / str(number)
        place.mkdir()
        run = run_command(words, place, other_engine, 300)
        assert not mistakes(run, Expect(json_values={"exit_code": 0, "image.reference": TAG})), run
        # The second time nothing changed: the image answers from its label.
        assert ("exporting to image" in run.stderr) == built
    there = {**os.environ, **other_engine}
    subprocess.run(["docker", "rmi", "--force", TAG], env=there, check=True, stdout=subprocess.DEVNULL)


def test_base_images_on_the_containerd_image_store(
    other_engine: Mapping[str, str], registry: str, cache_folder: Path, tmp_path: Path
) -> None:
    model = shutil.copytree(MODEL, tmp_path / "model")
    client = docker.DockerClient(base_url=other_engine["DOCKER_HOST"])
    before = names(client)
    there = {**other_engine, "MDAI_BUILD_PARENT": "local", "MDAI_BUILD_BASE_REGISTRY": f"{registry}/other-store"}

    def run(*words: str, **variables: str) -> dict[str, Any]:
        (model / "made-for.txt").write_text(str(uuid.uuid4()))
        place = Path(tempfile.mkdtemp(dir=tmp_path))
        done = run_command(
            [*words, "--json", "--cache-folder", str(cache_folder)], place, {**there, **variables}, timeout=300
        )
        assert done.exit_code == 0, done
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    try:
        (made,) = run("base", "build", "--for", str(model))["bases"]
        local = f"mdai-build/base:{made['tag']}"
        told = run("build", str(model), "--tag", TAG, "--offline")
        assert told["base"]["reference"] == local and told["base"]["server"], told["base"]
        assert not {"environment", "packages", "installer"} & {stage["name"] for stage in told["stages"]}
        (pushed,) = run("base", "push", "--for", str(model))["bases"]
        assert pushed["in_registry"]
        for name in names(client) - before - {TAG}:
            client.api.remove_image(name, force=True)
        told = run("build", str(model), "--tag", TAG)
        assert told["base"]["reference"] == f"{registry}/other-store/base:{made['tag']}", told["base"]
    finally:
        for name in names(client) - before:
            client.api.remove_image(name, force=True)
        client.close()


@pytest.mark.parametrize("other", [False, True], ids=["own", "containerd"])
def test_weights_lie_below_the_requirements_where_layers_do_not_merge(
    other: bool,
    engine: docker.DockerClient,
    other_engine: Mapping[str, str],
    cache_folder: Path,
    tmp_path: Path,
) -> None:
    model = shutil.copytree(MODEL, tmp_path / "model")
    (model / ".mdai" / "requirements.txt").write_text("colorama\n")
    (model / "weights.bin").write_bytes(os.urandom(2 * 2**20))
    there = {**os.environ, **(other_engine if other else {})}
    # So that two megabytes are many.
    lowered = (
        "import mdai_build.plan as plan; plan.WEIGHTS_FIRST_FROM_BYTES = 1; from mdai_build.cli import main; main()"
    )
    words = ["build", str(model), "--parent", "local", "--tag", TAG, "--cache-folder", str(cache_folder), "--json"]
    built = subprocess.run(
        [sys.executable, "-c", lowered, *words], env=there, capture_output=True, text=True, check=False
    )
    try:
        assert built.returncode == 0, built.stdout + built.stderr
        told = ["docker", "history", "--no-trunc", "--format", "{{.CreatedBy}}", TAG]
        steps = subprocess.run(told, env=there, check=True, capture_output=True, text=True).stdout.splitlines()
        (code,) = (number for number, step in enumerate(steps) if "_mdai/code/" in step)
        (install,) = (number for number, step in enumerate(steps) if "--requirement _install.txt" in step)
        (weights,) = (number for number, step in enumerate(steps) if "COPY" in step and ". /src/lib/" in step)
        merges = other or has_containerd_store(engine)
        assert code < weights and (weights < install) == merges  # the last step comes first
        owner = ["docker", "run", "--rm", "--entrypoint", "stat", TAG, "--format", "%u %s", "/src/lib/weights.bin"]
        assert subprocess.run(owner, env=there, check=True, capture_output=True, text=True).stdout == "1000 2097152\n"
    finally:
        subprocess.run(["docker", "rmi", "--force", TAG], env=there, check=True, stdout=subprocess.DEVNULL)


def has_containerd_store(client: docker.DockerClient) -> bool:
    return Engine(client, "", "", Environment({})).has_containerd_store()


def names(client: docker.DockerClient) -> set[str]:
    return {tag for image in client.images.list() for tag in image.tags}


def test_which_store_it_is_is_known(engine: docker.DockerClient, other_engine: Mapping[str, str]) -> None:
    other = docker.DockerClient(base_url=other_engine["DOCKER_HOST"])
    assert has_containerd_store(other)
    other.close()
    assert has_containerd_store(engine) == (engine.info()["Driver"] == "overlayfs")


def test_the_hardware_address_of_a_private_engines_bridge_stays(other_engine: Mapping[str, str]) -> None:
    """One that came from its ports changed with each step of a build, and steps beside it lost their network."""
    with contextlib.closing(docker.DockerClient(base_url=other_engine["DOCKER_HOST"])) as client:
        bridge = client.networks.get("bridge").attrs["Options"]["com.docker.network.bridge.name"]
    place = Path("/sys/class/net") / bridge
    before = (place / "address").read_text()

    subprocess.run(
        ["docker", "run", "--rm", PARENT, "true"], env={**os.environ, **other_engine}, check=True, timeout=60
    )

    assert (place / "address").read_text() == before
    assert (place / "addr_assign_type").read_text() == "3\n"  # <linux/netdevice.h>: it was set by somebody
