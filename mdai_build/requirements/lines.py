"""From the bytes of a requirements file to its logical lines, read as pip reads them.

The reading is pip's own code, kept as a library (pip-requirements-parser): continuations, comments, and options with
their abbreviations. `requirements-parser` was looked at too; it drops every global option and knows no line numbers.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pip_requirements_parser as pip  # type: ignore[import-untyped]

from mdai_build.requirements.hints import is_command, rejected
from mdai_build.requirements.redact import redact
from mdai_build.requirements.refusal import Refusal

LONGEST_LINE = 32 * 1024
"""Some hundred hashes; the time that parsers take grows with the square."""
MOST_CONTINUATIONS = 1_000
"""Above what any tool writes, and low enough that no file makes the reading slow."""

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

_CODING = re.compile(rb"^[ \t]*#.*?coding[:=][ \t]*([-\w.]+)", re.MULTILINE)


@dataclass(frozen=True)
class LogicalLine:
    """A line with its continuations joined and its comment gone. `number` is that of its first part, from 1."""

    number: int
    text: str
    requirement: str = ""
    """What stands before the first option."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """By pip's names: `find_links`, `index_url`, `hashes` …, those that are given."""
    refusal: Refusal | None = None
    """Why the line cannot be read; then nothing else of it is."""


def decode(content: bytes) -> str:
    """The text of a requirements file, as pip reads it.

    UTF-8; or UTF-16 and UTF-32 with a byte order mark, as PowerShell writes them; or what a comment on one of the
    first two lines names (PEP 263).

    Raises:
        Refusal: it is none of these.
    """
    encoding = "utf-8"
    if named := _CODING.search(b"\n".join(content.split(b"\n")[:2])):
        encoding = named[1].decode("ascii")
    for mark, name in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            content, encoding = content[len(mark) :], name
            break
    try:
        text = content.decode(encoding)
    except LookupError:
        raise Refusal(
            "encoding", f"nobody knows the encoding `{encoding}`", next_step="save the file as UTF-8"
        ) from None
    except UnicodeError as error:
        start = getattr(error, "start", 0)
        line = content[:start].count(b"\n") + 1
        raise Refusal(
            "encoding",
            f"the file is not {encoding.upper()} text: line {line} holds byte 0x{content[start]:02x}",
            expected="a text file in UTF-8",
            next_step="save it as UTF-8 in your editor",
        ) from None
    if "\0" in text[:4]:
        raise Refusal(
            "encoding",
            "the file is UTF-16 without the mark that would say so",
            expected="a text file in UTF-8",
            next_step="save it as UTF-8 in your editor",
        )
    return text


def logical_lines(text: str) -> Iterator[LogicalLine]:
    """The lines of a requirements file that are not empty and no comment.

    Raises:
        Refusal: a line is continued more often than any tool writes.
    """
    parse = pip.get_line_parser()
    for number, part in pip.preprocess(_tamed(text)):
        if not part.startswith("#"):
            yield _parsed(number, part, parse)


def _tamed(text: str) -> str:
    """The text with each run of blanks made one, and no endless continuation.

    pip's pattern for comments takes time with the square of a run's length.
    """
    lines = [re.sub(r"[^\S\r\n]+", " ", line) for line in text.splitlines()]
    run = 0
    for line in lines:
        run = run + 1 if line.endswith("\\") else 0
        if run > MOST_CONTINUATIONS:
            raise Refusal("too-long", f"a line of the file is continued more than {MOST_CONTINUATIONS} times")
    return "\n".join(lines)


def _parsed(number: int, text: str, parse: pip.LineParser) -> LogicalLine:
    if len(text) > LONGEST_LINE:
        what = f"the line has more than {LONGEST_LINE} characters"
        return LogicalLine(number, text[:100], refusal=Refusal("too-long", what))
    if refusal := _unreadable(text):
        return LogicalLine(number, text, refusal=refusal)
    if not re.search(r"(?:^| )-", text):
        return LogicalLine(number, text, text.strip())
    if re.match(r"-\s", text) or is_command(text):
        return LogicalLine(number, text, refusal=rejected(redact(text), ""))
    try:
        requirement, values, arguments = parse(text)
    except (pip.OptionParsingError, ValueError) as error:
        return LogicalLine(number, text, refusal=_option_refusal(text, str(getattr(error, "msg", error))))
    options = {name: value for name, value in vars(values).items() if value}
    if arguments:
        rest = redact(" ".join(arguments))
        refusal = Refusal(
            "trailing",
            f"pip reads past `{rest}`, which stands after the options",
            next_step="give it a line of its own",
        )
        return LogicalLine(number, text, refusal=refusal)
    return LogicalLine(number, text, requirement.strip(), options)


def _unreadable(text: str) -> Refusal | None:
    """Characters that no requirement has, and that installers disagree about."""
    for character in text:
        if character != " " and not character.isprintable():
            name = unicodedata.name(character, "a control character").lower()
            return Refusal(
                "character",
                f"the line holds an invisible character, U+{ord(character):04X} ({name})",
                next_step="type the line anew instead of pasting it",
            )
    if text.endswith("\\"):
        return Refusal(
            "backslash",
            "the line ends in a backslash, but does not go on",
            expected="nothing after the backslash, no blank either, and a line below it",
            next_step="take out the backslash, or the blank after it",
        )
    if re.match(r"[A-Za-z]:\\", text):
        name = redact(text).rpartition("\\")[2]
        return Refusal(
            "absolute-path",
            f"`{redact(text)}` is a path of your own machine",
            next_step=f"put the file into `.mdai` and write `./{name}`",
        )
    if "\\" in text:
        slashed = redact(text.replace("\\", "/"))
        return Refusal(
            "backslash",
            "the line holds a backslash",
            expected="paths with forward slashes; a backslash only at the very end of a line that goes on",
            next_step=f"write `{slashed}`",
        )
    if variable := re.search(r"\$\{\w*\}?", text):
        return Refusal(
            "variable",
            f"the line uses the variable `{variable[0]}`, which nothing sets in the build",
            next_step="write its value; a password belongs to the settings of the build, not to the bundle",
        )
    return None


def build_option(name: str) -> Refusal:
    """Why an option that reaches into a package's build is not taken."""
    return Refusal(
        "build-option",
        f"`{name}` runs the package's own setup with arguments of the bundle",
        next_step="build a wheel with these options, and put that into `.mdai`",
    )


def _option_refusal(text: str, reason: str) -> Refusal:
    if "no such option" in reason:
        name = reason.rpartition(": ")[2].strip()
        if re.fullmatch("-+", name):
            return rejected(redact(text), "")
        if name in ("-C", "--config-settings", "--config-setting"):
            return build_option(name)
        return Refusal(
            "option",
            f"`{redact(name)}` is no option of a requirements file",
            next_step="take it out; what pip itself takes on its command line does not belong here",
        )
    return Refusal("syntax", f"pip does not read the options of `{redact(text)}`: {redact(reason.strip())}")
