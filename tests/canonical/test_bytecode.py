"""The normal form of compiled files."""

from __future__ import annotations

import importlib.util
import marshal
import random
import struct
import sys
import types

import pytest

from mdai_build.canonical.bytecode import HEADER_BYTES, normal_pyc

SOURCE = '''
"""A module."""
import os

def check(value, *, kind={"on", "off", "yes", "no", ","}):
    if value in {"a", "b", "longer than that", ("x", 1, 2.5, 3j, b"bytes")}:
        return f"{value!r}: {os.sep}"
    return -(2**70), None, ..., True, "ä", "", "\\N{SNOWMAN}"

class Thing:
    def check(self):
        return [check(x) for x in (1, 1000000, 2**40)]
'''


def pyc(code: types.CodeType, flags: int = 0, time: int = 1_700_000_000) -> bytes:
    return importlib.util.MAGIC_NUMBER + struct.pack("<III", flags, time, len(SOURCE)) + marshal.dumps(code)


def test_the_code_is_the_same_and_the_time_is_set() -> None:
    code = compile(SOURCE, "module.py", "exec", dont_inherit=True)
    normal = normal_pyc(pyc(code), 5)
    assert marshal.loads(normal[HEADER_BYTES:]) == code
    assert struct.unpack_from("<I", normal, 8)[0] == 5
    assert normal_pyc(normal, 5) == normal


def test_what_a_process_happens_to_hold_does_not_count() -> None:
    first = compile(SOURCE, "module.py", "exec", dont_inherit=True)
    # Held from elsewhere too, objects are marked as such that may be referred to.
    second = compile(SOURCE, "module.py", "exec", dont_inherit=True)
    held = [second.co_consts, second.co_names, *second.co_consts, sys.intern(","), sys.intern("a")]
    one, two = pyc(first), pyc(second)
    assert normal_pyc(one, 5) == normal_pyc(two, 5)
    assert held


def test_a_pyc_that_goes_by_its_content_keeps_its_header() -> None:
    written = pyc(compile("x = 1", "m.py", "exec"), flags=1)
    assert normal_pyc(written, 5)[:HEADER_BYTES] == written[:HEADER_BYTES]


@pytest.mark.parametrize("content", [b"", b"\0" * 15, b"no pyc at all, but long enough", b"\x61\x0d\r\n" + b"\0" * 40])
def test_anything_else_stays_as_it_is(content: bytes) -> None:
    assert normal_pyc(content, 5)[HEADER_BYTES:] == content[HEADER_BYTES:]


def test_a_damaged_one_stays_as_it_is() -> None:
    whole = pyc(compile(SOURCE, "module.py", "exec"))
    chance = random.Random(7)
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.randrange(HEADER_BYTES, len(damaged))] = chance.randrange(256)
        del damaged[chance.randrange(HEADER_BYTES, len(damaged)) :]
        normal = normal_pyc(bytes(damaged), 5)
        assert normal_pyc(normal, 5) == normal


def test_nesting_without_end_is_refused() -> None:
    deep = b"\x6f\x0d\r\n" + b"\0" * 12 + b")\x01" * 100_000 + b"N"
    assert normal_pyc(deep, 0) == deep
