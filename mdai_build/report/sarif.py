"""What `check` found as SARIF 2.1.0 (OASIS), which code scanning of forges and editors shows beside the lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from mdai_build import __version__
from mdai_build.error_pages import ErrorPage, error_pages
from mdai_build.errors import Problem
from mdai_build.report.places import Place, place_of
from mdai_build.report.text import clean

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
VERSION = "2.1.0"
_ROOT = "SRCROOT"
"""What relative addresses are relative to: the folder that the command ran in (SARIF, 3.14.14)."""

Level = Literal["error", "warning"]


def sarif_text(model: Path, problems: Sequence[Problem], warnings: Sequence[Problem], exit_code: int) -> str:
    """The text of a log file with one run, of `check` of `model`."""
    return json.dumps(sarif_log(model, problems, warnings, exit_code), indent=2, ensure_ascii=False) + "\n"


def sarif_log(model: Path, problems: Sequence[Problem], warnings: Sequence[Problem], exit_code: int) -> dict[str, Any]:
    """A log with one run as JSON-ready values: its rules are the kinds of messages that were found."""
    found: list[tuple[Problem, Level]] = [(problem, "error") for problem in problems]
    found += [(problem, "warning") for problem in warnings]
    rules = {code: number for number, code in enumerate(dict.fromkeys(problem.code for problem, _ in found))}
    driver = {
        "name": "mdai-build",
        "semanticVersion": __version__,
        "rules": [_rule(code, error_pages().get(code)) for code in rules],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": True, "exitCode": exit_code}],
        "originalUriBaseIds": {_ROOT: {"uri": f"{Path.cwd().as_uri()}/"}},
        "results": [_result(problem, level, rules[problem.code], model) for problem, level in found],
    }
    return {"$schema": SCHEMA, "version": VERSION, "runs": [run]}


def _rule(code: str, page: ErrorPage | None) -> dict[str, Any]:
    if page is None:
        return {"id": code}
    text = f"{page.cause}\n\nTo do: {page.fix}"
    more = f"`mdai-build explain {page.number}` tells this too; it is from {page.link}."
    example = f"\n\n```text\n{page.example}\n```" if page.example else ""
    return {
        "id": page.number,
        "name": page.name,
        "shortDescription": {"text": page.title},
        "fullDescription": {"text": page.cause},
        "help": {"text": f"{text}\n\n{more}", "markdown": f"{text}{example}\n\n{more}"},
    }


def _result(problem: Problem, level: Level, rule: int, model: Path) -> dict[str, Any]:
    page = error_pages().get(problem.code)
    where = problem.where
    place = (place_of(where, model) if where else None) or Place(model)
    lines = [problem.what]
    if where is not None and place.file == model:
        lines[0] = str(problem)  # the file inside of an archive is told in words
    lines += [f"Expected: {problem.expected}"] if problem.expected else []
    lines += [f"Help: {problem.next_step}"] if problem.next_step else []
    physical: dict[str, Any] = {"artifactLocation": _artifact(place.file)}
    if place.line is not None:
        region: dict[str, Any] = {"startLine": place.line}
        if place.column is not None:
            region["startColumn"] = place.column
        if where is not None and where.source is not None:
            region["snippet"] = {"text": clean(where.source)}
        physical["region"] = region
    return {
        "ruleId": page.number if page else problem.code,
        "ruleIndex": rule,
        "level": level,
        "message": {"text": clean("\n".join(lines))},
        "locations": [{"physicalLocation": physical}],
    }


def _artifact(file: Path) -> dict[str, str]:
    """A file by an address relative to the working folder, where it is below it."""
    absolute = file.resolve()
    if absolute.is_relative_to(Path.cwd()):
        return {"uri": quote(bytes(absolute.relative_to(Path.cwd()))), "uriBaseId": _ROOT}
    return {"uri": absolute.as_uri()}
