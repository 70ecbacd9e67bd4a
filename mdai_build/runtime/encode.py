"""Writes outputs as msgpack, piece by piece, so that a large answer never lies in memory twice."""

from __future__ import annotations

from typing import Any, Iterator

from .values import SmallRows


def encode(outputs: Any, packer: Any, small_rows: SmallRows) -> Iterator[bytes]:
    """The outputs, which the contract has passed, as msgpack; ``packer`` is a ``msgpack.Packer``.

    ``small_rows`` are those that ``check_outputs`` has found. Raises what the packer raises for a value that it
    cannot write.
    """
    yield packer.pack_array_header(len(outputs))
    for output in outputs:
        data = output.get("data")
        if not (data and "mask" in data):
            yield packer.pack(output)
            continue
        yield packer.pack_map_header(len(output))
        for key, value in output.items():
            yield packer.pack(key)
            if key == "data":
                yield packer.pack_map_header(1) + packer.pack("mask")
                yield _encode_mask(value["mask"], packer, small_rows)
            else:
                yield packer.pack(value)


def _encode_mask(mask: Any, packer: Any, small_rows: SmallRows) -> bytes:
    """The rows as msgpack.

    An int from 0 to 127 is written as one byte, itself (msgpack's "positive fixint"): a row of such ints is ready.
    """
    pieces = [packer.pack_array_header(len(mask))]
    head = packer.pack_array_header(len(mask[0]))
    for row in mask:
        small = small_rows.get(id(row))
        pieces.append(packer.pack(row) if small is None else head + small)
    return b"".join(pieces)
