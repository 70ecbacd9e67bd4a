"""`.mdai/smoke.yaml`: what a model's author says about how to try the model."""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from mdai_build.bundle import SMOKE_FILE
from mdai_build.errors import BundleError, Location, Problem, UsageError
from mdai_build.smoke.request import Scope

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


_DEEPEST = 20
_MOST_EVENTS = 50_000
_LONGEST_NUMBER = 1000
_MOST_SAMPLES = 1000
_Place = tuple[str | int, ...]


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Label(_Strict):
    """The label of a class, as the model's card on the interface has it (specification, input schema)."""

    id: str = Field("", description="the label's id; one is made where there is none")
    name: str = Field(description="as people read it")
    type: Annotated[Literal["GLOBAL", "LOCAL"], BeforeValidator(_upper)] = Field(
        "GLOBAL", description="LOCAL where an output marks a place in the image"
    )
    scope: Annotated[Literal["INSTANCE", "SERIES", "STUDY", "EXAM"], BeforeValidator(_upper)] = Field(
        "INSTANCE", description="what the label is about; it decides which UIDs an output must have"
    )
    annotation_mode: str | None = Field(
        None, description="of a LOCAL label: `mask`, `bbox`, `polygon`, `freeform`, `line` or `location`"
    )
    short_name: str = Field("", description="passed to the model as it is")
    description: str = Field("", description="passed to the model as it is")
    parent_id: str | None = Field(None, description="passed to the model as it is")


class LabelClass(_Strict):
    """One entry of `label_classes`."""

    class_index: int = Field(ge=0, description="the number that outputs give as their `class_index`")
    label: Label = Field(description="the label of the class")

    def as_body(self) -> dict[str, Any]:
        """The entry as the interface sends it; an id is made where the author gave none."""
        label = self.label.model_dump()
        label["id"] = label["id"] or f"L_{self.class_index:06d}"
        return {"class_index": self.class_index, "label": label}


class Expect(_Strict):
    """What must hold of the outputs of every sample."""

    min_outputs: int | None = Field(default=None, ge=0, description="at least so many outputs")
    max_outputs: int | None = Field(default=None, ge=0, description="at most so many outputs")
    types: list[Literal["NONE", "ANNOTATION", "DICOM", "IMAGE", "TEXT"]] = Field(
        [], description="outputs of these types alone"
    )
    class_indices: list[int] = Field([], description="outputs of these classes alone")


class SmokeFile(_Strict):
    """The whole file. Every key may be left out."""

    scope: Annotated[Scope | None, BeforeValidator(_upper)] = Field(
        None, description="what one request holds; without it, all three are tried with synthetic samples"
    )
    samples: Annotated[list[str], BeforeValidator(_as_list)] = Field(
        [],
        description="files, folders or patterns of the bundle to try the model with, relative to the folder that holds "
        "`.mdai`",
    )
    label_classes: list[LabelClass] = Field(
        [], description="the classes of the model's card; outputs are held against them, and the model is given them"
    )
    annotations: list[dict[str, Any]] = Field([], description="annotations that the model is given, as they are")
    args: dict[str, str] = Field({}, description="arguments that the model is given; values are text")
    expect: Expect = Field(
        Expect(types=[], class_indices=[]), description="what must hold of the outputs of every sample"
    )


class LabelClasses(_Strict):
    """A file of label classes alone."""

    label_classes: list[LabelClass]


Read = TypeVar("Read")


def parse_smoke_file(text: str, file: str = SMOKE_FILE) -> SmokeFile:
    """Reads smoke.yaml.

    Raises:
        BundleError: with every problem at once, each with its line.
    """
    return _parse(text, file, lambda data: SmokeFile.model_validate({} if data is None else data))


def parse_label_classes(text: str, file: str) -> list[LabelClass]:
    """Reads a file of label classes, YAML or JSON: a list, or a map with that list as `label_classes`.

    Raises:
        UsageError: with every problem at once, each with its line.
    """

    def validate(data: Any) -> list[LabelClass]:
        if isinstance(data, dict):
            return LabelClasses.model_validate(data).label_classes
        return TypeAdapter(list[LabelClass]).validate_python(data, strict=True)

    try:
        return _parse(text, file, validate)
    except BundleError as error:
        raise UsageError(error.problems) from None


def _parse(text: str, file: str, validate: Callable[[Any], Read]) -> Read:
    lines = text.splitlines()
    try:
        _check_events(text, file, lines)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        places = dict(_places(node)) if node is not None else {}
        if duplicates := [mark for place, mark in places.items() if place and place[-1] == _DUPLICATE]:
            raise BundleError(_problem(file, lines, line, "this key stands here twice") for line in duplicates)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = f"this is not YAML: {error.problem or error.context}"
        raise BundleError(_problem(file, lines, mark.line if mark else 0, what)) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise BundleError(_problem(file, lines, 0, f"this is not YAML: {str(error)[:200]}")) from None
    try:
        return validate(data)
    except ValidationError as error:
        raise BundleError(
            _from_pydantic(file, lines, places, found) for found in error.errors(include_url=False)
        ) from None


def _check_events(text: str, file: str, lines: list[str]) -> None:
    """Refuses what could exhaust memory, stack or time, while nothing is built from it yet."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        wrong = None
        if isinstance(event, yaml.AliasEvent):
            wrong = "aliases (*name) are not supported here"
        elif depth > _DEEPEST:
            wrong = "the file is nested too deep"
        elif count > _MOST_EVENTS:
            wrong = f"the file has more than {_MOST_EVENTS} parts"
        elif isinstance(event, yaml.ScalarEvent):
            if event.implicit[0] and len(event.value) > _LONGEST_NUMBER and event.value.lstrip("+-.")[:1].isdigit():
                wrong = "this number has too many digits"
            elif re.search("[\ud800-\udfff]", event.value):
                wrong = "this text holds half of a character (a surrogate)"
        if wrong:
            raise BundleError(_problem(file, lines, event.start_mark.line if event.start_mark else 0, wrong))


_DUPLICATE = "\0duplicate"


def _places(node: yaml.Node, place: _Place = ()) -> Iterator[tuple[_Place, int]]:
    """The line (from 0) of every key and list element; a key that stands twice is marked."""
    yield place, node.start_mark.line
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                yield (*place, name, _DUPLICATE), key.start_mark.line
            seen.add(name)
            yield from _places(value, (*place, name))
            yield (*place, name), key.start_mark.line
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _places(value, (*place, index))


def _problem(file: str, lines: list[str], line: int, what: str, **more: Any) -> Problem:
    key = more.pop("key", None)
    source = lines[line] if line < len(lines) else None
    return Problem(
        code=more.pop("code", "smoke.yaml"),
        what=what,
        where=Location(file=file, line=line + 1, key=key, source=source),
        **more,
    )


def _from_pydantic(file: str, lines: list[str], places: dict[_Place, int], found: ErrorDetails) -> Problem:
    location: _Place = tuple(found["loc"])
    known = location
    while known and known not in places:
        known = known[:-1]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    line = places.get(known, 0)
    if found["type"] == "extra_forbidden":
        names = _fields_at(location[:-1])
        near = difflib.get_close_matches(str(location[-1]), names, 1)
        return _problem(
            file,
            lines,
            line,
            f"unknown key `{key}`",
            key=key,
            code="smoke.unknown-key",
            expected=f"one of {', '.join(names)}",
            next_step=f"did you mean `{near[0]}`?" if near else "remove it",
        )
    shown = repr(found["input"])
    message = found["msg"][0].lower() + found["msg"][1:]
    what = f"`{key}`: {message}" if key else f"the file: {message}"
    if found["type"] != "missing":
        what += f", found {shown if len(shown) <= 80 else shown[:77] + '...'}"
    next_step = "put the value in quotes" if found["type"] == "string_type" else "correct the value"
    return _problem(file, lines, line, what, key=key or None, code="smoke.value", next_step=next_step)


def _fields_at(place: _Place) -> list[str]:
    models: dict[str, type[BaseModel]] = {"expect": Expect, "label_classes": LabelClass, "label": Label}
    names = [part for part in place if isinstance(part, str)]
    if not names and place:  # an element of a list of label classes
        return list(LabelClass.model_fields)
    return list((models.get(names[-1], SmokeFile) if names else SmokeFile).model_fields)


def bundled_samples(smoke_file: SmokeFile, paths: Iterable[str]) -> tuple[str, ...]:
    """The files of the bundle, whose `paths` are given, that `samples` names.

    Raises:
        BundleError: an entry that names no file of the bundle.
    """
    if len(smoke_file.samples) > _MOST_SAMPLES:
        what = f"samples: there are more than {_MOST_SAMPLES} entries"
        step = "name the folder that the files are in, or a pattern such as samples/*.dcm"
        raise BundleError(Problem("smoke.yaml", what, Location(file=SMOKE_FILE, key="samples"), next_step=step))
    members = tuple(paths)
    found: set[str] = set()
    problems = []
    for entry in smoke_file.samples:
        name = posixpath.normpath(entry.replace("\\", "/"))
        if name == ".":
            matching = list(members)
        else:
            matching = [p for p in members if p == name or p.startswith(name + "/") or fnmatchcase(p, name)]
        if not matching:
            problems.append(
                Problem(
                    code="smoke.no-samples",
                    what=f"samples: the bundle has no file `{entry}`",
                    where=Location(file=SMOKE_FILE, key="samples"),
                    expected="a file, folder or pattern, relative to the folder that holds .mdai",
                    next_step="add the files to the bundle, or correct the path",
                )
            )
        found.update(matching)
    if problems:
        raise BundleError(problems)
    return tuple(sorted(found))
