"""The JSON schema of config.yaml, for editors: made from `ModelConfig`, and as lenient as `parse_config`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mdai_build.config.model import BASE_IMAGES, CLARA_VERSIONS, CUDA_VERSIONS, DEVICE_TYPES, ModelConfig


def config_schema() -> dict[str, Any]:
    """The schema (JSON Schema 2020-12). What it refuses, `check` refuses or warns of."""
    # YAML makes numbers of `11.3` and `11`, which mean the same as their text.
    short = [version.removesuffix(".0") for version in CUDA_VERSIONS if version.endswith(".0")]
    cuda = [*CUDA_VERSIONS, *short, *(float(version) for version in CUDA_VERSIONS)]
    values: dict[str, dict[str, Any]] = {
        "base_image": one_of(BASE_IMAGES),
        "device_type": one_of(DEVICE_TYPES),
        "cuda_version": {"enum": cuda},
        "clara_version": one_of(CLARA_VERSIONS),
        "env": {
            "type": "object",
            "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
            "additionalProperties": {"type": ["string", "number", "boolean"]},
        },
    }
    fields = ModelConfig.model_fields
    return {
        "title": "config.yaml",
        "description": "What an MD.ai model runs on: .mdai/config.yaml of its bundle.",
        "type": "object",
        "properties": {name: {"description": fields[name].description, **values[name]} for name in fields},
        "required": [name for name, field in fields.items() if field.is_required()],
        "additionalProperties": False,
    }


def one_of(values: Sequence[str]) -> dict[str, Any]:
    """One of these words, in whatever case: the list is what an editor offers."""
    pattern = "|".join("".join(_either_case(letter) for letter in value) for value in values)
    return {"anyOf": [{"enum": list(values)}, {"type": "string", "pattern": f"^({pattern})$"}]}


def _either_case(letter: str) -> str:
    return f"[{letter.upper()}{letter.lower()}]" if letter.isalpha() else re.escape(letter)
