"""Hooks of mkdocs (mkdocs.yml): what the site has beside docs/, and where links that leave docs/ lead on it.

README.md is the site's first page; each example is a page with its files; other files of the repo that a page links to
are copied. Pages that `nav` of mkdocs.yml does not name come last in their section, How to.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
REST = "How to"
"""The section that gets the pages that `nav` does not name."""
_LINK = re.compile(r"\]\((?P<path>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)")
_NOT_RUN = re.compile(r"^<!-- not run: (?P<reason>.*?) -->\n(?P<block>```.*?^```$)", re.M | re.S)
_MOVED = {"README.md": "index.md", "benchmarks/results.md": "results.md", "CHANGELOG.md": "changelog.md"}
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".txt": "text", ".toml": "toml"}


def on_config(config: MkDocsConfig) -> None:
    """Puts the pages that `nav` leaves out, and the examples, into it."""
    sections: list[dict[str, Any]] = config.nav or []
    named = set(_pages(sections))
    left = sorted(
        path.relative_to(config.docs_dir).as_posix()
        for path in Path(config.docs_dir).rglob("*.md")
        if path.relative_to(config.docs_dir).as_posix() not in named
    )
    next(section[REST] for section in sections if REST in section).extend(left)
    examples = [f"examples/{folder.name}.md" for folder in _examples()]
    next(part["Examples"] for part in sections[1]["Tutorial"] if "Examples" in part).extend(examples)


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Adds what lies outside of docs/."""
    for source, place in _MOVED.items():
        files.append(_file(config, place, ROOT / source))
    files.append(_file(config, "examples/index.md", ROOT / "examples" / "README.md"))
    for folder in _examples():
        files.append(File.generated(config, f"examples/{folder.name}.md", content=_example(folder)))
    for page in (*Path(config.docs_dir).rglob("*.md"), *(ROOT / source for source in _MOVED)):
        for found in _LINK.finditer(page.read_text(encoding="utf-8")):
            source = posixpath.normpath(posixpath.join(page.relative_to(ROOT).parent.as_posix(), found["path"]))
            place = _place(source)
            if place.startswith("repo/") and files.get_file_from_path(place) is None:
                files.append(_file(config, place, ROOT / source))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leads links to where their files are on the site, and says which commands no test runs."""
    here = page.file.src_uri
    origin = next((source for source, place in _MOVED.items() if place == here), None)
    if here.startswith("examples/"):
        origin = "examples/README.md" if page.file.abs_src_path else f"examples/{Path(here).stem}/README.md"
    folder = posixpath.dirname(origin or f"docs/{here}")

    def lead(found: re.Match[str]) -> str:
        place = _place(posixpath.normpath(posixpath.join(folder, found["path"])))
        return f"]({posixpath.relpath(place, posixpath.dirname(here) or '.')}{found['anchor'] or ''})"

    markdown = _NOT_RUN.sub(r"\g<block>\n\n*Not run by the tests: \g<reason>.*{ .not-run }", markdown)
    # Fenced blocks stay as they are.
    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.M | re.S)
    return "".join(part if number % 2 else _LINK.sub(lead, part) for number, part in enumerate(parts))


def _place(source: str) -> str:
    """Where a file or folder of the repo is on the site."""
    if source in _MOVED:
        return _MOVED[source]
    if source.startswith("docs/"):
        return source.removeprefix("docs/")
    if source in ("examples", "examples/README.md"):
        return "examples/index.md"
    if source.startswith("examples/"):
        return f"examples/{source.split('/')[1]}.md"
    if not (ROOT / source).is_file():
        raise ValueError(f"a page links to {source}, which is no file of the repo")
    return f"repo/{source}"


def _file(config: MkDocsConfig, place: str, source: Path) -> File:
    return File.generated(config, place, abs_src_path=str(source), inclusion=InclusionLevel.INCLUDED)


def _pages(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for part in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from _pages(part)


def _examples() -> list[Path]:
    return sorted(path.parent for path in (ROOT / "examples").glob("*/README.md"))


def _example(folder: Path) -> str:
    """The page of an example: what its README says, and its files."""
    parts = [(folder / "README.md").read_text(encoding="utf-8")]
    for file in sorted(folder.rglob("*")):
        if file.suffix in _LANGUAGES and file.is_file() and "__pycache__" not in file.parts:
            name = file.relative_to(folder).as_posix()
            text = file.read_text(encoding="utf-8").rstrip()
            parts.append(f"## `{name}`\n\n```{_LANGUAGES[file.suffix]}\n{text}\n```\n")
    return "\n".join(parts)
