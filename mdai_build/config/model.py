"""What config.yaml says, with every default filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, model_validator

from mdai_build.errors import Problem

BaseImage = Literal["py37", "py38", "py39", "py310", "py311", "py312", "py313", "custom", "nvidia"]
DeviceType = Literal["cpu", "gpu"]
CudaVersion = Literal["10.0", "10.1", "11.0", "11.3", "11.8", "12.1", "12.2", "12.3", "12.4"]
ClaraVersion = Literal["4.1.0"]

BASE_IMAGES: tuple[str, ...] = get_args(BaseImage)
DEVICE_TYPES: tuple[str, ...] = get_args(DeviceType)
CUDA_VERSIONS: tuple[str, ...] = get_args(CudaVersion)
CLARA_VERSIONS: tuple[str, ...] = get_args(ClaraVersion)
DEFAULT_CUDA: CudaVersion = "11.0"
DEFAULT_CLARA: ClaraVersion = "4.1.0"

FrozenMap = Annotated[
    Mapping[str, str],
    AfterValidator(lambda value: MappingProxyType(dict(value))),
    PlainSerializer(dict, return_type=dict[str, str]),
]


class ModelConfig(BaseModel):
    """The content of config.yaml (interface document, "config.yaml"; original.md, "The bundle")."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_image: BaseImage = Field(
        description="the Python of the model's environment; `custom`: the bundle's own .mdai/Dockerfile; `nvidia`: "
        "NVIDIA's Clara Train SDK"
    )
    device_type: DeviceType = Field("cpu", description="whether the model runs on a CPU or a GPU")
    cuda_version: CudaVersion | None = Field(
        None, description=f"CUDA version, for device_type gpu; {DEFAULT_CUDA} if it is not given"
    )
    env: FrozenMap = Field(
        default_factory=lambda: MappingProxyType({}), description="environment variables of the image, by name"
    )
    clara_version: ClaraVersion | None = Field(
        None, description=f"version of the Clara Train SDK, for base_image nvidia; {DEFAULT_CLARA} if not given"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: object) -> object:
        """CUDA is for GPUs alone and Clara for `nvidia` alone; each has a default there."""
        if not isinstance(values, dict):
            return values
        gpu = values.get("device_type") == "gpu"
        nvidia = values.get("base_image") == "nvidia"
        return {
            **values,
            "cuda_version": (values.get("cuda_version") or DEFAULT_CUDA) if gpu else None,
            "clara_version": (values.get("clara_version") or DEFAULT_CLARA) if nvidia else None,
        }

    @property
    def python(self) -> str | None:
        """The Python version, such as `3.10`; None where the parent image brings its own."""
        if not self.base_image.startswith("py"):
            return None
        return f"{self.base_image[2]}.{self.base_image[3:]}"


@dataclass(frozen=True)
class ParsedConfig:
    """A config that is right, and what is dubious about it."""

    config: ModelConfig
    warnings: tuple[Problem, ...]
