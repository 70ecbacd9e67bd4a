from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import uv
from packaging.utils import canonicalize_name

from mdai_build.requirements import preinstalled, preinstalled_file, read_requirements

PYTHONS = ("3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
CHECK = Path(__file__).parent / "preinstalled_check.py"

# interface-code.txt, "requirements.txt".
DOCUMENT = {
    "fastapi": "0.82.0",
    "msgpack": "1.0.4",
    "uvicorn": "0.18.3",
    "numpy": "1.23.3",
    "pydicom": "2.3.0",
    "pylibjpeg": "1.4.0",
    "pylibjpeg-libjpeg": "1.3.1",
    "pylibjpeg-openjpeg": "1.2.1",
    "pylibjpeg-rle": "1.3.0",
    "protobuf": "3.20.1",
}


def interpreter(python: str) -> str:
    """A Python of this version on this machine; skips the test where there is none."""
    on_path = shutil.which(f"python{python}")
    # pyenv's stand-ins on PATH fail for versions that are not switched on.
    if on_path and "shims" not in Path(on_path).parts:
        return on_path
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = sorted(root.glob(f"versions/{python}.*/bin/python"))
    if not found:
        pytest.skip(f"no Python {python} on this machine")
    return str(found[-1])


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.process
@pytest.mark.parametrize("python", PYTHONS)
def test_each_list_installs_and_works(python: str, tmp_path: Path) -> None:
    """Starts uv and the Python under test: only a real install shows that the pins are complete and import."""
    tool = uv.find_uv_bin()
    run(tool, "venv", "--quiet", "--no-project", "--python", interpreter(python), str(tmp_path / "env"))
    inside = str(tmp_path / "env" / "bin" / "python")
    pins = str(preinstalled_file(python))
    run(tool, "pip", "install", "--quiet", "--python", inside, "--no-deps", "--only-binary", ":all:", "-r", pins)
    # Without --no-deps nothing would show that the list leaves out what a package needs.
    run(tool, "pip", "check", "--quiet", "--python", inside)
    names = [pin.name for pin in preinstalled(python)]
    assert run(inside, str(CHECK), *names) == "ok\n"


@pytest.mark.parametrize("python", ["3.8", "3.9", "3.10"])
def test_the_documents_versions(python: str) -> None:
    pins = {pin.name: pin.version for pin in preinstalled(python)}
    assert DOCUMENT.items() <= pins.items()


def test_python_37_has_the_last_numpy_that_it_can() -> None:
    pins = {pin.name: pin.version for pin in preinstalled("3.7")}
    assert (DOCUMENT | {"numpy": "1.21.6"}).items() <= pins.items()


@pytest.mark.parametrize("python", PYTHONS)
def test_the_file_tells_each_difference_from_the_document(python: str) -> None:
    pins = {pin.name: pin.version for pin in preinstalled(python)}
    comments = "\n".join(re.findall(r"^#.*", preinstalled_file(python).read_text(encoding="utf-8"), re.M))
    assert DOCUMENT.keys() <= pins.keys()
    for name, version in DOCUMENT.items():
        if pins[name] != version:
            assert pins[name] in comments, name
            assert f"(the document: {version})" in comments, name


@pytest.mark.parametrize("python", PYTHONS)
def test_names_are_there_once(python: str) -> None:
    names = [canonicalize_name(pin.name) for pin in preinstalled(python)]
    assert len(names) == len(set(names))


def test_overrides_are_the_lines_that_change_a_preinstalled_package(bundle_of) -> None:
    bundle = bundle_of(
        "numpy==1.19.2\n"
        "pydicom\n"
        "msgpack>=1\n"
        "PyLibJPEG == 1.4.0\n"
        "protobuf<3.20; python_version < '3.9'\n"
        "uvicorn @ https://example.org/uvicorn-0.19.0-py3-none-any.whl\n"
        "click<8; python_version < '3.7'\n"
        "pillow==9.0\n"
    )
    found = read_requirements(bundle, "3.8").overrides
    assert [(override.name, override.preinstalled, override.line) for override in found] == [
        ("numpy", "1.23.3", 1),
        ("protobuf", "3.20.1", 5),
        ("uvicorn", "0.18.3", 6),
    ]
    assert found[0].asked == "==1.19.2"


def test_a_parent_with_its_own_python_has_nothing_preinstalled(bundle_of) -> None:
    assert read_requirements(bundle_of("numpy==1.19.2\n"), None).overrides == ()
