"""Reports for machines: JSON values with stable names, and JUnit XML."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mdai_build.errors import MdaiBuildError, Problem, SmokeTestFailedError
from mdai_build.report.text import clean, clean_line

if TYPE_CHECKING:
    from mdai_build.documents.build import BakeDocument, BasesDocument, BuildDocument, ImageDocument
    from mdai_build.documents.problems import FailureDocument, Format
    from mdai_build.documents.smoke import (
        AnswerDocument,
        CheckOfModelDocument,
        GpuDocument,
        SmokeDocument,
        SmokeTestDocument,
    )
    from mdai_build.report.values import BakeReport, BaseState, BuildReport, ImageReport
    from mdai_build.smoke.result import Answer, Check, SmokeResult

FORMAT: Format = 1
"""Raised when a name or a meaning changes; new names do not raise it."""
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def report_as_json(report: BuildReport) -> BuildDocument:
    """The outcome of a build as JSON-ready values. Sizes are bytes, times wall seconds."""
    image, smoke = report.image, report.smoke
    return {
        "format": FORMAT,
        "exit_code": report.exit_code,
        "image": None if image is None else _image(image),
        "parent": {"reference": report.parent.reference, "why": report.parent.why},
        "base": None
        if report.base is None
        else {"reference": report.base.reference, "server": report.base.server, "why": report.base.why},
        "stages": [
            {"name": stage.name, "seconds": round(stage.seconds, 3), "cached": stage.cached} for stage in report.stages
        ],
        "steps": [
            {"name": step.name, "start": round(step.start, 3), "end": round(step.end, 3)} for step in report.steps
        ],
        "overrides": list(report.overrides),
        "warnings": [problem.as_json() for problem in report.warnings],
        "smoke": None if smoke is None else _smoke(smoke),
        "pictures": [str(path) for path in report.pictures],
        "pushed": None
        if report.pushed is None
        else {
            "reference": report.pushed.reference,
            "size_bytes": report.pushed.size_bytes,
            "new_layers": report.pushed.new_layers,
            "seconds": round(report.pushed.seconds, 3),
        },
        "seconds_total": round(report.seconds_total, 3),
    }


def bake_as_json(report: BakeReport) -> BakeDocument:
    """The outcome of many builds as JSON-ready values; `build` is what `report_as_json` gives for one."""
    return {
        "format": FORMAT,
        "exit_code": report.exit_code,
        "models": [
            {
                "name": model.name,
                "path": str(model.path),
                "outcome": model.outcome,
                "exit_code": model.exit_code,
                "image": model.tag if model.exit_code == 0 else None,
                "seconds": round(model.seconds, 3),
                "problems": [problem.as_json() for problem in model.problems],
                "warnings": [problem.as_json() for problem in model.warnings],
                "build": report_as_json(model.build) if model.build else None,
            }
            for model in report.models
        ],
        "seconds_total": round(report.seconds_total, 3),
    }


def bases_as_json(states: Sequence[BaseState]) -> BasesDocument:
    """Base images and where they are, as JSON-ready values. Sizes are bytes."""
    bases = [{**dataclasses.asdict(state), "here": state.here} for state in states]
    return cast("BasesDocument", {"format": FORMAT, "exit_code": 0, "bases": bases})


def smoke_as_json(
    target: str, smoke: SmokeResult, pictures: Sequence[Path], warnings: Sequence[Problem] = ()
) -> SmokeTestDocument:
    """The outcome of a smoke test alone as JSON-ready values; `warnings` are those of the bundle."""
    return {
        "format": FORMAT,
        "exit_code": 0 if smoke.passed else SmokeTestFailedError.exit_code,
        "target": target,
        "warnings": [problem.as_json() for problem in warnings],
        "smoke": _smoke(smoke),
        "pictures": [str(path) for path in pictures],
    }


def failure_as_json(failure: MdaiBuildError) -> FailureDocument:
    """A failure as JSON-ready values."""
    return {
        "format": FORMAT,
        "exit_code": failure.exit_code,
        "error": failure.title,
        "problems": [problem.as_json() for problem in failure.problems],
        "warnings": [problem.as_json() for problem in failure.warnings],
    }


def junit_xml(report: BuildReport) -> str:
    """The outcome of a build as JUnit XML: one suite for the stages, one for the smoke test's checks."""
    root = ElementTree.Element("testsuites", name="mdai-build")
    build = _suite(root, "build", len(report.stages), 0, sum(stage.seconds for stage in report.stages))
    for stage in report.stages:
        _case(build, stage.name, stage.seconds)
    if report.smoke is not None:
        checks = report.smoke.checks
        failed = sum(not check.passed for check in checks)
        suite = _suite(root, "smoke", len(checks), failed, sum(check.seconds for check in checks))
        _checks(suite, checks)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def bake_junit_xml(report: BakeReport) -> str:
    """The outcome of many builds as JUnit XML: a suite for each model, with its build and its smoke test's checks."""
    root = ElementTree.Element("testsuites", name="mdai-build")
    for model in report.models:
        checks = model.build.smoke.checks if model.build and model.build.smoke else ()
        failed = (model.failure is not None) + sum(not check.passed for check in checks)
        suite = _suite(root, _xml(clean_line(model.name)), 1 + len(checks), failed, model.seconds)
        build = _case(suite, "build", model.seconds)
        if model.failure is not None:
            text = "\n\n".join(problem_text(problem) for problem in model.problems)
            ElementTree.SubElement(build, "failure", message=_xml(clean_line(str(model.problems[0])))).text = _xml(text)
        _checks(suite, checks)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def problem_text(problem: Problem) -> str:
    """A problem as plain lines."""
    lines = [str(problem)]
    if problem.expected:
        lines.append(f"expected: {problem.expected}")
    if problem.next_step:
        lines.append(f"help: {problem.next_step}")
    if problem.details:
        lines.append(problem.details)
    return clean("\n".join(lines))


def _suite(root: ElementTree.Element, name: str, tests: int, failures: int, seconds: float) -> ElementTree.Element:
    return ElementTree.SubElement(
        root, "testsuite", name=name, tests=str(tests), failures=str(failures), errors="0", time=f"{seconds:.3f}"
    )


def _case(suite: ElementTree.Element, name: str, seconds: float) -> ElementTree.Element:
    kind = f"mdai-build.{suite.get('name')}"
    return ElementTree.SubElement(suite, "testcase", classname=kind, name=_xml(clean_line(name)), time=f"{seconds:.3f}")


def _checks(suite: ElementTree.Element, checks: Sequence[Check]) -> None:
    for check in checks:
        case = _case(suite, check.name, check.seconds)
        text = "\n\n".join(problem_text(problem) for problem in check.problems)
        if not check.passed:
            ElementTree.SubElement(case, "failure", message=_xml(clean_line(check.message))).text = _xml(text)
        elif text:
            ElementTree.SubElement(case, "system-out").text = _xml(text)


def _xml(text: str) -> str:
    """The text without what XML 1.0 cannot hold (section 2.2)."""
    return _NOT_XML.sub("�", text)


def _image(image: ImageReport) -> ImageDocument:
    document: ImageDocument = {"reference": image.reference, "id": image.id, "size_bytes": image.size_bytes}
    if image.digest:
        document["digest"] = image.digest
    return document


def _smoke(smoke: SmokeResult) -> SmokeDocument:
    return {
        "passed": smoke.passed,
        "checks": [_check(check) for check in smoke.checks],
        "answers": [_answer(answer) for answer in smoke.answers],
        "load_seconds": smoke.load_seconds,
        "first_seconds": smoke.first_seconds,
        "later_seconds": smoke.later_seconds,
        "peak_memory_bytes": smoke.peak_memory,
        "api_version": smoke.api_version,
        "gpu": None if smoke.gpu is None else cast("GpuDocument", dataclasses.asdict(smoke.gpu)),
    }


def _check(check: Check) -> CheckOfModelDocument:
    return {
        "name": check.name,
        "outcome": check.outcome,
        "passed": check.passed,
        "seconds": round(check.seconds, 4),
        "message": check.message,
        "problems": [problem.as_json() for problem in check.problems],
    }


def _answer(answer: Answer) -> AnswerDocument:
    kinds: dict[str, int] = {}
    for output in answer.outputs:
        kind = str(output.get("type")) if isinstance(output, dict) else type(output).__name__
        kinds[kind] = kinds.get(kind, 0) + 1
    return {
        "request": answer.request.name,
        "scope": answer.request.scope,
        "files": len(answer.request.files),
        "outputs": len(answer.outputs),
        "types": kinds,
        "valid": answer.valid,
        "seconds": round(answer.seconds, 4),
    }
