"""Writes docs/schemas/*.json from the code; a test holds them to it.

What docs/machines.md promises is held here: while a report's format is what it was, no key goes away or changes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mdai_build.report.schemas import NAMES, REPORTS, schema, schema_text

FOLDER = Path(__file__).resolve().parents[1] / "docs/schemas"


def broken_promises(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """What a reader of reports by the schema `before` would miss in reports by the schema `now`; both of one format."""
    for name, old in before["$defs"].items():
        new = now["$defs"].get(name)
        if new is None:
            yield f"{name} is gone"
            continue
        for key, value in old["properties"].items():
            if key not in new["properties"]:
                yield f"{name}.{key} is gone"
            elif _without_words(value) != _without_words(new["properties"][key]):
                yield f"{name}.{key} has another type"
        yield from (f"{name}.{key} may be missing" for key in set(old["required"]) - set(new["required"]))


def _without_words(value: Any) -> Any:
    if isinstance(value, dict):
        return {word: _without_words(part) for word, part in value.items() if word != "description"}
    return [_without_words(part) for part in value] if isinstance(value, list) else value


def _format(report: dict[str, Any]) -> Any:
    return report["$defs"]["FailureDocument"]["properties"]["format"]


def main() -> None:
    """Writes every schema, unless it breaks what was promised, and removes what is none any more."""
    FOLDER.mkdir(exist_ok=True)
    broken = []
    for name in REPORTS:
        file = FOLDER / f"{name}.json"
        before, now = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None, schema(name)
        if before is not None and _format(before) == _format(now):
            broken += [f"{name}: {what}" for what in broken_promises(before, now)]
    if broken:
        sys.exit("\n".join([*broken, "raise the format (documents/problems.py, report/document.py), or keep these"]))
    for file in FOLDER.glob("*.json"):
        file.unlink()
    for name in NAMES:
        (FOLDER / f"{name}.json").write_text(schema_text(name), encoding="utf-8")


if __name__ == "__main__":
    main()
