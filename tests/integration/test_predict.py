"""`predict` and `profile` of an image, and the page of its build: all with one image."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import docker
import docker.errors
from harness.leftovers import engine_state
from harness.runner import Run, run_command

from mdai_build.smoke.samples import synthetic_request

NAME = "predicted"
TAG = "mdai-build-test/predicted:latest"
# Writes beside its code, as a strict platform would not let it: here its outputs are wanted all the same.
DEPLOY = """
from io import BytesIO
import pydicom

class MDAIModel:
    def predict(self, data):
        with open(__file__ + ".scratch", "w") as file:
            file.write("x")
        held = bytearray(100 * 2**20)
        outputs = []
        for file in data["files"]:
            ds = pydicom.dcmread(BytesIO(file["content"]))
            outputs.append({
                "type": "ANNOTATION", "study_uid": str(ds.StudyInstanceUID), "series_uid": str(ds.SeriesInstanceUID),
                "instance_uid": str(ds.SOPInstanceUID), "class_index": 0,
                "data": {"x": 10, "y": 20, "width": 30, "height": 40}, "note": data["args"]["who"],
            })
        return outputs
"""
SMOKE = "scope: INSTANCE\nargs: {who: smoke.yaml}\nlabel_classes: [{class_index: 0, label: {name: nodule}}]\n"


def test_what_an_image_says_of_files(engine: docker.DockerClient, tmp_path: Path, cache_folder: Path) -> None:
    model, files = tmp_path / NAME, tmp_path / "files"
    (model / ".mdai").mkdir(parents=True)
    files.mkdir()
    for name, text in (("config.yaml", "base_image: py38\n"), ("mdai_deploy.py", DEPLOY), ("smoke.yaml", SMOKE)):
        (model / ".mdai" / name).write_text(text)
    (model / ".mdai" / "requirements.txt").write_text("")
    for file in synthetic_request("mr-series").files:
        (files / Path(file.name).name).write_bytes(file.content)
    before = engine_state(engine)
    number = 0

    def run(*words: object) -> Run:
        nonlocal number
        number += 1
        place = tmp_path / str(number)
        place.mkdir()
        environment = {"MDAI_BUILD_CACHE_FOLDER": str(cache_folder), "MDAI_BUILD_PARENT": "local"}
        done = run_command([str(word) for word in words], place, environment, 300)
        assert not [name for name in done.left if name.startswith("tmp/")], done
        return done

    try:
        done = run("build", model, "--tag", TAG, "--samples", files, "--report", "b.html")
        assert done.exit_code == 0, done
        page = (tmp_path / "1" / "work" / "b.html").read_text()
        for text in ("Built from what", "COPY _mdai/code/", "pydicom", "py38", "Build steps", "class 0, nodule"):
            assert text in page, text

        done = run("predict", TAG, files, "--json", "--out", "out")
        assert done.exit_code == 0, done
        told = json.loads(done.stdout)
        assert [(entry["scope"], len(entry["files"])) for entry in told["requests"]] == [("INSTANCE", 1)] * 8
        assert {entry["outputs"][0]["note"] for entry in told["requests"]} == {"smoke.yaml"}
        assert {"out/outputs.json", "out/outputs.msgpack", "out/report.html"} <= set(done.left)

        done = run("predict", TAG, files, "--json", "--scope", "SERIES", "--args", "who=me")
        assert done.exit_code == 0, done
        [entry] = json.loads(done.stdout)["requests"]
        assert len(entry["files"]) == len(entry["outputs"]) == 8 and entry["outputs"][0]["note"] == "me"

        done = run("profile", TAG, "-n", 5, "--json")
        assert done.exit_code == 0, done
        statistics = json.loads(done.stdout)["statistics"]
        assert statistics["predict_memory"]["p50"] > statistics["decode_memory"]["p50"] + 80 * 2**20
    finally:
        with contextlib.suppress(docker.errors.ImageNotFound):
            engine.api.remove_image(TAG, force=True)
    assert engine_state(engine).leftovers(before, NAME, -1) == []
