from __future__ import annotations

import dataclasses
import json
import xml.etree.ElementTree as ElementTree

from schema_checks import check_report

from mdai_build.errors import BundleError, Problem
from mdai_build.report.document import bases_as_json, failure_as_json, junit_xml, report_as_json, smoke_as_json
from mdai_build.report.values import BaseReport, BaseState, BuildReport
from mdai_build.smoke.result import SmokeResult


def test_a_report_as_json(report: BuildReport) -> None:
    document = json.loads(json.dumps(report_as_json(report)))
    check_report("build", document)
    assert set(document) == {
        "format", "exit_code", "image", "parent", "base", "stages", "steps", "overrides", "warnings", "smoke",
        "pictures", "pushed", "seconds_total",
    }  # fmt: skip
    assert document["image"] == {
        "reference": "mdai-build/model:latest",
        "id": "sha256:0123456789ab",
        "size_bytes": 612_345_678,
    }
    assert document["stages"][0] == {"name": "conda environment", "seconds": 12.34, "cached": False}
    assert document["warnings"][0]["where"]["line"] == 3
    assert document["smoke"]["passed"] is True
    assert document["smoke"]["checks"][0] == {
        "name": "model loads",
        "outcome": "passed",
        "passed": True,
        "seconds": 1.25,
        "message": "ready after 1.2 s",
        "problems": [],
    }
    assert document["smoke"]["answers"][0]["types"] == {"NONE": 1, "int": 1}
    assert document["smoke"]["peak_memory_bytes"] == 312_000_000


def test_the_base_image_of_a_build(report: BuildReport) -> None:
    assert report_as_json(report)["base"] is None
    base = BaseReport("mdai-build/base:py38-cpu-01", None, "there is no base image py38-cpu-server-02")
    told = report_as_json(dataclasses.replace(report, base=base))["base"]
    assert told == {"reference": base.reference, "server": None, "why": base.why}


def test_base_images_as_json() -> None:
    state = BaseState("py38-cpu", "py38-cpu-01", "base-cpu", True, 800_000_000, "py38-cpu-server-02", False, None)
    (told,) = bases_as_json([state])["bases"]
    check_report("base", bases_as_json([state]))
    assert (told["tag"], told["here"], told["in_registry"]) == ("py38-cpu-01", False, None)


def test_a_failed_report_as_json(failed_report: BuildReport) -> None:
    document = json.loads(json.dumps(report_as_json(failed_report)))
    check_report("build", document)
    assert document["image"] is None
    assert document["exit_code"] == 7
    assert document["smoke"]["checks"][-1]["problems"][0]["code"] == "smoke.predict-raised"
    assert "Traceback" in document["smoke"]["checks"][-1]["problems"][0]["details"]


def test_a_smoke_test_as_json(smoke: SmokeResult) -> None:
    check_report("test", smoke_as_json("model", smoke, ()))
    assert smoke_as_json("model", smoke, ())["target"] == "model"


def test_a_failure_as_json(failure: Problem, warning: Problem) -> None:
    document = json.loads(json.dumps(failure_as_json(BundleError([failure], [warning]))))
    check_report("build", document)
    assert document["exit_code"] == 3
    assert document["error"] == "the bundle is wrong"
    assert [problem["code"] for problem in document["problems"]] == ["smoke.predict-raised"]
    assert [problem["code"] for problem in document["warnings"]] == ["config.unknown-key"]


def test_junit(failed_report: BuildReport) -> None:
    root = ElementTree.fromstring(junit_xml(failed_report))
    suites = {suite.get("name"): suite for suite in root}
    assert set(suites) == {"build", "smoke"}
    assert (suites["smoke"].get("tests"), suites["smoke"].get("failures")) == ("4", "1")
    failed = suites["smoke"].find("testcase[@name='answers']/failure")
    assert failed is not None and failed.get("message") == "no answers"
    assert failed.text is not None and "Traceback" in failed.text and "\x1b" not in failed.text
    out = suites["smoke"].find("testcase[@name='us-clip']/system-out")
    assert out is not None and out.text == "not supported"


def test_junit_without_a_smoke_test(report: BuildReport) -> None:
    bare = BuildReport(report.image, report.parent, report.stages, (), None, (), 1.0, 0)
    assert [suite.get("name") for suite in ElementTree.fromstring(junit_xml(bare))] == ["build"]
