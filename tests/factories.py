"""Values that many tests start from: each test names what matters to it, and the rest is as plain as can be."""

from __future__ import annotations

import dataclasses
from typing import Any

from mdai_build.parents import Parent
from mdai_build.plan import CONDA_INTERPRETER, BuildPlan

_PLAN = BuildPlan(
    name="lungs",
    parent=Parent("gcp", "gcr.io/deeplearning-platform-release/base-cpu", None, ("conda-forge",), "Google's parent"),
    python="3.8",
    interpreter=CONDA_INTERPRETER,
    device_type="cpu",
    code=(".mdai/config.yaml", ".mdai/mdai_deploy.py", ".mdai/requirements.txt"),
    labels=(("org.opencontainers.image.title", "lungs"), ("io.mdai-build.bundle.digest", "sha256:00")),
)


def build_plan(**changes: Any) -> BuildPlan:
    """The plan of a CPU model on Google's parent with Python 3.8 and no requirements, but for these fields of it."""
    return dataclasses.replace(_PLAN, **changes)
