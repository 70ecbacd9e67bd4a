"""`render -o DIR` gives a folder that plain `docker build DIR` builds, the same bytes every time."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import docker
from harness.case import BUNDLES
from harness.packing import fingerprint
from harness.runner import Run, run_command

from mdai_build.engine import connect
from mdai_build.settings import load_settings

MODEL = BUNDLES / "minimal" / "model"
_SENT = re.compile(r"transferring context: ([0-9.]+)([kMG]?B) .*done")
TAG = "mdai-build-test/rendered:latest"


def render(place: Path, cache_folder: Path, *words: str, model: Path = MODEL) -> Run:
    place.mkdir()
    command = ["render", str(model), "--parent", "local", *words]
    run = run_command(command, place, {"MDAI_BUILD_CACHE_FOLDER": str(cache_folder)}, timeout=60)
    assert run.exit_code == 0, str(run)
    return run


def test_the_dockerfile_goes_to_standard_output(tmp_path: Path, cache_folder: Path) -> None:
    first = render(tmp_path / "first", cache_folder)
    assert first.stdout.startswith("#") and "\nFROM mdai-build/parent:local-cpu AS " in first.stdout
    assert first.left == ()
    assert render(tmp_path / "second", cache_folder).stdout == first.stdout


def test_plain_docker_builds_the_folder(engine: docker.DockerClient, tmp_path: Path, cache_folder: Path) -> None:
    folder = tmp_path / "context"
    render(tmp_path / "first", cache_folder, "-o", str(folder))
    again = tmp_path / "again"
    render(tmp_path / "second", cache_folder, "-o", str(again))
    assert fingerprint(again) == fingerprint(folder)

    found = connect(load_settings().engine_folder)
    try:
        built = subprocess.run(
            found.command("build", "--tag", TAG, str(folder)),
            env=dict(found.environment.values),
            capture_output=True,
            text=True,
        )
        assert built.returncode == 0, built.stderr
        assert engine.api.inspect_image(TAG)["Config"]["WorkingDir"] == "/src"
        engine.api.remove_image(TAG)
    finally:
        found.client.close()


def test_a_changed_requirement_sends_no_weights_again(tmp_path: Path, cache_folder: Path) -> None:
    """A mount of the context that can be written to makes BuildKit forget what it has of it."""
    model = tmp_path / "model"
    shutil.copytree(MODEL, model)
    (model / "weights.bin").write_bytes(os.urandom(8 * 2**20))
    (model / ".mdai" / "requirements.txt").write_text("six==1.16.0\n", encoding="utf-8")
    folder = tmp_path / "context"
    render(tmp_path / "place", cache_folder, "-o", str(folder), model=model)
    found = connect(load_settings().engine_folder)

    def sent() -> float:
        words = found.command("buildx", "build", "--progress=plain", "--output=type=cacheonly", str(folder))
        built = subprocess.run(words, env=dict(found.environment.values), capture_output=True, text=True, check=True)
        last = _SENT.findall(built.stderr)[-1]
        return float(last[0]) * {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}[last[1]]

    try:
        assert sent() > 8e6
        for version in ("1.15.0", "1.16.0"):
            (folder / "_mdai" / "requirements" / "_install.txt").write_text(f"six=={version}\n", encoding="utf-8")
            assert sent() < 1e6
    finally:
        found.client.close()


def test_an_installer_that_is_made_anew_makes_no_packages_anew(tmp_path: Path, cache_folder: Path) -> None:
    """BuildKit forgets it before them, as no image holds it; what mounts it goes by its content."""
    folder = tmp_path / "context"
    render(tmp_path / "place", cache_folder, "-o", str(folder))
    found = connect(load_settings().engine_folder)
    try:
        words = found.command("buildx", "build", "--progress=plain", "--output=type=cacheonly", "--target=packages")
        for more in ([], ["--no-cache-filter=installer"]):
            command = [*words, *more, str(folder)]
            built = subprocess.run(command, env=dict(found.environment.values), capture_output=True, text=True)
            assert built.returncode == 0, built.stderr
    finally:
        found.client.close()
    steps = dict(re.findall(r"^#(\d+) \[(installer|packages) 1/1\]", built.stderr, re.MULTILINE))
    ended = {
        steps[number]: how
        for number, how in re.findall(r"^#(\d+) (DONE|CACHED)", built.stderr, re.MULTILINE)
        if number in steps
    }
    assert ended == {"installer": "DONE", "packages": "CACHED"}
