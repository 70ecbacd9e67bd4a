"""The author's own Dockerfile comes first, ours follows: its last stage needs a name."""

from __future__ import annotations

import pytest

from mdai_build.plan import name_last_stage


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("FROM debian:12\nRUN true\n", "FROM debian:12 AS p\nRUN true\n"),
        ("from debian:12", "from debian:12 AS p\n"),
        (
            "FROM --platform=linux/amd64 debian:12  \r\nRUN true\r\n",
            "FROM --platform=linux/amd64 debian:12 AS p\nRUN true\n",
        ),
        ("FROM a AS one\nFROM b\nCOPY --from=one /x /x\n", "FROM a AS one\nFROM b AS p\nCOPY --from=one /x /x\n"),
        ("FROM a AS one\nRUN true\n", "FROM a AS one\nRUN true\n\nFROM one AS p\n"),
        ("FROM a\n# FROM b\nRUN echo FROM c\n", "FROM a AS p\n# FROM b\nRUN echo FROM c\n"),
    ],
)
def test_the_last_stage_gets_the_name(written: str, named: str) -> None:
    assert name_last_stage(written, "p") == named
