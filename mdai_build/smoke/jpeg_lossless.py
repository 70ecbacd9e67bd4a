"""An encoder of lossless JPEG with first-order prediction (ITU-T T.81, process 14, selection value 1).

Most archives keep CT and radiographs in it, and no library that installs everywhere writes it. One fixed Huffman table
serves, since samples need to be right, not small.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

_CATEGORIES = 17  # of a difference by its number of bits, 0 to 16 (T.81 table H.2)
_CODE_BITS = 5  # enough for 17 codes of one length, of which none is all ones


def encode(pixels: npt.NDArray[Any]) -> bytes:
    """The bitstream of one frame of one component, (rows, columns), of 8 or 16 bits; signs are for DICOM to tell."""
    bits = 8 * pixels.itemsize
    differences = _differences(pixels.view(f"u{pixels.itemsize}").astype(np.int64), bits)
    data = _entropy_coded(differences).replace(b"\xff", b"\xff\x00")
    rows, columns = pixels.shape
    counts = [_CATEGORIES if length == _CODE_BITS else 0 for length in range(1, 17)]
    return b"".join(
        [
            b"\xff\xd8",
            _segment(0xC3, struct.pack(">BHHB3B", bits, rows, columns, 1, 1, 0x11, 0)),
            _segment(0xC4, bytes([0, *counts, *range(_CATEGORIES)])),
            _segment(0xDA, bytes([1, 1, 0, 1, 0, 0])),  # selection value 1: predict from the left
            data,
            b"\xff\xd9",
        ]
    )


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _differences(values: npt.NDArray[np.int64], bits: int) -> npt.NDArray[np.int64]:
    """Each value minus its prediction, modulo 2^16 (T.81 H.1.2.1): the one to the left, in the first column above."""
    predicted = np.empty_like(values)
    predicted[:, 1:] = values[:, :-1]
    predicted[1:, 0] = values[:-1, 0]
    predicted[0, 0] = 1 << (bits - 1)
    # 32768 stays positive: it is the one difference with a category of its own.
    return ((values - predicted + 32767) % 65536 - 32767).ravel()


def _entropy_coded(differences: npt.NDArray[np.int64]) -> bytes:
    """For each difference the code of its category, then its own bits; filled up with ones."""
    magnitude = np.abs(differences)
    category = np.where(magnitude > 0, np.frexp(magnitude.astype(np.float64))[1], 0).astype(np.int64)
    own_bits = np.where(category == 16, 0, category)
    own = np.where(differences < 0, differences - 1, differences) & ((1 << own_bits) - 1)
    words = (category << own_bits) | own
    lengths = _CODE_BITS + own_bits
    ends = np.cumsum(lengths)
    place = np.repeat(ends, lengths) - 1 - np.arange(ends[-1])
    stream = ((np.repeat(words, lengths) >> place) & 1).astype(np.uint8)
    return np.packbits(np.concatenate([stream, np.ones(-len(stream) % 8, dtype=np.uint8)])).tobytes()
