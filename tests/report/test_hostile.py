"""Whatever a model answers, judging it and drawing it come to an end without an error."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdai_build.report.document import smoke_as_json
from mdai_build.report.frames import Budget
from mdai_build.report.outputs import OutputsWriter
from mdai_build.report.page import page_of_prediction, render_page
from mdai_build.report.pictures import draw_pictures
from mdai_build.report.predictions import Predictions
from mdai_build.report.views import sample_view
from mdai_build.smoke import Check, Demand, SmokeResult
from mdai_build.smoke.answers import check_answer
from mdai_build.smoke.request import SmokeRequest
from mdai_build.smoke.result import Answer
from mdai_build.smoke.samples import label_classes, synthetic_request

from .test_page import Reader

SAMPLE = synthetic_request("png")
FILE = SAMPLE.files[0]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.sampled_from([FILE.study_uid, FILE.series_uid, FILE.instance_uid, "ANNOTATION", "IMAGE", 0, 1, 5, 100, 440]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
keys = ["study_uid", "series_uid", "instance_uid", "frame_number", "class_index", "probability", "note", "images"]
data = st.dictionaries(st.sampled_from(["mask", "vertices", "x", "y", "width", "height", "start_frame_number"]), values)
numbers = st.integers(-10, 600)
near_right = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["ANNOTATION", "NONE", "IMAGE", "TEXT"]),
        "study_uid": st.just(FILE.study_uid),
        "series_uid": st.just(FILE.series_uid),
        "instance_uid": st.just(FILE.instance_uid),
        "class_index": st.integers(0, 12),
    },
    optional={
        "data": st.one_of(
            st.fixed_dictionaries({"x": numbers, "y": numbers}, optional={"width": numbers, "height": numbers}),
            st.fixed_dictionaries({"vertices": st.lists(st.tuples(numbers, numbers).map(list), max_size=6)}),
            st.fixed_dictionaries({"mask": st.lists(st.lists(st.integers(0, 1), max_size=3), max_size=3)}),
            data,
        ),
        "frame_number": st.integers(0, 3),
        "probability": st.floats(0, 1),
    },
)
anything = st.dictionaries(st.sampled_from([*keys, "type", "data", "explanations"]), values | data, max_size=8)
outputs = values | st.lists(near_right | anything, max_size=4)


@settings(max_examples=300, deadline=None)
@given(outputs)
def test_judging(answer: Any) -> None:
    for own in (False, True):
        request = SmokeRequest(
            "x", "INSTANCE", SAMPLE.files, Demand.EXPECTED, label_classes=label_classes(), own_labels=own
        )
        findings = check_answer(request, answer)
        assert all(problem.what and problem.where for problem in findings.problems)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(answer=st.lists(near_right | anything | values, max_size=3))
def test_drawing_and_telling(folder: Path, answer: list[Any]) -> None:
    findings = check_answer(SAMPLE, answer)
    check = Check("x", "failed", 0.1, "x", findings.problems)
    smoke = SmokeResult((check,), (Answer(SAMPLE, tuple(answer), 0.1, not findings.problems),))
    paths = draw_pictures(smoke, folder)
    assert paths and all(path.stat().st_size > 0 for path in paths)
    assert smoke_as_json("model", smoke, paths)["smoke"]["answers"][0]["outputs"] == len(answer)
    assert len(smoke.problems) <= len(findings.problems)


def comes_by_msgpack(answer: Any) -> bool:
    """Whether an answer could have come as one: there are no integers beyond 64 bits, and no halves of characters."""
    try:
        msgpack.packb(answer)
    except (OverflowError, UnicodeEncodeError):
        return False
    return True


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(answer=st.lists(near_right | anything | values, max_size=3))
def test_pages_and_lines_and_files(folder: Path, answer: list[Any]) -> None:
    own = replace(SAMPLE, label_classes=({"class_index": 0, "label": None}, {"class_index": 1}), own_labels=True)
    for request in (SAMPLE, own):
        check = Check("x", "failed", 0.1, "x", check_answer(request, answer).problems)
        found = Answer(request, tuple(answer), 0.1, False)
        sample = sample_view(request, found, check, Budget())
        assert len(sample.outputs) == sum(isinstance(output, dict) for output in answer)
        page = page_of_prediction("x", (), SmokeResult((check,)), [sample])
        Reader(render_page(page))
        told = Predictions(pictures=False)
        told.add(request, found, check)
        told.print(SmokeResult((check,)), "SERIES", (), ())
        if not comes_by_msgpack(answer):
            continue
        with OutputsWriter("x", 1, folder, None) as writer:
            writer.write(request, found, check)
            writer.finish(7)
        json.loads((folder / "outputs.json").read_text())
