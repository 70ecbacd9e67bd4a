"""What `dev` prints after each save."""

from __future__ import annotations

import pytest

from mdai_build.errors import Location, Problem
from mdai_build.report.values import Verdict
from mdai_build.report.verdicts import VerdictPrinter

RAISED = Problem("smoke.predict-raised", "`predict` failed at m.py:3: KeyError", Location("sample ct"), details="trace")
DUBIOUS = Problem("smoke.refused", "not this image")


def test_one_line_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    VerdictPrinter().print(Verdict(True, True, 0.414, tried=16, samples=16))
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split("  ", 1)[1] == "ok  0.41 s  16 of 16 samples"


def test_a_problem_of_the_first_words_is_not_told_again(capsys: pytest.CaptureFixture[str]) -> None:
    printer = VerdictPrinter()
    printer.print(Verdict(False, False, 0.2, tried=1, samples=16, problems=(RAISED,)))
    assert "FAILED so far  0.20 s  1 of 16 samples  `predict` failed" in capsys.readouterr().out
    more = Problem(RAISED.code, f"{RAISED.what}; the same with cr and dx", RAISED.where, details="trace")
    other = Problem("smoke.mask-size", "the mask is too small")
    printer.print(Verdict(False, True, 0.9, tried=16, samples=16, problems=(more, other)))
    told = capsys.readouterr().out
    assert "error[MB714]" in told
    assert "error[MB705]" not in told
    # After the next save it is news again.
    printer.print(Verdict(False, True, 0.9, tried=16, samples=16, problems=(RAISED,)))
    assert "error[MB705]" in capsys.readouterr().out


def test_warnings_that_stay_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    printer = VerdictPrinter()
    verdict = Verdict(True, True, 0.5, warnings=(DUBIOUS,))
    printer.print(verdict)
    assert "warning[smoke.refused]" in capsys.readouterr().out
    printer.print(verdict)
    told = capsys.readouterr().out
    assert "(1 warning as before)" in told and "warning[" not in told
