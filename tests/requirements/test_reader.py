"""What requirements.txt may hold, and what becomes of it."""

from __future__ import annotations

import pytest

from mdai_build.errors import RequirementsError
from mdai_build.requirements import constraint_file, install_file, installer_arguments, read_requirements, vcs_lines

HASH = "sha256:" + "8a" * 32


def texts(bundle, python: str | None = "3.8") -> list[str]:
    return [line.text for line in read_requirements(bundle, python).lines]


def codes(bundle, python: str | None = "3.8") -> list[str]:
    return [warning.code for warning in read_requirements(bundle, python).warnings]


def test_the_documents_example(bundle_of) -> None:
    text = "numpy==1.19.2\nopencv-python==4.4.0.42\npillow==7.2.0\npydicom==2.0.0\ntensorflow==2.1.0\n"
    requirements = read_requirements(bundle_of(text), "3.8")
    assert install_file(requirements) == text
    assert requirements.warnings == ()
    assert requirements.files == ()
    assert not requirements.needs_git


def test_the_documents_git_line(bundle_of) -> None:
    requirements = read_requirements(bundle_of("git+https://github.com/facebookresearch/detectron2.git\n"), "3.8")
    assert requirements.needs_git
    assert vcs_lines(requirements) == ("git+https://github.com/facebookresearch/detectron2.git",)
    assert install_file(requirements) == ""


def test_the_documents_find_links_in_two_lines(bundle_of) -> None:
    page = "https://dl.fbaipublicfiles.com/detectron2/wheels/cu101/torch1.6/index.html"
    requirements = read_requirements(bundle_of(f"-f {page}\ndetectron2\n"), "3.8")
    assert requirements.options == (f"--find-links {page}",)
    assert install_file(requirements) == f"--find-links {page}\ndetectron2\n"


def test_the_documents_wheels_beside_it(bundle_of) -> None:
    names = ("custom_wheel-0.1.0-py3-none-any.whl", "custom_wheel_other-0.1.0-py3-none-any.whl")
    bundle = bundle_of("".join(f"./{name}\n" for name in names), {f".mdai/{name}": b"x" for name in names})
    requirements = read_requirements(bundle, "3.8")
    assert install_file(requirements) == "".join(f"./.mdai/{name}\n" for name in names)
    assert requirements.files == tuple(f".mdai/{name}" for name in names)
    assert [line.name for line in requirements.lines] == ["custom_wheel", "custom_wheel_other"]
    assert requirements.warnings == ()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("numpy", "numpy"),
        ("numpy >= 1.18 , < 2", "numpy<2,>=1.18"),
        ("numpy (>=1.18)", "numpy>=1.18"),
        ("numpy~=1.18 # the last that works", "numpy~=1.18"),
        ("requests[security, socks]==2.0", "requests[security,socks]==2.0"),
        ("numpy==1.19.*", "numpy==1.19.*"),
        ("torch==1.7.1+cu101", "torch==1.7.1+cu101"),
        ("numpy==1.19.2;python_version<'3.9'", 'numpy==1.19.2 ; python_version < "3.9"'),
        ("numpy==1.19.2 \\\n  ; python_version < '3.9'", 'numpy==1.19.2 ; python_version < "3.9"'),
        ("num\\\npy==1.19.2", "numpy==1.19.2"),
        (f"six==1.16.0 \\\n    --hash={HASH} \\\n    --hash={HASH}", f"six==1.16.0 --hash={HASH} --hash={HASH}"),
        ("pkg @ https://host.example/pkg-1.0.tar.gz", "pkg @ https://host.example/pkg-1.0.tar.gz"),
        ("pkg[a]@https://host.example/p.zip ; python_version>'3'",
         'pkg[a] @ https://host.example/p.zip ; python_version > "3"'),
        ("https://host.example/pkg-1.0-py3-none-any.whl", "pkg @ https://host.example/pkg-1.0-py3-none-any.whl"),
        ("https://host.example/archive/main.zip", "https://host.example/archive/main.zip"),
        ("https://host.example/main.zip#egg=pkg&sha256=aa", "pkg @ https://host.example/main.zip#sha256=aa"),
        ("https://host.example/main.zip#egg=pkg-1.0", "https://host.example/main.zip"),
        ("git+https://host.example/p.git@v1.0", "git+https://host.example/p.git@v1.0"),
        ("git+https://host.example/p.git@feature/x#egg=pkg[a]&subdirectory=python/pkg",
         "pkg[a] @ git+https://host.example/p.git@feature/x#subdirectory=python/pkg"),
        ("pkg @ git+https://host.example/p.git@0a1b2c", "pkg @ git+https://host.example/p.git@0a1b2c"),
    ],
)  # fmt: skip
def test_forms(bundle_of, written: str, read: str) -> None:
    assert texts(bundle_of(written + "\n")) == [read]


@pytest.mark.parametrize(
    "content",
    [
        "numpy==1.19.2\r\n# ümlaut\r\npillow\r\n".encode(),
        b"\xef\xbb\xbfnumpy==1.19.2\npillow",
        "\ufeffnumpy==1.19.2\r\npillow\r\n".encode("utf-16-le"),
        "\ufeffnumpy==1.19.2\npillow\n".encode("utf-16-be"),
        b"numpy==1.19.2\r\rpillow",
        b"\n\n  numpy==1.19.2\t# x\n\t\n  pillow  ",
    ],
)
def test_encodings_and_line_ends(bundle_of, content: bytes) -> None:
    assert texts(bundle_of(content)) == ["numpy==1.19.2", "pillow"]


def test_line_numbers_are_those_of_the_file(bundle_of) -> None:
    lines = read_requirements(bundle_of("# one\n\nnumpy \\\n ==1.19.2\n\npillow\n"), "3.8").lines
    assert [(line.name, line.line) for line in lines] == [("numpy", 3), ("pillow", 6)]


def test_markers_that_do_not_hold_are_not_installed(bundle_of) -> None:
    bundle = bundle_of(
        "dataclasses; python_version < '3.7'\n"
        "pywin32; sys_platform == 'win32'\n"
        "./only_there-1.0-cp38-cp38-win_amd64.whl ; sys_platform == 'win32'\n"
        "pillow; platform_system == 'Linux' and implementation_name == 'cpython'\n"
        "scipy; python_full_version < '3.8.1'\n"
    )
    requirements = read_requirements(bundle, "3.8")
    assert [line.applies for line in requirements.lines] == [False, False, False, True, True]
    assert install_file(requirements) == (
        'pillow ; platform_system == "Linux" and implementation_name == "cpython"\n'
        'scipy ; python_full_version < "3.8.1"\n'
    )


def test_includes_are_relative_to_the_file_that_has_them(bundle_of) -> None:
    bundle = bundle_of(
        "-r base.txt\npillow\n--requirement=more/extra.txt\n-r ../root.txt",
        {
            ".mdai/base.txt": "numpy==1.19.2\n",
            ".mdai/more/extra.txt": "scipy\n-r deep.txt\n",
            ".mdai/more/deep.txt": "nibabel\n",
            "root.txt": "monai\n",
        },
    )
    requirements = read_requirements(bundle, "3.8")
    assert install_file(requirements) == "numpy==1.19.2\npillow\nscipy\nnibabel\nmonai\n"
    assert requirements.sources == (
        ".mdai/requirements.txt",
        ".mdai/base.txt",
        ".mdai/more/extra.txt",
        ".mdai/more/deep.txt",
        "root.txt",
    )
    assert requirements.lines[3].file == ".mdai/more/deep.txt"


def test_a_file_included_twice_is_read_once(bundle_of) -> None:
    files = {f".mdai/{n}.txt": f"-r {n + 1}.txt\n-r {n + 1}.txt\n" for n in range(15)}
    bundle = bundle_of("-r 0.txt\n-r 0.txt\n", {**files, ".mdai/15.txt": "numpy==1.19.2\n"})
    assert texts(bundle) == ["numpy==1.19.2"]


def test_constraints_stay_constraints(bundle_of) -> None:
    bundle = bundle_of(
        "-c constraints.txt\nscipy\n",
        {".mdai/constraints.txt": "numpy<2\n-r other.txt\n", ".mdai/other.txt": "pillow<9 # x\n"},
    )
    requirements = read_requirements(bundle, "3.8")
    assert install_file(requirements) == "-c _constraints.txt\nscipy\n"
    assert constraint_file(requirements) == "numpy<2\npillow<9\n"


def test_global_options_are_kept_in_order(bundle_of) -> None:
    bundle = bundle_of(
        "--index-url https://index.example/simple\n"
        "--extra-index-url=https://download.pytorch.org/whl/cu113\n"
        "--no-binary numpy,scipy\n"
        "--only-binary :all:\n"
        "--pre\n--prefer-binary\n"
        "numpy\n"
    )
    requirements = read_requirements(bundle, "3.8")
    assert install_file(requirements) == (
        "--index-url https://index.example/simple\n"
        "--extra-index-url https://download.pytorch.org/whl/cu113\n"
        "--no-binary numpy,scipy\n"
        "--only-binary :all:\n"
        "numpy\n"
    )
    assert installer_arguments(requirements, "uv") == ("--pre", "--index-strategy", "unsafe-best-match")
    assert installer_arguments(requirements, "pip") == ("--pre", "--prefer-binary")


def test_the_last_index_holds(bundle_of) -> None:
    bundle = bundle_of("-i https://a.example/simple\n-i https://b.example/simple\nnumpy\n")
    assert install_file(read_requirements(bundle, "3.8")) == "--index-url https://b.example/simple\nnumpy\n"


def test_a_local_version_without_a_page_to_find_it_on(bundle_of) -> None:
    (warning,) = read_requirements(bundle_of("numpy\ntorch==1.7.1+cu101\n"), "3.8").warnings
    assert (warning.code, warning.where.line) == ("requirements.local-version", 2)
    assert "torch_stable.html" in warning.next_step


def test_a_build_that_is_older_than_the_python_is_told_without_asking_anybody(bundle_of) -> None:
    bundle = bundle_of("-f https://download.pytorch.org/whl/torch_stable.html\ntorch==1.6.0+cu101\n")
    assert read_requirements(bundle, "3.8").warnings == ()
    (warning,) = read_requirements(bundle, "3.9").warnings
    assert (warning.code, warning.where.line) == ("requirements.too-old-for-python", 2)
    assert "torch 1.6.0" in warning.what and "1.7.1" in warning.what


@pytest.mark.parametrize("option", ["-f", "--extra-index-url", "-i"])
def test_a_local_version_with_a_page(bundle_of, option: str) -> None:
    assert codes(bundle_of(f"{option} https://download.pytorch.org/whl/cu101\ntorch==1.7.1+cu101\n")) == []


def test_options_reach_the_install_of_git_lines_too(bundle_of) -> None:
    bundle = bundle_of("-i https://index.example/simple\npkg[a,b] @ git+https://host.example/p.git\n")
    assert install_file(read_requirements(bundle, "3.8")) == "--index-url https://index.example/simple\npkg[a,b]\n"


def test_a_hash_anywhere_asks_for_hashes_everywhere(bundle_of) -> None:
    requirements = read_requirements(bundle_of(f"six==1.16.0 --hash={HASH}\n"), "3.8")
    assert install_file(requirements) == f"--require-hashes\nsix==1.16.0 --hash={HASH}\n"


def test_find_links_beside_the_package_is_read_with_a_warning(bundle_of) -> None:
    bundle = bundle_of("torch==1.7.1+cu101 -f https://download.pytorch.org/whl/torch_stable.html\n")
    requirements = read_requirements(bundle, "3.8")
    assert install_file(requirements) == (
        "--find-links https://download.pytorch.org/whl/torch_stable.html\ntorch==1.7.1+cu101\n"
    )
    (warning,) = requirements.warnings
    assert warning.code == "requirements.option-beside-package"
    assert "`--find-links`" in warning.what


def test_what_is_left_out_is_said(bundle_of) -> None:
    bundle = bundle_of("--trusted-host host.example\n--use-feature=fast-deps\nnumpy\n")
    requirements = read_requirements(bundle, "3.8")
    assert install_file(requirements) == "numpy\n"
    assert [(warning.code, warning.where.line) for warning in requirements.warnings] == [
        ("requirements.option-left-out", 1),
        ("requirements.option-left-out", 2),
    ]


@pytest.mark.parametrize(
    ("line", "code", "advice"),
    [
        ("sklearn", "requirements.other-name", "scikit-learn"),
        ("cv2", "requirements.other-name", "opencv-python"),
        ("enum34", "requirements.backport", "take out"),
        ("json", "requirements.standard-library", "take out"),
        ("-e git+https://host.example/p.git#egg=pkg", "requirements.editable", "-e"),
    ],
)
def test_doubtful_lines_are_warned_of(bundle_of, line: str, code: str, advice: str) -> None:
    (warning,) = read_requirements(bundle_of(f"# x\n{line}\n"), "3.8").warnings
    assert warning.code == code
    assert warning.where.line == 2
    assert advice in warning.next_step


def test_no_requirements_file_installs_nothing(bundle_of) -> None:
    requirements = read_requirements(bundle_of(None, {"requirements.txt": "numpy\n"}), "3.8")
    assert install_file(requirements) == ""
    (warning,) = requirements.warnings
    assert warning.code == "requirements.no-file"
    assert "`requirements.txt`" in warning.next_step
    (warning,) = read_requirements(bundle_of(None, {".mdai/Requirement.txt": "numpy\n"}), "3.8").warnings
    assert "rename `.mdai/Requirement.txt`" in warning.next_step


@pytest.mark.parametrize("content", ["", "\n", "# nothing\n", "\ufeff"])
def test_an_empty_file_installs_nothing(bundle_of, content: str) -> None:
    assert install_file(read_requirements(bundle_of(content), "3.8")) == ""


def test_problems_of_all_files_are_told_at_once(bundle_of) -> None:
    bundle = bundle_of("numpy=1.2\npillow\n-r base.txt\n", {".mdai/base.txt": "\n/opt/x.whl\n"})
    with pytest.raises(RequirementsError) as caught:
        read_requirements(bundle, "3.8")
    assert [(str(problem.where), problem.code) for problem in caught.value.problems] == [
        (".mdai/requirements.txt:1", "requirements.syntax"),
        (".mdai/base.txt:2", "requirements.absolute-path"),
    ]
    assert caught.value.exit_code == 4


def test_the_same_bundle_gives_the_same_text(bundle_of) -> None:
    bundle = bundle_of("-f https://b.example/x\n-f https://a.example/x\nscipy[b,a]>=1,<2\nnumpy\n")
    assert install_file(read_requirements(bundle, "3.8")) == install_file(read_requirements(bundle, "3.8"))
