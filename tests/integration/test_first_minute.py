"""With a real engine: a model that `init` wrote passes, `doctor` is content, leftover images are found."""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
from pathlib import Path

import docker
import docker.errors
import pytest
from harness.runner import run_command

from mdai_build.engine import connect
from mdai_build.engine.leftovers import untagged_images
from mdai_build.settings import load_settings

TAG = "mdai-build-test/first-minute:latest"


def test_a_new_model_builds_and_passes_at_once(tmp_path: Path, cache_folder: Path, engine: docker.DockerClient) -> None:
    environment = {"MDAI_BUILD_CACHE_FOLDER": str(cache_folder), "MDAI_BUILD_PARENT": "local"}
    model, (first, second) = tmp_path / "model", (tmp_path / "first", tmp_path / "second")
    first.mkdir()
    second.mkdir()
    assert run_command(["init", str(model), "--task", "segmentation"], first, environment, 30).exit_code == 0
    try:
        run = run_command(["build", str(model), "--tag", TAG, "--json"], second, environment, 300)
        assert run.exit_code == 0, str(run)
        told = json.loads(run.stdout)
        assert told["smoke"]["passed"] and not told["warnings"]
    finally:
        with contextlib.suppress(docker.errors.ImageNotFound):
            engine.api.remove_image(TAG)


def test_doctor_finds_nothing_missing_where_the_other_tests_run(tmp_path: Path, cache_folder: Path) -> None:
    environment = {"MDAI_BUILD_CACHE_FOLDER": str(cache_folder), "MDAI_BUILD_PARENT": "local"}
    run = run_command(["doctor", "--json"], tmp_path, environment, 60)
    checks = {check["name"]: check for check in json.loads(run.stdout)["checks"]}
    assert checks["engine"]["outcome"] == checks["buildx"]["outcome"] == checks["parent image"]["outcome"] == "ok"
    assert json.loads(run.stdout)["seconds"] < 7


@pytest.fixture
def left_image(engine: docker.DockerClient) -> str:
    """An image without a tag and with a label of its own, as a failed run leaves one."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("empty"))
    label = "io.mdai-build.test.first-minute"
    told = engine.api.import_image_from_data(content.getvalue(), changes=[f"LABEL {label}=1"])
    return str(json.loads(told.splitlines()[-1])["status"])


def test_images_without_a_name_are_found_by_their_label_and_removed(left_image: str) -> None:
    label = "io.mdai-build.test.first-minute"
    ours = connect(load_settings().engine_folder)
    try:
        assert untagged_images(ours, label, older_than=3600) == ()
        found = untagged_images(ours, label, older_than=-60)
        assert left_image in [image.id for image in found]
        for image in found:
            ours.remove_image(image.id)
        assert untagged_images(ours, label, older_than=-60) == ()
    finally:
        ours.client.close()
