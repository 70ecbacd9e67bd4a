"""The support matrix: that it says what it must of every combination, and what is told from it."""

from __future__ import annotations

import itertools
import re

import pytest

from mdai_build.config.model import BASE_IMAGES, CLARA_VERSIONS, CUDA_VERSIONS
from mdai_build.matrix import ParentImage, support_matrix

MATRIX = support_matrix()


def every_image() -> list[ParentImage]:
    rows = MATRIX.gpu.values()
    slim = [row.slim for row in rows if row.slim]
    return [MATRIX.cpu.google, MATRIX.cpu.slim, *(row.google for row in rows), *slim, *MATRIX.clara.values()]


def test_it_holds_all_that_a_config_can_say_and_no_more() -> None:
    assert tuple(MATRIX.gpu) == CUDA_VERSIONS
    assert tuple(MATRIX.clara) == CLARA_VERSIONS
    pythons = tuple(f"py{python.replace('.', '')}" for python in MATRIX.pythons)
    assert (*pythons, "custom", "nvidia") == BASE_IMAGES


def test_each_image_is_a_reference_with_a_version_and_each_date_in_its_order() -> None:
    for image in every_image():
        assert "linux/amd64" in image.platforms
        assert image.image.startswith("base-") or re.fullmatch(r"[a-z0-9./-]+:[\w.-]+", image.image)
        if image.patched_until and image.available_until:
            assert image.patched_until < image.available_until


def test_drivers_and_kernels_grow_with_cuda() -> None:
    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(".")]

    for older, newer in itertools.pairwise(MATRIX.gpu.values()):
        assert numbers(older.driver) < numbers(newer.driver)
        assert numbers(older.oldest_driver) <= numbers(newer.oldest_driver)
        assert numbers(older.kernels.last) <= numbers(newer.kernels.last)
    for row in MATRIX.gpu.values():
        assert numbers(row.oldest_driver) <= numbers(row.driver)


@pytest.mark.parametrize(
    ("cuda", "capability", "runs"),
    [
        ("10.1", "7.5", True),
        ("10.1", "8.0", False),
        ("11.0", "8.6", True),
        ("11.0", "8.9", True),
        ("11.3", "9.0", False),
        ("11.8", "9.0", True),
        ("11.8", "3.5", True),
        ("12.4", "3.7", False),
    ],
)
def test_which_gpus_have_kernels(cuda: str, capability: str, runs: bool) -> None:
    assert MATRIX.gpu[cuda].has_kernels_for(capability) is runs


def test_the_generations_that_a_cuda_lacks_are_the_later_ones() -> None:
    named = [each.name for each in MATRIX.newer_generations(MATRIX.gpu["10.0"])]
    assert named == ["Ampere", "Ada", "Hopper", "Blackwell"]
    assert [each.name for each in MATRIX.generations_of(MATRIX.gpu["12.4"])][-1] == "Hopper"


def test_a_cuda_without_an_equivalent_says_so() -> None:
    for row in MATRIX.gpu.values():
        assert row.slim or any("slim" in problem for problem in row.problems)


def test_an_image_is_known_by_the_names_that_people_write() -> None:
    google = "gcr.io/deeplearning-platform-release"
    assert MATRIX.image_named(f"{google}/base-cu113:m110") == MATRIX.gpu["11.3"].google
    assert MATRIX.image_named(f"{google}/base-cpu@sha256:{'0' * 64}") == MATRIX.cpu.google
    for image in every_image():
        assert "/" not in image.image or MATRIX.image_named(f"docker.io/{image.image}") == image
    assert MATRIX.image_named("base-cu113") is None and MATRIX.image_named("python:3.10") is None
