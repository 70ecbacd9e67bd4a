"""The site in a real browser, from a disk: nothing is asked of any network, the search finds, dark is dark."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser
import debian
import pytest

from mdai_build.settings import load_settings

pytestmark = [pytest.mark.process, pytest.mark.browser]

BACKGROUND = "getComputedStyle(document.body).backgroundColor"
RESULTS = "document.querySelectorAll('.md-search-result__item').length"


@pytest.fixture(scope="module")
def window() -> Iterator[Any]:
    """A running browser; a machine that cannot get one skips, and says why."""
    try:
        with browser.running(load_settings().engine_folder) as found:
            yield found
    except debian.Unavailable as reason:
        pytest.skip(f"no headless browser can be had here: {reason}")


@pytest.mark.parametrize("page", ["index.html", "tutorial.html", "reference/commands.html", "examples/series.html"])
def test_a_page_asks_nothing_of_a_network(window: Any, site: Path, page: str) -> None:
    window.look(1280, 900)
    window.open((site / page).as_uri())
    asked = [event["params"] for event in window.events if event["method"] == "Network.requestWillBeSent"]
    assert asked and all(each["request"]["url"].startswith(("file:", "data:")) for each in asked)
    assert not [event for event in window.events if event["method"] in ("Log.entryAdded", "Runtime.exceptionThrown")]


def test_the_search_finds_a_setting_from_a_disk(window: Any, site: Path) -> None:
    window.look(1280, 900)
    window.open((site / "index.html").as_uri())
    window.evaluate("document.querySelector('[data-md-component=search-query]').focus()")
    window.call("Input.insertText", text="predict_timeout")
    deadline = time.monotonic() + 20
    while not (found := window.evaluate(RESULTS)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert found


def test_it_is_light_or_dark_as_the_reader_prefers(window: Any, site: Path) -> None:
    shown = []
    for dark in (False, True):
        window.look(1280, 900, dark=dark)
        window.open((site / "tutorial.html").as_uri())
        shown.append(window.evaluate(BACKGROUND))
    light, dark_one = (sum(int(part) for part in colour[4:-1].split(",")) for colour in shown)
    assert light > 600 > 300 > dark_one
