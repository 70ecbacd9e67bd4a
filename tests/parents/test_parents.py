"""Which parent a config gets, and what is said about it."""

from __future__ import annotations

import datetime
import itertools

import pytest

from mdai_build.config import parse_config
from mdai_build.errors import BundleError, UsageError
from mdai_build.matrix import support_matrix
from mdai_build.parents import Parent, choose_parent
from mdai_build.settings import Settings

BEFORE_ALL_ENDS = datetime.date(2023, 1, 1)
PYTHONS = ("py37", "py38", "py39", "py310", "py311", "py312", "py313")
CUDAS = ("10.0", "10.1", "11.0", "11.3", "11.8", "12.1", "12.2", "12.3", "12.4")
CPU, GPU = "base_image: py38\n", "base_image: py38\ndevice_type: gpu\ncuda_version: '{}'\n"
DIGEST = f"sha256:{'0' * 64}"


def choose(config: str, today: datetime.date = BEFORE_ALL_ENDS, **settings: object) -> Parent:
    return choose_parent(parse_config(config).config, Settings.model_validate(settings), today)


def codes(parent: Parent) -> list[str]:
    return [warning.code for warning in parent.warnings]


@pytest.mark.parametrize(("python", "cuda"), list(itertools.product(PYTHONS, CUDAS)))
def test_every_python_and_cuda_has_a_parent(python: str, cuda: str) -> None:
    parent = choose(f"base_image: {python}\ndevice_type: gpu\ncuda_version: '{cuda}'\n")
    assert parent.reference == f"gcr.io/deeplearning-platform-release/base-cu{cuda.replace('.', '')}"
    assert (parent.cuda, parent.has_conda, parent.conda_channels) == (cuda, True, ("conda-forge",))


def test_cpu_has_its_own_parent() -> None:
    parent = choose(CPU)
    assert parent.reference == "gcr.io/deeplearning-platform-release/base-cpu"
    assert parent.warnings == ()


def test_a_mirror_takes_the_place_of_the_registry() -> None:
    assert choose(CPU, parent_registry="mirror.example/google/").reference == "mirror.example/google/base-cpu"


@pytest.mark.parametrize(
    ("parent", "mirrors", "reference"),
    [
        ("slim", {"docker.io/": "mirror.example/hub/"}, "mirror.example/hub/library/debian:12-slim"),
        ("slim", {"docker.io/library/": "mirror.example/"}, "mirror.example/debian:12-slim"),
        ("slim", {"docker.io/": "one.example/", "docker.io/library/": "two.example/"}, "two.example/debian:12-slim"),
        ("gcp", {"gcr.io/": "m.example/gcr/"}, "m.example/gcr/deeplearning-platform-release/base-cpu"),
        ("gcp", {"docker.io/": "mirror.example/"}, "gcr.io/deeplearning-platform-release/base-cpu"),
        ("quay.example/a:1", {"quay.example/": "mirror.example/"}, "mirror.example/a:1"),
        ("local", {"docker.io/": "mirror.example/", "mdai-build/": "x/"}, "mdai-build/parent:local-cpu"),
    ],
)
def test_a_mirror_by_the_begin_of_a_name(parent: str, mirrors: dict[str, str], reference: str) -> None:
    assert choose(CPU, parent=parent, parent_mirrors=mirrors).reference == reference


def test_a_replaced_parent_says_so_and_is_not_warned_of() -> None:
    late = datetime.date(2030, 1, 1)
    other = choose(GPU.format("11.3"), late, parent_replacements={"base-cu113": "ours.example/cu113:1"})
    assert (other.reference, other.kind, other.warnings) == ("ours.example/cu113:1", "gcp", ())
    assert "parent_replacements" in other.why
    slim = choose(CPU, parent="slim", parent_replacements={"debian:12-slim": "ours.example/debian:1"})
    assert slim.reference == "ours.example/debian:1"


def test_a_pin_holds_whatever_mirror_the_bytes_come_from() -> None:
    pins = {"gcr.io/deeplearning-platform-release/base-cpu": DIGEST, "debian:12-slim": DIGEST}
    assert choose(CPU, parent_pins=pins).reference == f"gcr.io/deeplearning-platform-release/base-cpu@{DIGEST}"
    mirrored = choose(CPU, parent="slim", parent_pins=pins, parent_mirrors={"docker.io/": "m.example:5000/"})
    assert mirrored.reference == f"m.example:5000/library/debian@{DIGEST}"
    assert choose(CPU, parent=f"a.example/b@{DIGEST}", parent_pins={"a.example/b": DIGEST}).reference.count("@") == 1


def test_a_parent_past_its_end_is_warned_about_with_what_there_is_instead() -> None:
    (warning,) = choose(GPU.format("11.3"), datetime.date(2026, 1, 1)).warnings
    assert "base-cu113" in warning.what and "2025-01-01" in warning.what
    assert "nvidia/cuda:11.3.1" in (warning.next_step or "") and "--parent slim" in (warning.next_step or "")
    assert choose(GPU.format("11.3"), datetime.date(2025, 1, 1)).warnings == ()
    unlisted = choose(GPU.format("10.1")).warnings[0]
    assert "no longer lists" in unlisted.what and "slim" not in (unlisted.next_step or "")


@pytest.mark.parametrize("parent", ["gcp", "local", "registry.example/base:1"])
@pytest.mark.parametrize(("cuda", "told"), [("10.0", True), ("10.1", True), ("11.0", False), ("12.4", False)])
def test_a_cuda_without_kernels_for_todays_gpus_is_told(parent: str, cuda: str, told: bool) -> None:
    warnings = choose(GPU.format(cuda), parent=parent).warnings
    found = [warning for warning in warnings if warning.code == "parents.no-kernels"]
    assert bool(found) is told
    if found:
        assert "newer than Turing (T4): on Ampere (A100" in found[0].what and " and Blackwell (" in found[0].what
        assert found[0].next_step == (
            'run it on Turing (T4) or Volta (V100), or move the model to cuda_version "11.0" or newer'
        )


def test_the_local_parent_says_that_it_has_no_cuda() -> None:
    assert choose(CPU, parent="local").warnings == ()
    gpu = choose(GPU.format("11.0"), parent="local")
    assert codes(gpu) == ["parents.local-without-cuda"]
    assert gpu.reference == "mdai-build/parent:local-gpu"


@pytest.mark.parametrize("cuda", CUDAS[2:])
def test_slim_is_an_image_of_the_same_cuda_and_micromamba(cuda: str) -> None:
    parent = choose(GPU.format(cuda), parent="slim", parent_mirrors={"docker.io/": "m.example/"})
    assert parent.reference.startswith(f"m.example/nvidia/cuda:{cuda}.")
    assert (parent.micromamba or "").startswith("m.example/mambaorg/micromamba:")
    assert (parent.kind, parent.has_conda, parent.cuda, parent.warnings) == ("slim", True, cuda, ())
    assert f"-cudnn{parent.cudnn}-" in parent.reference or "-cudnn-" in parent.reference


def test_a_slim_parent_without_patches_says_so() -> None:
    late = datetime.date(2026, 1, 1)
    assert codes(choose(GPU.format("11.3"), late, parent="slim")) == ["parents.unpatched"]
    assert codes(choose(GPU.format("12.4"), late, parent="slim")) == []


def test_a_cuda_without_a_slim_parent_says_what_there_is() -> None:
    with pytest.raises(BundleError, match="removed its images") as failure:
        choose(GPU.format("10.1"), parent="slim")
    assert "11.0" in (failure.value.problems[0].expected or "")


def test_a_platform_that_a_parent_does_not_have_is_told() -> None:
    with pytest.raises(UsageError, match="does not exist for linux/arm64") as failure:
        choose(CPU, platform="linux/arm64")
    assert "debian:12-slim" in (failure.value.problems[0].next_step or "")
    with pytest.raises(UsageError) as older:
        choose(GPU.format("11.0"), platform="linux/arm64")
    assert "slim" not in (older.value.problems[0].next_step or "")
    assert choose(CPU, platform="linux/arm64", parent="slim").reference == "debian:12-slim"
    assert choose(CPU, platform="linux/arm64", parent="ours.example/a:1").kind == "reference"


def test_a_named_parent_is_used_as_it_is() -> None:
    parent = choose(CPU, parent="registry.example/base@sha256:00")
    assert (parent.kind, parent.reference) == ("reference", "registry.example/base@sha256:00")


@pytest.mark.parametrize(("written", "meant"), [("lcoal", "local"), ("slimm", "slim")])
def test_a_parent_that_looks_like_a_slip_is_warned_of(written: str, meant: str) -> None:
    (warning,) = choose(CPU, parent=written).warnings
    assert warning.next_step == f"did you mean `{meant}`?"
    assert choose(CPU, parent="debian").warnings == ()


def test_a_bundle_with_its_own_parent_takes_no_other() -> None:
    assert choose("base_image: custom\n").reference == "mdai-parent"
    nvidia = choose("base_image: nvidia\nclara_version: 4.1.0\n")
    assert (nvidia.reference, nvidia.has_conda) == ("nvcr.io/nvidia/clara-train-sdk:v4.1", False)
    assert codes(choose("base_image: nvidia\nclara_version: 4.1.0\n", parent="slim")) == ["parents.no-slim-clara"]
    with pytest.raises(UsageError, match="cannot be used with base_image: custom"):
        choose("base_image: custom\n", parent="debian:12")


def test_the_image_that_replaces_the_sdk_is_used() -> None:
    name = support_matrix().clara["4.1.0"].image
    config = "base_image: nvidia\nclara_version: 4.1.0\n"
    assert choose(config, parent_replacements={name: "ours.example/clara:1"}).reference == "ours.example/clara:1"
