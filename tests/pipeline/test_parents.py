"""The command `parents`: what is listed, under which settings."""

from __future__ import annotations

import datetime
import json

import pytest

from mdai_build.errors import UsageError
from mdai_build.matrix import support_matrix
from mdai_build.pipeline.parents import ListedParent, list_parents, pin_parents
from mdai_build.settings import Settings

DIGEST = f"sha256:{'1' * 64}"
TODAY = datetime.date(2025, 6, 1)


def listed(**settings: object) -> dict[tuple[str, str], ListedParent]:
    return {(each.serves, each.kind): each for each in list_parents(Settings.model_validate(settings), TODAY)}


def test_all_parents_are_listed_with_what_is_known_of_them() -> None:
    found = listed()
    matrix = support_matrix()
    slim = sum(row.slim is not None for row in matrix.gpu.values())
    assert len(found) == 2 + len(matrix.gpu) + slim + 1 + len(matrix.clara)
    told = json.loads(json.dumps(found["CUDA 11.3", "gcp"].as_json(), default=str))
    assert (told["available_until"], told["past_availability"]) == ("2025-01-01", True)
    assert (told["oldest_driver"], told["compute_capabilities"]) == ("450.80.02", ["3.5", "8.6"])
    assert told["gpu_generations"][-2:] == ["Ampere", "Ada"]
    assert not found["CUDA 12.4", "gcp"].gone
    assert found["CUDA 10.1", "gcp"].gone


def test_the_settings_in_force_count() -> None:
    found = listed(
        parent_registry="mirror.example/google",
        parent_replacements={"base-cu118": "ours.example/cu118:1"},
        parent_pins={"debian:12-slim": DIGEST, "ours.example/cu118:1": DIGEST},
    )
    assert found["cpu", "gcp"].reference == "mirror.example/google/base-cpu"
    assert found["cpu", "slim"].reference == f"debian@{DIGEST}"
    assert (found["CUDA 11.8", "gcp"].name, found["CUDA 11.8", "gcp"].digest) == ("ours.example/cu118:1", DIGEST)


def test_what_was_made_here_cannot_be_pinned() -> None:
    with pytest.raises(UsageError, match="in no registry"):
        pin_parents(Settings(parent="local"), (), lambda text: None)
