"""What is tried after an installer failed. The logs were written by uv 0.13, pip 25 and setuptools in real builds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mdai_build.pipeline.install import Attempt, explain_no_tools, next_attempt
from mdai_build.requirements import Requirement, Requirements
from mdai_build.settings import Settings

UNDECLARED = """\
error: Failed to build `{package}==1.0`
  cause: The build backend returned an error
         ModuleNotFoundError: No module named '{module}'

hint: This error likely indicates that `{package}@1.0` depends on `{module}`, but doesn't declare it as a build \
dependency. If `{package}` is a first-party package, consider adding `{module}` to its `build-system.requires`.
"""
RENAMED = "  cause: Wheel version does not match filename (1.0 != 1.1), which indicates a malformed wheel."
DAMAGED = "hint: The structure of `d-trail` (v1.0) was invalid:\n  Failed to read from zip file\n"
NO_COMPILER = "error: command 'gcc' failed: No such file or directory"
ORDINARY = [
    "error: No solution found when resolving dependencies\n  cause: Because numpy was not found in the registry",
    "error: Failed to build `thing==1.0`\n  cause: The build backend returned an error\nerror: command '/usr/bin/gcc' "
    "failed with exit code 1",
    "error: Request failed after 5 retries\n  cause: client error (Connect)",
    "ERROR: No matching distribution found for uv==0.13.9",
    "",
]
UV = Attempt("uv")


def line(name: str, specifier: str = "", number: int = 1) -> Requirement:
    return Requirement("index", f"{name}{specifier}", name, specifier, (), None, (), ".mdai/requirements.txt", number)


def following(attempt: Attempt, log: str, *lines: Requirement, **settings: object) -> tuple[Attempt, str] | None:
    found = next_attempt(attempt, log, Requirements(lines=lines), "3.8", Settings(**settings))  # type: ignore[arg-type]
    return (found[0], f"{found[1].code} {found[1]}") if found else None


@pytest.mark.parametrize("log", ORDINARY)
def test_an_ordinary_failure_is_one(log: str) -> None:
    assert following(UV, log) is None
    assert following(Attempt("pip"), log) is None


@pytest.mark.parametrize("log", [RENAMED, DAMAGED])
def test_pip_takes_over_where_uv_refuses_an_archive(log: str) -> None:
    found = following(UV, log)
    assert found is not None and found[0] == Attempt("pip") and "install.by-pip" in found[1]
    assert following(UV, log, installer="uv") is None
    assert following(Attempt("pip"), log) is None


@pytest.mark.parametrize(
    ("module", "lines", "given"),
    [
        ("numpy", (), "numpy==1.23.3"),  # as it is preinstalled
        ("numpy", (line("numpy", "==1.19.2"),), "numpy==1.19.2"),
        ("torch", (line("torch", ">=1.8,<2"),), "torch>=1.8,<2"),
        ("Cython", (), "Cython"),
        ("pkg_resources", (), "setuptools==69.5.1"),
        ("cv2", (), "opencv-python-headless"),
    ],
)
def test_a_build_is_given_what_its_package_does_not_tell(
    module: str, lines: tuple[Requirement, ...], given: str
) -> None:
    log = UNDECLARED.format(package="old-tool", module=module)
    found = following(UV, log, line("old_tool", number=7), *lines)
    assert found is not None
    assert found[0] == Attempt("uv", (("old-tool", given),))
    assert given in found[1] and ".mdai/requirements.txt:7" in found[1]


def test_sources_without_a_name_are_built_after_all_others() -> None:
    log = (
        "error: The build backend returned an error\n  File \"<string>\"\nModuleNotFoundError: No module named 'numpy'"
    )
    folder = replace(line("x"), kind="folder", name=None, text="./tool", path="tool")
    found = following(UV, log, folder)
    assert found is not None and found[0] == Attempt("uv", sources_last=True) and "numpy==1.23.3" in found[1]
    assert following(found[0], log, folder) is None
    assert following(UV, log, line("x")) is None


def test_no_build_is_given_the_same_thing_twice_and_there_is_an_end() -> None:
    attempt, log = UV, UNDECLARED.format(package="old-tool", module="numpy")
    found = following(attempt, log)
    assert found is not None and following(found[0], log) is None
    rounds = 0
    while found := following(attempt, UNDECLARED.format(package="old-tool", module=f"module{rounds}")):
        attempt, rounds = found[0], rounds + 1
    assert 2 <= rounds < 10


def test_compilers_are_asked_for_once_more_and_then_their_lack_is_told() -> None:
    found = following(UV, NO_COMPILER)
    assert found is not None and found[0] == Attempt("uv", fresh_tools=True)
    assert following(found[0], NO_COMPILER) is None
    assert following(UV, NO_COMPILER, build_network="none") is None
    told = explain_no_tools(NO_COMPILER)
    assert told is not None and "compiler" in told.what and told.next_step and "mdai-build wheels" in told.next_step
    assert explain_no_tools(ORDINARY[1]) is None


def test_compilers_are_lent_where_they_were_thought_needless() -> None:
    found = following(Attempt("uv", lends_tools=False), NO_COMPILER, build_network="none")
    assert found is not None and found[0] == Attempt("uv", lends_tools=True)
