from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from pydicom.encaps import generate_frames

from mdai_build.smoke.jpeg_lossless import encode
from mdai_build.smoke.samples import synthetic_request


def decode(content: bytes) -> np.ndarray[Any, Any]:
    """A slow decoder straight from T.81: DECODE of F.2.2.3, EXTEND of figure F.12, prediction of table H.1."""
    assert content[:2] == b"\xff\xd8" and content[-2:] == b"\xff\xd9"
    place, segments = 2, {}
    while 0xDA not in segments:
        marker, length = struct.unpack_from(">xBH", content, place)
        segments[marker] = content[place + 4 : place + 2 + length]
        place += 2 + length
    precision, rows, columns = struct.unpack_from(">BHH", segments[0xC3])
    counts, symbols = segments[0xC4][1:17], list(segments[0xC4][17:])
    codes, code = {}, 0
    for length, count in enumerate(counts, 1):
        for _ in range(count):
            codes[length, code] = symbols.pop(0)
            code += 1
        code <<= 1
    data = content[place:-2].replace(b"\xff\x00", b"\xff")
    bits = iter(np.unpackbits(np.frombuffer(data, dtype=np.uint8)).tolist())
    image = np.zeros((rows, columns), dtype=np.int64)
    for y in range(rows):
        for x in range(columns):
            length, code = 0, 0
            while (length, code) not in codes:
                length, code = length + 1, code << 1 | next(bits)
            size = codes[length, code]
            difference = 32768 if size == 16 else 0
            if 0 < size < 16:
                for _ in range(size):
                    difference = difference << 1 | next(bits)
                if difference < 1 << size - 1:
                    difference -= (1 << size) - 1
            predicted = image[y, x - 1] if x else image[y - 1, 0] if y else 1 << precision - 1
            image[y, x] = (predicted + difference) % 65536
    return image


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (13, 7)])
def test_noise_comes_back(kind: str, shape: tuple[int, int]) -> None:
    pixels = np.random.RandomState(0).randint(0, np.iinfo(kind).max + 1, shape).astype(kind)
    np.testing.assert_array_equal(decode(encode(pixels)), pixels)


@settings(max_examples=60, deadline=None)
@given(st_numpy.arrays(np.uint16, (3, 4), elements=st.sampled_from([0, 1, 32767, 32768, 32769, 65535])))
def test_the_largest_steps_come_back(pixels: np.ndarray[Any, Any]) -> None:
    np.testing.assert_array_equal(decode(encode(pixels)), pixels)


def test_signed_values_keep_their_bits() -> None:
    pixels = np.array([[-1024, 0], [3071, -32768]], dtype=np.int16)
    np.testing.assert_array_equal(decode(encode(pixels)).astype(np.uint16).view(np.int16), pixels)


def test_the_sample_holds_the_same_slice_as_the_plain_one() -> None:
    plain, packed = (
        pydicom.dcmread(io.BytesIO(synthetic_request(name).files[0].content)) for name in ("ct", "ct-jpeg-lossless")
    )
    (frame,) = generate_frames(packed.PixelData, number_of_frames=1)
    top = decode_rows(frame, 12)
    np.testing.assert_array_equal(top.astype(np.uint16).view(np.int16), plain.pixel_array[:12])


def decode_rows(frame: bytes, rows: int) -> np.ndarray[Any, Any]:
    """The first rows of a frame: its header is made to claim that there are no more."""
    place = frame.index(b"\xff\xc3") + 5
    return decode(frame[:place] + struct.pack(">H", rows) + frame[place + 2 :].rstrip(b"\0"))
