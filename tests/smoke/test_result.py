from __future__ import annotations

from mdai_build.errors import Location, Problem
from mdai_build.smoke.result import Check, SmokeResult


def raised(sample: str, words: str, line: int = 9) -> Check:
    details = f'Traceback (most recent call last):\n  File "/src/lib/x.py", line {line}, in predict\n    f()\n{words}'
    problem = Problem("smoke.predict-raised", words, Location(f"sample {sample}"), details=details)
    return Check(sample, "warning", 0.0, words, (problem,))


def test_what_is_raised_on_one_line_of_code_is_one_warning() -> None:
    result = SmokeResult(
        (
            raised("ct", "ValueError: MR only, got CT"),
            raised("cr", "ValueError: MR only, got CR"),
            raised("mg", "ValueError: MR only, got MG"),
            raised("us", "IndexError: 3", line=12),
        )
    )
    assert [warning.what for warning in result.warnings] == [
        "ValueError: MR only, got CT; the same with cr, mg",
        "IndexError: 3",
    ]
