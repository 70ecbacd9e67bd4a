"""Bytecode of installed packages: made once, the same bytes wherever it is made, and only for what is truly there."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mdai_build.runtime import bytecode

VERSIONS = ["3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13"]
SCRIPT = Path(bytecode.__file__)
# Sets and strings that occur elsewhere are where two compilations may differ.
SOURCE = 'NAMES = {"path", "os", "join", %r}\n\ndef kind(x):\n    return x in {"alpha", "beta", "gamma"}\n'


def install(folder: Path, name: str, files: dict[str, str], installer: str = "uv", record: str | None = None) -> None:
    """A package as uv installs one."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    place = folder / f"{name}-1.0.dist-info"
    place.mkdir(parents=True)
    (place / "INSTALLER").write_text(installer)
    (place / "RECORD").write_text("".join(f'"{path}",sha256=x,1\n' for path in files) if record is None else record)


def many(number: int) -> dict[str, str]:
    return {f"many/m{index}.py": SOURCE % f"m{index}" for index in range(number)}


def compiled(folder: Path) -> dict[str, str]:
    """Digests of the bytecode in a folder, by the path of its source."""
    return {
        str(file.relative_to(folder).parent.parent / file.name.split(".")[0]): hashlib.sha256(
            file.read_bytes()
        ).hexdigest()
        for file in folder.rglob("*.pyc")
    }


def run(python: str, folder: Path, cache: Path, cores: str | None = None) -> None:
    words = [python, "-S", "-s", "-B", str(SCRIPT), str(cache), str(folder)]
    one_core = ["taskset", "-c", cores] if cores else []
    subprocess.run([*one_core, *words], check=True, env={**os.environ, "PYTHONHASHSEED": "0"})


@pytest.mark.process
@pytest.mark.parametrize("version", VERSIONS)
def test_every_python_makes_the_same_bytes_again(version: str, python_of: Callable[[str], str], tmp_path: Path) -> None:
    python = python_of(version)
    for name in ("one", "two"):
        install(tmp_path / name, "many", {**many(100), "many/__init__.py": "", "many/tests/test_m.py": "x = 1\n"})
    run(python, tmp_path / "one", tmp_path / "none")
    run(python, tmp_path / "two", tmp_path / "none", cores="0")
    first, second = compiled(tmp_path / "one"), compiled(tmp_path / "two")
    assert first == second
    assert len(first) == 101
    assert "many/tests/test_m" not in first
    words = [
        python,
        "-S",
        "-B",
        "-c",
        "import many.m7; print(many.m7.__spec__.cached, many.m7.kind.__code__.co_filename)",
    ]
    told = subprocess.run(words, cwd=tmp_path / "one", capture_output=True, text=True, check=True).stdout.split()
    assert Path(told[0]).is_file()
    # Python puts the true place in the file's stead; a traceback is to name it.
    assert (tmp_path / "one" / told[1]).samefile(tmp_path / "one" / "many" / "m7.py")


@pytest.mark.process
def test_what_was_compiled_is_in_the_cache_the_next_time(python_of: Callable[[str], str], tmp_path: Path) -> None:
    python = python_of("3.10")
    cache = tmp_path / "cache"
    archives = [cache / bytecode.ARCHIVES / name for name in ("a", "b", "c")]
    install(archives[0], "many", many(60))
    install(archives[1], "many", {**many(59), "many/m59.py": "another = 1\n"})
    install(archives[2], "other", {"other.py": "x = 1\n"})
    installed = tmp_path / "site"
    shutil.copytree(archives[0], installed)
    run(python, installed, cache)
    made = compiled(installed)
    assert compiled(archives[0]) == made
    # Another wheel of that name gets what is its own, and no more.
    assert compiled(archives[1]) == {name: digest for name, digest in made.items() if name != "many/m59"}
    assert compiled(archives[2]) == {}
    assert not list(cache.rglob("*.pyc.*"))


@pytest.mark.process
def test_bytecode_that_a_wheel_brings_reaches_no_other(python_of: Callable[[str], str], tmp_path: Path) -> None:
    """A wheel that calls itself by another's name cannot put its own bytecode beside the other's sources."""
    python = python_of("3.10")
    cache = tmp_path / "cache"
    honest = cache / bytecode.ARCHIVES / "honest"
    install(honest, "many", many(3))
    liar = tmp_path / "site"
    install(liar, "many", many(3))
    forged = liar / "many" / "__pycache__" / "m1.cpython-310.pyc"
    forged.parent.mkdir()
    forged.write_bytes(b"forged")
    run(python, liar, cache)
    assert forged.read_bytes() != b"forged"
    assert compiled(honest) == compiled(liar)
    forged.write_bytes(b"forged")
    run(python, liar, cache)
    assert forged.read_bytes() == b"forged"  # complete as it seems, it is left alone; so is the cache
    assert compiled(honest)["many/m1"] != hashlib.sha256(b"forged").hexdigest()


@pytest.mark.process
def test_files_that_no_python_reads_stop_nothing(python_of: Callable[[str], str], tmp_path: Path) -> None:
    files = {
        "bad/old.py": "print 'x'\n",
        "bad/nul.py": "x = '\0'\n",
        "bad/deep.py": "(" * 5000 + ")" * 5000,
        "bad/good.py": "",
    }
    install(tmp_path / "site", "bad", files)
    run(python_of("3.9"), tmp_path / "site", tmp_path / "none")
    assert list(compiled(tmp_path / "site")) == ["bad/good"]


@pytest.mark.process
def test_a_record_that_leads_elsewhere_is_not_followed(python_of: Callable[[str], str], tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.py").write_text("x = 1\n")
    folder = tmp_path / "site"
    record = "../outside/a.py,,\n/etc/a.py,,\nlink/a.py,,\n./x.py,,\nmissing.py,,\n\0.py,,\n"
    install(folder, "odd", {}, record=record)
    (folder / "link").symlink_to(outside)
    run(python_of("3.10"), folder, tmp_path / "none")
    assert compiled(tmp_path) == {}


def test_packages_of_other_installers_are_left_alone(tmp_path: Path) -> None:
    install(tmp_path, "many", many(2), installer="conda")
    (tmp_path / "none-1.0.dist-info").mkdir()
    assert list(bytecode.missing(str(tmp_path))) == []


def test_batches_depend_on_their_package_alone(tmp_path: Path) -> None:
    install(tmp_path, "many", many(100))
    before = list(bytecode.missing(str(tmp_path)))
    install(tmp_path, "another", {"another.py": ""})
    after = list(bytecode.missing(str(tmp_path)))
    assert [batch.package for batch in after] == ["another-1.0.dist-info", *(batch.package for batch in before)]
    assert after[1:] == before
    assert sum(len(batch.files) for batch in before) == 100
