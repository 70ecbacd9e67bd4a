"""The fenced blocks of the documentation, and what a page says about running them.

A comment on the line above a fence marks its commands (`bash` or `console`):

    <!-- run -->                        a test runs them, and compares what they print with what a `console` block shows
    <!-- run, exit code 7 -->           the same, of a command that fails with this exit code
    <!-- run by tests/... -->           that test runs such commands, with what they need (a registry, for instance)
    <!-- not run: needs a GPU -->       nothing runs them, and why; the site says so below the block

In a page that is a story from its first line to its last (STORIES) every block is run unless it is marked otherwise,
and a block with a title is a file that the reader writes; of a `diff` the lines with - become those with +.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
STORIES = frozenset({"tutorial.md"})
COMMAND_LANGUAGES = frozenset({"bash", "console"})
_FENCE = re.compile(
    r"^(?:<!-- (?P<mark>(?:run|not run)\b[^\n]*?) -->\n)?"
    r"^```(?P<language>[a-z]*)(?: title=\"(?P<title>[^\"\n]+)\")?\n(?P<text>.*?)^```$",
    re.M | re.S,
)
_MARK = re.compile(
    r"run(?:, exit code (?P<exit_code>\d+))?|run by (?P<test>tests/[\w/]+\.py)|not run: (?P<reason>\S.*)"
)
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@dataclass(frozen=True)
class Command:
    """A line for the shell, and what the page shows of its output; None where it shows none."""

    line: str
    shown: str | None = None


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    title: str | None
    text: str
    runs: bool = False
    """Whether a test of the pages runs it."""
    exit_code: int = 0
    run_by: str | None = None
    """The test that runs such commands instead."""
    reason: str | None = None
    """Why nothing runs it."""

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def has_commands(self) -> bool:
        return self.language in COMMAND_LANGUAGES

    def commands(self) -> Iterator[Command]:
        """The commands of a `bash` block, each without output, or those behind `$` of a `console` block."""
        if self.language == "bash":
            for line in self.text.replace("\\\n", " ").splitlines():
                if line.strip() and not line.lstrip().startswith("#"):
                    yield Command(line)
        elif self.language == "console":
            for part in re.split(r"^\$ ", self.text, flags=re.M)[1:]:
                line, _, shown = part.replace("\\\n", " ").partition("\n")
                yield Command(line, shown or None)


def pages() -> list[Path]:
    """README.md and all pages of docs/."""
    return [README, *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page.

    Raises:
        ValueError: a mark that is none of those above.
    """
    text = page.read_text(encoding="utf-8")
    found = []
    for fence in _FENCE.finditer(text):
        line = text.count("\n", 0, fence.start()) + 1
        parts: dict[str, str | None] = {}
        if fence["mark"]:
            mark = _MARK.fullmatch(fence["mark"])
            if mark is None:
                raise ValueError(f"{page}:{line}: no such mark: {fence['mark']}")
            parts = mark.groupdict()
        runs = not (parts.get("test") or parts.get("reason")) and (bool(parts) or page.name in STORIES)
        found.append(
            Block(
                page,
                line,
                fence["language"],
                fence["title"],
                fence["text"],
                runs,
                int(parts.get("exit_code") or 0),
                parts.get("test"),
                parts.get("reason"),
            )
        )
    return found


def spans(page: Path) -> Iterator[str]:
    """What stands in single backticks outside of fenced blocks."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return (found[1] for found in _CODE.finditer(text))


def words(line: str) -> list[str]:
    """The words of a line for the shell, up to a comment, a pipe or a redirection."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|<>;&")
    lexer.whitespace_split = True
    found = []
    for word in lexer:
        if set(word) <= set("|<>;&"):
            break
        found.append(word)
    return found
