"""Outputs as msgpack: what msgpack itself writes, by a shorter way."""

from __future__ import annotations

from typing import Any

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from mdai_build.runtime.encode import encode

NUMBERS = st.one_of(st.integers(0, 127), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False))
ROWS = st.one_of(*(st.lists(numbers, min_size=3, max_size=3) for numbers in (NUMBERS, st.integers(0, 1))))
MASKS = st.lists(ROWS, min_size=1, max_size=20)
OUTPUTS = st.lists(
    st.fixed_dictionaries(
        {"type": st.just("ANNOTATION"), "note": st.text(st.characters(exclude_categories=["Cs"]))},
        optional={
            "data": st.one_of(
                st.none(),
                st.just({}),
                st.fixed_dictionaries({"mask": MASKS}),
                st.fixed_dictionaries({"vertices": MASKS}),
            )
        },
    )
)


@given(OUTPUTS)
def test_writes_what_msgpack_writes(outputs: list[dict[str, Any]]) -> None:
    assert b"".join(encode(outputs, msgpack.Packer())) == msgpack.packb(outputs)


@given(st.integers(0, 3), st.integers(0, 70000))
def test_rows_of_every_length(value: int, width: int) -> None:
    outputs = [{"data": {"mask": [[value] * width] * 2}}]
    assert b"".join(encode(outputs, msgpack.Packer())) == msgpack.packb(outputs)
