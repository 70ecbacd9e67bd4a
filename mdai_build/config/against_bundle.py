"""What a config asks of the bundle that it lies in."""

from __future__ import annotations

import re

from mdai_build.bundle import Bundle, missing_file, shown
from mdai_build.config.author_dockerfile import AUTHOR_DOCKERFILE, check_author_dockerfile, final_image
from mdai_build.config.model import ModelConfig
from mdai_build.errors import BundleError, Location, Problem
from mdai_build.matrix import Platform, support_matrix


def check_config_against_bundle(
    config: ModelConfig, bundle: Bundle, platform: Platform = "linux/amd64"
) -> tuple[Problem, ...]:
    """Warnings about a config and its bundle taken together (original.md, "The bundle").

    Raises:
        BundleError: `base_image: custom` without a `.mdai/Dockerfile`, or with one that ours cannot follow.
    """
    has_dockerfile = bundle.has(AUTHOR_DOCKERFILE)
    if config.base_image == "custom" and not has_dockerfile:
        paths = [member.path for member in bundle.members]
        problem = missing_file(AUTHOR_DOCKERFILE, paths, "config.no-dockerfile")
        raise BundleError(
            Problem(
                problem.code,
                f"`base_image: custom` needs {AUTHOR_DOCKERFILE}, which is not there",
                Location(bundle.config_path, key="base_image"),
                "the author's own Dockerfile beside config.yaml",
                f"{problem.next_step}; or choose a base_image such as py310",
            )
        )
    if config.base_image == "custom":
        dockerfile = bundle.read_text(AUTHOR_DOCKERFILE)
        doubts = check_author_dockerfile(dockerfile, platform)
        return (*doubts, *_given_no_gpu(config, final_image(dockerfile, platform) or "", bundle.config_path))
    if has_dockerfile:
        return (
            Problem(
                "config.unused-dockerfile",
                f"{AUTHOR_DOCKERFILE} has no effect, as base_image is {config.base_image}",
                Location(bundle.config_path, key="base_image"),
                next_step="write `base_image: custom` to use it, or remove it",
            ),
        )
    if config.base_image != "nvidia":
        return ()
    clara = support_matrix().clara.get(config.clara_version or "")
    no_gpu = _given_no_gpu(config, clara.image if clara else "", bundle.config_path)
    if any(m.path.startswith("workspace/") for m in bundle.members):
        return no_gpu
    return (
        *no_gpu,
        Problem(
            "config.no-workspace",
            "the model has no folder workspace/, so /workspace of the image stays as its parent has it",
            Location(bundle.config_path, key="base_image"),
            next_step="add workspace/ beside .mdai/ if the model reads /workspace",
        ),
    )


# As NVIDIA, PyTorch, TensorFlow and Google name their images with CUDA.
_BRINGS_CUDA = re.compile(r"^nvcr\.io/nvidia/|(?:^|/)nvidia/cuda:|/base-cu\d|:[\w.-]*(?:cuda\d|-gpu\b)")


def _given_no_gpu(config: ModelConfig, image: str, config_path: str) -> tuple[Problem, ...]:
    """An image with CUDA, and a config that asks for no GPU: the default of `device_type` is easily overlooked."""
    if config.device_type == "gpu" or not _BRINGS_CUDA.search(image):
        return ()
    return (
        Problem(
            "config.no-gpu-asked",
            f"{shown(image)} brings CUDA, while device_type is cpu: the model is given no GPU, and is tested without",
            Location(config_path, key="device_type"),
            next_step="write `device_type: gpu` if the model computes on one",
        ),
    )
