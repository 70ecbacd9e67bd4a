"""Which parent a config gets, and what is said about it."""

from __future__ import annotations

import datetime
import itertools

import pytest

from mdai_build.config import parse_config
from mdai_build.errors import UsageError
from mdai_build.parents import Parent, choose_parent, support_matrix
from mdai_build.settings import Settings

BEFORE_ALL_ENDS = datetime.date(2023, 1, 1)
PYTHONS = ("py37", "py38", "py39", "py310", "py311", "py312", "py313")
CUDAS = ("10.0", "10.1", "11.0", "11.3", "11.8", "12.1", "12.2", "12.3", "12.4")


def choose(config: str, today: datetime.date = BEFORE_ALL_ENDS, **settings: str) -> Parent:
    return choose_parent(parse_config(config).config, Settings.model_validate(settings), today)


@pytest.mark.parametrize(("python", "cuda"), list(itertools.product(PYTHONS, CUDAS)))
def test_every_python_and_cuda_has_a_parent(python: str, cuda: str) -> None:
    parent = choose(f"base_image: {python}\ndevice_type: gpu\ncuda_version: '{cuda}'\n")
    assert parent.reference == f"gcr.io/deeplearning-platform-release/base-cu{cuda.replace('.', '')}"
    assert (parent.cuda, parent.has_conda, parent.conda_channels) == (cuda, True, ("conda-forge",))


def test_cpu_has_its_own_parent() -> None:
    parent = choose("base_image: py38\n")
    assert parent.reference == "gcr.io/deeplearning-platform-release/base-cpu"
    assert parent.warnings == ()


def test_a_mirror_takes_the_place_of_the_registry() -> None:
    parent = choose("base_image: py38\n", parent_registry="mirror.example/google/")
    assert parent.reference == "mirror.example/google/base-cpu"


def test_a_parent_past_its_end_is_warned_about() -> None:
    config = "base_image: py38\ndevice_type: gpu\ncuda_version: 11.3\n"
    (warning,) = choose(config, datetime.date(2026, 1, 1)).warnings
    assert "base-cu113" in warning.what and "2025-01-01" in warning.what
    assert choose(config, datetime.date(2025, 1, 1)).warnings == ()
    (unlisted,) = choose("base_image: py37\ndevice_type: gpu\ncuda_version: 10.1\n").warnings
    assert "no longer lists" in unlisted.what


def test_the_local_parent_says_that_it_has_no_cuda() -> None:
    assert choose("base_image: py38\n", parent="local").warnings == ()
    (warning,) = choose("base_image: py38\ndevice_type: gpu\n", parent="local").warnings
    assert "no CUDA" in warning.what


def test_a_named_parent_is_used_as_it_is() -> None:
    parent = choose("base_image: py38\n", parent="registry.example/base@sha256:00")
    assert (parent.kind, parent.reference) == ("reference", "registry.example/base@sha256:00")


def test_a_parent_that_looks_like_a_slip_is_warned_of() -> None:
    (warning,) = choose("base_image: py38\n", parent="lcoal").warnings
    assert warning.next_step == "did you mean `local`?"
    assert choose("base_image: py38\n", parent="debian").warnings == ()


def test_a_bundle_with_its_own_parent_takes_no_other() -> None:
    assert choose("base_image: custom\n").reference == "mdai-parent"
    nvidia = choose("base_image: nvidia\nclara_version: 4.1.0\n")
    assert (nvidia.reference, nvidia.has_conda) == ("nvcr.io/nvidia/clara-train-sdk:v4.1", False)
    with pytest.raises(UsageError, match="cannot be used with base_image: custom"):
        choose("base_image: custom\n", parent="debian:12")


def test_the_matrix_names_an_image_for_each_of_its_rows() -> None:
    matrix = support_matrix()
    assert set(matrix["gpu"]) == set(CUDAS)
    assert [f"py{python.replace('.', '')}" for python in matrix["pythons"]] == list(PYTHONS)
    for row in (matrix["cpu"], matrix["local"], *matrix["gpu"].values(), *matrix["clara"].values()):
        assert row["image"]
