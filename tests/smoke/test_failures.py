from __future__ import annotations

import pytest

from mdai_build.errors import Problem
from mdai_build.smoke import failures
from mdai_build.smoke.result import Check, SmokeResult

READ_ONLY = (
    "The model failed to load: OSError\n\nTraceback (most recent call last):\n  x\n"
    "OSError: [Errno 30] Read-only file system: '/src/lib/.mdai/cache.txt'\n"
)


def result(problem: Problem) -> SmokeResult:
    return SmokeResult((Check("x", "failed", 0.0, problem.what, (problem,)),))


@pytest.mark.parametrize(
    "problem", [failures.load_failed(READ_ONLY, ""), failures.refused("ct", READ_ONLY)], ids=["load", "predict"]
)
def test_a_model_that_writes_beside_its_code_is_told_apart(problem: Problem) -> None:
    warning = failures.writes_refused(result(problem))
    assert warning is not None and warning.passed
    (told,) = warning.problems
    assert "cache.txt" in told.what and "tempfile.gettempdir()" in str(told.next_step)


def test_what_else_fails_is_no_matter_of_writing() -> None:
    text = "x\n\nTraceback (most recent call last):\n  print('Read-only file system')\nValueError: 3\n"
    assert failures.writes_refused(result(failures.load_failed(text, ""))) is None
    assert failures.writes_refused(SmokeResult(())) is None


def test_one_wrong_place_is_told_without_repeating_it() -> None:
    place = "  outputs[0].class_index: expected an int\n"
    assert failures.invalid("ct", "The model's outputs are not valid:\n" + place).details is None
    assert failures.invalid("ct", "The model's outputs are not valid:\n" + place * 2).details is not None
