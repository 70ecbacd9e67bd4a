"""The JSON schema of smoke.yaml, for editors: made from `SmokeFile`, and as lenient as `parse_smoke_file`."""

from __future__ import annotations

from typing import Any, get_args

from pydantic.json_schema import GenerateJsonSchema

from mdai_build.config.schema import one_of
from mdai_build.smoke.request import Scope
from mdai_build.smoke.smoke_file import SmokeFile


class WithoutTitles(GenerateJsonSchema):
    """Makes a schema in which keys have no titles: their names say the same."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """None."""
        return False


def smoke_schema() -> dict[str, Any]:
    """The schema (JSON Schema 2020-12). What it refuses, `check` refuses."""
    schema = SmokeFile.model_json_schema(schema_generator=WithoutTitles)
    schema["title"] = "smoke.yaml"
    schema["description"] = "How an MD.ai model is tried by the smoke test: .mdai/smoke.yaml of its bundle."
    _lenient(schema["properties"], "scope", [*one_of(get_args(Scope))["anyOf"], {"type": "null"}])
    _lenient(schema["properties"], "samples", [{"type": "string"}, {"type": "array", "items": {"type": "string"}}])
    label = schema["$defs"]["Label"]["properties"]
    for name in ("type", "scope"):
        _lenient(label, name, one_of(label[name]["enum"])["anyOf"])
    return schema


def _lenient(properties: dict[str, Any], name: str, choices: list[dict[str, Any]]) -> None:
    """A key that takes more than its type says."""
    kept = {word: value for word, value in properties[name].items() if word in ("default", "description")}
    properties[name] = {**kept, "anyOf": choices}
