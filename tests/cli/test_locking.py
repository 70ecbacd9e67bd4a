"""`mdai-build lock` where no engine and no network is needed: wheels of the bundle alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from harness.private import Account, private_files
from schema_checks import check_printed

COMMAND = [sys.executable, "-m", "mdai_build.cli"]
LOCK = Path(".mdai", "requirements.lock")
pytestmark = pytest.mark.process  # uv is started


def run(folder: Path, *words: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    own = {"MDAI_BUILD_CACHE_FOLDER": str(folder / "cache"), "DOCKER_HOST": "unix:///nowhere"}
    environment = {**os.environ, **own, **settings}
    done = subprocess.run(
        [*COMMAND, *map(str, words)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    check_printed(words, done.stdout)
    return done


def write_wheel(folder: Path, name: str, version: str, *needs: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(
        f"Requires-Dist: {need}\n" for need in needs
    )
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    mdai = folder / ".mdai"
    write_wheel(mdai, "probe_top", "1.0", "probe-dependency")
    write_wheel(mdai / "more", "probe_dependency", "1.0")
    (mdai / "config.yaml").write_text("base_image: py310\n")
    (mdai / "mdai_deploy.py").write_text("class MDAIModel:\n    def predict(self, data):\n        return []\n")
    (mdai / "requirements.txt").write_text("--no-index\n-f more\n./probe_top-1.0-py3-none-any.whl\n")
    return folder


def test_a_folder_is_locked_checked_and_kept_up_to_date(tmp_path: Path, model: Path) -> None:
    told = json.loads(run(tmp_path, "lock", model, "--json").stdout)
    assert (told["exit_code"], told["packages"], told["in_bundle"], told["changed"]) == (0, 2, True, True)
    assert told["resolved_in"] == "host"
    text = (model / LOCK).read_text()
    assert "\nprobe-dependency==1.0 \\\n    --hash=sha256:" in text
    assert "\n--find-links ./.mdai/more\n" in text
    assert run(tmp_path, "lock", model, "--check").returncode == 0
    checked = run(tmp_path, "check", model)
    assert "2 packages, exactly as .mdai/requirements.lock says" in checked.stdout

    # A newer version alone changes nothing, until it is asked for.
    write_wheel(model / ".mdai" / "more", "probe_dependency", "2.0")
    assert not json.loads(run(tmp_path, "lock", model, "--json").stdout)["changed"]
    assert (model / LOCK).read_text() == text
    assert json.loads(run(tmp_path, "lock", model, "--upgrade", "--json").stdout)["changed"]
    assert "\nprobe-dependency==2.0 " in (model / LOCK).read_text()

    with (model / ".mdai" / "requirements.txt").open("a") as stream:
        stream.write("probe-dependency<2\n")
    stale = run(tmp_path, "lock", model, "--check", "--json")
    assert stale.returncode == json.loads(stale.stdout)["exit_code"] == 4
    assert f"run `mdai-build lock {model}`" in stale.stderr
    assert run(tmp_path, "check", model).returncode == 4
    assert run(tmp_path, "lock", model).returncode == 0
    assert "\nprobe-dependency==1.0 " in (model / LOCK).read_text()


def test_the_lock_of_an_archive_is_written_beside_it(tmp_path: Path, model: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "archive"), "zip", model))
    content = archive.read_bytes()
    done = run(tmp_path, "lock", archive)
    assert done.returncode == 0, done.stderr
    assert "it belongs at .mdai/requirements.lock in the bundle" in done.stdout
    assert archive.read_bytes() == content
    assert "the bundle carries no lock" in run(tmp_path, "lock", archive, "--check").stderr
    beside = tmp_path / "archive.requirements.lock"
    assert run(tmp_path, "lock", archive, "--check", "-o", beside).returncode == 0
    # Where it belongs, the same lock holds.
    shutil.copy(beside, model / LOCK)
    assert run(tmp_path, "lock", model, "--check").returncode == 0


def test_a_wheel_that_was_exchanged_under_its_lock(tmp_path: Path, model: Path) -> None:
    assert run(tmp_path, "lock", model).returncode == 0
    before = (model / LOCK).read_text()
    write_wheel(model / ".mdai", "probe_top", "1.0", "probe-dependency", "probe-dependency<9")
    assert json.loads(run(tmp_path, "lock", model, "--json").stdout)["changed"]
    assert (model / LOCK).read_text() != before


def test_what_cannot_be_locked(tmp_path: Path, model: Path) -> None:
    requirements = model / ".mdai" / "requirements.txt"
    kept = requirements.read_bytes()
    overwritten = run(tmp_path, "lock", model, "-o", requirements)
    assert (overwritten.returncode, requirements.read_bytes()) == (2, kept)
    assert run(tmp_path, "lock", model, "--check", "--upgrade").returncode == 2

    requirements.write_text("--no-index\nprobe-nowhere\n")
    nowhere = run(tmp_path, "lock", model)
    assert nowhere.returncode == 4 and "probe-nowhere" in nowhere.stderr
    # A source must be built, which is never done on this machine; there is no engine here.
    (model / "source").mkdir()
    (model / "source" / "setup.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    requirements.write_text("./../source\n")
    built = run(tmp_path, "lock", model)
    assert built.returncode == 5 and "no container engine answers" in built.stderr
    assert not (tmp_path / "ran").exists()
    assert not (model / LOCK).exists()

    (model / ".mdai" / "config.yaml").write_text("base_image: custom\n")
    (model / ".mdai" / "Dockerfile").write_text("FROM debian:12\n")
    assert "leaves the Python to the parent" in run(tmp_path, "lock", model).stderr


def test_a_private_index_is_asked_and_never_written_down(tmp_path: Path, model: Path) -> None:
    account = Account("robot", "secret:7Qz@3%")
    write_wheel(tmp_path / "served", "probe_private", "1.5")
    (model / ".mdai" / "requirements.txt").write_text("probe-private\n")
    with private_files(tmp_path / "served", account) as served:
        index = f"{served.url_with(account)}/simple/"
        refused = run(tmp_path, "lock", model, MDAI_BUILD_INDEX_URL=f"{served.url}/simple/")
        assert refused.returncode == 5, refused.stderr
        done = run(tmp_path, "-v", "lock", model, MDAI_BUILD_INDEX_URL=index)
        assert done.returncode == 0, done.stderr
    text = (model / LOCK).read_text()
    assert "\nprobe-private==1.5 " in text
    for written in (text, done.stdout, done.stderr):
        assert "7Qz" not in written
    assert "127.0.0.1" not in text
