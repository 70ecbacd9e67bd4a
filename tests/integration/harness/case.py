"""A case: a model, a command, and what is to come of it, as `bundles/NAME/case.yaml` tells (see bundles/README.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

BUNDLES = Path(__file__).parents[1] / "bundles"

Pack = Literal["folder", "zip", "zip in a top folder", "tar.gz", "tar.gz in a top folder"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Expect(_Strict):
    """What is to come of the command."""

    exit_code: int = 0
    contains: tuple[str, ...] = Field((), description="texts of the output; any run of blanks counts as one blank")
    not_contains: tuple[str, ...] = Field((), description="texts that the output must not have")
    json_values: dict[str, Any] = Field(
        default_factory=dict, alias="json", description="values of the JSON on standard output, by dotted path"
    )
    files: tuple[str, ...] = Field((), description="what the command leaves in its working folder: nothing else may")
    model_traceback: bool = Field(False, description="a traceback of the model's is to be shown; else there is none")


class Member(_Strict):
    """An entry of an archive that no model folder could have: written as it stands."""

    path: str
    content: str = ""
    link: str | None = Field(None, description="makes it a symbolic link to this")


class Wheel(_Strict):
    """A pure Python wheel that is made for the case, its name and version from its path."""

    module: str = Field(description="name of its only module")
    source: str = Field(description="text of that module")


class Case(_Strict):
    """One test."""

    about: str = Field(description="what it shows, in a sentence")
    model: str = Field("model", description="the model folder, relative to that of the case")
    files: dict[str, str | None] = Field(
        default_factory=dict, description="text files written over those of the model; null takes one away"
    )
    executable: tuple[str, ...] = Field((), description="files of the model that get an execute bit")
    wheels: dict[str, Wheel] = Field(default_factory=dict, description="wheels put into the model, by path")
    pack: Pack = "folder"
    members: tuple[Member, ...] = Field((), description="further archive entries; needs an archive")
    raw: str | None = Field(None, description="the archive's content instead of an archive")
    name: str | None = Field(None, description="of the packed archive or folder, without its ending")
    command: tuple[str, ...] = Field(("check", "@MODEL@"), description="the words after `mdai-build`")
    environment: dict[str, str] = Field(default_factory=dict, description="set for the command")
    timeout: float = Field(300, description="seconds after which the command has failed")
    expect: Expect = Expect()

    @property
    def needs_engine(self) -> bool:
        """Whether the command speaks to a container engine."""
        return self.command[0] not in ("check", "render")


@dataclass(frozen=True)
class FoundCase:
    """A case and where it was found."""

    id: str
    folder: Path
    case: Case

    @property
    def name(self) -> str:
        """Name of the model: the case's own, so that what its run leaves in an engine can be told from others'."""
        return self.case.name or re.sub("[^a-z0-9]+", "-", self.id.lower())


def find_cases(root: Path = BUNDLES) -> Iterator[FoundCase]:
    """All cases under a folder: those without an engine first, since they are quick.

    Raises:
        pydantic.ValidationError: a case.yaml is not as this module says.
    """
    found = [each for path in sorted(root.glob("*/case.yaml")) for each in _read(path)]
    yield from sorted(found, key=lambda each: each.case.needs_engine)


def _read(path: Path) -> Iterator[FoundCase]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    name, variants = path.parent.name, content.pop("variants", None)
    if variants is None:
        yield FoundCase(name, path.parent, Case.model_validate(content))
        return
    for variant, changes in variants.items():
        yield FoundCase(f"{name}/{variant}", path.parent, Case.model_validate(_merged(content, changes)))


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Maps are merged key by key; anything else is replaced."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result
