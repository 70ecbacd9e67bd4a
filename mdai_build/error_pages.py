"""The page of each kind of message: its number, what causes it, what mends it. The one source is error_pages.toml."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import tomli

PAGE = "docs/errors.md"
"""Where the pages are, in the repo."""
_CHAPTERS: Mapping[str, str] = MappingProxyType(
    {
        "MB1": "The archive or folder",
        "MB2": "mdai_deploy.py",
        "MB3": "config.yaml",
        "MB4": "Requirements",
        "MB5": "Engine, parent images, network",
        "MB6": "The build",
        "MB7": "The smoke test",
        "MB8": "The command line and the settings",
    }
)
_INTRODUCTION = """\
# Messages

<!-- Written by `python scripts/errors_page.py` from mdai_build/error_pages.toml. -->

Each message of mdai-build begins with its number, such as `error[MB204]`. `mdai-build explain MB204` prints what is \
below. JSON reports give the kind's name (`code`), its number and its page. Numbers stay what they are.
"""


@dataclass(frozen=True)
class ErrorPage:
    """What is told of one kind of message."""

    name: str
    """The kind, as `Problem.code` gives it: `config.unknown-key`."""
    number: str
    """`MB306`; the first digit is the chapter."""
    title: str
    cause: str
    fix: str
    example: str = ""
    """Lines of Python that are right."""

    @property
    def link(self) -> str:
        """The page's place in the repo."""
        return f"{PAGE}#{self.number.lower()}"


@cache
def error_pages() -> Mapping[str, ErrorPage]:
    """All pages, by the kind's name, in the order of their numbers."""
    content = tomli.loads(Path(__file__).with_name("error_pages.toml").read_text(encoding="utf-8"))
    pages = [
        ErrorPage(f"{room}.{kind}", **{key: value.strip() for key, value in page.items()})
        for room, kinds in content.items()
        for kind, page in kinds.items()
    ]
    return MappingProxyType({page.name: page for page in sorted(pages, key=lambda page: page.number)})


def page_of(code: str) -> ErrorPage | None:
    """The page of a kind of message, by its name or number; None where there is none."""
    pages = error_pages()
    if code in pages:
        return pages[code]
    return next((page for page in pages.values() if page.number == code.upper()), None)


def number_of(code: str) -> str:
    """The number of a kind, `MB306`; its name where it has none."""
    page = error_pages().get(code)
    return page.number if page else code


def nearest_code(code: str) -> str | None:
    """The number or name that was probably meant."""
    known = {known.lower(): known for page in error_pages().values() for known in (page.number, page.name)}
    near = difflib.get_close_matches(code.lower(), known, n=1)
    return known[near[0]] if near else None


def errors_page() -> str:
    """The text of docs/errors.md."""
    lines = [_INTRODUCTION]
    chapter = ""
    for page in error_pages().values():
        if page.number[:3] != chapter:
            chapter = page.number[:3]
            lines.append(f"## {_CHAPTERS[chapter]}\n")
        # An anchor that every reader of Markdown takes.
        lines.append(f'<a id="{page.number.lower()}"></a>\n')
        lines.append(f"### {page.number}: {page.title}\n\n`{page.name}`\n\n{page.cause}\n")
        lines.append(f"To do: {page.fix}\n")
        if page.example:
            lines.append(f"```text\n{page.example}\n```\n")
    return "\n".join(lines)
