from __future__ import annotations

import contextlib
import dataclasses
import io
import subprocess
import sys
from dataclasses import replace

import pytest

from mdai_build.errors import BundleError, Location, Problem
from mdai_build.report import terminal
from mdai_build.report.values import BuildReport
from mdai_build.smoke.result import SmokeResult


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """A terminal of 60 columns, for standard output and error to be directed to."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "CI"):
        monkeypatch.delenv(name, raising=False)
    return Screen()


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


def test_a_problem_reads_like_a_compilers(capsys: pytest.CaptureFixture[str], warning: Problem) -> None:
    terminal.print_problems([warning], "warning")
    assert lines(capsys.readouterr().err) == [
        "warning[MB306]: unknown key `cuda_versoin`",
        "  --> .mdai/config.yaml:3:1",
        "   |",
        " 3 | cuda_versoin: 11.0  # GPU",
        "   | ^^^^^^^^^^^^",
        "  = expected: one of base_image, device_type, cuda_version",
        "  = help: did you mean `cuda_version`?",
        "",
    ]


@pytest.mark.parametrize(
    ("where", "caret"),
    [
        (Location("f", 1, 5, source="ab  cdef gh"), "    ^^^^"),
        (Location("f", 1, None, "args.threshold", "  threshold: 0.5"), "  ^^^^^^^^^"),
        (Location("f", 1, None, "absent", "  threshold: 0.5"), "  ^^^^^^^^^^^^^^"),
        (Location("f", 1, None, None, "numpy=1.2"), "^^^^^^^^^"),
        (Location("f", 1, None, None, "  "), ""),
        (Location("f", 1, 2, source="\tx = 1"), "    ^"),
        (Location("f", 1, 90, source="short"), "     ^"),
        (Location("f", 1, 6, source="short"), "     ^"),
        (Location("f", 1, 1, source=""), "^"),
    ],
)
def test_the_caret_stands_under_what_is_meant(capsys: pytest.CaptureFixture[str], where: Location, caret: str) -> None:
    terminal.print_problems([Problem("x.y", "wrong", where)], "error")
    assert lines(capsys.readouterr().err)[4] == (f"   | {caret}" if caret else "")


def test_details_are_whole_and_indented(capsys: pytest.CaptureFixture[str], failure: Problem) -> None:
    terminal.print_problems([failure], "error")
    shown = capsys.readouterr().err
    assert "    Traceback (most recent call last):\n      File x, line 1\n        [bold]x[/bold]\n" in shown
    assert "  --> sample ct (outputs[0])" in lines(shown)


def test_nothing_of_strangers_reaches_the_terminal_raw(
    capsys: pytest.CaptureFixture[str], failed_report: BuildReport
) -> None:
    terminal.print_report(failed_report)
    shown = "".join(capsys.readouterr())
    assert "\x1b" not in shown and "\x07" not in shown and "\u202e" not in shown
    assert "[red]not markup[/red]" in shown and ":smile:" in shown


def test_a_good_report(capsys: pytest.CaptureFixture[str], report: BuildReport) -> None:
    terminal.print_report(report)
    shown = lines(capsys.readouterr().out)
    text = "\n".join(shown)
    for words in (
        "mdai-build/model:latest",
        "sha256:0123456789ab, 612 MB",
        "Google's registry does not answer",
        "conda environment",
        "from the cache",
        "model loads",
        "first answer   0.031 s",
        "peak memory    312 MB",
        "2 in /tmp/reports",
        "warning[MB306]",
    ):
        assert words in text
    assert shown[-1] == "built and tested in 43.2 s: mdai-build/model:latest"


def test_a_failed_report_ends_with_the_errors(capsys: pytest.CaptureFixture[str], failed_report: BuildReport) -> None:
    terminal.print_report(failed_report)
    shown = lines(capsys.readouterr().out)
    assert shown[-1] == "the smoke test failed after 9.0 s; no image was kept"
    assert any(line.startswith("error[MB705]") for line in shown)
    assert any(line.startswith("answers") and "FAILED" in line for line in shown)


def test_an_untested_image_says_so(capsys: pytest.CaptureFixture[str], report: BuildReport) -> None:
    untested = BuildReport(report.image, report.parent, (), (), None, (), 3.0, 0)
    terminal.print_report(untested)
    assert "unchanged, not tested in 3.0 s" in capsys.readouterr().out


def test_a_report_shows_each_change_of_a_preinstalled_package(
    capsys: pytest.CaptureFixture[str], report: BuildReport
) -> None:
    changes = ("numpy 1.23.3 -> ==1.19.2 (.mdai/requirements.txt:1)", "pydicom 2.3.0 -> <2 (.mdai/requirements.txt:4)")
    terminal.print_report(dataclasses.replace(report, overrides=changes))
    shown = lines(capsys.readouterr().out)
    assert [line for line in shown if " -> " in line] == [f"preinstalled  {changes[0]}", f"              {changes[1]}"]


def test_standard_output_stays_free_for_json(capsys: pytest.CaptureFixture[str], report: BuildReport) -> None:
    terminal.print_report(report, to_stderr=True)
    assert report.smoke is not None
    terminal.print_smoke(report.smoke, report.pictures, to_stderr=True)
    assert capsys.readouterr().out == ""


def test_print_smoke(
    capsys: pytest.CaptureFixture[str], smoke: SmokeResult, failed_smoke: SmokeResult, warning: Problem
) -> None:
    terminal.print_smoke(smoke, (), [warning])
    printed = lines(capsys.readouterr().out)
    assert any(line.startswith("warning[MB306]") for line in printed)
    assert printed[-1] == "the smoke test passed"
    terminal.print_smoke(failed_smoke, ())
    assert lines(capsys.readouterr().out)[-1] == "the smoke test failed"


def test_outcomes_stay_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, failed_smoke: SmokeResult
) -> None:
    checks = [replace(check, name=f"{check.name:x<28}", message="long " * 40) for check in failed_smoke.checks]
    for name, value in (("FORCE_COLOR", "1"), ("NO_COLOR", "1"), ("TERM", "xterm"), ("COLUMNS", "60")):
        monkeypatch.setenv(name, value)
    terminal.print_smoke(replace(failed_smoke, checks=tuple(checks)), ())
    rows = [line for line in lines(terminal.clean(capsys.readouterr().out)) if "xxx" in line]
    words = {"passed": " ok ", "warning": " warning ", "failed": " FAILED "}
    assert len(rows) == len(checks)
    for row, check in zip(rows, checks, strict=True):
        assert check.name in row and f"{check.seconds:.2f}" in row and words[check.outcome] in row
        assert len(row) <= 60


def test_print_failure_is_on_standard_error(
    capsys: pytest.CaptureFixture[str], failure: Problem, warning: Problem
) -> None:
    terminal.print_failure(BundleError([failure, failure], [warning]))
    out, err = capsys.readouterr()
    assert out == ""
    assert lines(err)[0].startswith("warning[MB306]")
    assert lines(err)[-1] == "the bundle is wrong: 2 problems"


def test_print_checked(capsys: pytest.CaptureFixture[str]) -> None:
    summary = {
        "bundle": "model",
        "kind": "zip",
        "files": 4,
        "bytes": 1_500,
        "config": {"base_image": "py38", "device_type": "gpu", "cuda_version": "11.0"},
        "parent": {"reference": "gcr.io/x", "why": "asked for"},
        "requirements": ["numpy==1.19.2", "pillow"],
        "overrides": ["numpy 1.23.3 -> ==1.19.2 (.mdai/requirements.txt:1)"],
    }
    terminal.print_checked(summary, ())
    shown = capsys.readouterr().out
    assert "model (zip, 4 files, 1.5 kB)" in shown
    assert "py38, gpu, CUDA 11.0" in shown
    assert "requirements  numpy==1.19.2, pillow" in shown
    assert "preinstalled  numpy 1.23.3 -> ==1.19.2 (.mdai/requirements.txt:1)" in shown
    terminal.print_checked({**summary, "lock": ".mdai/requirements.lock"}, ())
    shown = capsys.readouterr().out
    assert "2 packages, exactly as .mdai/requirements.lock says: numpy==1.19.2, pillow" in shown


def test_no_colours_in_a_log(capsys: pytest.CaptureFixture[str], report: BuildReport) -> None:
    terminal.print_report(report)
    assert "\x1b" not in "".join(capsys.readouterr())


def test_long_lines_are_not_broken_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_problems([Problem("a.b", "word " * 100, next_step="other " * 100)], "error")
    assert max(map(len, lines(capsys.readouterr().err))) > 500


def test_colours_on_a_terminal(screen: Screen, report: BuildReport) -> None:
    with contextlib.redirect_stdout(screen), contextlib.redirect_stderr(screen):
        terminal.print_report(report)
    assert "\x1b[1;32m" in screen.getvalue()


def test_no_colours_when_not_wanted(screen: Screen, report: BuildReport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with contextlib.redirect_stdout(screen), contextlib.redirect_stderr(screen):
        terminal.print_report(report)
    assert "built and tested" in screen.getvalue()
    assert "32m" not in screen.getvalue()


def test_long_lines_are_broken_at_words_on_a_terminal(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with contextlib.redirect_stderr(screen):
        terminal.print_problems([Problem("a.b", "wrong", next_step="words " * 60)], "error")
    shown = screen.getvalue().split("help: ")[1].splitlines()
    assert max(map(len, shown)) <= 60
    assert all(line.startswith("    ") for line in shown[1:] if line)


def test_what_the_encoding_lacks_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stderr", stream)
    terminal.print_problems([Problem("a.b", "naïve 日本")], "error")
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    assert b"na\\xefve" in buffer.getvalue()


@pytest.mark.process
def test_importing_it_is_cheap() -> None:
    """Starts an interpreter, since this one has imported everything already."""
    heavy = ("numpy", "pydicom", "PIL", "requests", "docker")
    code = f"import sys, mdai_build.report.terminal; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
