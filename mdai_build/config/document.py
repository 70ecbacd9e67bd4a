"""The first pass over config.yaml: from text to keys and values with their places, whatever the values mean.

PyYAML reads, but constructs nothing: a value stays the text that its author wrote (`1.10` is not 1.1, `10.0` not 10.0
the number), tags have no power, and aliases are counted before anything follows them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import yaml

from mdai_build.bundle import shown
from mdai_build.errors import BundleError, Location, Problem

LONGEST_TEXT = 64 * 1024
_DEEPEST = 20
_MOST_EVENTS = 10_000
_MOST_ALIASES = 50
_MERGE = "tag:yaml.org,2002:merge"
_EXAMPLE = "lines such as `base_image: py310`"
_TYPES: dict[str, Literal["null", "text", "number", "switch", "date"]] = {
    "tag:yaml.org,2002:null": "null",
    "tag:yaml.org,2002:int": "number",
    "tag:yaml.org,2002:float": "number",
    "tag:yaml.org,2002:bool": "switch",
    "tag:yaml.org,2002:timestamp": "date",
}


class _Mark(Protocol):
    """A place in the text, counted from 0."""

    line: int
    column: int


@dataclass(frozen=True)
class Value:
    """A scalar, map or list with its place. `text` is a scalar's text as it was written, without quotes."""

    where: Location
    kind: Literal["null", "text", "number", "switch", "date", "map", "list"]
    text: str = ""
    items: tuple[Item, ...] = ()
    """Of a map: its keys and values."""


@dataclass(frozen=True)
class Item:
    """A key of a map, with its value."""

    key: str
    where: Location
    value: Value


class Document:
    """A config file that is a map. `items` are its keys; `problems` what is wrong with its shape."""

    def __init__(self, text: str, file: str) -> None:
        self._text = text.removeprefix("\ufeff")
        self._lines = self._text.splitlines()
        self._file = file
        self.problems: list[Problem] = []
        self.items: tuple[Item, ...] = ()
        if len(self._text.encode("utf-8", "surrogatepass")) > LONGEST_TEXT:
            raise self._refused("config.too-large", f"the file has more than {LONGEST_TEXT} bytes", None)
        try:
            self._check_events()
            node = yaml.compose(self._text, yaml.SafeLoader)
        except yaml.YAMLError as error:
            raise BundleError(self._syntax_problem(error)) from None
        except (ValueError, OverflowError) as error:  # an escape such as "\UFFFFFFFF"
            raise self._refused("config.yaml", f"this is not YAML: {shown(str(error))}", None) from None
        if not isinstance(node, yaml.MappingNode):
            raise BundleError(self._not_a_map(node))
        self.items = self._items(node, "")

    def at(self, mark: _Mark | None, key: str | None = None) -> Location:
        """The place of a mark of PyYAML, which counts from 0."""
        if mark is None:
            return Location(self._file, key=key)
        return Location(self._file, mark.line + 1, mark.column + 1, key, self._line(mark.line))

    def _line(self, number: int) -> str | None:
        return shown(self._lines[number]) if number < len(self._lines) else None

    def _refused(self, code: str, what: str, mark: _Mark | None, next_step: str | None = None) -> BundleError:
        return BundleError(Problem(code, what, self.at(mark), _EXAMPLE, next_step))

    def _check_events(self) -> None:
        """Refuses what could exhaust memory or stack, or run code, while nothing is built from it yet."""
        depth = aliases = documents = 0
        for count, event in enumerate(yaml.parse(self._text, yaml.SafeLoader)):
            mark = event.start_mark
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            aliases += isinstance(event, yaml.AliasEvent)
            documents += isinstance(event, yaml.DocumentStartEvent)
            if depth > _DEEPEST:
                raise self._refused("config.too-deep", "the file is nested too deep", mark)
            if count > _MOST_EVENTS:
                raise self._refused("config.too-large", f"the file has more than {_MOST_EVENTS} parts", mark)
            if aliases > _MOST_ALIASES:
                raise self._refused(
                    "config.aliases", f"the file has more than {_MOST_ALIASES} aliases (`*name`)", mark, _NO_ALIAS
                )
            if documents > 1:
                raise self._refused(
                    "config.two-documents", "a second document starts here", mark, "remove the line `---`"
                )
            tag = getattr(event, "tag", None)
            if tag is not None and tag != "!":
                raise self._refused(
                    "config.tag",
                    f"the tag `{shown(tag)}` is not allowed: config.yaml holds plain values only",
                    mark,
                    "remove the tag; put text into quotes",
                )

    def _not_a_map(self, node: yaml.Node | None) -> Problem:
        if node is None or (isinstance(node, yaml.ScalarNode) and not node.value):
            return Problem(
                "config.empty",
                "the file is empty" if not self._text.strip() else "the file holds comments only",
                self.at(None),
                _EXAMPLE,
                "add at least the line `base_image: py310`",
            )
        where = self.at(node.start_mark)
        if isinstance(node, yaml.SequenceNode):
            return Problem(
                "config.not-a-map",
                "the file is a list, not keys with values",
                where,
                _EXAMPLE,
                "remove the `-` at the start of the lines",
            )
        found = re.match(r"\s*(\w+)\s*[:=\N{FULLWIDTH COLON}]\s*([\w.]+)", node.value) or re.match(
            r"\s*(base_image|device_type|cuda_version)\s+([\w.]+)", node.value
        )
        return Problem(
            "config.not-a-map",
            "the file is one text, not keys with values",
            where,
            _EXAMPLE,
            f"write `{found[1]}: {found[2]}`, with a colon and a space" if found else None,
        )

    def _items(self, node: yaml.MappingNode, prefix: str) -> tuple[Item, ...]:
        return tuple(self._checked_items(node, prefix))

    def _checked_items(self, node: yaml.MappingNode, prefix: str) -> Iterator[Item]:
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                what = "a key is a list or a map; it must be a word"
                self.problems.append(Problem("config.key", what, self.at(key_node.start_mark), _EXAMPLE))
                continue
            name = key_node.value
            key = f"{prefix}{name}"
            where = self.at(key_node.start_mark, shown(key))
            if key_node.tag == _MERGE:
                what = "merging with `<<` is not supported"
                self.problems.append(Problem("config.merge", what, where, next_step="write the keys out"))
                continue
            if name in seen:
                what = f"the key `{shown(key)}` is given twice, first in line {seen[name]}"
                self.problems.append(
                    Problem("config.duplicate-key", what, where, "each key once", "remove one of the two lines")
                )
                continue
            seen[name] = key_node.start_mark.line + 1
            yield Item(name, where, self._value(value_node, key))

    def _value(self, node: yaml.Node, key: str) -> Value:
        where = self.at(node.start_mark, shown(key))
        if isinstance(node, yaml.SequenceNode):
            return Value(where, "list")
        if isinstance(node, yaml.MappingNode):
            # Nothing in this file is nested more than once, so an alias cannot multiply.
            return Value(where, "map", items=self._items(node, f"{key}.") if key.strip().lower() == "env" else ())
        return Value(where, _TYPES.get(node.tag, "text"), node.value)

    def _syntax_problem(self, error: yaml.YAMLError) -> Problem:
        if isinstance(error, yaml.reader.ReaderError):
            line = self._text.count("\n", 0, error.position) + 1
            code = error.character if isinstance(error.character, int) else ord(error.character[:1] or "\0")
            return Problem(
                "config.character",
                f"the character U+{code:04X} is not allowed in YAML",
                Location(self._file, line, source=self._line(line - 1)),
                "printable text",
                "remove it; it may be invisible in your editor",
            )
        reason = str(getattr(error, "problem", None) or error)
        mark = getattr(error, "problem_mark", None)
        if _FOUND_TOO_LATE.search(reason):
            mark = getattr(error, "context_mark", None) or mark
        line_text = self._lines[mark.line] if mark is not None and mark.line < len(self._lines) else ""
        what, next_step = _explained(reason, line_text)
        return Problem("config.yaml", what, self.at(mark), _EXAMPLE, next_step)


_NO_ALIAS = "write the values out instead"
# What PyYAML sees at the end of the file or on the next line only; it also knows where it began.
_FOUND_TOO_LATE = re.compile("could not find expected ':'|stream end|end of stream|unexpected end")


def _explained(reason: str, line: str) -> tuple[str, str | None]:
    """PyYAML's reason in the words of someone who wrote a simple config file."""
    if "'\\t'" in reason or "\t" in line[: len(line) - len(line.lstrip())]:
        return "the line has a tab where YAML allows spaces only", "replace the tab by spaces"
    if "mapping values are not allowed" in reason:
        return (
            "a second `: ` in one line, or a line that is indented too far",
            "start each key at the left edge; put a value with `: ` in it into quotes",
        )
    if "could not find expected ':'" in reason:
        return "a key without `: ` after it", "write `key: value`, with a colon and a space"
    if "that cannot start any token" in reason:
        return f"{reason}", "put the value into quotes"
    if "found undefined alias" in reason:
        return f"`*` starts an alias in YAML, and this one has no anchor: {shown(reason)}", "put the value into quotes"
    if "stream end" in reason or "end of stream" in reason or "unexpected end" in reason:
        return "a quote or bracket is opened and never closed", "close it"
    if "expected alphabetic or numeric character" in reason and (start := re.search(r":\s*([*&])", line)):
        return f"`{start[1]}` at the start of a value has a meaning of its own in YAML", "put the value into quotes"
    if "expected <block end>" in reason or "expected '<document start>'" in reason:
        return "the line does not fit the lines above it", "give all keys the same indentation"
    return f"this is not YAML: {shown(reason)}", None
