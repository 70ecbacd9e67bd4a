"""The documentation's commands, run: the tutorial from its first line to its last, and what other pages mark."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import docker
import docker.errors
import pytest
from doc_blocks import DOCS, README, STORIES, blocks, pages
from harness.pages import Reader

TUTORIAL = DOCS / "tutorial.md"
PAGES = [page for page in pages() if page.name not in STORIES and any(block.runs for block in blocks(page))]
IMAGE = "body:1"
CONTAINER = "my-model"
OTHERS = ("mymodel:1", "mdai-build/model:latest", "mdai-build/mymodel:latest", "mdai-build/my-model:latest")


@pytest.fixture(scope="module")
def tutorial(
    tmp_path_factory: pytest.TempPathFactory, cache_folder: Path, engine: docker.DockerClient
) -> Iterator[Path]:
    """The folder in which somebody has done what the tutorial says; its image is there as long as the tests run."""
    folder = tmp_path_factory.mktemp("tutorial")
    clean_up(engine)  # of a run that was killed: an image that is there already is not built
    try:
        count = Reader(folder, {"MDAI_BUILD_CACHE_FOLDER": str(cache_folder)}, {}).follow(TUTORIAL)
        assert count > 7
        yield folder
    finally:
        clean_up(engine)


def clean_up(engine: docker.DockerClient) -> None:
    """Removes what the pages' commands have started and tagged."""
    with contextlib.suppress(docker.errors.NotFound):
        engine.api.remove_container(CONTAINER, force=True)
    for tag in (IMAGE, *OTHERS):
        with contextlib.suppress(docker.errors.ImageNotFound):
            engine.api.remove_image(tag)


def test_the_tutorial_ends_with_a_tested_image(tutorial: Path, engine: docker.DockerClient) -> None:
    assert engine.images.get(IMAGE).labels["org.opencontainers.image.title"] == "body"
    assert "CT_small.dcm" in (tutorial / "report.html").read_text(encoding="utf-8")
    assert (tutorial / "answers" / "01-CT-small-dcm.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page(page: Path, tutorial: Path, tmp_path: Path, cache_folder: Path, engine: docker.DockerClient) -> None:
    desk = tmp_path / "desk"
    shutil.copytree(tutorial / "body", desk / "model")
    shutil.copytree(tutorial / "body", desk / "path" / "to" / "my-model", ignore=shutil.ignore_patterns(".mdai"))
    for name in ("model.zip", "mymodel.zip"):
        shutil.copy(tutorial / "body.zip", desk / name)
    for name in ("study", "folder"):
        shutil.copytree(tutorial / "body" / "samples", desk / name)
    engine.api.tag(IMAGE, "mymodel", "1")
    environment = {"MDAI_BUILD_CACHE_FOLDER": str(cache_folder), "MDAI_BUILD_PARENT": "local"}
    reader = Reader(desk, environment, {"IMAGE": IMAGE, "/path/to/checkout/.venv/bin/mdai-build": "mdai-build"})
    assert sum(reader.run(block) for block in blocks(page) if block.runs and block.has_commands)


def test_the_readme_is_among_them() -> None:
    assert README in PAGES and len(PAGES) >= 8
