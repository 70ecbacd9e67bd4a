"""A bundle is locked, built twice from its lock without any cache, and its image says what is in it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from harness.case import BUNDLES
from harness.packing import write_wheel
from harness.runner import Run, run_command

from mdai_build.canonical.bytecode import normal_pyc
from mdai_build.engine import connect
from mdai_build.settings import load_settings

WHEEL = "mdai_local_probe-0.3-py3-none-any.whl"
SITE_PACKAGES = "/opt/conda/envs/mdai-env/lib/python3.10/site-packages"
TAGS = ("mdai-build-test/locked:1", "mdai-build-test/locked:2")


@pytest.fixture
def model(tmp_path: Path, git_url: str) -> Path:
    """Asks for a package of every kind: from the index, a preinstalled one in another version, a wheel, a git tag."""
    folder = tmp_path / "model"
    shutil.copytree(BUNDLES / "minimal" / "model", folder)
    (folder / ".mdai" / "config.yaml").write_text("base_image: py310\nenv:\n  API_TOKEN: hidden-value\n")
    (folder / ".mdai" / "requirements.txt").write_text(f"colorama\nclick<8.2\n./{WHEEL}\ngit+{git_url}@v2\n")
    write_wheel(folder / ".mdai" / WHEEL, "mdai_local_probe", "ORIGIN = 'local wheel'\n")
    return folder


@pytest.fixture
def images(engine: docker.DockerClient) -> Iterator[tuple[str, ...]]:
    yield TAGS
    for tag in TAGS:
        with contextlib.suppress(docker.errors.ImageNotFound):
            engine.api.remove_image(tag, force=True)


def run(tmp_path: Path, cache_folder: Path, *words: str, exit_code: int = 0) -> Run:
    place = Path(tempfile.mkdtemp(dir=tmp_path))
    ran = run_command(words, place, {"MDAI_BUILD_CACHE_FOLDER": str(cache_folder)}, timeout=300)
    assert ran.exit_code == exit_code, str(ran)
    assert ran.left == ()
    return ran


def build_without_caches(folder: Path, tag: str) -> None:
    """Builds a rendered context by plain docker. What the installers cached in earlier builds is out of their reach."""
    dockerfile = folder / "Dockerfile"
    dockerfile.write_text(re.sub(r"type=cache,id=[^,]*,", "type=tmpfs,", dockerfile.read_text()))
    found = connect(load_settings().engine_folder)
    words = ("buildx", "build", "--load", "--network", "host", "--no-cache-filter", "environment,packages,model")
    try:
        built = subprocess.run(
            found.command(*words, "--tag", tag, str(folder)),
            env=dict(found.environment.values),
            capture_output=True,
            text=True,
        )
    finally:
        found.client.close()
    assert built.returncode == 0, built.stderr


def files_of(engine: docker.DockerClient, tag: str) -> dict[str, str]:
    """A digest of each file in the model's site-packages, by its path; of conda's own bytecode, of its normal form."""
    container = engine.containers.create(tag, ["-"])
    try:
        with tempfile.TemporaryFile() as stream:
            for part in container.get_archive(SITE_PACKAGES)[0]:
                stream.write(part)
            stream.seek(0)
            with tarfile.open(fileobj=stream) as archive:
                return {member.name: digest_of(archive, member) for member in archive if member.isfile()}
    finally:
        container.remove()


def digest_of(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    stream = archive.extractfile(member)
    assert stream is not None
    content = stream.read()
    if re.match(r"site-packages/(?:pip|setuptools|wheel)/.*\.pyc$", member.name):
        content = normal_pyc(content, member.mtime)
    return hashlib.sha256(content).hexdigest()


def test_two_builds_of_one_lock(
    engine: docker.DockerClient, images: tuple[str, ...], model: Path, tmp_path: Path, cache_folder: Path
) -> None:
    locked = run(tmp_path, cache_folder, "lock", str(model), "--parent", "local", "--network", "host", "--json")
    told = json.loads(locked.stdout)
    assert (told["resolved_in"], told["in_bundle"], told["packages"]) == ("container", True, 4)
    assert [re.sub(r"\w{40}$", "COMMIT", line.split("/")[-1]) for line in told["without_hash"]] == ["probe.git@COMMIT"]
    lock = (model / ".mdai" / "requirements.lock").read_text()
    assert "click==8.1.8 " in lock and f"./.mdai/{WHEEL} " in lock
    run(tmp_path, cache_folder, "lock", str(model), "--check")

    contexts = [tmp_path / "first", tmp_path / "second"]
    for context, tag in zip(contexts, images, strict=True):
        run(tmp_path, cache_folder, "render", str(model), "--parent", "local", "-o", str(context))
        build_without_caches(context, tag)
    first, second = (files_of(engine, tag) for tag in images)
    assert first.keys() == second.keys()
    differing = {name for name in first if first[name] != second[name]}
    # Of these, docs/locks.md says why they cannot be the same.
    timed = r"mdai_local_probe-0\.3\.dist-info/(?:uv_cache\.json|RECORD)"
    assert {name for name in differing if not re.search(rf"/{timed}$", name)} == set()

    inspects(run(tmp_path, cache_folder, "inspect", images[0], "--json").stdout)
    sbom = run(tmp_path, cache_folder, "inspect", images[0], "--sbom").stdout
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(sbom) is None
    assert run(tmp_path, cache_folder, "inspect", images[1], "--sbom").stdout == sbom
    assert [engine.containers.list(all=True, filters={"ancestor": tag}) for tag in images] == [[], []]

    (model / ".mdai" / "requirements.txt").write_text("colorama\n")
    for words in (("lock", "--check"), ("check", "--offline")):
        refused = run(tmp_path, cache_folder, words[0], str(model), *words[1:], exit_code=4)
        assert "the lock was made from another .mdai/requirements.txt" in refused.stderr


def inspects(printed: str) -> None:
    told: dict[str, Any] = json.loads(printed)
    assert told["built"]["parent"] == "mdai-build/parent:local-cpu"
    assert told["built"]["bundle_digest"].startswith("sha256:")
    assert "API_TOKEN" in told["runs"]["environment"] and "hidden-value" not in printed
    assert told["runs"]["user"] == "1000:1000"
    packages = {(package["group"], package["name"].replace("_", "-")): package for package in told["packages"]}
    assert {group for group, _ in packages} == {"model", "server", "conda"}
    click = packages["model", "click"]
    assert (click["version"], click["preinstalled"], click["changed"]) == ("8.1.8", "8.5.1", True)
    assert packages["model", "numpy"]["changed"] is False
    assert packages["model", "mdai-local-probe"]["source"] == f".mdai/{WHEEL}"
    assert re.fullmatch(
        r"git\+http://127\.0\.0\.1:\d+/probe\.git@\w{40}", packages["model", "mdai-git-probe"]["source"]
    )
    instructions = " ".join(layer["made_by"] for layer in told["layers"])
    # BuildKit writes the steps of a stage that branches off into the image's history, unless it stands before.
    assert "/pins/preinstalled/py310.txt" in instructions and "--target /opt/mdai/packages" not in instructions


def test_an_image_of_someone_else(tmp_path: Path, cache_folder: Path) -> None:
    found = run(tmp_path, cache_folder, "inspect", "mdai-build/parent:local-cpu")
    assert "mdai-build did not build this image" in found.stdout
    refused = run(tmp_path, cache_folder, "inspect", "mdai-build/parent:local-cpu", "--sbom", exit_code=5)
    assert "does not say what is installed in it" in refused.stderr
    missing = run(tmp_path, cache_folder, "inspect", "mdai-build-test/none:1", exit_code=5)
    assert "holds no image" in missing.stderr
