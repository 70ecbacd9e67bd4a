"""What scripts/matrix.py writes down of its runs."""

from __future__ import annotations

import datetime
from pathlib import Path

import matrix
import pytest

ORDER = ["py37", "py38", "py39"]


def record(base_image: str, device: str, date: str, docker: str = "Docker 26") -> dict[str, object]:
    machine = {"engine": docker, "platform": "linux/amd64", "gpus": 0}
    return {"base_image": base_image, "device_type": device, "outcome": "served", "date": date, "machine": machine}


def test_a_run_of_some_leaves_when_and_where_the_others_were_made() -> None:
    before = [record(name, device, "2026-01-01") for name in ORDER for device in ("cpu", "gpu")]
    made = [record("py38", device, "2026-02-02", "Docker 28") for device in ("gpu", "cpu")]
    records = matrix.merged(before, made, ORDER)
    assert [each["date"] for each in records] == ["2026-01-01"] * 2 + ["2026-02-02"] * 2 + ["2026-01-01"] * 2
    assert [each["machine"]["engine"] for each in records].count("Docker 28") == 2
    assert [each["device_type"] for each in records] == ["cpu", "gpu"] * 3
    assert [each for each in records if each["base_image"] != "py38"] == before[:2] + before[4:]


def test_a_python_that_the_matrix_has_no_more_is_forgotten() -> None:
    assert matrix.merged([record("py36", "cpu", "2026-01-01")], [], ORDER) == []


def test_what_is_written_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "RECORDS", tmp_path / "tested.yaml")
    assert matrix.read_records() == []
    made = {**record("py37", "cpu", ""), "date": datetime.date(2026, 11, 30)}
    matrix.write_records([made, dict(made, device_type="gpu")])
    assert [each["date"] for each in matrix.read_records()] == ["2026-11-30"] * 2
    # Nothing refers to another record, so that each can be read and changed by itself.
    assert "&" not in (tmp_path / "tested.yaml").read_text() and "*" not in (tmp_path / "tested.yaml").read_text()
