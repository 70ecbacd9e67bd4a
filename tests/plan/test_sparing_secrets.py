"""Some BuildKits hash the whole image below a step that is given a secret; so only what is one comes as one."""

from __future__ import annotations

import dataclasses

import pytest
from factories import build_plan

from mdai_build.dockerfile import render_dockerfile
from mdai_build.engine.connection import Engine
from mdai_build.engine.process import Environment

PLAN = build_plan(requirements_text="pillow\n", ca_bundle="secret")


def test_no_step_has_a_secret_where_nothing_is_one() -> None:
    assert "type=secret,id=ca-bundle" in render_dockerfile(PLAN) and PLAN.takes_resolved
    assert "type=secret" not in render_dockerfile(PLAN.sparing_secrets())


@pytest.mark.parametrize("secret", ["netrc", "secret_proxies"])
def test_what_is_a_secret_stays_one_and_what_was_resolved_comes_with_it(secret: str) -> None:
    plan = dataclasses.replace(PLAN, **{secret: True}).sparing_secrets()  # type: ignore[arg-type]
    assert f"type=secret,id={secret.removeprefix('secret_')}" in render_dockerfile(plan)
    assert plan.takes_resolved


def test_an_author_who_copies_the_whole_context_gets_no_certificates_into_a_layer() -> None:
    parent = dataclasses.replace(PLAN.parent, kind="custom")
    text = "FROM debian:12 AS mdai-parent\nCOPY . /everything\n"
    plan = dataclasses.replace(PLAN, parent=parent, python=None, author_dockerfile=text).sparing_secrets()
    assert plan.ca_bundle == "secret" and "_mdai/ca-bundle.crt" not in render_dockerfile(plan)


def test_without_certificates_there_is_no_file_of_them() -> None:
    assert build_plan().sparing_secrets().ca_bundle == "none"


@pytest.mark.parametrize(
    "version, hashes",
    [
        ("25.0.3", False),
        ("26.0.0", True),
        ("26.1.5+dfsg1", True),
        ("27.2.1", True),
        ("27.3.0", False),
        ("28.0", False),
        ("", False),
        ("master", False),
    ],
)
def test_the_versions_that_hash(version: str, hashes: bool) -> None:
    assert Engine(None, "", version, Environment({})).hashes_beside_secrets() is hashes  # type: ignore[arg-type]
