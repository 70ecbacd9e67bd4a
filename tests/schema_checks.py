"""Holds reports against their published schemas, and more strictly than readers may: no key may be new."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from mdai_build.report.schemas import REPORTS, schema


def check_report(name: str, report: Any) -> None:
    """Fails where a report does not keep its schema, or holds more than that says."""
    report = json.loads(json.dumps(report))
    closed = schema(name)
    for definition in closed["$defs"].values():
        definition["additionalProperties"] = False
    variants = [each["$ref"].rpartition("/")[2] for each in closed.pop("anyOf")]
    is_failure = isinstance(report, dict) and "error" in report
    meant = next(each for each in variants if (each == "FailureDocument") == is_failure)
    faults = [
        f"{fault.json_path}: {fault.message[:300]}"
        for fault in Draft202012Validator({**closed, "$ref": f"#/$defs/{meant}"}).iter_errors(report)
    ]
    assert not faults, f"a report of {name}: {faults}"


def check_printed(words: Sequence[str | Path], printed: str) -> None:
    """Fails where `mdai-build` with these words and --json printed a report that does not keep its command's schema.

    Called wherever tests run the command, so that all its reports are held against their schemas.
    """
    if "--json" in words and printed:
        check_report(_name(tuple(map(str, words))), json.loads(printed))


def _name(words: tuple[str, ...]) -> str:
    if "lock" in words and "--check" in words:
        return "lock-check"
    plain = [word for word in words if not word.startswith("-")]
    two = "-".join(plain[:2])
    return two if two in REPORTS else plain[0]
