"""`predict` and `profile` as a user runs them: a model served from this Python, and a server that runs already."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgpack
import pytest
from schema_checks import check_printed

from mdai_build.smoke.samples import synthetic_request

REPO = Path(__file__).resolve().parents[2]
EXAMPLE = REPO / "examples" / "segmentation"
COMMAND = [sys.executable, "-m", "mdai_build.cli"]
LOCAL = ("--local", "--python", sys.executable)
pytestmark = pytest.mark.process  # the thing under test is a process that starts others


def run(folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    done = subprocess.run(
        [*COMMAND, *map(str, words)],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert f'File "{REPO}/mdai_build' not in done.stderr  # a traceback may be the model's alone
    assert list(temporary.iterdir()) == []
    check_printed(words, done.stdout)
    return done


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a series of sixteen images, a still and a thumbnail."""
    for name in ("ct-series", "cr", "jpeg"):
        for file in synthetic_request(name).files:
            path = tmp_path / "files" / name / Path(file.name).name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
    return tmp_path


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where the example is served."""
    with subprocess.Popen(
        [*COMMAND, "run", *LOCAL, str(EXAMPLE), "--port", "0"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
    ) as server:
        assert server.stderr is not None
        line = next(line for line in server.stderr if "serving at" in line)
        yield line.split("serving at ")[1].split(";")[0]
        server.terminate()


def test_a_folder_with_all_that_can_be_had(folder: Path) -> None:
    done = run(folder, "predict", EXAMPLE, "files", *LOCAL, "--out", "out", "--args", "threshold=0.9", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == json.loads((folder / "out" / "outputs.json").read_text())
    assert {entry["name"]: len(entry["outputs"]) for entry in told["requests"]} == {
        "cr/cr.dcm": 1,
        "ct-series/001.dcm and 15 more": 16,
        "jpeg/jpeg.jpg": 0,
    }
    assert told["exit_code"] == 0 and all(entry["valid"] for entry in told["requests"])
    packed = msgpack.unpackb((folder / "out" / "outputs.msgpack").read_bytes())
    assert packed["requests"] == told["requests"]
    assert len(list((folder / "out").glob("*.png"))) == 18
    page = (folder / "out" / "report.html").read_text()
    assert "threshold=0.9" in page and page.count("<article") == 3
    assert not list((folder / "out").glob("*.part"))


def test_people_are_told_what_came_back(folder: Path) -> None:
    done = run(folder, "predict", EXAMPLE, "files/cr/*.dcm", *LOCAL)
    assert done.returncode == 0
    assert "class 0  ANNOTATION mask, 1024 x 880" in done.stdout
    assert "1 of 1 requests answered as the interface asks" in done.stdout
    assert "\x1b" not in done.stdout


def test_an_archive_by_instance(folder: Path) -> None:
    with zipfile.ZipFile(folder / "s.zip", "w") as archive:
        for path in sorted((folder / "files" / "ct-series").iterdir())[:3]:
            archive.write(path, path.name)
    done = run(folder, "predict", EXAMPLE, "s.zip", *LOCAL, "--scope", "instance", "--json", "--report", "r.html")
    told = json.loads(done.stdout)
    assert [len(entry["files"]) for entry in told["requests"]] == [1, 1, 1]
    assert (folder / "r.html").is_file() and done.returncode == 0


def test_a_server_that_runs_already(folder: Path, address: str) -> None:
    for url in (address, address + "/inference", address + "/"):
        done = run(folder, "predict", url, "files/cr", "--json")
        assert done.returncode == 0, done.stderr
        assert len(json.loads(done.stdout)["requests"][0]["outputs"]) == 1
    done = run(folder, "profile", address, "-n", "3", "--json", "--report", "p.html")
    told = json.loads(done.stdout)
    assert (done.returncode, told["exit_code"], told["requests"]) == (0, 0, 3), done.stderr
    assert told["statistics"]["predict_memory"]["max"] > 10_000_000
    assert "answer by answer" in (folder / "p.html").read_text().lower()


MODEL = """
class MDAIModel:
    def predict(self, data):
        outputs = []
        for file in data["files"]:
            tags = file.get("dicom_tags")
            if tags is None:
                raise ValueError("only pictures, please")
            outputs.append({
                "type": "ANNOTATION", "study_uid": tags["StudyInstanceUID"],
                "series_uid": tags["SeriesInstanceUID"], "instance_uid": tags["SOPInstanceUID"], "class_index": 7,
                "data": {"x": 1, "y": 2},
                "note": "%s %s" % (data["args"], [entry["id"] for entry in data["annotations"]]),
            })
        return outputs
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    (root / ".mdai").mkdir(parents=True)
    (root / ".mdai" / "config.yaml").write_text("base_image: py310\n")
    (root / ".mdai" / "requirements.txt").write_text("")
    (root / ".mdai" / "mdai_deploy.py").write_text(MODEL)
    (root / ".mdai" / "smoke.yaml").write_text("scope: INSTANCE\nargs: {a: theirs, b: theirs}\n")
    return root


def test_what_goes_with_the_files(folder: Path, model: Path) -> None:
    (folder / "a.json").write_text(json.dumps([{"id": "A1"}, {"id": "A2", "study_uid": "9"}]))
    (folder / "l.yaml").write_text(
        "- class_index: 7\n  label: {name: nodule, annotation_mode: location, type: LOCAL}\n"
    )
    words = ("--args", "a=mine", "--annotations", "a.json", "--label-classes", "l.yaml", "--json")
    done = run(folder, "predict", model, "files/jpeg", *LOCAL, *words)
    assert done.returncode == 0, done.stderr
    [entry] = json.loads(done.stdout)["requests"]
    assert entry["scope"] == "INSTANCE"
    assert entry["outputs"][0]["note"] == "{'a': 'mine', 'b': 'theirs'} ['A1']"
    assert "1 of 2 annotations name UIDs of none of the files" in done.stderr
    (folder / "l.yaml").write_text("- class_index: 1\n  label: {name: nodule}\n")
    done = run(folder, "predict", model, "files/jpeg", *LOCAL, *words)
    assert done.returncode == 7 and "label_classes has no such class" in done.stderr


def test_a_failure_is_told_with_its_sample_and_stops_no_other(folder: Path, model: Path) -> None:
    done = run(folder, "predict", model, "files", *LOCAL, "--scope", "SERIES", "--json", "--out", "out")
    told = json.loads(done.stdout)
    assert done.returncode == told["exit_code"] == 7
    assert [(entry["name"].split("/")[0], entry["valid"]) for entry in told["requests"]] == [
        ("cr", False),
        ("ct-series", False),
        ("jpeg", True),
    ]
    assert "only pictures, please" in done.stderr and "1 of 3 requests answered" in done.stderr
    assert "only pictures, please" in (folder / "out" / "report.html").read_text()


def test_a_model_that_does_not_load_sends_nothing(folder: Path, model: Path) -> None:
    (model / ".mdai" / "mdai_deploy.py").write_text(
        "class MDAIModel:\n    def __init__(self):\n        open('gone')\n\n    def predict(self, data): return []\n"
    )
    done = run(folder, "predict", model, "files", *LOCAL, "--json", "--report", "r.html")
    told = json.loads(done.stdout)
    assert done.returncode == told["exit_code"] == 7
    assert {entry["message"] for entry in told["requests"]} == {"not sent"}
    assert "did not load" in (folder / "r.html").read_text()


@pytest.mark.parametrize(
    ("words", "exit_code", "text"),
    [
        (["{model}", "fils"], 2, "did you mean files?"),
        (["{model}", "files", "--args", "x"], 2, "NAME=VALUE"),
        (["{model}", "model/.mdai"], 2, "is left out"),
        (["{model}", "files", "--report", "no/x.html"], 2, "no folder"),
        (["{model}", "files", "--gpus"], 2, "--gpus"),
        (["{model}/none", "files"], 2, "does not exist"),
        (["{model}"], 2, "FILE"),
    ],
)
def test_mistakes(folder: Path, model: Path, words: list[str], exit_code: int, text: str) -> None:
    done = run(folder, "predict", *LOCAL, *[word.format(model=model) for word in words])
    assert done.returncode == exit_code and text in done.stderr


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<!doctype html><html>")

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def test_addresses_that_serve_no_model(folder: Path) -> None:
    server = HTTPServer(("127.0.0.1", 0), _Page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        there = f"http://127.0.0.1:{server.server_port}"
        for url, text in (
            (there, "no served model"),
            ("http://127.0.0.1:9", "connection was refused"),
            ("http://", "address"),
        ):
            begun = time.monotonic()
            done = run(folder, "predict", url, "files")
            assert done.returncode in (2, 5) and text in done.stderr, done.stderr
            assert time.monotonic() - begun < 20
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_page_of_a_smoke_test(folder: Path) -> None:
    done = run(folder, "test", EXAMPLE, *LOCAL, "--samples", "files/cr", "--out", "out")
    assert done.returncode == 0, done.stderr
    assert "the smoke test passed" in (folder / "out" / "report.html").read_text()


def test_ctrl_c_leaves_nothing(folder: Path, model: Path) -> None:
    (model / ".mdai" / "mdai_deploy.py").write_text(
        "import time\n\n\nclass MDAIModel:\n    def predict(self, data):\n        time.sleep(60)\n"
    )
    temporary = folder / "tmp"
    temporary.mkdir()
    with subprocess.Popen(
        [*COMMAND, "predict", str(model), "files/jpeg", *LOCAL, "--out", "out", "--json"],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert any("model loads: ok" in line for line in process.stderr)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), err
    assert list(temporary.iterdir()) == [] and list((folder / "out").iterdir()) == []


def test_a_bundle_brings_its_own_samples_for_a_profile(folder: Path, model: Path) -> None:
    (model / "sample.jpg").write_bytes(next((folder / "files" / "jpeg").iterdir()).read_bytes())
    (model / ".mdai" / "smoke.yaml").write_text("scope: INSTANCE\nsamples: sample.jpg\n")
    done = run(folder, "profile", model, *LOCAL, "-n", "2", "--json")
    assert done.returncode == 0, done.stderr
    assert {entry["request"] for entry in json.loads(done.stdout)["measurements"]} == {"sample.jpg"}


def test_a_place_that_takes_no_output(folder: Path, model: Path) -> None:
    (folder / "taken").write_text("a file, not a folder")
    done = run(folder, "predict", model, "files/jpeg", *LOCAL, "--out", "taken/below")
    assert done.returncode == 2 and "cannot be written: Not a directory" in done.stderr


def test_a_build_that_fails_leaves_the_page_of_why(folder: Path, model: Path) -> None:
    (model / ".mdai" / "config.yaml").write_text("base_image: py38\ncuda_versoin: 11.0\n")
    (model / ".mdai" / "mdai_deploy.py").unlink()
    done = run(folder, "build", model, "--report", "r.html")
    assert done.returncode == 3
    page = (folder / "r.html").read_text()
    assert "the bundle is wrong" in page and "mdai_deploy.py" in page
