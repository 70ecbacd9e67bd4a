"""The maker of bundles: the same files as a zip, a tar.gz or a folder, and archives that no tool would write."""

from __future__ import annotations

import io
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from mdai_build.bundle import check_entry_point, read_bundle
from mdai_build.errors import BundleError, Problem

ZipEntry = tuple["str | zipfile.ZipInfo", bytes]
TarEntry = tuple[tarfile.TarInfo, bytes]


class Making:
    """Functions that write bundles; test modules cannot import one another, so they get these by a fixture."""

    deploy = b"class MDAIModel:\n    def predict(self, data):\n        return []\n"
    model: Mapping[str, bytes] = {
        ".mdai/config.yaml": b"base_image: py38\n",
        ".mdai/mdai_deploy.py": deploy,
        ".mdai/requirements.txt": b"",
        "weights.bin": b"weights",
    }

    def entries(self, prefix: str = "model/") -> list[ZipEntry]:
        return [(f"{prefix}{path}", content) for path, content in self.model.items()]

    @staticmethod
    def unix(name: str, mode: int) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(name)
        info.create_system = 3
        info.external_attr = mode << 16
        return info

    @staticmethod
    def tar_info(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.type = kind
        info.linkname = link
        info.mode = mode
        return info

    def zip(
        self, path: Path, *more: ZipEntry, entries: Iterable[ZipEntry] | None = None, method: int = zipfile.ZIP_DEFLATED
    ) -> Path:
        """A zip with a right model in `model/` and more entries; or with `entries` alone."""
        every = [*(self.entries() if entries is None else entries), *more]
        with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as archive:
            warnings.simplefilter("ignore")  # zipfile warns of duplicate names, which are the point of some tests
            for name, content in every:
                archive.writestr(name, content)
        return path

    def tar(
        self,
        path: Path,
        *more: TarEntry,
        entries: Iterable[TarEntry] | None = None,
        mode: str = "w:gz",
        format: int = 1,
    ) -> Path:
        """A tar.gz with a right model in `model/` and more entries; or with `entries` alone."""
        model = [(self.tar_info(name), content) for name, content in self.entries() if isinstance(name, str)]
        with tarfile.open(path, mode, format=format) as archive:  # type: ignore[call-overload]
            for info, content in [*(model if entries is None else entries), *more]:
                info.size = info.size or len(content)
                archive.addfile(info, io.BytesIO(content))
        return path

    def folder(self, path: Path, files: Mapping[str, bytes] | None = None) -> Path:
        for name, content in (self.model if files is None else files).items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
        return path


@pytest.fixture(scope="session")
def making() -> Making:
    return Making()


@pytest.fixture(scope="session")
def only_problem():  # type: ignore[no-untyped-def]
    """Gives the one problem of a failure, and holds that it is told in full."""

    def only(failure: pytest.ExceptionInfo[BundleError]) -> Problem:
        (problem,) = failure.value.problems
        assert problem.where is not None
        assert problem.next_step or problem.expected
        return problem

    return only


@pytest.fixture
def check(making, tmp_path: Path) -> Callable[..., tuple[Problem, ...]]:
    """Checks a bundle with this text (or these bytes) as its mdai_deploy.py."""

    def run(source: str | bytes, python: str | None = None, weights: str = "weights.bin") -> tuple[Problem, ...]:
        content = source if isinstance(source, bytes) else source.encode("utf-8", "surrogatepass")
        folder = making.folder(tmp_path / "model", {**making.model, ".mdai/mdai_deploy.py": content, weights: b"w"})
        return check_entry_point(read_bundle(folder), python)

    return run
