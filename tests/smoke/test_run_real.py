"""Models against the real server: each test starts it as a process, since that is what the smoke test is about."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from mdai_build.engine.target import Target
from mdai_build.smoke import SmokePlan, SmokeResult, run_smoke_test
from mdai_build.smoke.samples import synthetic_request, synthetic_requests

pytestmark = pytest.mark.process

Serve = Callable[[str | Path], Target]
FOLDER = Path(__file__).parents[2] / "examples"
# custom-wheel needs its own wheel installed, which an image has: the integration tests build it.
EXAMPLES = sorted(path.name for path in FOLDER.iterdir() if path.is_dir() and path.name != "custom-wheel")
SAMPLES = ("ct", "cr", "ct-study", "us-still", "us-clip", "jpeg")

HEAD = """
import os, sys, time, ctypes
from io import BytesIO
import numpy as np
import pydicom
"""
SKELETON = (
    HEAD
    + """
class MDAIModel:
    def __init__(self):
        {init}

    def predict(self, data):
        outputs = []
        for file in data["files"]:
            if file["content_type"] != "application/dicom":
                continue
            ds = pydicom.dcmread(BytesIO(file["content"]))
            output = {{
                "type": "ANNOTATION",
                "study_uid": str(ds.StudyInstanceUID),
                "series_uid": str(ds.SeriesInstanceUID),
                "instance_uid": str(ds.SOPInstanceUID),
                "class_index": 0,
            }}
            {predict}
            outputs.append(output)
        return outputs
"""
)


@pytest.fixture(scope="module")
def requests() -> SmokePlan:
    return SmokePlan(tuple(synthetic_request(name) for name in SAMPLES), ready_seconds=30, predict_seconds=20)


def model(init: str = "pass", predict: str = "pass") -> str:
    return SKELETON.format(init=init, predict=textwrap.indent(predict, " " * 12).lstrip())


def whole(predict: str) -> str:
    body = textwrap.indent(textwrap.dedent(predict).strip(), " " * 8)
    return f"{HEAD}\nclass MDAIModel:\n    def predict(self, data):\n{body}\n"


def run(target: Target, plan: SmokePlan) -> SmokeResult:
    return run_smoke_test(target, plan, lambda check: None)


def told(result: SmokeResult) -> str:
    problem = result.problems[0]
    return "\n".join(filter(None, [problem.code, problem.what, problem.next_step, problem.details]))


# ---- what works ----


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_passes(serve: Serve, example: str) -> None:
    result = run(serve(FOLDER / example), SmokePlan(synthetic_requests(), ready_seconds=60, predict_seconds=60))
    assert result.passed, result.problems
    assert result.peak_memory and result.load_seconds and result.first_seconds and result.later_seconds


WORKING = {
    "the skeleton": model(),
    "CT only": model(predict='assert ds.Modality == "CT", "a CT, please"'),
    "MONOCHROME2 of 16 bits only": model(predict='assert ds.SamplesPerPixel == 1 and ds.BitsAllocated == 16'),
    "masks of two dimensions only": model(
        predict='output["data"] = {"mask": (ds.pixel_array > 100).astype(int).tolist()}'
    ),
    "grey channels stacked": model(predict="np.stack([ds.pixel_array] * 3, axis=-1).transpose(2, 0, 1)"),
    "a study of two series": whole("""
        datasets = [pydicom.dcmread(BytesIO(f["content"]), stop_before_pixels=True) for f in data["files"]]
        if len({ds.SeriesInstanceUID for ds in datasets}) < 2:
            raise ValueError("needs two series")
        return [{"type": "ANNOTATION", "study_uid": str(datasets[0].StudyInstanceUID), "class_index": 0}]
    """),
    "a series of at least five": whole("""
        datasets = [pydicom.dcmread(BytesIO(f["content"])) for f in data["files"]]
        volume = np.stack([ds.pixel_array for ds in sorted(datasets, key=lambda ds: ds.InstanceNumber)])
        if len(volume) < 5 or volume.ndim != 3:
            raise ValueError("needs a volume")
        ds = datasets[0]
        return [{"type": "ANNOTATION", "study_uid": str(ds.StudyInstanceUID), "series_uid": str(ds.SeriesInstanceUID),
                 "class_index": 3, "probability": 0.5}]
    """),
    "JPEG and PNG only": whole("""
        outputs = []
        for file in data["files"]:
            if file["content_type"] not in ("image/jpeg", "image/png"):
                raise ValueError("pictures only")
            tags = file["dicom_tags"]
            outputs.append({"type": "NONE", "study_uid": tags["StudyInstanceUID"],
                            "instance_uid": tags["SOPInstanceUID"]})
        return outputs
    """),
    "multi-frame ultrasound only": model(predict=(
        'if "NumberOfFrames" not in ds:\n'
        '    continue\n'
        'output["frame_number"] = int(ds.NumberOfFrames) - 1'
    )),
    "finds nothing": "class MDAIModel:\n    def predict(self, data):\n        return []\n",
}  # fmt: skip


@pytest.mark.parametrize("name", WORKING)
def test_working_models_pass(serve: Serve, requests: SmokePlan, name: str) -> None:
    result = run(serve(WORKING[name]), requests)
    assert result.passed, result.problems


# ---- what is broken ----

RAISES = "raise RuntimeError('the network has no layer 7')"
BROKEN = {
    "raises in predict": (model(predict=RAISES), "predict-raised", ["no layer 7", "Traceback", "mdai_deploy.py"]),
    "raises in __init__": (model(init=RAISES), "load-failed", ["no layer 7", "Traceback", "mdai_deploy.py"]),
    "raises at import": ("import nowhere_to_be_found\n", "load-failed", ["nowhere_to_be_found", "requirements.txt"]),
    "no class": ("x = 1\n", "load-failed", ["MDAIModel"]),
    "exits in __init__": (model(init="sys.exit(3)"), "load-failed", ["SystemExit: 3", "exit()"]),
    "ends its process in __init__": (model(init="os._exit(5)"), "load-failed", ["exit code 5"]),
    "crashes in __init__": (model(init="ctypes.string_at(0)"), "load-failed", ["SIGSEGV"]),
    "killed in __init__": (model(init="os.kill(os.getpid(), 9)"), "out-of-memory", ["memory"]),
    "exits in predict": (model(predict="sys.exit(3)"), "worker-died", ["SystemExit: 3", "exit()"]),
    "ends its process in predict": (model(predict="os._exit(5)"), "worker-died", ["exit code 5"]),
    "crashes in predict": (model(predict="ctypes.string_at(0)"), "worker-died", ["SIGSEGV"]),
    "killed in predict": (model(predict="os.kill(os.getpid(), 9)"), "out-of-memory", ["memory"]),
    "numpy scalars": (
        model(predict='output["probability"] = np.float32(0.5)'),
        "invalid-output",
        ["outputs[0].probability", "numpy.float32", "float("],
    ),
    "mask without tolist": (
        model(predict='output["data"] = {"mask": np.zeros((ds.Rows, ds.Columns))}'),
        "invalid-output",
        ["outputs[0].data.mask", ".tolist()"],
    ),
    "a UID of its own": (
        model(predict='output["instance_uid"] = str(pydicom.uid.generate_uid())'),
        "wrong-uid",
        ["outputs[0].instance_uid", "not among the files that were sent", "ds.SOPInstanceUID"],
    ),
    "the series' UID for the instance's": (
        model(predict='output["instance_uid"] = str(ds.SeriesInstanceUID)'),
        "wrong-uid",
        ["is the series_uid of the input"],
    ),
    "a mask of the network's size": (
        model(predict='output["data"] = {"mask": [[0] * 224] * 224}'),
        "mask-size",
        ["224 rows of 224", "512 rows of 512", "scale the mask back"],
    ),
    "a box far outside": (
        model(predict='output["data"] = {"x": 10, "y": 10, "width": 9000, "height": 5}'),
        "outside-image",
        ["outputs[0].data", "outside the image"],
    ),
    "forgets to return": (
        "class MDAIModel:\n    def predict(self, data):\n        outputs = []\n",
        "invalid-output",
        ["return outputs"],
    ),
    "get_value": (
        model(predict='output["images"] = [BytesIO().get_value()]'),
        "predict-raised",
        ["get_value", "getvalue()"],
    ),
    "a weights path of its author": (
        model(init='open("/home/me/weights.h5")'),
        "load-failed",
        ["/home/me/weights.h5", "__file__"],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_models_fail_each_with_its_own_message(serve: Serve, requests: SmokePlan, name: str) -> None:
    source, code, words = BROKEN[name]
    result = run(serve(source), requests)
    assert not result.passed
    assert [problem.code for problem in result.problems] == [f"smoke.{code}"], result.problems
    assert [word for word in words if word not in told(result)] == [], told(result)


def test_never_ready(serve: Serve) -> None:
    result = run(serve(model(init="time.sleep(60)")), SmokePlan((synthetic_request("ct"),), ready_seconds=1))
    assert [problem.code for problem in result.problems] == ["smoke.not-ready"]
    assert "1 s" in told(result)


def test_a_hanging_predict(serve: Serve) -> None:
    plan = SmokePlan((synthetic_request("ct"),), ready_seconds=30, predict_seconds=1)
    result = run(serve(model(predict="time.sleep(60)")), plan)
    assert [problem.code for problem in result.problems] == ["smoke.predict-timeout"]


def test_failing_at_load_does_not_wait_for_the_timeout(serve: Serve) -> None:
    plan = SmokePlan((synthetic_request("ct"),), ready_seconds=300)
    result = run(serve(model(init=RAISES)), plan)
    assert result.checks[-1].seconds < 30
