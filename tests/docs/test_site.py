"""The site is built strictly, asks nothing of any network, and has a page for everything that is meant to be on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from doc_blocks import DOCS, ROOT, blocks, pages

pytestmark = pytest.mark.process  # mkdocs builds for some seconds

LOADS = {"src", "srcset", "poster", "data", "action", "formaction"}
"""Attributes whose address a browser asks for by itself."""


class Loaded(HTMLParser):
    """What a page makes a browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        for name, value in attrs:
            if (name in LOADS or (name == "href" and tag == "link" and given.get("rel") != "canonical")) and value:
                self.addresses.append(value)


def loaded(page: Path) -> Iterator[str]:
    parser = Loaded()
    parser.feed(page.read_text(encoding="utf-8"))
    yield from parser.addresses


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    found = list(site.rglob("*.html"))
    assert len(found) > 30
    for page in found:
        for address in loaded(page):
            assert not re.match(r"(?:[a-z]+:)?//", address), f"{page.name} loads {address}"
    for style in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import\s*)[\"']?(?:https?:)?//", style.read_text(encoding="utf-8")), style
    # The theme's script fetches diagrams' code from a CDN where a page has a diagram.
    assert not any('class="mermaid"' in page.read_text(encoding="utf-8") for page in found)


def test_every_page_is_on_the_site_and_in_its_navigation(site: Path) -> None:
    home = (site / "index.html").read_text(encoding="utf-8")
    for page in DOCS.rglob("*.md"):
        place = page.relative_to(DOCS).with_suffix(".html").as_posix()
        assert (site / place).is_file() and f'href="{place}"' in home, place
    for example in (ROOT / "examples").glob("*/README.md"):
        text = (site / "examples" / f"{example.parent.name}.html").read_text(encoding="utf-8")
        assert "MDAIModel" in text and f'href="examples/{example.parent.name}.html"' in home


def test_the_search_works_from_a_disk(site: Path) -> None:
    index = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    assert index.startswith("var __index = ") and "cuda_version" in index
    assert "assets/iframe-worker.js" in (site / "index.html").read_text(encoding="utf-8")


def test_what_no_test_runs_says_so(site: Path) -> None:
    for page in pages():
        reasons = [block.reason for block in blocks(page) if block.reason]
        if reasons and page.parent == DOCS:
            text = (site / f"{page.stem}.html").read_text(encoding="utf-8")
            assert text.count("Not run by the tests: ") == len(reasons)
