"""Which parent image a model is built on, and why.

The matrix of parents is data (`base_images/matrix.yaml`). Nothing here talks to an engine: whether the parent can be
had is found out by the `engine` room.
"""

from __future__ import annotations

import datetime
import difflib
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import yaml

from mdai_build.config import ModelConfig
from mdai_build.errors import BundleError, Location, Problem, UsageError
from mdai_build.resources import resource
from mdai_build.settings import Settings

ParentKind = Literal["gcp", "local", "reference", "nvidia", "custom"]


@dataclass(frozen=True)
class Parent:
    """The image that a model's image starts from."""

    kind: ParentKind
    reference: str
    """What FROM names; for `custom` the name of the stage that the author's own Dockerfile ends with."""
    cuda: str | None
    conda_channels: tuple[str, ...]
    """Channels for the conda environment; empty: those that the parent itself is set up with."""
    why: str
    warnings: tuple[Problem, ...] = ()

    @property
    def has_conda(self) -> bool:
        """Whether the model gets a conda environment; else its packages go into the parent's own Python."""
        return self.kind not in ("nvidia", "custom")


@cache
def support_matrix() -> dict[str, Any]:
    """The content of `base_images/matrix.yaml`."""
    matrix: dict[str, Any] = yaml.safe_load(resource("base_images", "matrix.yaml").read_text(encoding="utf-8"))
    return matrix


def choose_parent(config: ModelConfig, settings: Settings, today: datetime.date | None = None) -> Parent:
    """The parent image for a config (interface document, config.yaml; original.md, "Parents in use").

    Raises:
        UsageError: the settings ask for a parent that a `custom` or `nvidia` bundle cannot have.
        BundleError: the config asks for a combination that the matrix does not hold.
    """
    if config.base_image in ("custom", "nvidia"):
        return _parent_of_bundle(config, settings)
    if settings.parent == "local":
        return _local_parent(config)
    if settings.parent != "gcp":
        return Parent(
            kind="reference",
            reference=settings.parent,
            cuda=config.cuda_version,
            conda_channels=settings.conda_channels,
            why="named by the setting `parent`",
            warnings=_misspelled(settings.parent),
        )
    return _google_parent(config, settings, today or datetime.date.today())


def _google_parent(config: ModelConfig, settings: Settings, today: datetime.date) -> Parent:
    matrix = support_matrix()
    if config.device_type == "cpu":
        row, why = matrix["cpu"], "Google's parent for device_type cpu"
    else:
        row = matrix["gpu"].get(config.cuda_version)
        why = f"Google's parent for CUDA {config.cuda_version}"
        if row is None:
            raise BundleError(
                Problem(
                    code="parents.no-such-cuda",
                    what=f"there is no parent image for cuda_version {config.cuda_version}",
                    where=Location(".mdai/config.yaml", key="cuda_version"),
                    expected="one of " + ", ".join(matrix["gpu"]),
                )
            )
    return Parent(
        kind="gcp",
        reference=f"{settings.parent_registry.rstrip('/')}/{row['image']}",
        cuda=config.cuda_version,
        conda_channels=settings.conda_channels,
        why=why,
        warnings=_age_warnings(row, today),
    )


def _misspelled(reference: str) -> tuple[Problem, ...]:
    near = difflib.get_close_matches(reference.lower(), ("gcp", "local"), n=1, cutoff=0.7)
    if not near:
        return ()
    return (
        Problem(
            code="parents.misspelled",
            what=f"`{reference}` is taken for the name of an image",
            where=Location("settings", key="parent"),
            expected="`gcp`, `local`, or an image reference such as debian:12",
            next_step=f"did you mean `{near[0]}`?",
        ),
    )


def _age_warnings(row: dict[str, Any], today: datetime.date) -> tuple[Problem, ...]:
    until = row.get("supported_until")
    if row.get("listed", True) and (until is None or today <= until):
        return ()
    since = f"its announced end of availability was {until}" if until else "Google's page no longer lists it"
    return (
        Problem(
            code="parents.past-end",
            what=f"the parent image {row['image']} may be gone any day: {since}",
            where=Location(".mdai/config.yaml", key="cuda_version"),
            next_step="keep a copy in a registry of yours (setting parent_registry), or ask for a newer cuda_version",
        ),
    )


def _local_parent(config: ModelConfig) -> Parent:
    warnings: tuple[Problem, ...] = ()
    if config.device_type == "gpu":
        warnings = (
            Problem(
                code="parents.local-without-cuda",
                what=f"the local parent has no CUDA; the bundle asks for CUDA {config.cuda_version}",
                where=Location(".mdai/config.yaml", key="device_type"),
                next_step="use the image to see that the model installs and loads; build with --parent gcp for a GPU",
            ),
        )
    return Parent(
        kind="local",
        reference=support_matrix()["local"]["image"],
        cuda=None,
        conda_channels=(),
        why="the parent made on this machine stands in for Google's",
        warnings=warnings,
    )


def _parent_of_bundle(config: ModelConfig, settings: Settings) -> Parent:
    if settings.parent not in ("gcp", "local"):
        raise UsageError(
            Problem(
                code="parents.bundle-has-its-own",
                what=f"--parent {settings.parent} cannot be used with base_image: {config.base_image}",
                expected="no --parent: such a bundle names its own",
            )
        )
    if config.base_image == "custom":
        return Parent(
            kind="custom",
            reference="mdai-parent",
            cuda=None,
            conda_channels=(),
            why="the bundle's own .mdai/Dockerfile",
        )
    clara = support_matrix()["clara"][config.clara_version]
    return Parent(
        kind="nvidia",
        reference=clara["image"],
        cuda=None,
        conda_channels=(),
        why=f"NVIDIA's Clara Train SDK for clara_version {config.clara_version}",
        warnings=() if settings.parent == "gcp" else (_no_local_clara(),),
    )


def _no_local_clara() -> Problem:
    return Problem(
        code="parents.no-local-clara",
        what="`parent: local` has no effect: base_image nvidia has a parent of its own, which must be pulled",
        where=Location(".mdai/config.yaml", key="base_image"),
    )
