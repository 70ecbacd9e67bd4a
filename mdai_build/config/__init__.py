"""The text of config.yaml in, a `ModelConfig` out, or every problem at once with its line."""

from mdai_build.config.against_bundle import check_config_against_bundle
from mdai_build.config.author_dockerfile import AUTHOR_DOCKERFILE, final_image, name_last_stage, parent_images
from mdai_build.config.model import ModelConfig, ParsedConfig
from mdai_build.config.parse import parse_config

__all__ = [
    "AUTHOR_DOCKERFILE",
    "ModelConfig",
    "ParsedConfig",
    "check_config_against_bundle",
    "final_image",
    "name_last_stage",
    "parent_images",
    "parse_config",
]
