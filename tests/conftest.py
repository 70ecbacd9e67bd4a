"""Shared fixtures. Unit tests may not start processes: a test that must is marked `process` and says why."""

from __future__ import annotations

import io
import os
import subprocess
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

INTEGRATION = Path(__file__).parent / "integration"
# These build on an engine that is started for them.
ON_AN_ENGINE_OF_THEIR_OWN = ("test_gpu_engine.py", "test_image_stores.py", "test_registry.py", "test_reproducible.py")


class SideBySide(LoadScopeScheduling):
    """What runs beside what, with `pytest -n`: one file beside another; of those on an engine, one after the other.

    Tests on one engine would see each other's images and containers, and a file's tests share what its fixtures made.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        if not file.startswith("tests/integration/"):
            return file
        return "engine of its own" if file.endswith(ON_AN_ENGINE_OF_THEIR_OWN) else "engine"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> SideBySide:
    return SideBySide(config, log)


def pytest_configure() -> None:
    """Examples are served where they lie: bytecode beside them would be in the way of the tests that come after."""
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if INTEGRATION in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(autouse=True)
def no_processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids starting a process, except in tests marked `process` or `integration`."""
    if request.node.get_closest_marker("process") or request.node.get_closest_marker("integration"):
        return

    monkeypatch.setenv("MDAI_BUILD_OFFLINE", "true")

    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise AssertionError(f"a unit test tried to start a process: {args!r}")

    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
    for name in ("posix_spawn", "posix_spawnp", "system", "fork", "forkpty"):
        monkeypatch.setattr(os, name, refuse)


@pytest.fixture(scope="session")
def wheel() -> Callable[..., bytes]:
    """Makes wheels that installers can read, from a file name and what it requires; they hold their metadata alone."""

    def make(filename: str, requires: Sequence[str] = ()) -> bytes:
        name, version, *tags = filename.removesuffix(".whl").split("-")
        info = f"{name}-{version}.dist-info"
        wanted = "".join(f"Requires-Dist: {line}\n" for line in requires)
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{wanted}")
            archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {'-'.join(tags)}\n")
            archive.writestr(f"{info}/RECORD", "")
        return content.getvalue()

    return make
