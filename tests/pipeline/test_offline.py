"""What a folder of wheels lacks for a build without a network, by name, with the command that fetches it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdai_build.errors import UnavailableError
from mdai_build.pipeline.offline import check_wheels
from mdai_build.requirements import Requirement, Requirements
from mdai_build.resources import resource

NONE = Requirements()


def filled(folder: Path, python: str) -> Path:
    """A folder with a file of the right name for all that mdai-build itself installs."""
    key = f"py{python.replace('.', '')}"
    for file in ("uv.txt", f"preinstalled/{key}.txt", f"server/{key}.txt"):
        for text in resource("base_images", *file.split("/")).read_text().splitlines():
            name, pinned, version = text.split("#")[0].strip().partition("==")
            if pinned:
                (folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl").touch()
    return folder


@pytest.mark.parametrize("python", ["3.7", "3.8", "3.13"])
def test_a_folder_that_has_everything_is_taken(python: str, tmp_path: Path) -> None:
    check_wheels(filled(tmp_path, python), NONE, python, Path("model"))


def test_each_list_is_told_with_its_names_and_a_command(tmp_path: Path) -> None:
    folder = filled(tmp_path, "3.8")
    (folder / "numpy-1.23.3-py3-none-any.whl").rename(folder / "numpy-1.23.3-cp39-cp39-manylinux1_x86_64.whl")
    (folder / "uv-0.13.9-py3-none-any.whl").unlink(missing_ok=True)
    line = Requirement("index", "pandas==1.5", "pandas", "==1.5", (), None, (), ".mdai/requirements.txt", 1)
    (folder / "pandas-1.4-py3-none-any.whl").touch()
    with pytest.raises(UnavailableError) as caught:
        check_wheels(folder, Requirements(lines=(line,)), "3.8", Path("lungs.zip"))
    told = {problem.what.rpartition(" of ")[2].partition(":")[0]: problem for problem in caught.value.problems}
    assert set(told) == {"the preinstalled packages", "the requirements", "the installer"}
    numpy = told["the preinstalled packages"]
    assert "lacks 1 of" in numpy.what and "numpy==1.23.3" in numpy.what
    assert numpy.next_step and "--python-version 3.8 " in numpy.next_step and "manylinux_2_28_x86_64" in numpy.next_step
    assert f"mdai-build wheels lungs.zip {folder}" in (told["the requirements"].next_step or "")


@pytest.mark.parametrize("name", ["Pandas-1.5.0-py3-none-any.whl", "pandas-1.5.tar.gz"])
def test_a_requirement_is_found_by_name_and_version(name: str, tmp_path: Path) -> None:
    line = Requirement("index", "pandas==1.5", "pandas", "==1.5", (), None, (), ".mdai/requirements.txt", 1)
    folder = filled(tmp_path, "3.8")
    (folder / name).touch()
    (folder / "README").touch()
    check_wheels(folder, Requirements(lines=(line,)), "3.8", Path("model"))
