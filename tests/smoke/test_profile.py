"""A profile of real models on the real server: each test starts it as a process."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mdai_build.engine.target import Target
from mdai_build.smoke import Demand, SmokePlan
from mdai_build.smoke.profile import STEPS, run_profile
from mdai_build.smoke.samples import synthetic_request

pytestmark = pytest.mark.process
Serve = Callable[[str | Path], Target]

MODEL = """
import time

class MDAIModel:
    def __init__(self):
        self.count = 0

    def predict(self, data):
        self.count += 1
        {body}
        return [{{"type": "NONE", "study_uid": data["args"]["study"]}}] * {outputs}
"""


def model(body: str = "pass", outputs: int = 1) -> str:
    return MODEL.format(body=textwrap.indent(textwrap.dedent(body), " " * 8).strip(), outputs=outputs)


def plan(*names: str, demand: Demand = Demand.EXPECTED) -> SmokePlan:
    asked = (replace(synthetic_request(name), demand=demand) for name in names)
    requests = tuple(replace(request, args={"study": request.files[0].study_uid}) for request in asked)
    return SmokePlan(requests, ready_seconds=30, predict_seconds=20)


def test_time_and_memory_of_each_step(serve: Serve) -> None:
    body = "held = bytearray(150 * 2**20)\ntime.sleep(0.05 if self.count > 1 else 2.0)"
    counted: list[int] = []
    found = run_profile(serve(model(body)), plan("ct"), 5, lambda check: None, counted.append)
    assert found.passed and len(found.later) == 5 and counted == [1, 2, 3, 4, 5]
    assert found.first is not None and found.first.seconds > 2.0
    for one in found.later:
        assert tuple(one.steps) == STEPS == tuple(one.peak)
        assert 0.05 < one.steps["predict"] <= one.seconds < 2.0
        assert one.peak["predict"] > one.peak["encode"] + 100 * 2**20
        assert one.sent_bytes > 500_000 and one.answer_bytes < 100
    assert found.load_seconds is not None


def test_the_users_own_samples_take_turns(serve: Serve) -> None:
    asked = plan("ct", "cr", demand=Demand.REQUIRED)
    found = run_profile(serve(model()), asked, 5, lambda check: None, lambda number: None)
    assert [one.request for one in found.later] == ["ct", "cr", "ct", "cr", "ct"]


def test_of_synthetic_ones_the_first_that_is_answered_is_taken(serve: Serve) -> None:
    body = "if data['files'][0]['content_type'] == 'application/dicom':\n    raise ValueError('no DICOM, please')"
    found = run_profile(serve(model(body)), plan("ct", "cr", "jpeg", "png"), 2, lambda check: None, lambda number: None)
    assert [one.request for one in found.later] == ["jpeg", "jpeg"]
    assert found.passed


def test_a_model_without_outputs_is_measured_all_the_same(serve: Serve) -> None:
    found = run_profile(serve(model(outputs=0)), plan("ct", "cr"), 2, lambda check: None, lambda number: None)
    assert [one.request for one in found.later] == ["ct", "ct"]


def test_a_model_that_answers_nothing(serve: Serve) -> None:
    found = run_profile(serve(model("1 / 0")), plan("ct"), 2, lambda check: None, lambda number: None)
    assert not found.passed and found.later == ()
    assert "ZeroDivisionError" in found.problems[0].what


def test_a_model_that_gives_up_in_between(serve: Serve) -> None:
    found = run_profile(
        serve(model("if self.count == 3:\n    raise ValueError('tired')")),
        plan("ct"),
        9,
        lambda check: None,
        lambda number: None,
    )
    assert not found.passed and len(found.later) == 1
    assert found.problems[0].code == "smoke.not-repeatable" and "tired" in (found.problems[0].details or "")


def test_a_model_that_does_not_load(serve: Serve) -> None:
    found = run_profile(serve("1 / 0"), plan("ct"), 2, lambda check: None, lambda number: None)
    assert not found.passed and found.problems[0].code == "smoke.load-failed"
