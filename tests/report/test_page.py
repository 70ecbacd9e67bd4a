"""What the HTML report says: that all is in it, and that nothing in it is a stranger's but text."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mdai_build.errors import BundleError, Location, Problem
from mdai_build.report.frames import Budget
from mdai_build.report.page import Page, page_of_build, page_of_failure, page_of_test, render_page, write_page
from mdai_build.report.values import BuildReport
from mdai_build.report.views import MOST_FRAMES, MOST_OWN_FRAMES, sample_view
from mdai_build.smoke.request import Demand
from mdai_build.smoke.result import Answer, Check, SmokeResult
from mdai_build.smoke.samples import synthetic_request

from .pages import BOX, HOSTILE, clip, series, uids, whole_page

VOID = {"meta", "input", "img", "br"}


class Reader(HTMLParser):
    """Every element with its attributes, and the text of scripts and styles; complains of what is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": [], "title": []}
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        assert len(dict(attributes)) == len(attributes), (tag, attributes)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in self.inside:
            self.inside[self._open[-1]].append(data)
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))

    def attributes(self, tag: str, kind: str = "") -> list[dict[str, str | None]]:
        return [
            found for name, found in self.elements if name == tag and kind in [*(found.get("class") or "").split(), ""]
        ]


@pytest.fixture(scope="module")
def html() -> str:
    return render_page(whole_page())


@pytest.fixture(scope="module")
def read(html: str) -> Reader:
    return Reader(html)


# ---- what strangers write ----


def test_there_is_one_script_and_one_style_and_the_policy_knows_them(html: str, read: Reader) -> None:
    policy = next(
        found["content"] for found in read.attributes("meta") if "content-security-policy" in str(found).lower()
    )
    assert policy is not None
    for kind in ("script", "style"):
        assert len(read.inside[kind]) == 1 and len(read.attributes(kind)) == 1
        digest = base64.b64encode(hashlib.sha256(read.inside[kind][0].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert "unsafe" not in policy


def test_no_attribute_runs_or_loads_anything(read: Reader) -> None:
    for tag, attributes in read.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
        for name in ("src", "href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/png;base64,", "data:image/jpeg;base64,", "#")), tag
    assert {"link", "iframe", "object", "base", "form"}.isdisjoint(tag for tag, _ in read.elements)


def test_text_of_strangers_stays_text(html: str, read: Reader) -> None:
    assert read.text.count("<script>window.pwned=1</script>") >= 10
    assert "\x1b" not in html and "\u202e" not in html
    assert len(read.attributes("img")) == 1  # the explanation, and none of theirs


# ---- what it shows ----


@pytest.mark.parametrize(
    "text",
    [
        "lungs:1",
        "built from what",
        "package-39",
        "gone==1",
        "scope series",
        "outputs[0]",
        "class 1, nodule",
        "0.870",
        "ready",
        "exporting",
        "700 mb",
        "p95",
    ],
)
def test_all_of_it_is_there(read: Reader, text: str) -> None:
    assert text in read.text.lower()


def test_every_link_of_the_page_leads_somewhere(read: Reader) -> None:
    there = {found.get("id") for _, found in read.elements}
    links = [str(found["href"])[1:] for found in read.attributes("a")]
    assert links and set(links) <= there
    named = [str(found["aria-labelledby"]) for _, found in read.elements if "aria-labelledby" in found]
    assert named and set(named) <= there


def test_shapes_are_where_the_model_says(read: Reader) -> None:
    box = next(found for found in read.attributes("rect", "over"))
    assert [float(str(box[key])) for key in ("x", "y", "width", "height")] == list(BOX.values())
    assert read.attributes("polygon", "over")[0]["points"] == "150,60 200,80 190,140"
    assert read.attributes("circle", "over")[0]["cx"] == "120.5"
    assert len(read.attributes("g", "mask")) == 8


def test_the_waterfall_has_the_builders_own_times(read: Reader) -> None:
    bars = [(str(found["x"]), str(found["width"])) for found in read.attributes("rect", "amount")[-3:]]
    assert bars == [("0.00", "0.20"), ("2.50", "50.00"), ("52.50", "47.50")]


def test_stages_without_a_place_in_time_are_told_by_their_length(report: BuildReport) -> None:
    page = page_of_build(report, None, ())
    assert "stages run beside each other" in render_page(page)


def test_the_steps_of_the_first_frame_shown_are_those_with_something_on_it() -> None:
    sample = series()
    assert sample.frames[sample.first].marks
    assert [len(frame.marks) for frame in sample.frames[:5]] == [0, 1, 0, 4, 0]
    assert [output.frame for output in sample.outputs[-4:]] == [3, 3, 3, None]
    assert sample.outputs[-1].place == "the series, 16 files"


def test_a_frame_of_a_clip_has_its_own_outputs() -> None:
    sample = clip()
    assert [len(frame.marks) for frame in sample.frames] == [0, 0, 1, 0, 0, 0]
    assert len(sample.outputs) == 2  # what is no output at all is not told as one


def test_long_values_are_told_by_their_length() -> None:
    text = series().outputs[0].text
    assert "… 512 in all" in text and len(text) < 1000


@pytest.mark.parametrize(("demand", "most"), [(Demand.EXPECTED, MOST_FRAMES), (Demand.REQUIRED, MOST_OWN_FRAMES)])
def test_of_a_long_series_the_frames_that_matter_are_shown(demand: Demand, most: int) -> None:
    request = synthetic_request("ct-series")
    file = request.files[0]
    files = tuple(replace(file, name=f"{n}", instance_uid=f"1.{n}", stored=b"broken") for n in range(700))
    request = replace(request, files=files, demand=demand)
    output = {**uids(files[333]), "type": "ANNOTATION", "class_index": 0, "data": BOX}
    answer = Answer(request, (output,), 0.1, True)
    sample = sample_view(request, answer, Check("x", "passed", 0.1, ""), Budget())
    labels = [frame.label for frame in sample.frames]
    assert len(labels) <= most and {"0", "333", "699"} <= set(labels) and sample.all_frames == 700
    assert labels == sorted(labels, key=int)
    assert labels[sample.outputs[0].frame or 0] == "333"
    assert "not shown: it does not decode" in sample.frames[0].how or "not shown" in sample.frames[0].how


def test_a_page_does_not_grow_beyond_what_a_browser_likes() -> None:
    request = synthetic_request("ct-series")
    sample = sample_view(request, Answer(request, (), 0.1, True), None, Budget(40_000))
    shown = [frame for frame in sample.frames if frame.address]
    assert 0 < len(shown) < len(sample.frames)
    assert "as many pictures as a browser likes" in sample.frames[-1].how


def test_what_the_samples_need_not(smoke: SmokeResult) -> None:
    for page in (
        page_of_test("image:1", smoke, ()),
        Page("x", True, "x"),
        page_of_failure("m.zip", BundleError(Problem("config.x", "what", Location("f", 1, source="a: b")))),
    ):
        Reader(render_page(page))


def test_half_a_page_is_never_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.html"
    file.write_text("before")

    def fail(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(RuntimeError):
        write_page(Page("x", True, HOSTILE), file)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x.html", "before")]
