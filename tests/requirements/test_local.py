"""Wheels, sdists and folders of the bundle."""

from __future__ import annotations

import pytest

from mdai_build.errors import Problem, RequirementsError
from mdai_build.requirements import install_file, read_requirements

PURE = "pkg-1.0-py3-none-any.whl"


def only(bundle, python: str | None = "3.8") -> Problem:
    with pytest.raises(RequirementsError) as caught:
        read_requirements(bundle, python)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("written", "lies_at"),
    [
        (f"./{PURE}", f".mdai/{PURE}"),
        (PURE, f".mdai/{PURE}"),
        (f"wheels/{PURE}", f".mdai/wheels/{PURE}"),
        (f"./wheels/../{PURE}", f".mdai/{PURE}"),
        (f"../{PURE}", PURE),
        (f"wheels/{PURE}", f"wheels/{PURE}"),
        (f"./my wheels/{PURE}", f".mdai/my wheels/{PURE}"),
        (f"./räder/{PURE}", f".mdai/räder/{PURE}"),
        ("./pkg-1.0.tar.gz", ".mdai/pkg-1.0.tar.gz"),
        ("pkg-1.0.zip", ".mdai/pkg-1.0.zip"),
    ],
)
def test_paths_are_found(bundle_of, written: str, lies_at: str) -> None:
    requirements = read_requirements(bundle_of(f"{written}\n", {lies_at: b"x"}), "3.8")
    (line,) = requirements.lines
    assert (line.path, line.name, line.applies) == (lies_at, "pkg", True)
    assert line.kind == ("wheel" if written.endswith(".whl") else "sdist")
    assert requirements.files == (lies_at,)
    assert install_file(requirements) == f"./{lies_at}\n"


def test_extras_and_markers_of_a_path(bundle_of) -> None:
    bundle = bundle_of(f"./{PURE}[a,b] ; python_version > '3'\n", {f".mdai/{PURE}": b"x"})
    assert install_file(read_requirements(bundle, "3.8")) == f'./.mdai/{PURE}[a,b] ; python_version > "3"\n'


def test_beside_the_including_file_comes_first(bundle_of) -> None:
    bundle = bundle_of(
        "-r more/r.txt\n", {".mdai/more/r.txt": f"{PURE}\n", f".mdai/more/{PURE}": b"x", f".mdai/{PURE}": b""}
    )
    requirements = read_requirements(bundle, "3.8")
    assert requirements.files == (f".mdai/more/{PURE}",)
    assert [warning.code for warning in requirements.warnings] == ["requirements.unused-wheel"]


def test_a_source_folder_brings_its_files_and_no_others(bundle_of) -> None:
    files = {"lib/pkg/setup.py": "", "lib/pkg/pkg/__init__.py": "", "lib/pkgs/other.py": "", "weights.bin": b"x"}
    requirements = read_requirements(bundle_of("-e ../lib/pkg[gpu]\n", files), "3.8")
    assert requirements.lines[0].kind == "folder"
    assert requirements.files == ("lib/pkg/pkg/__init__.py", "lib/pkg/setup.py")
    assert install_file(requirements) == "./lib/pkg[gpu]\n"


def test_the_whole_model_as_a_package_is_warned_of(bundle_of) -> None:
    requirements = read_requirements(bundle_of("-e ..\n", {"setup.py": "", "weights.bin": b"x"}), "3.8")
    assert "weights.bin" in requirements.files
    assert "requirements.whole-model" in [warning.code for warning in requirements.warnings]


def test_find_links_to_a_folder_of_the_bundle(bundle_of) -> None:
    files = {f".mdai/wheels/{PURE}": b"x", ".mdai/wheels/notes.txt": "", ".mdai/wheels/deep/b-1-py3-none-any.whl": b"x"}
    requirements = read_requirements(bundle_of("--no-index\n--find-links wheels\npkg\n", files), "3.8")
    assert install_file(requirements) == "--no-index\n--find-links ./.mdai/wheels\npkg\n"
    assert requirements.files == (f".mdai/wheels/{PURE}",)
    assert [str(warning.where) for warning in requirements.warnings] == [".mdai/wheels/deep/b-1-py3-none-any.whl"]


def test_a_wheel_that_no_line_names_is_not_installed(bundle_of) -> None:
    bundle = bundle_of("numpy\n", {f".mdai/{PURE}": b"x", f"elsewhere/{PURE}": b"x"})
    requirements = read_requirements(bundle, "3.8")
    (warning,) = requirements.warnings
    assert (warning.code, str(warning.where)) == ("requirements.unused-wheel", f".mdai/{PURE}")
    assert f"`./{PURE}`" in warning.next_step
    assert requirements.files == ()


@pytest.mark.parametrize(
    ("written", "there", "meant"),
    [
        ("./pkg-1.1-py3-none-any.whl", f".mdai/{PURE}", f"./{PURE}"),
        ("./Pkg-1.0-py3-none-any.whl", f".mdai/{PURE}", f"./{PURE}"),
        (f"./{PURE}", f"deep/er/{PURE}", f"./../deep/er/{PURE}"),
        ("./pgk-1.0-py3-none-any.whl", f".mdai/{PURE}", f"./{PURE}"),
        (
            "./my_pkg-1.0-cp38-cp38-linux_x86_64.whl",
            ".mdai/my_pkg-2.0-py3-none-any.whl",
            "./my_pkg-2.0-py3-none-any.whl",
        ),
    ],
)
def test_a_missing_wheel_names_the_nearest(bundle_of, written: str, there: str, meant: str) -> None:
    problem = only(bundle_of(f"{written}\n", {there: b"x"}))
    assert problem.code == "requirements.missing-file"
    assert problem.next_step == f"did you mean `{meant}`?"


def test_a_missing_wheel_with_nothing_like_it(bundle_of) -> None:
    problem = only(bundle_of(f"./{PURE}\n"))
    assert problem.what == f"the bundle has no `./{PURE}`"
    assert problem.next_step == "add the file"


@pytest.mark.parametrize("name", ["pkg.whl", "pkg-1.0-py3-none-any (1).whl", "pkg-1.0.whl"])
def test_a_renamed_wheel(bundle_of, name: str) -> None:
    assert only(bundle_of(f"./{name}\n", {f".mdai/{name}": b"x"})).code == "requirements.wheel-name"


@pytest.mark.parametrize("folder", ["a;b", "a#b", "a[b", "a$b", "a'b", 'a"b', "a%20b", "a -r b", "a  b", "a{b}"])
def test_paths_that_installers_would_misread(bundle_of, folder: str) -> None:
    with pytest.raises(RequirementsError):
        read_requirements(bundle_of(f"./{folder}/{PURE}\n", {f".mdai/{folder}/{PURE}": b"x"}), "3.8")


@pytest.mark.parametrize(
    ("tags", "python"),
    [
        ("py3-none-any", "3.7"),
        ("py2.py3-none-any", "3.13"),
        ("cp37-cp37m-manylinux1_x86_64", "3.7"),
        ("cp38-cp38-manylinux_2_17_x86_64.manylinux2014_x86_64", "3.8"),
        ("cp38-cp38-linux_x86_64", "3.8"),
        ("cp36-abi3-manylinux2010_x86_64", "3.10"),
        ("cp37-none-any", "3.7"),
        ("py38-none-any", "3.10"),
        ("cp313-cp313-manylinux_2_28_x86_64", "3.13"),
        ("cp27-cp27m-linux_x86_64", None),
    ],
)
def test_wheels_that_fit(bundle_of, tags: str, python: str | None) -> None:
    bundle = bundle_of(f"./pkg-1.0-{tags}.whl\n", {f".mdai/pkg-1.0-{tags}.whl": b"x"})
    assert read_requirements(bundle, python).warnings == ()


@pytest.mark.parametrize(
    ("tags", "python", "made_for", "advice"),
    [
        ("cp310-cp310-manylinux2014_x86_64", "3.8", "Python 3.10 on Linux x86_64", "`base_image: py310`"),
        ("cp38-cp38-win_amd64", "3.8", "Python 3.8 on Windows", "for Python 3.8 on Linux x86_64"),
        ("cp38-cp38-macosx_10_9_universal2", "3.8", "Python 3.8 on macOS", "for Python 3.8 on Linux x86_64"),
        ("cp38-cp38-manylinux2014_aarch64", "3.8", "Python 3.8 on Linux on ARM", "for Python 3.8 on Linux x86_64"),
        ("cp38-cp38-musllinux_1_1_x86_64", "3.8", "Alpine Linux", "for Python 3.8 on Linux x86_64"),
        ("cp37-cp37m-manylinux1_x86_64", "3.8", "Python 3.7 on Linux x86_64", "`base_image: py37`"),
        ("py2-none-any", "3.8", "Python 2.7", "for Python 3.8"),
        ("pp38-pypy38_pp73-manylinux2014_x86_64", "3.8", "PyPy 3.8", "for Python 3.8"),
        ("py3-none-win_amd64", "3.8", "Python 3 on Windows", "for Python 3.8 on Linux x86_64"),
        ("cp38-cp38-win_amd64", None, "Windows", "for Linux x86_64"),
    ],
)
def test_wheels_that_do_not_fit(bundle_of, tags: str, python: str | None, made_for: str, advice: str) -> None:
    name = f"pkg-1.0-{tags}.whl"
    for line in (f"./{name}", f"https://host.example/{name}"):
        problem = only(bundle_of(f"{line}\n", {f".mdai/{name}": b"x"}), python)
        assert problem.code == "requirements.wheel-tags"
        assert made_for in problem.what
        assert tags in problem.what
        assert advice in problem.next_step


def test_a_wheel_for_a_newer_c_library_is_warned_of(bundle_of) -> None:
    name = "pkg-1.0-cp38-cp38-manylinux_2_35_x86_64.whl"
    requirements = read_requirements(bundle_of(f"./{name}\n", {f".mdai/{name}": b"x"}), "3.8")
    (warning,) = requirements.warnings
    assert warning.code == "requirements.wheel-glibc"
    assert "2.35" in warning.what
