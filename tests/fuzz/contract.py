"""Feeds bytes that atheris invents to decoding, both contracts and encoding: `make fuzz`, for five minutes.

What decodes is taken for a request, for outputs and for parts of outputs. The contract must break on none of it, agree
with the slow one in tests/runtime/test_reference.py, and let nothing pass that the wire changes. What atheris has
learnt stays in .fuzz for the next run.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import atheris
import msgpack

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "runtime")]
with atheris.instrument_imports(include=["mdai_build", "test_reference"]):
    from test_reference import GOOD, OTHER_GOOD, agree

    from mdai_build.runtime import contract

REQUEST = {
    "files": [{"content": b"x", "content_type": "image/png", "dicom_tags": {"a": "b"}}],
    "annotations": [{"id": "a", "frame_number": 1}],
    "label_classes": [{"class_index": 0, "label": {"id": "a"}}],
    "args": {"a": "b"},
}


def check(data: bytes) -> None:
    with contextlib.suppress(ValueError, msgpack.UnpackException):
        take(msgpack.unpackb(data, raw=False))


def take(value: Any) -> None:
    contract.describe(contract.check_request(value)).encode()
    for outputs in (value, [value], *([{**GOOD, key: value}] for key in ("data", "probability", "explanations"))):
        agree(outputs)
    for key in ("mask", "vertices"):
        agree([{**GOOD, "data": {key: value}}])


def main() -> None:
    corpus = ROOT / ".fuzz"
    corpus.mkdir(exist_ok=True)
    seeds = [REQUEST, [GOOD], *(value for values in OTHER_GOOD.values() for value in values)]
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(msgpack.packb(seed))
    atheris.Setup([*sys.argv, f"-artifact_prefix={corpus}/", str(corpus)], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
