"""Outputs in files: the same in JSON and msgpack, and never half of them."""

from __future__ import annotations

import io
import json
import math
import tracemalloc
from pathlib import Path
from typing import Any

import msgpack
import pytest

from mdai_build.errors import Problem
from mdai_build.report.outputs import JSON_FILE, MSGPACK_FILE, OutputsWriter, json_text
from mdai_build.smoke.request import Demand, InputFile, SmokeRequest
from mdai_build.smoke.result import Answer, Check


def request(name: str) -> SmokeRequest:
    return SmokeRequest(name, "SERIES", (InputFile("a\n", b"", "image/png", "1", "2", "3", 1, 1),), Demand.REQUIRED)


def test_both_files_and_the_stream_hold_the_same(tmp_path: Path) -> None:
    outputs = ({"type": "NONE", "note": 'é"\n', "data": {"mask": [[0, 1]]}}, {"p": 0.5})
    good, bad = request("good"), request("bad")
    failed = Check("bad", "failed", 0.5, "it raised", (Problem("smoke.x", "it raised"),))
    stream = io.StringIO()
    with OutputsWriter("image:1", 3, tmp_path / "out", stream) as writer:
        writer.write(good, Answer(good, outputs, 0.1, True), Check("good", "passed", 0.1, "2 NONE"))
        writer.write(bad, None, failed)
        writer.write(request("late"), None, None)
        paths = writer.finish(7)
    assert [path.name for path in paths] == [JSON_FILE, MSGPACK_FILE]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [JSON_FILE, MSGPACK_FILE]
    told = json.loads(paths[0].read_text())
    assert told == json.loads(stream.getvalue())
    packed = msgpack.unpackb(paths[1].read_bytes())
    assert packed["requests"] == told["requests"]
    assert told["exit_code"] == 7
    assert [(entry["name"], entry["valid"], entry["message"]) for entry in told["requests"]] == [
        ("good", True, "2 NONE"),
        ("bad", False, "it raised"),
        ("late", False, "not sent"),
    ]
    assert told["requests"][0]["outputs"] == list(outputs)
    assert told["requests"][1]["problems"][0]["code"] == "smoke.x"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"content": b"\xff\0"}, {"content": {"base64": "/wA="}}),
        ([math.nan, math.inf, 1.5, True, None], [None, None, 1.5, True, None]),
        ({1: "x", b"k": "y", None: "z"}, {"1": "x", "b'k'": "y", "None": "z"}),
        (msgpack.Timestamp(1, 2), "Timestamp(seconds=1, nanoseconds=2)"),
        ("\u2028</script>", "\u2028</script>"),
    ],
)
def test_json_is_strict_whatever_a_model_says(value: Any, expected: Any) -> None:
    def refuse(word: str) -> Any:
        raise AssertionError(word)

    assert json.loads(json_text(value), parse_constant=refuse) == expected


def test_what_is_broken_off_leaves_the_files_of_before(tmp_path: Path) -> None:
    (tmp_path / JSON_FILE).write_text("before")
    with pytest.raises(KeyboardInterrupt), OutputsWriter("x", 2, tmp_path, None) as writer:
        writer.write(request("a"), None, None)
        raise KeyboardInterrupt
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(JSON_FILE, "before")]


def test_many_answers_take_the_memory_of_one(tmp_path: Path) -> None:
    asked = request("a")
    mask = [[0] * 512 for _ in range(512)]
    answer = Answer(asked, ({"data": {"mask": mask}},), 0.1, True)
    peaks = []
    for count in (2, 12):
        tracemalloc.start()
        with OutputsWriter("x", count, tmp_path, None) as writer:
            for _ in range(count):
                writer.write(asked, answer, None)
            writer.finish(0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
