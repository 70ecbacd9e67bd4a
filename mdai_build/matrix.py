"""The support matrix: which parent images there are, and what is known of them and of their CUDA.

The facts are data, with their sources, in `base_images/matrix.yaml`; whoever tells a user about parents, CUDA or GPUs
reads them here.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from mdai_build.resources import yaml_resource

Platform = Literal["linux/amd64", "linux/arm64"]
"""An image's operating system and architecture, in the words of OCI (image index, `platform`)."""
Numbers = Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)*$")]
"""A version of numbers alone, such as `3.10`."""


_GOOGLE_PROJECT = "deeplearning-platform-release/"


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ParentImage(_Facts):
    """An image that a model's image can start from."""

    image: str = Field(description="its reference; of Google's, the name that the registry is put before")
    distribution: str | None = None
    glibc: Numbers | None = Field(None, description="its C library; None: not published")
    cudnn: Numbers | None = Field(None, description="its cuDNN; None: not published, or it has none")
    pythons: tuple[Numbers, ...] = Field((), description="its own Python, not the model's, by the families there are")
    platforms: tuple[Platform, ...] = ("linux/amd64",)
    listed: bool = Field(True, description="whether the vendor still names it")
    patched_until: datetime.date | None = Field(None, description="when its vendor's patches end")
    available_until: datetime.date | None = Field(None, description="when its vendor may remove it")
    problems: tuple[str, ...] = ()

    def past_availability(self, today: datetime.date) -> bool:
        """Whether it may be gone any day."""
        return not self.listed or (self.available_until is not None and self.available_until < today)


class Kernels(_Facts):
    """The compute capabilities that a CUDA's compiler makes kernels for."""

    first: Numbers
    last: Numbers


class Generation(_Facts):
    """A generation of NVIDIA's GPUs."""

    name: str
    first: Numbers = Field(description="its lowest compute capability")
    last: Numbers
    such_as: str

    @property
    def shown(self) -> str:
        """Its name with some GPUs of it, such as `Turing (T4)`."""
        return f"{self.name} ({self.such_as})"


class CpuRow(_Facts):
    """The parents for `device_type: cpu`."""

    google: ParentImage
    slim: ParentImage


class CudaRow(_Facts):
    """A CUDA version, and the parents that have it."""

    driver: Numbers = Field(description="the host's driver that its release asks for, on Linux")
    family_driver: Numbers | None = Field(
        None, description="the oldest driver that runs it within its major version, from CUDA 11 on"
    )
    kernels: Kernels
    google: ParentImage
    slim: ParentImage | None = Field(None, description="a maintained equivalent without conda; None: there is none")
    problems: tuple[str, ...] = ()

    @property
    def oldest_driver(self) -> str:
        """The oldest driver of a host that can run it (NVIDIA, "Minor Version Compatibility")."""
        return self.family_driver or self.driver

    def has_kernels_for(self, capability: str) -> bool:
        """Whether a GPU of this compute capability, such as `8.6`, runs what this CUDA's compiler made.

        A GPU runs the kernels of a lower minor version of its own major one ("Binary Compatibility").
        """
        asked, first, last = (_numbers(text) for text in (capability, self.kernels.first, self.kernels.last))
        return first <= asked and asked[0] <= last[0]


class Defaults(_Facts):
    """What config.yaml means where it names no version."""

    cuda: Numbers
    clara: Numbers


class LocalParents(_Facts):
    """The stand-ins that `make parent` makes on this machine."""

    cpu: ParentImage
    gpu: ParentImage


def _frozen(value: Mapping[str, object]) -> Mapping[str, object]:
    return MappingProxyType(dict(value))


class SupportMatrix(_Facts):
    """All of `base_images/matrix.yaml`."""

    sources: Annotated[Mapping[str, str], AfterValidator(_frozen)]
    pythons: Annotated[Mapping[Numbers, Numbers], AfterValidator(_frozen)] = Field(
        description="of models, oldest first; each with the version that conda installs, or an older one"
    )
    defaults: Defaults
    oldest_glibc: Annotated[str, StringConstraints(pattern=r"^2\.\d+$")] = Field(
        description="the C library that every parent has at least"
    )
    generations: tuple[Generation, ...] = Field(description="of GPUs, oldest first")
    expected_generation: str = Field(
        description="the oldest generation that a platform is expected to have besides older ones"
    )
    cpu: CpuRow
    gpu: Annotated[Mapping[str, CudaRow], AfterValidator(_frozen)]
    clara: Annotated[Mapping[str, ParentImage], AfterValidator(_frozen)]
    micromamba: ParentImage
    local: LocalParents

    @property
    def glibc_minor(self) -> int:
        """The x of the C library 2.x that every parent has at least."""
        return int(self.oldest_glibc.partition(".")[2])

    @property
    def expected(self) -> Generation:
        """The generation that `expected_generation` names."""
        return next(each for each in self.generations if each.name == self.expected_generation)

    def image_named(self, reference: str) -> ParentImage | None:
        """What is known of the image that somebody else's text names; None: nothing."""
        name = reference.partition("@")[0].removeprefix("docker.io/")
        rows: tuple[CpuRow | CudaRow, ...] = (self.cpu, *self.gpu.values())
        if _GOOGLE_PROJECT in name:
            plain = name.rpartition("/")[2].partition(":")[0]
            return next((row.google for row in rows if row.google.image == plain), None)
        others = (*(row.slim for row in rows), *self.clara.values(), self.micromamba)
        return next((image for image in others if image is not None and image.image == name), None)

    def generations_of(self, row: CudaRow) -> tuple[Generation, ...]:
        """The GPU generations that a CUDA version has kernels for."""
        return tuple(each for each in self.generations if row.has_kernels_for(each.last))

    def newer_generations(self, row: CudaRow) -> tuple[Generation, ...]:
        """Those that came too late for it."""
        last = _numbers(row.kernels.last)[0]
        return tuple(each for each in self.generations if _numbers(each.first)[0] > last)

    def generation_of(self, capability: str) -> Generation | None:
        """The generation of a GPU with this compute capability; None: not known here."""
        asked = _numbers(capability)
        found = (each for each in self.generations if _numbers(each.first) <= asked <= _numbers(each.last))
        return next(found, None)

    def first_cuda_for(self, capability: str) -> str | None:
        """The oldest CUDA that has kernels for a GPU of this compute capability; None: they all came before it."""
        return next((version for version, row in self.gpu.items() if row.has_kernels_for(capability)), None)

    def lacks_expected(self, cuda: str) -> bool:
        """Whether a CUDA version, which need not be one of these, came before the GPUs that a platform has by now."""
        first = self.first_cuda_for(self.expected.first)
        return first is not None and is_older(cuda, first)

    def driver_for(self, cuda: str, present: str | None = None) -> str | None:
        """The driver that a host needs for a CUDA version; None: that is not known here.

        Args:
            cuda: the version, such as `11.8`; of one that is no row here, what any of its major version needs counts.
            present: the driver that a host has, and with which it did not work. Where that is no older than what the
                major version needs, the driver of the release itself is told: not all works with an older one (NVIDIA,
                "Minor Version Compatibility", "limited feature-set").
        """
        row = self.gpu.get(cuda)
        if row is None:
            major = cuda.partition(".")[0]
            others = (other for version, other in self.gpu.items() if version.partition(".")[0] == major)
            return next((other.family_driver for other in others if other.family_driver), None)
        enough = present is not None and not is_older(present, row.oldest_driver)
        return row.driver if enough else row.oldest_driver

    def cudas_of_host(self, driver: str, capability: str | None = None) -> tuple[str, ...]:
        """The CUDA versions that a host can run, by its driver and, where it is known, its GPU's compute capability."""
        return tuple(
            version
            for version, row in self.gpu.items()
            if not is_older(driver, row.oldest_driver) and (capability is None or row.has_kernels_for(capability))
        )


@cache
def support_matrix() -> SupportMatrix:
    """The content of `base_images/matrix.yaml`."""
    return SupportMatrix.model_validate(yaml_resource("base_images", "matrix.yaml"))


def is_older(version: str, other: str) -> bool:
    """Whether a version of numbers alone, such as a driver's, comes before another one."""
    return _numbers(version) < _numbers(other)


def is_version(text: str) -> bool:
    """Whether a text is a version of numbers alone, as `is_older` and the methods of `SupportMatrix` ask for."""
    return re.fullmatch(r"\d+(\.\d+)*", text, re.ASCII) is not None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
