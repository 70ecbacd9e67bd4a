"""Outputs as msgpack: what msgpack itself writes, by a shorter way."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdai_build.runtime.contract import check_outputs
from mdai_build.runtime.encode import encode

NUMBERS = st.one_of(st.integers(0, 127), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False))
ROWS = st.one_of(
    *(st.lists(numbers, min_size=3, max_size=3) for numbers in (NUMBERS, st.integers(0, 1), st.booleans()))
)
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


def encoded(outputs: list[dict[str, Any]]) -> bytes:
    small_rows: dict[int, bytes] = {}
    check_outputs(outputs, small_rows=small_rows)
    return b"".join(encode(outputs, msgpack.Packer(), small_rows))


@given(OUTPUTS)
def test_writes_what_msgpack_writes(outputs: list[dict[str, Any]]) -> None:
    assert encoded(outputs) == msgpack.packb(outputs)


@given(st.integers(0, 130), st.integers(1, 70000))
def test_rows_of_every_length(value: int, width: int) -> None:
    outputs = [{"data": {"mask": [[value] * width] * 2}}]
    assert encoded(outputs) == msgpack.packb(outputs)


@pytest.mark.parametrize("value", [-1, 128, 256, 2**15, 2**23, 2**31 - 1, 2**31, -(2**31), 1.0])
def test_other_numbers_do_not_pass_for_small_ones(value: float) -> None:
    outputs = [{"data": {"mask": [[0, value, 1], [1, 1, 1]]}}]
    assert encoded(outputs) == msgpack.packb(outputs)
