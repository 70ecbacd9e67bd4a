"""What a config asks of the bundle that it lies in."""

from __future__ import annotations

from mdai_build.bundle import Bundle, missing_file
from mdai_build.config.author_dockerfile import AUTHOR_DOCKERFILE, check_author_dockerfile
from mdai_build.config.model import ModelConfig
from mdai_build.errors import BundleError, Location, Problem


def check_config_against_bundle(config: ModelConfig, bundle: Bundle) -> tuple[Problem, ...]:
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
        return check_author_dockerfile(bundle.read_text(AUTHOR_DOCKERFILE))
    if has_dockerfile:
        return (
            Problem(
                "config.unused-dockerfile",
                f"{AUTHOR_DOCKERFILE} has no effect, as base_image is {config.base_image}",
                Location(bundle.config_path, key="base_image"),
                next_step="write `base_image: custom` to use it, or remove it",
            ),
        )
    if config.base_image == "nvidia" and not any(m.path.startswith("workspace/") for m in bundle.members):
        return (
            Problem(
                "config.no-workspace",
                "the model has no folder workspace/, so /workspace of the image stays as its parent has it",
                Location(bundle.config_path, key="base_image"),
                next_step="add workspace/ beside .mdai/ if the model reads /workspace",
            ),
        )
    return ()
