"""The HTML report in a real browser: nothing runs or loads that is not its own, and people can use it."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mdai_build.report.page import render_page
from mdai_build.settings import load_settings

from .pages import BOX, whole_page

pytestmark = [pytest.mark.process, pytest.mark.browser]

TAB, ENTER, SPACE, RIGHT, HOME = ("Tab", 9), ("Enter", 13), (" ", 32), ("ArrowRight", 39), ("Home", 36)
SERIES = "document.querySelector('#sample-1')"


@pytest.fixture(scope="module")
def programs() -> Iterator[Any]:
    """A running browser; a machine that cannot get one skips, and says why."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
    import browser
    import debian

    try:
        with browser.running(load_settings().engine_folder) as found:
            yield found
    except debian.Unavailable as reason:
        pytest.skip(f"no headless browser can be had here: {reason}")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(render_page(whole_page()), encoding="utf-8")
    return path


@pytest.fixture
def page(programs: Any, file: Path) -> Any:
    programs.look(1280, 900)
    programs.open(file.as_uri())
    return programs


def shown(page: Any) -> list[int]:
    """Which of the first sample's images are to be seen."""
    frames = page.evaluate(f"[...{SERIES}.querySelectorAll('.frames > li')].map((frame) => !frame.hidden)")
    return [number for number, visible in enumerate(frames) if visible]


def nodes(page: Any, role: str) -> list[dict[str, Any]]:
    """What a screen reader finds of a role: name, value."""
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    return [
        {key: node.get(key, {}).get("value") for key in ("name", "value", "description")}
        for node in tree
        if not node["ignored"] and node["role"]["value"] == role
    ]


def test_nothing_runs_and_nothing_is_asked_for(page: Any, file: Path) -> None:
    asked = [
        event["params"]["request"]["url"] for event in page.events if event["method"] == "Network.requestWillBeSent"
    ]
    assert {url.partition(":")[0] for url in asked} == {"file", "data"}
    assert [url for url in asked if url.startswith("file")] == [file.as_uri()]
    told = [event for event in page.events if event["method"] in ("Log.entryAdded", "Runtime.exceptionThrown")]
    assert told == []
    assert page.evaluate("typeof window.pwned") == "undefined"
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).display") == "block"


def test_the_policy_holds_even_for_what_would_get_in(page: Any) -> None:
    """What the template would have to let through to do harm does none."""
    page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.pwned=1\">"
        '<img src="http://127.0.0.1:9/x"><iframe src="data:text/html,<script>parent.pwned=1</script>"></iframe>\'),'
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.pwned=1'})),"
        "new Promise((done) => setTimeout(done, 200))"
    )
    assert page.evaluate("typeof window.pwned") == "undefined"
    # Chromium tells each refusal by the name of the directive that refused.
    refused = "".join(str(event["params"]) for event in page.events if event["method"] == "Log.entryAdded")
    assert "Content Security Policy" in refused


# ---- by keyboard, and with a screen reader ----


def test_a_series_is_scrolled_by_keyboard(page: Any) -> None:
    assert len(shown(page)) == 1
    for _ in range(60):
        page.press(*TAB)
        if page.evaluate("document.activeElement.type") == "range":
            break
    page.press(*HOME)
    assert shown(page) == [0]
    for _ in range(3):
        page.press(*RIGHT)
    assert shown(page) == [3]
    [slider, *_] = nodes(page, "slider")
    assert slider["name"] == "Image of ct-series"
    assert page.evaluate("document.activeElement.getAttribute('aria-valuetext')") == "4 of 16, axial/004.dcm, 4 outputs"
    # Where the keyboard is can be seen.
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_everything_that_can_be_clicked_can_be_reached_by_keyboard(page: Any) -> None:
    can = "[...document.querySelectorAll('a, button, input, summary')].filter((e) => e.checkVisibility()).length"
    expected = page.evaluate(can)
    reached = set()
    for _ in range(expected + 40):
        page.press(*TAB)
        script = "[...document.querySelectorAll('a, button, input, summary')].indexOf(document.activeElement)"
        reached.add(page.evaluate(script))
    assert len(reached - {-1}) == expected


def test_a_screen_reader_is_told_what_the_pictures_show(page: Any) -> None:
    page.evaluate(f"{SERIES}.querySelector('[data-show=\"3\"]').click()")
    pictures = [node["name"] for node in nodes(page, "image")] + [node["name"] for node in nodes(page, "img")]
    assert any(
        name.startswith("axial/004.dcm: CT window") and "box of class 1, nodule" in name for name in pictures if name
    ), pictures
    assert not [name for name in pictures if not name]
    assert [node["name"] for node in nodes(page, "heading")][:3] == [
        "lungs:1",
        "Problems",
        nodes(page, "heading")[2]["name"],
    ]
    assert {"main", "navigation", "banner"} <= {
        node["role"]["value"] for node in page.call("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]
    }
    named = [node["name"] for role in ("button", "checkbox", "slider", "searchbox") for node in nodes(page, role)]
    assert named and all(named)


# ---- what one sees ----


def picture(page: Any, selector: str) -> np.ndarray[Any, Any]:
    """The pixels of an element, (rows, columns, 3)."""
    script = f"JSON.stringify(document.querySelector('{selector}').getBoundingClientRect().toJSON())"
    import json

    page.evaluate(f"document.querySelector('{selector}').scrollIntoView({{block: 'center'}})")
    at = json.loads(page.evaluate(script))
    with Image.open(io.BytesIO(page.screenshot(whole=False))) as image:
        box = (round(at["left"]), round(at["top"]), round(at["right"]), round(at["bottom"]))
        return np.asarray(image.convert("RGB").crop(box)).astype(int)


def test_shapes_are_drawn_where_they_belong_and_can_be_switched_off(page: Any) -> None:
    page.evaluate(f"{SERIES}.querySelector('[data-show=\"3\"]').click()")
    selector = "#sample-1 .frames > li:not([hidden]) svg"
    # Class 1 has Okabe and Ito's sky blue.
    blue = np.array([86, 180, 233])

    def edge() -> bool:
        pixels = picture(page, selector)
        scale = pixels.shape[1] / 512
        x, y = round((BOX["x"] + BOX["width"] / 2) * scale), round(BOX["y"] * scale)
        return bool((np.abs(pixels[y - 3 : y + 4, x] - blue).max(axis=1) < 60).any())

    assert edge()
    page.evaluate(f"{SERIES}.querySelector('li[data-output=\"8\"] [data-draw]').click()")
    assert not edge()
    page.evaluate(f"{SERIES}.querySelector('[data-all]').click()")
    page.evaluate(f"{SERIES}.querySelector('[data-all]').click()")
    assert edge()


def test_the_wheel_scrolls_the_series_and_then_the_page(page: Any) -> None:
    page.evaluate(f"{SERIES}.querySelector('[data-show=\"3\"]').click(), {SERIES}.scrollIntoView()")
    place = {"type": "mouseWheel", "x": 300, "y": 400, "deltaX": 0, "deltaY": 120}
    page.call("Input.dispatchMouseEvent", **place)
    assert shown(page) == [4]
    top = page.evaluate("scrollY")
    for _ in range(14):
        page.call("Input.dispatchMouseEvent", **place)
    assert shown(page) == [15]
    assert page.evaluate("new Promise((done) => setTimeout(() => done(scrollY), 500))") > top


def test_packages_are_found_by_a_word(page: Any) -> None:
    page.evaluate(
        "document.querySelector('[data-filter]').value = 'Package-1',"
        "document.querySelector('[data-filter]').dispatchEvent(new Event('input'))"
    )
    rows = page.evaluate(
        "[...document.querySelectorAll('#packages-table tbody tr')].filter((row) => !row.hidden).length"
    )
    assert rows == 11
    assert page.evaluate("document.querySelector('[role=status]').textContent") == "11 of 40"


@pytest.mark.parametrize("width", [390, 768, 1280, 2200])
def test_no_window_is_too_narrow(page: Any, width: int) -> None:
    page.look(width, 900)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.1)."""
    channels = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
    linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_on_light_and_on_dark(page: Any, dark: bool) -> None:
    page.look(1280, 900, dark=dark)
    ground = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (ground < 0.05) == dark
    seen = page.evaluate(
        """[...document.querySelectorAll('main *, header *, footer *')].filter((element) =>
            [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())
            && !element.closest('svg, .viewer, button, input') && element.checkVisibility()).map((element) => {
            let under = element;
            while (getComputedStyle(under).backgroundColor === 'rgba(0, 0, 0, 0)' && under.parentElement) {
                under = under.parentElement;
            }
            return [element.className, getComputedStyle(element).color, getComputedStyle(under).backgroundColor];
        })"""
    )
    assert len(seen) > 100
    for name, text, behind in seen:
        one, other = sorted((luminance(text), luminance(behind)))
        assert (other + 0.05) / (one + 0.05) >= 4.5, (name, text, behind)


def test_without_its_script_nothing_is_lost(programs: Any, file: Path) -> None:
    programs.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        programs.open(file.as_uri())
        assert len(shown(programs)) == 16
        hidden = programs.evaluate("[...document.querySelectorAll('[hidden]')].every((e) => e.matches('.js-only'))")
        assert hidden is True
    finally:
        programs.call("Emulation.setScriptExecutionDisabled", value=False)
