"""The published JSON schemas: of what `--json` prints, and of the files that a bundle's author writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import ConfigDict, TypeAdapter

from mdai_build import documents
from mdai_build.config.schema import config_schema
from mdai_build.documents import FailureDocument
from mdai_build.smoke.schema import WithoutTitles, smoke_schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_FILES = MappingProxyType({"config": config_schema, "smoke": smoke_schema})
REPORTS: Mapping[str, Any] = MappingProxyType(
    {
        "check": documents.CheckDocument,
        "build": documents.BuildDocument,
        "bake": documents.BakeDocument,
        "test": documents.SmokeTestDocument,
        "predict": documents.PredictDocument,
        "profile": documents.ProfileDocument,
        "lock": documents.LockDocument,
        "lock-check": documents.LockCheckDocument,
        "inspect": documents.InspectDocument,
        "verify": documents.VerifyDocument,
        "explain": documents.ExplainDocument,
        "init": documents.InitDocument,
        "doctor": documents.DoctorDocument,
        "clean": documents.CleanDocument,
        "parents-list": documents.ParentsListDocument,
        "parents-pin": documents.ParentsPinDocument,
        "base": documents.BasesDocument,
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
