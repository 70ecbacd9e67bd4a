from __future__ import annotations

from pathlib import Path

import pytest

from mdai_build.bundle import Bundle, read_bundle
from mdai_build.config import ModelConfig, check_config_against_bundle
from mdai_build.errors import BundleError


def bundle(folder: Path, *names: str) -> Bundle:
    for name in (".mdai/config.yaml", ".mdai/mdai_deploy.py", *names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return read_bundle(folder)


def test_custom_needs_a_dockerfile(tmp_path: Path) -> None:
    config = ModelConfig(base_image="custom")
    with pytest.raises(BundleError, match=r"needs \.mdai/Dockerfile") as failure:
        check_config_against_bundle(config, bundle(tmp_path, "Dockerfile"))
    (problem,) = failure.value.problems
    assert problem.where is not None and str(problem.where) == ".mdai/config.yaml"
    assert "move `Dockerfile` into .mdai/" in (problem.next_step or "")
    with pytest.raises(BundleError, match="no FROM"):
        check_config_against_bundle(config, bundle(tmp_path, ".mdai/Dockerfile"))
    (tmp_path / ".mdai/Dockerfile").write_text("FROM python:3.10-slim\n")
    assert check_config_against_bundle(config, read_bundle(tmp_path)) == ()


def test_a_dockerfile_that_nobody_reads_is_warned_of(tmp_path: Path) -> None:
    (warning,) = check_config_against_bundle(ModelConfig(base_image="py38"), bundle(tmp_path, ".mdai/Dockerfile"))
    assert "base_image: custom" in (warning.next_step or "")


def test_nvidia_without_a_workspace_is_warned_of(tmp_path: Path) -> None:
    config = ModelConfig(base_image="nvidia", device_type="gpu")
    (warning,) = check_config_against_bundle(config, bundle(tmp_path))
    assert "workspace/" in warning.what
    assert check_config_against_bundle(config, bundle(tmp_path, "workspace/a.json")) == ()


@pytest.mark.parametrize(
    "image",
    [
        "nvidia/cuda:11.8.0-runtime-ubuntu22.04",
        "docker.io/nvidia/cuda:12.1.1-base",
        "nvcr.io/nvidia/pytorch:22.12-py3",
        "pytorch/pytorch:2.1.0-cuda12.1-cudnn8-runtime",
        "tensorflow/tensorflow:2.8.0-gpu",
        "gcr.io/deeplearning-platform-release/base-cu113",
    ],
)
def test_an_image_with_cuda_for_a_model_that_asks_for_no_gpu_is_warned_of(image: str, tmp_path: Path) -> None:
    bundle(tmp_path, ".mdai/Dockerfile")
    (tmp_path / ".mdai/Dockerfile").write_text(f"FROM {image}\nRUN apt-get install python3-pip\n")
    written = read_bundle(tmp_path)
    (warning,) = check_config_against_bundle(ModelConfig(base_image="custom"), written)
    assert warning.code == "config.no-gpu-asked" and image in warning.what
    assert check_config_against_bundle(ModelConfig(base_image="custom", device_type="gpu"), written) == ()


def test_so_is_nvidias_own(tmp_path: Path) -> None:
    config = ModelConfig(base_image="nvidia", clara_version="4.1.0")
    (warning,) = check_config_against_bundle(config, bundle(tmp_path, "workspace/a.json"))
    assert warning.code == "config.no-gpu-asked"
    for image in ("python:3.10-slim", "tensorflow/tensorflow:2.8.0", "ours/accuda:1"):
        (tmp_path / ".mdai/Dockerfile").write_text(f"FROM {image}\n")
        assert check_config_against_bundle(ModelConfig(base_image="custom"), read_bundle(tmp_path)) == ()


def test_nothing_is_said_of_a_plain_bundle(tmp_path: Path) -> None:
    assert check_config_against_bundle(ModelConfig(base_image="py310"), bundle(tmp_path)) == ()
