"""Which engines can be lent a folder of this machine."""

from __future__ import annotations

import docker
import pytest

from mdai_build.engine import Engine, require_local
from mdai_build.engine.process import Environment
from mdai_build.errors import UnavailableError


def engine_at(host: str) -> Engine:
    return Engine(docker.DockerClient(base_url="unix:///nowhere", version="1.43"), host, "28.0", Environment({}))


@pytest.mark.parametrize(
    "host", ["unix:///var/run/docker.sock", "npipe:////./pipe/docker_engine", "tcp://127.0.0.1:2375", "tcp://[::1]:1"]
)
def test_an_engine_of_this_machine_sees_its_folders(host: str) -> None:
    require_local(engine_at(host))


@pytest.mark.parametrize("host", ["ssh://me@elsewhere.example", "tcp://10.1.2.3:2376", "https://elsewhere.example"])
def test_an_engine_elsewhere_is_refused_with_what_to_do(host: str) -> None:
    with pytest.raises(UnavailableError) as refusal:
        require_local(engine_at(host))
    (problem,) = refusal.value.problems
    assert problem.code == "engine.remote"
    assert "--local --python" in str(problem.next_step)
    assert "me@" not in problem.what
