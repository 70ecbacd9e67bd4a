"""Whole Dockerfiles, as files to read: a change of a template shows there in full.

`PYTHONPATH=tests python tests/dockerfile/test_golden.py` writes them anew.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from factories import build_plan

from mdai_build.dockerfile import (
    render_base_dockerfile,
    render_dockerfile,
    render_lock_dockerfile,
    render_wheels_dockerfile,
)
from mdai_build.parents import Parent

GOLDEN = Path(__file__).parent / "golden"

BASE = build_plan()

PLANS = {
    "smallest": BASE,
    "weights-first": dataclasses.replace(
        BASE, weights=("weights.npz",), layers_merge=False, weights_first=True, requirements_text="pillow\n"
    ),
    "everything": dataclasses.replace(
        BASE,
        parent=Parent("gcp", "mirror.example/base-cu113", "11.3", ("conda-forge", "o'channel"), "Google's parent"),
        python="3.10",
        device_type="gpu",
        env=(("MODE", 'a "quoted" $value with \\ and #'), ("EMPTY", "")),
        weights=("weights.npz",),
        requirements_text="scikit-image==0.21.0\n",
        installer_arguments=("--pre",),
        vcs_requirements=("git+https://example.org/tool.git@v1",),
        builds_from_source=True,
        netrc=True,
        secret_proxies=True,
        index_url="https://index.example/simple",
        extra_index_urls=("https://more.example/simple", "http://plain.example:8080/simple"),
        ca_bundle="secret",
    ),
    "sources-last": dataclasses.replace(
        BASE, requirements_text="./tool\ntorch==1.13.1\n", ahead_text="torch==1.13.1\nwheel\n", builds_from_source=True
    ),
    "where-secrets-are-dear": dataclasses.replace(
        BASE, weights=("weights.npz",), weights_apart=True, requirements_text="pillow\n", ca_bundle="secret"
    ).sparing_secrets(),
    "rendered-to-a-folder": dataclasses.replace(BASE, ca_bundle="file", requirements_text="pillow\n"),
    "from-a-folder-of-wheels-by-pip": dataclasses.replace(
        BASE,
        requirements_text="pillow\n",
        installer="pip",
        builds_from_source=True,
        index_url="https://index.example/simple",
        wheels=True,
    ),
    "for-a-lock": dataclasses.replace(
        BASE,
        requirements_text="tool @ git+https://example.org/tool.git@v1\n",
        installer_arguments=("--generate-hashes",),
        ca_bundle="secret",
        lock_preferences="numpy==1.23.3\n",
    ),
    "for-a-lock-on-a-base-image": dataclasses.replace(
        BASE,
        requirements_text="tool @ git+https://example.org/tool.git@v1\n",
        installer_arguments=("--generate-hashes",),
        base="registry.example/team/base:py38-cpu-0123456789ab",
        base_server="registry.example/team/base:py38-cpu-server-ba9876543210",
    ),
    "on-a-base-image": dataclasses.replace(
        BASE,
        requirements_text="pillow\n",
        builds_from_source=True,
        ca_bundle="secret",
        base="registry.example/team/base:py38-cpu-0123456789ab",
        base_server="registry.example/team/base:py38-cpu-server-ba9876543210",
    ),
    "custom": dataclasses.replace(
        BASE,
        parent=Parent("custom", "mdai-parent", None, (), "the bundle's own .mdai/Dockerfile"),
        python=None,
        interpreter="python3",
        author_dockerfile="FROM debian:12 AS mdai-parent\nRUN apt-get update\n",
        vcs_requirements=("git+https://example.org/tool.git@v1",),
        builds_from_source=True,
    ),
    "slim": dataclasses.replace(
        BASE,
        parent=Parent(
            "slim",
            "debian:12-slim",
            None,
            ("conda-forge",),
            "the maintained equivalent of Google's parent",
            micromamba="mambaorg/micromamba:2",
        ),
        ca_bundle="secret",
    ),
    "nvidia": dataclasses.replace(
        BASE,
        parent=Parent("nvidia", "nvcr.io/nvidia/clara-train-sdk:v4.1", None, (), "NVIDIA's Clara Train SDK"),
        python=None,
        interpreter="python3",
        workspace=True,
    ),
}


WHEELS = "to-fill-a-folder-of-wheels"
MADE_AHEAD = "base-image"


def rendered(name: str) -> str:
    if name == WHEELS:
        return render_wheels_dockerfile(dataclasses.replace(PLANS["everything"], installer="pip"))
    if name == MADE_AHEAD:
        return render_base_dockerfile(PLANS["rendered-to-a-folder"])
    return render_lock_dockerfile(PLANS[name]) if name.startswith("for-a-lock") else render_dockerfile(PLANS[name])


@pytest.mark.parametrize("name", [*PLANS, WHEELS, MADE_AHEAD])
def test_the_whole_dockerfile(name: str) -> None:
    assert rendered(name) == (GOLDEN / f"{name}.Dockerfile").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PLANS)
def test_the_same_plan_renders_to_the_same_bytes(name: str) -> None:
    assert render_dockerfile(PLANS[name]) == render_dockerfile(dataclasses.replace(PLANS[name]))


def test_no_golden_file_is_left_over() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == {*PLANS, WHEELS, MADE_AHEAD}


if __name__ == "__main__":
    for each in (*PLANS, WHEELS, MADE_AHEAD):
        (GOLDEN / f"{each}.Dockerfile").write_text(rendered(each), encoding="utf-8")
