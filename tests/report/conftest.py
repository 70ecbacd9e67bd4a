"""A build report with everything in it, and hostile text in every place that strangers write."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdai_build.engine import Stage
from mdai_build.errors import Location, Problem
from mdai_build.report.values import BuildReport, ImageReport, ParentReport
from mdai_build.smoke.request import Demand, InputFile, SmokeRequest
from mdai_build.smoke.result import Answer, Check, SmokeResult

HOSTILE = "\x1b[2J[red]not markup[/red] \x1b]0;title\x07:smile: \u202etxt"


@pytest.fixture
def warning() -> Problem:
    return Problem(
        code="config.unknown-key",
        what="unknown key `cuda_versoin`",
        where=Location(
            file=".mdai/config.yaml", line=3, column=1, key="cuda_versoin", source="cuda_versoin: 11.0  # GPU"
        ),
        expected="one of base_image, device_type, cuda_version",
        next_step="did you mean `cuda_version`?",
    )


@pytest.fixture
def failure() -> Problem:
    return Problem(
        code="smoke.predict-raised",
        what=f"`predict` failed: ValueError: {HOSTILE}",
        where=Location(file="sample ct", key="outputs[0]"),
        expected="a list of outputs",
        next_step="correct the code",
        details=f"Traceback (most recent call last):\n  File x, line 1\n    [bold]x[/bold]\nValueError: {HOSTILE}",
    )


@pytest.fixture
def smoke() -> SmokeResult:
    file = InputFile("ct.dcm", b"", "application/dicom", "1.2", "1.2.1", "1.2.1.1", 10, 10)
    request = SmokeRequest("ct", "INSTANCE", (file,), Demand.EXPECTED)
    return SmokeResult(
        checks=(
            Check("model loads", "passed", 1.25, "ready after 1.2 s"),
            Check("ct", "passed", 0.031, "1 NONE"),
            Check("us-clip", "warning", 0.1, f"not supported: {HOSTILE}", (Problem("smoke.x", "not supported"),)),
        ),
        answers=(Answer(request, ({"type": "NONE", "study_uid": "1.2"}, 5), 0.031, True),),
        load_seconds=1.25,
        first_seconds=0.031,
        later_seconds=0.02,
        peak_memory=312_000_000,
        api_version="0.3",
    )


@pytest.fixture
def failed_smoke(smoke: SmokeResult, failure: Problem) -> SmokeResult:
    return SmokeResult(checks=(*smoke.checks, Check("answers", "failed", 0.0, "no answers", (failure,))))


@pytest.fixture
def report(smoke: SmokeResult, warning: Problem) -> BuildReport:
    return BuildReport(
        image=ImageReport("mdai-build/model:latest", "sha256:0123456789ab", 612_345_678),
        parent=ParentReport("mdai-build/parent:local", "Google's registry does not answer"),
        stages=(
            Stage("conda environment", 12.34, False),
            Stage(f"requirements {HOSTILE}", 0.0, True),
        ),
        warnings=(warning,),
        smoke=smoke,
        pictures=(Path("/tmp/reports/01-ct.png"), Path("/tmp/reports/02-cr.png")),
        seconds_total=43.21,
        exit_code=0,
    )


@pytest.fixture
def failed_report(report: BuildReport, failed_smoke: SmokeResult) -> BuildReport:
    return BuildReport(
        image=None,
        parent=report.parent,
        stages=report.stages,
        warnings=(),
        smoke=failed_smoke,
        pictures=(),
        seconds_total=9.0,
        exit_code=7,
    )
