"""A request's body, piece by piece."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import msgpack
import pytest

from mdai_build.smoke.request import Demand, InputFile, RequestBody, SmokeRequest


def file(stored: bytes | Path, tags: dict[str, str] | None = None) -> InputFile:
    return InputFile("x", stored, "image/png", "1", "2", "3", 4, 5, dicom_tags=tags)


def request(*files: InputFile) -> SmokeRequest:
    annotations = ({"id": "A", "data": {"x": 1}},)
    return SmokeRequest("x", "SERIES", files, Demand.REQUIRED, annotations=annotations, args={"é": "ü"})


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65535, 65536, 3_000_000])
def test_the_bytes_are_those_of_msgpack(size: int, tmp_path: Path) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    path = tmp_path / "x"
    path.write_bytes(content)
    asked = request(file(path), file(content, {"Rows": "4"}))
    body = RequestBody(asked)
    pieces = list(body)
    assert len(body) == sum(map(len, pieces))
    assert b"".join(pieces) == msgpack.packb(
        {
            "files": [
                {"content": content, "content_type": "image/png"},
                {"content": content, "content_type": "image/png", "dicom_tags": {"Rows": "4"}},
            ],
            "annotations": [{"id": "A", "data": {"x": 1}}],
            "label_classes": [],
            "args": {"é": "ü"},
        }
    )
    assert b"".join(body) == b"".join(pieces)  # it can be sent again


def test_a_study_is_never_in_memory(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(20)]
    for path in paths:
        path.write_bytes(bytes(10 * 2**20))
    body = RequestBody(request(*map(file, paths)))
    tracemalloc.start()
    try:
        total = sum(len(piece) for piece in body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == len(body) > 200 * 2**20
    assert peak < 4 * 2**20


def test_a_file_that_changes_meanwhile_is_no_silent_lie(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    body = RequestBody(request(file(path)))
    len(body)
    for content in (b"1234", b"123456"):
        path.write_bytes(content)
        with pytest.raises(OSError, match="changed while it was sent"):
            list(body)
