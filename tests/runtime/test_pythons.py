"""The main path and the commonest faults, on each Python that an image may have."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

VERSIONS = ["3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13"]
# Starts the real server: that it runs on these interpreters is what is tested.
pytestmark = pytest.mark.process

MODEL = """
import os, sys
import helper
from nested import NAME

class MDAIModel:
    def __init__(self):
        print("loading on", sys.version_info[:2])
        self.root = os.path.dirname(os.path.dirname(__file__))
        assert open("./lib/weights.txt").read() == "42"

    def predict(self, data):
        do = data["args"].get("do")
        if do == "raise":
            helper.fail()
        if do == "die":
            os._exit(3)
        if do == "bad":
            return [{"type": "ANNOTATION", "study_uid": "1", "class_index": 0, "data": {"mask": [[0, None]]}}]
        note = "%s %s %s" % (NAME, sys.path[:2] == [self.root, self.root + "/.mdai"], "msgpack" in sys.modules)
        content = data["files"][0]["content"]
        return [
            {"type": "NONE", "study_uid": "1", "note": note},
            {"type": "IMAGE", "study_uid": "1", "class_index": 0, "images": [content]},
            {"type": "ANNOTATION", "study_uid": "1", "class_index": 1, "data": {"mask": [[0.5, 1.5]] * 2}},
        ]
"""
FILES = {
    "weights.txt": "42",
    "helpers/helper.py": "def fail():\n    raise ValueError('told by the helper')\n",
    "a/b/nested.py": "NAME = 'nested'\n",
    "a/types.py": "raise SystemExit('this must not take the place of the standard library')\n",
    ".git/hidden.py": "",
    "a/__pycache__/x.py": "",
}


@pytest.mark.parametrize("version", VERSIONS)
def test_serves_on(version: str, serve: Any) -> None:
    server = serve(MODEL, version, FILES).until_ready()
    assert server.get("/healthz").content == b""
    assert server.get("/version").text == "0.3"
    assert server.wait_for_line("loading on").startswith("[model] ")

    content = bytes(range(256)) * 4000
    body = msgpack.packb({"files": [{"content": content, "content_type": "image/png"}], "args": {}})
    response = server.post_body(body, "application/msgpack; charset=binary")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/msgpack"
    none, image, mask = msgpack.unpackb(response.content)
    assert none["note"] == "nested True False"
    assert image["images"] == [content]
    assert mask["data"] == {"mask": [[0.5, 1.5]] * 2}

    failed = server.post("raise")
    assert failed.status_code == 500
    assert failed.headers["content-type"].startswith("text/plain")
    assert "ValueError: told by the helper" in failed.text
    assert 'helper.py", line 2, in fail' in failed.text
    assert "mdai_build/runtime" not in failed.text

    bad = server.post("bad")
    assert bad.status_code == 500
    assert "outputs[0].data.mask[0][1]" in bad.text

    died = server.post("die")
    assert died.status_code == 500
    assert "ended with exit code 3" in died.text
    assert server.post().status_code == 200

    status = server.status()
    assert status["python_version"].startswith(version + ".")
    assert (status["requests_served"], status["requests_failed"], status["worker_restarts"]) == (2, 3, 1)
    assert server.stop() == 0


PARALLEL = """
import concurrent.futures, multiprocessing, sys, threading

def square(number):
    return number * number

class MDAIModel:
    def predict(self, data):
        answers = []
        for method in ("fork", "spawn"):
            with multiprocessing.get_context(method).Pool(2) as pool:
                answers.append(pool.map(square, [1, 2, 3]))
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            answers.append(list(pool.map(square, [1, 2, 3])))
        return [{"type": "NONE", "study_uid": "1", "note": str(answers)}]
"""


@pytest.mark.parametrize("version", ["3.7", "3.11", "3.13"])
def test_a_model_may_use_processes_of_its_own(version: str, serve: Any) -> None:
    server = serve(PARALLEL, version).until_ready()
    assert server.outputs()[0]["note"] == str([[1, 4, 9]] * 3)
    assert server.outputs()[0]["note"] == str([[1, 4, 9]] * 3)
    assert server.status()["worker_restarts"] == 0
