"""What integration tests share. They need a container engine and the local parent; `make test` sees to both."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import docker
import pytest
from harness import loopback
from harness.gpu import Machine

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
PARENTS = ("mdai-build/parent:local-cpu", "mdai-build/parent:local-gpu")


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """A client of the engine that mdai-build itself finds; without one the test fails."""
    from mdai_build.engine import connect
    from mdai_build.settings import load_settings

    client = connect(load_settings().engine_folder).client
    yield client
    client.close()


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our own cache, so that tests leave nothing in the user's; shared, since that is how it is used."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def links_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page for `--find-links` with the wheel of mdai_links_probe."""
    with loopback.links_page(tmp_path_factory.mktemp("links")) as url:
        yield url


@pytest.fixture(scope="session")
def git_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A git repository over HTTP with the package mdai_git_probe."""
    with loopback.git_server(tmp_path_factory.mktemp("git")) as url:
        yield url


@pytest.fixture(scope="session")
def gpu_machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """What GPUs the machine of `other_engine` has."""
    return Machine(tmp_path_factory.mktemp("gpus"))


@pytest.fixture(scope="session")
def other_engine(engine: docker.DockerClient, gpu_machine: Machine) -> Iterator[Mapping[str, str]]:
    """Environment variables that lead to a private engine on the containerd image store, which has the local parents.

    It can give GPUs, if `gpu_machine` has some.
    """
    from mdai_build.engine import connect
    from mdai_build.settings import load_settings

    script = [sys.executable, str(ROOT / "scripts" / "engine.py")]
    subprocess.run([*script, "stop", "--containerd-store"], check=True)  # one that knows no GPUs
    with_hook = {**os.environ, "PATH": f"{gpu_machine.programs}:{os.environ['PATH']}"}
    subprocess.run([*script, "start", "--containerd-store"], env=with_hook, check=True)
    try:
        line = subprocess.run(
            [*script, "env", "--containerd-store"], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        variables = dict(word.split("=", 1) for word in line.split()[1:])
        variables["PATH"] = variables["PATH"].replace('"$PATH"', os.environ["PATH"])
        there = {**os.environ, **variables}
        found = connect(load_settings().engine_folder)
        found.client.close()
        here = {**os.environ, **found.environment.values}
        missing = [parent for parent in PARENTS if layers_of(parent, there) != layers_of(parent, here)]
        if missing:
            with subprocess.Popen(["docker", "save", *missing], env=here, stdout=subprocess.PIPE) as save:
                subprocess.run(["docker", "load"], env=there, stdin=save.stdout, check=True, stdout=subprocess.DEVNULL)
        yield variables
    finally:
        subprocess.run([*script, "stop", "--containerd-store"], check=True)


def layers_of(image: str, environment: Mapping[str, str]) -> str:
    """What an image of an engine holds, if it is there. Its id is another on each image store."""
    words = ["docker", "image", "inspect", "--format", "{{.RootFS.Layers}}", image]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False).stdout


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The `host:port` of an image registry on loopback."""
    from registry import serving

    from mdai_build.settings import load_settings

    with serving(load_settings().engine_folder, tmp_path_factory.mktemp("registry")) as address:
        yield address
