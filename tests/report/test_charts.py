"""Figures of a profile."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from schema_checks import check_report

from mdai_build.report.charts import profile_as_json, profile_rows, profile_view, sparkline
from mdai_build.report.profiling import print_profile
from mdai_build.smoke.profile import Measurement, ProfileResult, percentile, read_timing

from .pages import HOSTILE, profile


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([3], 0.5, 3), ([1, 2, 3, 4], 0.5, 2), (list(range(1, 101)), 0.95, 95), ([5, 1, 9], 0.95, 9), ([2, 1], 0.0, 1)],
)
def test_percentiles(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


def test_the_line_of_blocks() -> None:
    assert sparkline([1, 1, 8, 4]) == "▁▁█▄"
    assert sparkline([]) == "" and sparkline([0.0]) == "▁"
    assert sparkline([1.0] * 500 + [9.0] + [1.0] * 500, width=60).count("█") == 1


def test_the_table() -> None:
    rows = {row.name: (row.first, *row.values) for row in profile_rows(profile())}
    assert rows["answer"] == ("500 ms", "110 ms", "120 ms", "120 ms")
    assert rows["predict memory"] == ("1 GB", "411 MB", "422 MB", "423 MB")
    assert rows["predict GPU memory"] == ("3 GB", "3 GB", "3 GB", "3 GB")
    assert "decode GPU memory" not in rows


def test_the_columns_add_up_to_the_answers() -> None:
    view = profile_view(profile())
    assert view.count == 24 and len({round(part.x) for part in view.columns}) == 24
    inner = view.bottom - 10
    first = [part for part in view.columns if part.x == view.columns[0].x]
    assert [part.kind for part in first] == ["decode", "predict", "check", "encode", "rest"]
    # The scale ends at 150 ms, the first answer took 100.
    assert sum(part.height for part in first) == pytest.approx(inner * 100 / 150)
    assert [kind for kind, _ in view.lines] == ["memory", "gpu"]
    assert all(part.y >= 0 and part.y + part.height <= view.bottom + 1e-6 for part in view.columns)


def test_of_very_many_answers_the_page_shows_some() -> None:
    one = profile().later[0]
    view = profile_view(ProfileResult((), one, tuple(replace(one, seconds=0.1) for _ in range(10_000))))
    assert view.count == 10_000 and len(view.columns) <= 5 * 400


def test_a_server_of_other_make_tells_no_steps() -> None:
    found = ProfileResult((), Measurement("x", 0.5), (Measurement("x", 0.4),) * 3)
    assert [row.name for row in profile_rows(found)] == ["answer"]
    assert {part.kind for part in profile_view(found).columns} == {"rest"}


def test_json() -> None:
    told = json.loads(json.dumps(profile_as_json("model", profile())))
    check_report("profile", told)
    assert told["requests"] == len(told["measurements"]) == 24
    assert told["statistics"]["answer"] == {"p50": 0.11, "p95": 0.12, "max": 0.12}
    assert set(told["statistics"]) >= {"decode", "predict_memory", "predict_gpu_memory"}
    assert told["first"]["seconds"] == 0.5


def test_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_profile(profile())
    out = capsys.readouterr().out
    assert "p95" in out and "predict GPU memory" in out and "█" in out
    assert HOSTILE not in out


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("decode;dur=1.5;peak=10, predict;dur=2", {"decode": {"dur": 1.5, "peak": 10}, "predict": {"dur": 2}}),
        ("", {"": {}}),
        ("a;dur=nan;x=-1;y=inf;z;dur=3", {"a": {"dur": 3}}),
        ("a;b=c=d, ,;", {"a": {}, "": {}}),
    ],
)
def test_a_header_of_a_stranger(header: str, expected: dict[str, dict[str, float]]) -> None:
    assert read_timing(header) == expected
