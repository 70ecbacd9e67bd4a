"""Every kind of message has a page, every page a kind, and docs/errors.md says what the pages say."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mdai_build.error_pages import error_pages, errors_page, nearest_code, page_of

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mdai_build"
ROOMS = {path.stem for path in PACKAGE.iterdir()} | {"usage", "doctor", "init", "clean", "install", "offline", "lock"}
ROOMS |= {"serve", "dev", "inspect", "output", "verify"}
NO_CODES = re.compile(
    r"(.*\.(yaml|txt|json|toml|py|md|lock|gz|com|org)|request\.\w+|parent\.(kind|why)|docker\.sock|bundle\.digest|config\.yml|report\.html)$"
)
# Functions that are given the second half of a code, and its first half.
HELPERS = {
    "Refusal": "requirements",
    "_nowhere": "requirements",
    "UnsafeNameError": "bundle",
    "_refuse": "bundle",
    "_refused": "bundle",
    "add": "bundle",
    "_problem": "smoke",
}


def codes() -> Iterator[str]:
    """The codes in the source: whole ones, and those that helpers put together."""
    for path in PACKAGE.rglob("*.py"):
        if "runtime" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                whole = re.fullmatch(r"([a-z]+)\.[a-z0-9-]*[a-z0-9]", node.value)
                no_file = not NO_CODES.fullmatch(node.value) or node.value in ("config.yaml", "smoke.yaml")
                if whole and whole[1] in ROOMS and no_file:
                    yield node.value
            elif isinstance(node, ast.Call) and node.args:
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                first = getattr(node.args[0], "value", None)
                if name in HELPERS and isinstance(first, str) and re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", first):
                    yield f"{HELPERS[name]}.{first}"


def test_every_kind_has_a_page_and_every_page_a_kind() -> None:
    assert set(codes()) == set(error_pages())


def test_numbers_are_of_one_form_and_unique() -> None:
    numbers = [page.number for page in error_pages().values()]
    assert len(numbers) == len(set(numbers))
    assert all(re.fullmatch("MB[1-8][0-9]{2}", number) for number in numbers)


def test_every_page_says_what_it_is_why_and_what_to_do() -> None:
    for page in error_pages().values():
        assert page.title and not page.title.endswith("."), page.number
        assert page.cause.endswith(".") and page.fix.endswith((".", "`")), page.number


def test_the_document_is_written_from_the_pages() -> None:
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert text == errors_page(), "run: python scripts/errors_page.py"
    assert all(f"### {page.number}: " in text for page in error_pages().values())


@pytest.mark.parametrize("code", ["MB204", "mb204", "bundle.no-model-class"])
def test_a_page_is_found_by_number_and_name(code: str) -> None:
    page = page_of(code)
    assert page is not None and page.name == "bundle.no-model-class"


def test_what_was_meant_is_found() -> None:
    assert page_of("MB2044") is None
    assert nearest_code("MB2044") == "MB204"
    assert nearest_code("bundle.no-modelclass") == "bundle.no-model-class"
    assert nearest_code("tomorrow") is None
