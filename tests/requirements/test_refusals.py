"""What is refused, with the words that help."""

from __future__ import annotations

import json
import time

import pytest

from mdai_build.errors import Problem, RequirementsError
from mdai_build.requirements import read_requirements


def refused(bundle, python: str | None = "3.8") -> tuple[Problem, ...]:
    with pytest.raises(RequirementsError) as caught:
        read_requirements(bundle, python)
    return caught.value.problems


def only(bundle, python: str | None = "3.8") -> Problem:
    (problem,) = refused(bundle, python)
    return problem


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("numpy=1.2", "`numpy==1.2`"),
        ("numpy=>1.2", "`numpy>=1.2`"),
        ("numpy =< 1.2", "`numpy <= 1.2`"),
        ("numpy 1.2", "`numpy==1.2`"),
        ("numpy: 1.2", "`numpy==1.2`"),
        ("- numpy==1.2", "`numpy==1.2`"),
        ('"numpy==1.2",', "`numpy==1.2`"),
        ("numpy>=1.16.*", "`numpy>=1.16`"),
        ("numpy=1.19.2=py37h54aff64_0", "`numpy==1.19.2`"),
        ("pip install numpy", "`numpy`"),
        ("!pip3 install -U numpy torch", "`numpy`, `torch`, each on its own line"),
        ("numpy ; python_version < 3.8", '`numpy ; python_version < "3.8"`'),
        ("git@github.com:owner/repo.git", "`git+https://github.com/owner/repo.git`"),
        ("https://github.com/owner/repo", "`git+https://github.com/owner/repo`"),
        ("numpy, torch==1.0", "`numpy`, `torch==1.0`, each on its own line"),
        ("numpy torch", "`numpy`, `torch`, each on its own line"),
        ("owner/repo", "`git+https://github.com/owner/repo`"),
        (".\\wheels\\a.whl", "`./wheels/a.whl`"),
        ("C:\\Users\\me\\a-1.0-py3-none-any.whl", "`./a-1.0-py3-none-any.whl`"),
        ("github.com/owner/repo.git", "`git+https://github.com/owner/repo.git`"),
        ("import numpy", "the package's name"),
        ("numpy   1.23.3   py310hd5efca6_0", "`numpy==1.23.3`"),
        ("numpy   1.23.3   py310h1_0   conda-forge", "`numpy==1.23.3`"),
        ("_libgcc_mutex=0.1=main", "take out the line"),
        ("[tool.poetry.dependencies]", "take out the line"),
        ('numpy = "^1.23"', "`numpy>=1.23,<2`"),
        ('numpy = ">=1.23"', "`numpy>=1.23`"),
        ('numpy = "~1.23"', "`numpy==1.23.*`"),
        ('numpy = "^0.4.1"', "`numpy==0.4.1`"),
        ('numpy = "*"', "`numpy`"),
        ('python = "^3.8"', "base_image"),
        ("numpy==latest", "`numpy`"),
        ("numpy==*", "`numpy`"),
        ("pillow==9.x", "`pillow==9.*`"),
    ],
)
def test_slips_are_told_with_the_line_that_was_meant(bundle_of, line: str, written: str) -> None:
    problem = only(bundle_of(f"# first\n{line}\n"))
    assert problem.where is not None
    assert problem.where.line == 2
    assert problem.next_step is not None
    assert written in problem.next_step


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("python==3.8", "conda-name"),
        ("python=3.8", "conda-name"),
        ("cudatoolkit=11.3.1=h2bc3f7f_2", "conda-name"),
        ("cudatoolkit", "conda-name"),
        ("import numpy", "syntax"),
        ("numpy @ file:///home/conda/feedstock_root/numpy/work", "file-url"),
        ("file:///tmp/a-1.0-py3-none-any.whl", "file-url"),
        ("/home/me/a-1.0-py3-none-any.whl", "absolute-path"),
        ("~/a-1.0-py3-none-any.whl", "absolute-path"),
        ("../../a-1.0-py3-none-any.whl", "outside-bundle"),
        ("-e ../..", "outside-bundle"),
        ("-e ../nothing", "missing-file"),
        ("-e .", "not-installable"),
        ("./mdai_deploy.py", "not-installable"),
        ("git+ssh://git@github.com/owner/repo.git", "vcs-scheme"),
        ("git://github.com/owner/repo.git", "vcs-scheme"),
        ("hg+https://host.example/repo", "vcs-scheme"),
        ("svn+https://host.example/repo", "vcs-scheme"),
        ("git+file:///srv/repo", "vcs-scheme"),
        ("git+https://host.example/repo@--upload-pack=touch", "vcs-reference"),
        ("git+https://host.example/repo#subdirectory=../..", "url"),
        ("git+https://-oProxyCommand=x/repo", "url"),
        ("ftp://host.example/a.zip", "url"),
        ("https:///a.zip", "url"),
        ("https://[x/a.zip", "url"),
        ("numpy --install-option=--prefix=/", "build-option"),
        ("numpy --global-option=build_ext", "build-option"),
        ("--target /", "option"),
        ("--find-links file:///srv", "file-url"),
        ("--find-links ../../elsewhere", "outside-bundle"),
        ("--index-url ./simple", "url"),
        ("--no-binary $(x)", "option"),
        ("numpy --hash=sha256:00", "hash"),
        ("-r https://host.example/requirements.txt", "include"),
        ("-r /etc/passwd", "outside-bundle"),
        ("-r ../../requirements.txt", "outside-bundle"),
        ("-r missing.txt", "missing-file"),
        ("-r requirements.txt", "include-cycle"),
        ("${TOKEN}", "variable"),
        ("https://${TOKEN}@host.example/a.zip", "variable"),
        ("numpy===1.0\\x", "backslash"),
        ("numpy==1.0 \\ ", "backslash"),
        ("numpy\u200b==1.0", "character"),
        ("numpy\xa0==1.0\u202e", "character"),
        ("numpy==1.0\x00", "character"),
        ("[x]", "syntax"),
        ("numpy--", "syntax"),
        ("numpy ; nonsense", "syntax"),
    ],
)
def test_refusals(bundle_of, line: str, code: str) -> None:
    assert f"requirements.{code}" in [problem.code for problem in refused(bundle_of(f"{line}\n"))]


@pytest.mark.parametrize(
    "line",
    [
        "https://user:hunter2@host.example/a-1.0-py3-none-any.whl",
        "https://hunter2@host.example/a.zip",
        "https://user:hu/nter2hunter2@host.example/a.zip",
        "pkg @ https://user:hunter2@host.example/a.zip",
        "git+https://hunter2@github.com/owner/repo.git@v1.0",
        "-e git+https://user:hunter2@github.com/owner/repo.git#egg=repo",
        "git+ssh://git:hunter2@github.com/owner/repo.git",
        "--index-url https://user:hunter2@host.example/simple",
        "--extra-index-url=https://user:hunter2@host.example/simple",
        "-f https://user:hunter2@host.example/links.html",
        "-r https://user:hunter2@host.example/requirements.txt",
        "--trusted-host user:hunter2@host.example trailing",
        "numpy==1.0 -i https:/user:hunter2@host.example",
        "https://user:hunter2@[bad/a.zip",
        "numpy=https://user:hunter2@host.example",
        "https://host.example/a.git?access_token=hunter2",
    ],
)
def test_credentials_are_refused_and_never_shown(bundle_of, line: str) -> None:
    with pytest.raises(RequirementsError) as caught:
        read_requirements(bundle_of(f"{line}\n"), "3.8")
    told = json.dumps([problem.as_json() for problem in (*caught.value.problems, *caught.value.warnings)])
    told += repr(caught.value.problems) + repr(caught.value.warnings) + str(caught.value)
    assert "hunter2" not in told


@pytest.mark.parametrize(
    "place", ["/tmp/build/80754af9/numpy_1653915516269/work", "/croot/six_1644875935023/work", "/C:/ci/numpy_163000"]
)
def test_paths_of_condas_builders_are_known(bundle_of, place: str) -> None:
    assert "conda list" in (only(bundle_of(f"numpy @ file://{place}\n")).next_step or "")


def test_credentials_say_what_to_do(bundle_of) -> None:
    problem = only(bundle_of("numpy\n--index-url https://me:hunter2@host.example/simple\n"))
    assert problem.code == "requirements.credentials"
    assert str(problem.where) == ".mdai/requirements.txt:2"
    assert "https://***@host.example/simple" in problem.what


def test_a_circle_of_includes_names_the_circle(bundle_of) -> None:
    bundle = bundle_of("-r a.txt\n", {".mdai/a.txt": "-r b.txt\n", ".mdai/b.txt": "numpy\n-r a.txt\n"})
    problem = only(bundle)
    assert str(problem.where) == ".mdai/b.txt:2"
    assert ".mdai/a.txt -> .mdai/b.txt -> .mdai/a.txt" in problem.what


def test_includes_do_not_go_endlessly_deep(bundle_of) -> None:
    files = {f".mdai/{n}.txt": f"-r {n + 1}.txt\n" for n in range(2000)}
    assert only(bundle_of("-r 0.txt\n", {**files, ".mdai/2000.txt": ""})).code == "requirements.include"


def test_a_missing_include_names_the_nearest(bundle_of) -> None:
    problem = only(bundle_of("-r requirments-base.txt\n", {".mdai/requirements-base.txt": "numpy\n"}))
    assert problem.next_step == "did you mean `requirements-base.txt`?"


def test_two_pins_of_one_package_contradict(bundle_of) -> None:
    bundle = bundle_of("scikit-image==0.17\nnumpy\nscikit_image==0.18\nscikit-image==0.17.0;python_version<'3'\n")
    problem = only(bundle)
    assert problem.code == "requirements.contradiction"
    assert str(problem.where) == ".mdai/requirements.txt:3"
    assert ".mdai/requirements.txt:1" in problem.what


def test_one_version_written_twice_does_not_contradict(bundle_of) -> None:
    assert len(read_requirements(bundle_of("numpy==1.19\nnumpy==1.19.0\n"), "3.8").lines) == 2


def test_a_line_without_a_hash_among_hashes(bundle_of) -> None:
    digest = "sha256:" + "8a" * 32
    problem = only(bundle_of(f"six==1.16.0 --hash={digest}\nnumpy==1.19.2\n"))
    assert (problem.code, problem.where.line) == ("requirements.hash", 2)


def test_a_constraint_file_holds_versions_only(bundle_of) -> None:
    bundle = bundle_of("-c c.txt\n", {".mdai/c.txt": "numpy<2\npkg[extra]\ngit+https://host.example/p.git\n"})
    assert [(p.code, p.where.line) for p in refused(bundle)] == [
        ("requirements.constraint", 2),
        ("requirements.constraint", 3),
    ]


def test_bytes_that_are_no_text(bundle_of) -> None:
    problem = only(bundle_of(b"numpy\n# caf\xe9\n"))
    assert problem.code == "requirements.encoding"
    assert "line 2" in problem.what


def test_an_endless_file_is_refused_quickly(bundle_of) -> None:
    assert only(bundle_of("a\n" * 20_000)).code == "requirements.too-long"
    assert only(bundle_of(" \\\n" * 200_000)).code == "requirements.too-long"


@pytest.mark.parametrize(
    "line",
    [
        "a==1!" + "9" * 10_000,  # a number that Python does not write
        "a; " + "(" * 1500 + "python_version>'3'" + ")" * 1500,  # deeper than its stack
        "a>=1" + ",<2" * 100_000,  # minutes
        "a" * 500_000,
        "https://example.org/" + "a/" * 200_000,
        "a" + "[b]" * 200_000,
        "a" * 30_000,
        "'" * 30_000,
        "-:" * 10_000 + "a@",
    ],
)
def test_a_requirement_without_end_is_refused_quickly(bundle_of, line: str) -> None:
    begun = time.monotonic()
    assert only(bundle_of(line)).code in ("requirements.too-long", "requirements.option", "requirements.syntax")
    assert time.monotonic() - begun < 10


def test_a_megabyte_of_blanks_is_read_quickly(bundle_of) -> None:
    # pip's own pattern for comments takes hours for this.
    assert len(read_requirements(bundle_of(" " * 1_000_000 + "numpy"), "3.8").lines) == 1
