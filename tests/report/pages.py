"""A page with everything in it, for the tests of what it says and how it looks; hostile text where strangers write."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from mdai_build.engine import Step
from mdai_build.engine.inspection import ImageDetails, Layer
from mdai_build.errors import Location, Problem
from mdai_build.report.charts import profile_view
from mdai_build.report.frames import Budget
from mdai_build.report.inspection import Inspection, Package
from mdai_build.report.page import Page, page_of_build
from mdai_build.report.values import BuildReport, ImageReport, ParentReport
from mdai_build.report.views import SampleView, sample_view
from mdai_build.smoke.profile import Measurement, ProfileResult
from mdai_build.smoke.request import Demand, InputFile
from mdai_build.smoke.result import Answer, Check, SmokeResult
from mdai_build.smoke.samples import synthetic_request

HOSTILE = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>\x1b[2J\u202e"\'><style>*{display:none}'
BOX = {"x": 40, "y": 50, "width": 60, "height": 40}
LABELS = tuple(
    {"class_index": index, "label": {"id": "L", "name": name, "type": "LOCAL"}}
    for index, name in enumerate(["lung", "nodule", "effusion", "fracture", HOSTILE])
)


def uids(file: InputFile) -> dict[str, str]:
    return {"study_uid": file.study_uid, "series_uid": file.series_uid, "instance_uid": file.instance_uid}


def heatmap(width: int, height: int) -> bytes:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def disc(file: InputFile, radius: float) -> list[list[int]]:
    y, x = np.mgrid[: file.rows, : file.columns]
    mask: list[list[int]] = ((x - file.columns / 3) ** 2 + (y - file.rows / 2) ** 2 < radius**2).astype(int).tolist()
    return mask


def series() -> SampleView:
    """A CT series: a mask on every second image, a box, a polygon and a point on the fourth, an output of the whole."""
    request = replace(synthetic_request("ct-series"), label_classes=LABELS, own_labels=True, demand=Demand.REQUIRED)
    fourth = request.files[3]
    outputs: list[dict[str, Any]] = [
        {**uids(file), "type": "ANNOTATION", "class_index": 0, "data": {"mask": disc(file, 30 + number)}}
        for number, file in enumerate(request.files)
        if number % 2
    ]
    of_fourth = {**uids(fourth), "type": "ANNOTATION"}
    outputs += [
        {**of_fourth, "class_index": 1, "data": BOX, "probability": 0.87, "note": f"two\nlines {HOSTILE}"},
        {**of_fourth, "class_index": 2, "data": {"vertices": [[150, 60], [200, 80], [190, 140]]}},
        {**of_fourth, "class_index": 3, "data": {"x": 120, "y": 200}},
        {
            "study_uid": fourth.study_uid,
            "series_uid": fourth.series_uid,
            "type": "ANNOTATION",
            "class_index": 4,
            "probability": [{"class_index": index, "probability": index / 10} for index in range(5)],
            "explanations": [
                {"name": f"map {HOSTILE}", "content": heatmap(90, 60), "content_type": "image/png"},
                {"name": "broken", "content": b"nope", "content_type": "image/png"},
            ],
        },
    ]
    return view("ct-series", outputs, request=request)


def view(name: str, outputs: list[Any], request: Any = None, outcome: Any = "passed") -> SampleView:
    request = request or synthetic_request(name)
    problems = () if outcome == "passed" else (Problem("smoke.x", f"wrong {HOSTILE}", details=HOSTILE),)
    check = Check(request.name, outcome, 0.1, f"{len(outputs)} outputs {HOSTILE if problems else ''}", problems)
    return sample_view(request, Answer(request, tuple(outputs), 0.1, not problems), check, Budget())


def clip() -> SampleView:
    file = synthetic_request("us-clip").files[0]
    output = {**uids(file), "type": "ANNOTATION", "class_index": 6, "data": BOX, "frame_number": 2}
    return view("us-clip", [output, 5, {"type": HOSTILE, "note": {HOSTILE: [1]}}], outcome="failed")


def profile() -> ProfileResult:
    def measured(seconds: float, peak: int) -> Measurement:
        steps = {"decode": seconds / 10, "predict": seconds / 2, "check": 0.001, "encode": seconds / 20}
        peaks = {"decode": peak // 2, "predict": peak, "check": peak // 2, "encode": peak // 2}
        return Measurement(f"ct {HOSTILE}", seconds, steps, peaks, {"predict": 3 * 10**9}, 1_000, 10)

    later = tuple(measured(0.1 + 0.01 * (number % 3), 4 * 10**8 + number * 10**6) for number in range(24))
    return ProfileResult((), measured(0.5, 10**9), later, 1.5, 10**9)


def inspection() -> Inspection:
    layers = (Layer("RUN conda create", 3 * 10**8), Layer(f"RUN {HOSTILE}", 7 * 10**8), Layer("COPY code", 12_000))
    details = ImageDetails(
        "sha256:0123",
        ("m:1",),
        10**9,
        "2026-01-01T00:00:00Z",
        "linux/amd64",
        (),
        (),
        "1000",
        (),
        (),
        "/src",
        (),
        layers,
    )
    packages = tuple(
        Package(f"package-{number}", "1.0", "model", "0.9" if number == 3 else None, None, (HOSTILE,))
        for number in range(40)
    )
    return Inspection("m:1", details, {"bundle": HOSTILE, "version": "0.1.0"}, "/sbom", packages, ("gone==1",), ())


def whole_page() -> Page:
    problem = Problem(
        "config.x", f"what {HOSTILE}", Location("config.yaml", 3, 1, "k", f"k: {HOSTILE}"), HOSTILE, HOSTILE
    )
    smoke = SmokeResult(
        (Check("loads", "passed", 1.5, "ready"), Check(HOSTILE, "failed", 0.1, HOSTILE, (problem,))),
        load_seconds=1.5,
        first_seconds=0.2,
        peak_memory=10**9,
        api_version="0.3",
    )
    report = BuildReport(
        image=ImageReport("lungs:1", "sha256:0123", 10**9),
        parent=ParentReport("parent:1", HOSTILE),
        stages=(),
        warnings=(problem,),
        smoke=smoke,
        pictures=(),
        seconds_total=20.0,
        exit_code=7,
        overrides=(HOSTILE,),
        steps=(
            Step("FROM parent", 0.0, 0.0),
            Step(f"RUN {HOSTILE}", 0.5, 10.5),
            Step("exporting", 10.5, 20.0),
        ),
    )
    samples = [series(), view("dx-monochrome1", []), clip()]
    return replace(page_of_build(report, inspection(), samples), profile=profile_view(profile()))
