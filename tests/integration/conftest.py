"""What integration tests share. They need a container engine and the local parent; `make test` sees to both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from harness import loopback


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
