"""uv's reasons in our words. Recorded answers are those of uv 0.13; tests of the pipeline ask a real one."""

from __future__ import annotations

import pytest

from mdai_build.requirements import Findings, explain_failure, read_requirements

NO_SOLUTION = "error: No solution found when resolving dependencies\n  cause: "
THEREFORE = "we can conclude that your requirements are unsatisfiable.\n"


def explained(bundle, python: str, output: str) -> Findings:
    return explain_failure(output, read_requirements(bundle, python), python)


def test_a_package_without_wheels_for_this_python(bundle_of) -> None:
    output = (
        f"{NO_SOLUTION}Because tensorflow==2.2.0 has no wheels with a matching Python ABI tag (e.g., `cp310`) and you "
        f"require tensorflow==2.2.0, {THEREFORE}\n"
        "hint: You require CPython 3.10 (`cp310`), but we only found wheels for `tensorflow` (v2.2.0) with the "
        "following Python ABI tags: `cp35m`, `cp36m`, `cp37m`, `cp38`\n"
    )
    (problem,) = explained(bundle_of("numpy\ntensorflow==2.2.0\n"), "3.10", output).problems
    assert problem.code == "requirements.no-wheel"
    assert problem.what == "tensorflow 2.2.0 has wheels for Python 3.5 to 3.8; this bundle asks for py310"
    assert problem.next_step == "use base_image py38 or tensorflow>=2.8.0"
    assert str(problem.where) == ".mdai/requirements.txt:2"
    assert problem.details == output.strip()


def test_an_open_line_of_which_no_version_fits(bundle_of) -> None:
    output = (
        f"{NO_SOLUTION}Because scikit-image==0.26.0rc0 has no wheels with a matching Python implementation tag (e.g., "
        f"`cp38`) and you require scikit-image>=0.22, {THEREFORE}\n"
        "hint: You require CPython 3.8 (`cp38`), but we only found wheels for `scikit-image` (v0.26.0rc0) with the "
        "following Python implementation tags: `cp311`, `cp312`, `cp313`\n"
    )
    (problem,) = explained(bundle_of("scikit-image>=0.22\n"), "3.8", output).problems
    assert problem.what == "no version that `scikit-image>=0.22` allows has a wheel for Python 3.8"
    assert problem.next_step == "use a newer base_image, or an older scikit-image"


@pytest.mark.parametrize(
    ("line", "reason", "code", "words"),
    [
        ("nothere", "nothere was not found in the package registry and you require nothere", "no-package", "`nothere`"),
        ("cv2", "cv2 was not found in the package registry and you require cv2", "no-package", "`opencv-python`"),
        *((typo, f"{typo} was not found in the package registry and you require it", "no-package", f"write `{name}`")
          for typo, name in (("pydicmo", "pydicom"), ("scikit-imge", "scikit-image"), ("tesnorflow", "tensorflow"),
                             ("Numpi", "numpy"), ("torchvison", "torchvision"), ("open-cv-python", "opencv-python"))),
        ("pkg==99", "there is no version of pkg==99 and you require pkg==99", "no-version", "pkg==99"),
        ("pkg>=9", "only pkg<=3.0.2 is available and you require pkg>=9", "no-version", "pkg<=3.0.2"),
        ("own", "only base==1.0 is available and own==1.0 depends on base>=2, we can conclude that own==1.0 cannot be "
         "used. And because you require own", "no-version", "own 1.0 needs base>=2, which no package index has"),
        ("own", "gone was not found in the package registry and all versions of own depend on gone, we can conclude "
         "that all versions of own cannot be used. And because you require own", "no-package", "own needs a package"),
        ("torch==1.7.1+cu101", "there is no version of torch==1.7.1+cu101 and you require torch==1.7.1+cu101",
         "no-version", "torch_stable.html"),
        ("numpy==1.19.2", "numpy==1.19.2 has no usable wheels and you require numpy==1.19.2", "no-wheel",
         "numpy>=2.1.0, the first with wheels for Python 3.13"),
        ("pkg", "the requested Python version (>=3.13.0) does not satisfy Python<3.9 and pkg==2.0 depends on "
         "Python<3.9, we can conclude that pkg==2.0 cannot be used. And because you require pkg==2.0",
         "python-version", "pkg 2.0 needs Python <3.9"),
    ],
)  # fmt: skip
def test_reasons(bundle_of, line: str, reason: str, code: str, words: str) -> None:
    findings = explained(bundle_of(f"# x\n{line}\n"), "3.13", f"{NO_SOLUTION}Because {reason}, {THEREFORE}")
    (problem,) = findings.problems
    assert problem.code == f"requirements.{code}"
    assert problem.where.line == 2
    assert words in f"{problem.what} {problem.next_step}"


def test_lines_that_contradict_through_a_dependency(bundle_of) -> None:
    output = (
        f"{NO_SOLUTION}Because pandas==2.0.3 depends on numpy{{python_full_version < '3.10'}}>=1.20.3 and you require "
        "numpy==1.19.2, we can conclude that your requirements and pandas==2.0.3 are incompatible.\n"
        f"         And because you require pandas==2.0.3, {THEREFORE}"
    )
    (problem,) = explained(bundle_of("six\nnumpy==1.19.2\npandas==2.0.3\n"), "3.8", output).problems
    assert problem.code == "requirements.conflict"
    assert "`numpy==1.19.2` (.mdai/requirements.txt:2), `pandas==2.0.3` (.mdai/requirements.txt:3)" in problem.what
    assert "six" not in problem.what


def unbuilt(name: str) -> str:
    return f"{NO_SOLUTION}Because {name} has no usable wheels and you require {name}, {THEREFORE}"


def test_a_clash_that_names_all_there_is_is_still_a_clash(bundle_of) -> None:
    output = (
        f"{NO_SOLUTION}Because only own==0.3.0 is available and own==0.3.0 depends on numpy>=1.20, we can conclude "
        "that all versions of own depend on numpy>=1.20.\n"
        f"         And because you require numpy==1.19.2 and own, {THEREFORE}"
    )
    (problem,) = explained(bundle_of("numpy==1.19.2\nown\n"), "3.8", output).problems
    assert problem.code == "requirements.conflict"
    assert problem.where.line == 2


def test_what_would_be_built_from_source_is_a_doubt(bundle_of) -> None:
    findings = explained(bundle_of("iopath==0.1.10\n"), "3.8", unbuilt("iopath==0.1.10"))
    assert findings.problems == ()
    assert findings.without == ("iopath",)
    assert [warning.code for warning in findings.warnings] == ["requirements.built-from-source"]


def test_what_a_dependency_is_built_from_is_not_worth_a_word(bundle_of) -> None:
    findings = explained(bundle_of("tensorflow==1.15.0\n"), "3.7", unbuilt("gast==0.2.2"))
    assert (findings.problems, findings.warnings, findings.without) == ((), (), ("gast",))


@pytest.mark.parametrize(
    ("line", "python", "code"),
    [
        ("sklearn", "3.8", "other-name"),
        ("sklearn==0.0.post12", "3.8", "other-name"),
        ("sklearn==0.0", "3.8", None),
        ("numpy==1.20.3", "3.10", "no-wheel"),
        ("numpy==1.21.0", "3.10", None),
        ("scipy==1.5.4", "3.10", "no-wheel"),
        ("pandas==1.2.5", "3.10", None),
    ],
)
def test_what_is_sure_to_fail_when_it_is_built(bundle_of, line: str, python: str, code: str | None) -> None:
    findings = explained(bundle_of(f"{line}\n"), python, unbuilt(line))
    assert [problem.code for problem in findings.problems] == ([f"requirements.{code}"] if code else [])
    assert bool(findings.warnings) is (code is None)


@pytest.mark.parametrize("answer", ["401 Unauthorized", "407 Proxy Authentication Required", "503 Service Unavailable"])
def test_a_host_that_refuses_us_is_no_problem_of_the_bundle(bundle_of, answer: str) -> None:
    output = f"error: Failed to fetch\n  cause: HTTP status client error ({answer}) for url (https://host.example/x)\n"
    findings = explained(bundle_of("numpy\n"), "3.8", output)
    assert findings.problems == ()
    (warning,) = findings.warnings
    assert answer in warning.what


def test_a_package_for_windows(bundle_of) -> None:
    output = (
        f"{NO_SOLUTION}Because pywin32==306 has no wheels with a matching platform tag (e.g., `manylinux_2_28_x86_64`) "
        f"and you require pywin32==306, {THEREFORE}\n"
        "hint: Wheels are available for `pywin32` (v306) on the following platforms: `win32`, `win_amd64`\n"
    )
    (problem,) = explained(bundle_of("numpy\npywin32==306\n"), "3.8", output).problems
    assert problem.what == "pywin32 306 has wheels for Windows only"
    assert problem.where.line == 2


def test_a_newer_python_that_is_needed_is_named(bundle_of) -> None:
    output = (
        f"{NO_SOLUTION}Because the requested Python version (>=3.7.16) does not satisfy Python>=3.8 and monai==1.3.0 "
        "depends on Python>=3.8, we can conclude that monai==1.3.0 cannot be used.\n"
        f"         And because you require monai==1.3.0, {THEREFORE}"
    )
    (problem,) = explained(bundle_of("monai==1.3.0\n"), "3.7", output).problems
    assert problem.what == "monai 1.3.0 needs Python >=3.8; this bundle asks for py37"
    assert problem.next_step == "use base_image py38, or another version of monai"


def test_offline_is_no_problem_of_the_bundle(bundle_of) -> None:
    output = (
        "error: Request failed after 3 retries in 7.3s\n  cause: Failed to fetch: https://me:pw1234@index.example/numpy/\n"
        "  cause: error sending request for url (https://me:pw1234@index.example/numpy/)\n  cause: tcp connect error\n"
    )
    findings = explained(bundle_of("numpy\n"), "3.8", output)
    assert findings.problems == ()
    (warning,) = findings.warnings
    assert warning.code == "requirements.not-looked-up"
    assert "index.example" in warning.what
    assert "pw1234" not in f"{warning.what}{warning.details}"


def test_an_address_that_is_not_there(bundle_of) -> None:
    url = "https://host.example/pkg-1.0-py3-none-any.whl"
    output = f"error: Failed to download\n  cause: HTTP status client error (404 Not Found) for url ({url})\n"
    (problem,) = explained(bundle_of(f"numpy\n{url}\n"), "3.8", output).problems
    assert problem.where.line == 2
    assert "404 Not Found" in problem.what


def test_words_that_are_not_known_are_passed_on(bundle_of) -> None:
    (problem,) = explained(bundle_of("numpy\n"), "3.8", "error: something else entirely").problems
    assert problem.code == "requirements.unresolvable"
    assert problem.details == "error: something else entirely"
