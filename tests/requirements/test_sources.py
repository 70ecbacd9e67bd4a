"""Newer versions that are sources only; whether they are is asked of a real uv in test_real_world.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdai_build.requirements import (
    built_instead,
    parse_resolved,
    passed_over,
    read_requirements,
    source_command,
    source_file,
)

SEARCH = "DEBUG Searching for a compatible version of "


@pytest.mark.parametrize(
    ("searched", "found"),
    [
        (["murmurhash (>=0.28, <1.1)", "murmurhash (>=0.28, <=1.0.15)", "murmurhash (>=0.28, <=1.0.10)"], "<1.1"),
        (["murmurhash (>=0.28.0, <1.1.0)", "murmurhash (>=0.28.0, <=1.0.10)"], "<1.1.0"),
        (["murmurhash (*)", "murmurhash (<=1.0.10)"], ""),
        (["murmurhash{python_full_version < '3.11'} (*)", "murmurhash (<=1.0.12)"], ""),
        (["murmurhash (*)", "murmurhash (<1.0.11)"], None),
        (["murmurhash (<=1.0.10)", "murmurhash (>=0.28, <=1.0.10)"], None),
        (["murmurhash (*)", "murmurhash (<=1.0.9)"], None),
        (["other (*)", "other (<=1.0.15)"], None),
    ],
)  # fmt: skip
def test_what_uv_looked_at_first(searched: list[str], found: str | None) -> None:
    log = "".join(f"{SEARCH}{line}\n" for line in searched)
    expected = [] if found is None else [("murmurhash", "1.0.10", found)]
    assert list(passed_over(log, parse_resolved("murmurhash==1.0.10\nsix==1.16.0\n"))) == expected


def test_the_newer_ones_are_sought_on_the_same_indexes(bundle_of) -> None:
    bundle = bundle_of(
        "--extra-index-url https://a.example/s\n-f wheels\n--no-binary six\nsix\n", {".mdai/wheels/x.txt": ""}
    )
    assert source_file(read_requirements(bundle, "3.8"), "six", "1.15", "<2") == (
        "--extra-index-url https://a.example/s\nsix>1.15,<2\n"
    )


def test_nothing_can_be_fetched() -> None:
    command = source_command("3.8", Path("uv"), Path("python3"))
    assert "--offline" in command and "--no-deps" in command


def test_what_to_do_is_told_with_the_line(bundle_of) -> None:
    requirements = read_requirements(bundle_of("numpy\npython_gdcm\n"), "3.8")
    problem = built_instead(requirements, "3.8", "python-gdcm", "3.0.25")
    assert (problem.where.line, problem.next_step) == (2, "write `python-gdcm<=3.0.25`, which has a wheel")
    assert built_instead(requirements, "3.8", "preshed", "3.0.9").where.line is None
