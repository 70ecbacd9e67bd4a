"""The reports of many builds at once."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from schema_checks import check_report

from mdai_build.errors import BuildFailedError, BundleError, MdaiBuildError, Problem
from mdai_build.report.document import bake_as_json, bake_junit_xml
from mdai_build.report.many import print_bake
from mdai_build.report.values import BakeReport, BuildReport, ImageReport, ModelReport, ParentReport

GOOD = BuildReport(
    image=ImageReport("mdai-build/lungs:latest", "sha256:00", 1),
    parent=ParentReport("parent", "because"),
    stages=(),
    warnings=(),
    smoke=None,
    pictures=(),
    seconds_total=1.0,
    exit_code=0,
)


def good(name: str, unchanged: bool = False) -> ModelReport:
    return ModelReport(name, Path(f"{name}.zip"), f"mdai-build/{name}:latest", GOOD, unchanged)


def failed(name: str, failure: type[MdaiBuildError], what: str) -> ModelReport:
    return ModelReport(name, Path(f"{name}.zip"), f"mdai-build/{name}:latest", failure=failure(Problem("a.b", what)))


def test_the_exit_code_is_that_of_the_model_that_got_least_far() -> None:
    step, bundle = failed("a", BuildFailedError, "a step"), failed("b", BundleError, "a key")
    assert BakeReport((good("c"), step, bundle), 1.0).exit_code == 3
    assert BakeReport((step, good("c")), 1.0).exit_code == 6
    assert BakeReport((good("c"),), 1.0).exit_code == 0


def test_each_model_has_its_outcome(capsys: pytest.CaptureFixture[str]) -> None:
    report = BakeReport((good("lungs"), good("heart", unchanged=True), failed("knee", BundleError, "no config")), 2.0)
    told = bake_as_json(report)
    check_report("bake", told)
    assert [(model["outcome"], model["image"]) for model in told["models"]] == [
        ("built", "mdai-build/lungs:latest"),
        ("unchanged", "mdai-build/heart:latest"),
        ("the bundle is wrong", None),
    ]
    assert told["exit_code"] == 3 and told["models"][2]["problems"][0]["what"] == "no config"
    suites = list(ElementTree.fromstring(bake_junit_xml(report)))
    assert [(suite.get("name"), suite.get("failures")) for suite in suites] == [
        ("lungs", "0"),
        ("heart", "0"),
        ("knee", "1"),
    ]
    print_bake(report)
    out = capsys.readouterr().out
    assert "2 of 3 models are good" in out and out.count("no config") == 2  # what is wrong in full, and in the table
