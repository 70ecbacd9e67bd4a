"""The published JSON schemas: of what `--json` prints, and of the files that a bundle's author writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import ConfigDict, TypeAdapter

from mdai_build.config.schema import config_schema
from mdai_build.documents import build, bundle, image, machine, smoke
from mdai_build.documents.problems import FailureDocument
from mdai_build.smoke.schema import WithoutTitles, smoke_schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_FILES = MappingProxyType({"config": config_schema, "smoke": smoke_schema})
REPORTS: Mapping[str, Any] = MappingProxyType(
    {
        "check": bundle.CheckDocument,
        "build": build.BuildDocument,
        "bake": build.BakeDocument,
        "test": smoke.SmokeTestDocument,
        "predict": smoke.PredictDocument,
        "profile": smoke.ProfileDocument,
        "lock": bundle.LockDocument,
        "lock-check": bundle.LockCheckDocument,
        "inspect": image.InspectDocument,
        "verify": image.VerifyDocument,
        "explain": machine.ExplainDocument,
        "init": bundle.InitDocument,
        "doctor": machine.DoctorDocument,
        "clean": machine.CleanDocument,
        "parents-list": machine.ParentsListDocument,
        "parents-pin": machine.ParentsPinDocument,
        "base": build.BasesDocument,
    }
)
"""By the command that prints it; each of them prints a `FailureDocument` instead where it came to no result."""
NAMES = (*_FILES, *REPORTS)
"""All schemas that there are."""


def schema(name: str) -> dict[str, Any]:
    """A schema by its name.

    Raises:
        KeyError: there is none of that name.
    """
    if name in _FILES:
        return {"$schema": DIALECT, **_FILES[name]()}
    # mypy holds the code to these types; the words are their docstrings.
    either: Any = REPORTS[name] | FailureDocument
    made: TypeAdapter[Any] = TypeAdapter(either, config=ConfigDict(use_attribute_docstrings=True))
    report = made.json_schema(schema_generator=WithoutTitles)
    return {"$schema": DIALECT, "title": f"mdai-build {name.replace('-', ' ')} --json", **report}


def schema_text(name: str) -> str:
    """A schema as the text of its published file."""
    return json.dumps(schema(name), indent=2, ensure_ascii=False) + "\n"
