"""The support matrix: that it says what it must of every combination, and what is told from it."""

from __future__ import annotations

import itertools
import re

import pytest

from mdai_build.config.model import BASE_IMAGES, CLARA_VERSIONS, CUDA_VERSIONS, DEFAULT_CLARA, DEFAULT_CUDA
from mdai_build.matrix import ParentImage, is_older, is_version, support_matrix

MATRIX = support_matrix()


def every_image() -> list[ParentImage]:
    rows = MATRIX.gpu.values()
    slim = [row.slim for row in rows if row.slim]
    return [MATRIX.cpu.google, MATRIX.cpu.slim, *(row.google for row in rows), *slim, *MATRIX.clara.values()]


def test_it_holds_all_that_the_interface_document_names() -> None:
    assert set(BASE_IMAGES) >= {*(f"py3{minor}" for minor in range(7, 11)), "custom", "nvidia"}
    assert set(CUDA_VERSIONS) >= {"10.0", "10.1", "11.0", "11.3"} and (DEFAULT_CUDA, DEFAULT_CLARA) == ("11.0", "4.1.0")
    assert DEFAULT_CUDA in CUDA_VERSIONS and DEFAULT_CLARA in CLARA_VERSIONS


def test_no_parent_has_an_older_c_library_than_wheels_are_chosen_for() -> None:
    known = [image.glibc for image in every_image() if image.glibc]
    assert known and not [glibc for glibc in known if is_older(glibc, MATRIX.oldest_glibc)]


def test_each_python_is_told_to_installers_as_a_version_of_it() -> None:
    assert all(full.startswith(f"{python}.") for python, full in MATRIX.pythons.items())


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


@pytest.mark.parametrize(
    ("cuda", "present", "needed"),
    [
        ("10.1", None, MATRIX.gpu["10.1"].driver),
        ("11.8", None, MATRIX.gpu["11.8"].family_driver),
        ("11.8", "440.33", MATRIX.gpu["11.8"].family_driver),
        ("11.8", "470.82.01", MATRIX.gpu["11.8"].driver),
        ("12.6", None, MATRIX.gpu["12.4"].family_driver),
        ("12.x", None, MATRIX.gpu["12.4"].family_driver),
        ("9.2", None, None),
        ("10.2", None, None),
        ("99.0", "550.54.14", None),
    ],
)
def test_which_driver_a_cuda_needs(cuda: str, present: str | None, needed: str | None) -> None:
    assert MATRIX.driver_for(cuda, present) == needed


def test_what_a_host_can_run_is_by_its_driver_and_its_gpu() -> None:
    family = MATRIX.gpu["11.8"].oldest_driver
    assert MATRIX.cudas_of_host(family) == ("10.0", "10.1", "11.0", "11.3", "11.8")
    assert MATRIX.cudas_of_host(family, "9.0") == ("11.8",)
    assert MATRIX.cudas_of_host("390.46") == ()
    assert MATRIX.cudas_of_host("999.0") == CUDA_VERSIONS


@pytest.mark.parametrize(
    ("capability", "name", "first"),
    [("7.5", "Turing", "10.0"), ("8.6", "Ampere", "11.0"), ("9.0", "Hopper", "11.8"), ("12.0", "Blackwell", None)],
)
def test_which_generation_a_gpu_is_of_and_which_cuda_is_the_first_for_it(
    capability: str, name: str, first: str | None
) -> None:
    generation = MATRIX.generation_of(capability)
    assert generation is not None and generation.name == name
    assert MATRIX.first_cuda_for(capability) == first


def test_a_gpu_of_no_known_generation() -> None:
    assert MATRIX.generation_of("2.0") is None and MATRIX.generation_of("99.0") is None


def test_what_came_before_the_gpus_of_today() -> None:
    assert [cuda for cuda in ("9.2", "10.0", "10.2", "11.0", "12.9") if MATRIX.lacks_expected(cuda)] == [
        "9.2",
        "10.0",
        "10.2",
    ]


def test_what_is_a_version() -> None:
    assert is_version("550.54.15") and is_version("12")
    assert not any(map(is_version, ("", "12.x", "cpu", "1.", "٣.1", "1.2\n")))


def test_an_image_is_known_by_the_names_that_people_write() -> None:
    google = "gcr.io/deeplearning-platform-release"
    assert MATRIX.image_named(f"{google}/base-cu113:m110") == MATRIX.gpu["11.3"].google
    assert MATRIX.image_named(f"{google}/base-cpu@sha256:{'0' * 64}") == MATRIX.cpu.google
    for image in every_image():
        assert "/" not in image.image or MATRIX.image_named(f"docker.io/{image.image}") == image
    assert MATRIX.image_named("base-cu113") is None and MATRIX.image_named("python:3.10") is None
