"""The map `env` of config.yaml: names and values that can be environment variables and harm no image."""

from __future__ import annotations

import re
import unicodedata

from mdai_build.bundle import shown
from mdai_build.config.document import Item, Value
from mdai_build.errors import Problem

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # POSIX, Base Definitions 8.1, and lower case
_REFERENCE = re.compile(r"\$(\w+|\{\w+)")
_LONGEST = 60_000  # BuildKit reads lines of 65535 bytes, with their backslashes
_OURS = frozenset({"MDAI_PATH"})
_IMPORTANT = frozenset(
    {"HOME", "LD_LIBRARY_PATH", "LD_PRELOAD", "PATH", "PYTHONHOME", "PYTHONNOUSERSITE", "PYTHONPATH", "TMPDIR"}
)


def read_environment(value: Value, errors: list[Problem], warnings: list[Problem]) -> dict[str, str]:
    """Names and values in the author's order; a value is the text that its author wrote (`1.10`, `true`).

    Problems are added to `errors` and `warnings`; what has an error is left out.
    """
    environment: dict[str, str] = {}
    for item in value.items:
        problem = _name_problem(item) or _value_problem(item)
        if problem is not None:
            errors.append(problem)
            continue
        environment[item.key] = item.value.text
        if item.key in _IMPORTANT:
            warnings.append(
                Problem(
                    "config.env-important",
                    f"`{item.key}` replaces what the image sets, and may keep the model from starting",
                    item.where,
                    next_step="remove it unless the model needs it",
                )
            )
        elif item.key.startswith("MDAI_"):
            warnings.append(
                Problem("config.env-reserved", f"`{item.key}`: names that start with MDAI_ are the image's", item.where)
            )
        if _REFERENCE.search(item.value.text):
            warnings.append(
                Problem(
                    "config.env-reference",
                    f"the `$` in the value of `{item.key}` is kept as it is; no variable is put in its place",
                    item.value.where,
                    next_step="write the value out",
                )
            )
    return environment


def _name_problem(item: Item) -> Problem | None:
    if item.key in _OURS:
        return Problem(
            "config.env-reserved",
            f"`{item.key}` is set by the image itself",
            item.where,
            next_step="remove the line, or choose another name",
        )
    if _NAME.fullmatch(item.key):
        return None
    suggestion = re.sub(r"[^A-Za-z0-9_]+", "_", item.key).strip("_")
    suggestion = f"_{suggestion}" if suggestion[:1].isdigit() else suggestion
    return Problem(
        "config.env-name",
        f"`{shown(item.key, 60)}` cannot be the name of an environment variable",
        item.where,
        "letters, digits and `_`, not starting with a digit",
        f"for instance `{suggestion[:60]}`" if suggestion else None,
    )


def _value_problem(item: Item) -> Problem | None:
    value = item.value
    if value.kind in ("map", "list"):
        return Problem(
            "config.env-value",
            f"the value of `{item.key}` is a {value.kind}",
            value.where,
            "one text or number",
            "put it into quotes to give it as text",
        )
    if value.kind == "null":
        return Problem(
            "config.env-value",
            f"`{item.key}` has no value",
            item.where,
            "a text or number",
            f'write `{item.key}: ""` for an empty one, or remove the line',
        )
    for character in value.text:
        if character != "\t" and unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            return _character_problem(item, character)
    if len(item.key) + len(value.text.encode()) + len(re.findall(r'[\\"$]', value.text)) > _LONGEST:
        return Problem(
            "config.env-value",
            f"the value of `{item.key}` is too long for a line of a Dockerfile",
            value.where,
            f"at most {_LONGEST} bytes",
            "put it into a file of the bundle",
        )
    return None


def _character_problem(item: Item, character: str) -> Problem:
    line_break = character in "\n\r\x85\u2028\u2029"
    return Problem(
        "config.env-value",
        f"the value of `{item.key}` has a line break, which an image's environment cannot hold"
        if line_break
        else f"the value of `{item.key}` has the control character U+{ord(character):04X}",
        item.value.where,
        "one line of text",
        "write it in one line, or put it into a file of the bundle" if line_break else "remove it",
    )
