"""An image that is there answers for a build when nothing that goes into it has changed."""

from __future__ import annotations

import dataclasses

import pytest
from factories import build_plan

from mdai_build.plan import content_digest

PARENTS = ["sha256:aa"]
PLAN = build_plan(env=(("MODE", "fast"),), requirements_text="pillow\n")


def test_the_same_content_has_the_same_digest() -> None:
    assert content_digest(PLAN, PARENTS) == content_digest(dataclasses.replace(PLAN), list(PARENTS))


@pytest.mark.parametrize(
    "changed",
    [
        {"labels": (("io.mdai-build.bundle.digest", "sha256:01"),)},
        {"requirements_text": "pillow==10.2.0\n"},
        {"env": (("MODE", "slow"),)},
        {"python": "3.9"},
        {"index_url": "https://index.example/simple"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_another_content_has_another_digest(changed: dict[str, object]) -> None:
    assert content_digest(dataclasses.replace(PLAN, **changed), PARENTS) != content_digest(PLAN, PARENTS)  # type: ignore[arg-type]


def test_another_parent_gives_another_digest() -> None:
    assert content_digest(PLAN, ["sha256:bb"]) != content_digest(PLAN, PARENTS)
    assert content_digest(PLAN, []) != content_digest(PLAN, PARENTS)


def test_another_template_pin_or_runtime_gives_another_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    before = content_digest(PLAN, PARENTS)
    monkeypatch.setattr("mdai_build.plan.resources_digest", lambda: "another")
    assert content_digest(PLAN, PARENTS) != before
