"""What config.yaml says, with every default filled in. Which versions there are is the support matrix's to say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, model_validator

from mdai_build.errors import Problem
from mdai_build.matrix import support_matrix

_MATRIX = support_matrix()
OWN_PARENTS = ("custom", "nvidia")
"""What `base_image` may say besides a Python: the bundle or NVIDIA brings the parent."""
BASE_IMAGES = (*(f"py{python.replace('.', '')}" for python in _MATRIX.pythons), *OWN_PARENTS)
DeviceType = Literal["cpu", "gpu"]
DEVICE_TYPES: tuple[str, ...] = get_args(DeviceType)
CUDA_VERSIONS = tuple(_MATRIX.gpu)
CLARA_VERSIONS = tuple(_MATRIX.clara)
DEFAULT_CUDA = _MATRIX.defaults.cuda
DEFAULT_CLARA = _MATRIX.defaults.clara


# Which words there are, the matrix knows: a type checker sees text, pydantic the words.
if TYPE_CHECKING:
    BaseImage: TypeAlias = str
    CudaVersion: TypeAlias = str
    ClaraVersion: TypeAlias = str
else:
    BaseImage = Literal[BASE_IMAGES]
    CudaVersion = Literal[CUDA_VERSIONS]
    ClaraVersion = Literal[CLARA_VERSIONS]

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
        """CUDA is for GPUs alone, on parents that bring none, and Clara for `nvidia`; each has a default."""
        if not isinstance(values, dict):
            return values
        gpu = values.get("device_type") == "gpu" and values.get("base_image") not in OWN_PARENTS
        nvidia = values.get("base_image") == "nvidia"
        return {
            **values,
            "cuda_version": (values.get("cuda_version") or DEFAULT_CUDA) if gpu else None,
            "clara_version": (values.get("clara_version") or DEFAULT_CLARA) if nvidia else None,
        }

    @property
    def python(self) -> str | None:
        """The Python version, such as `3.10`; None where the parent image brings its own."""
        if self.base_image in OWN_PARENTS:
            return None
        return f"{self.base_image[2]}.{self.base_image[3:]}"


@dataclass(frozen=True)
class ParsedConfig:
    """A config that is right, and what is dubious about it."""

    config: ModelConfig
    warnings: tuple[Problem, ...]
