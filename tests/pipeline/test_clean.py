"""What `clean` removes and what it leaves, without an engine."""

from __future__ import annotations

import os
import time
import zipfile
from pathlib import Path

import pytest

from mdai_build.bundle import read_bundle
from mdai_build.context import context_folder
from mdai_build.pipeline.clean import CleanReport, clean
from mdai_build.pipeline.store import unpack
from mdai_build.scratch import scratch_folder
from mdai_build.settings import Settings

DAY = 24 * 3600


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return Settings(cache_folder=tmp_path / "cache", engine_folder=tmp_path / "engine")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(".mdai/config.yaml", "base_image: py38\n")
        file.writestr(".mdai/mdai_deploy.py", "class MDAIModel:\n    def predict(self, data):\n        return []\n")
        file.writestr("net.bin", "n" * 5000)
    time.sleep(0.15)
    return path


def outcomes(report: CleanReport) -> dict[str, str]:
    return {item.name: item.outcome for item in report.items}


def fill(settings: Settings, name: str, days_old: float) -> Path:
    folder = settings.cache_folder / name / "model"
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(b"x" * 1000)
    for path in (folder / "file", folder):
        os.utime(path, (time.time() - days_old * DAY,) * 2)
    return folder


def test_a_cache_that_is_not_there(settings: Settings) -> None:
    report = clean(settings)
    assert report.bytes_removed == 0 and not report.problems
    assert outcomes(report)["images"] == "not reached"
    assert not settings.cache_folder.exists()


def test_what_was_used_lately_stays_and_with_all_nothing_does(settings: Settings, archive: Path) -> None:
    unpack(read_bundle(archive), settings)
    old, new = fill(settings, "reports", 40), fill(settings, "server-packages", 1)
    assert clean(settings, dry_run=True).bytes_removed == 1000
    assert old.exists()
    report = clean(settings)
    assert (outcomes(report)["pictures"], outcomes(report)["unpacked bundles"]) == ("removed", "kept")
    assert not old.exists() and new.exists()
    report = clean(settings, everything=True)
    assert outcomes(report)["unpacked bundles"] == "removed" and report.bytes_removed > 6000
    assert not new.exists()
    assert not [path for path in (settings.cache_folder / "bundles" / "objects").rglob("*") if path.is_file()]


def test_nothing_is_taken_from_a_build_that_is_going_on(settings: Settings, archive: Path) -> None:
    bundle = read_bundle(archive)
    unpacked = unpack(bundle, settings)
    with context_folder(settings.cache_folder / "contexts", bundle, lambda: None) as context:
        context.mkdir()
        (context / "Dockerfile").write_text("FROM scratch\n")
        report = clean(settings, everything=True)
        assert outcomes(report)["unpacked bundles"] == "in use"
        assert (context / "Dockerfile").is_file()
        assert all(file.source.is_file() for file in unpacked.files)
    del unpacked
    clean(settings, everything=True)
    assert not context.exists()


def test_what_killed_runs_left_behind_goes(settings: Settings, tmp_path: Path) -> None:
    with scratch_folder() as used:
        for name in ("mdai-build-run-abcdefgh", "mdai-build-checkout"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "file").write_text("x" * 1000)
        assert clean(settings, dry_run=True).bytes_removed == 1000
        assert clean(settings).bytes_removed == 1000
        assert {path.name for path in tmp_path.iterdir()} == {"mdai-build-checkout", used.name}


@pytest.mark.skipif(os.getuid() == 0, reason="root may remove everything")
def test_what_cannot_be_removed_is_told(settings: Settings) -> None:
    folder = fill(settings, "reports", 40)
    folder.parent.chmod(0o555)
    try:
        report = clean(settings)
    finally:
        folder.parent.chmod(0o755)
    assert [problem.code for problem in report.problems] == ["clean.cannot-remove"]
