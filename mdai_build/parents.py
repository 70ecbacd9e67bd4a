"""Which parent image a model is built on, and why.

What parents there are is data (`base_images/matrix.yaml`). Nothing here talks to an engine: whether the parent can be
had is found out by the `engine` room.
"""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from mdai_build.config import ModelConfig
from mdai_build.errors import BundleError, Location, Problem, UsageError
from mdai_build.matrix import CudaRow, ParentImage, support_matrix
from mdai_build.settings import Settings

ParentKind = Literal["gcp", "slim", "local", "reference", "nvidia", "custom"]
NAMED_KINDS = ("gcp", "slim", "local")
"""What the setting `parent` may say besides an image reference."""
_CONFIG_CUDA = Location(".mdai/config.yaml", key="cuda_version")


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
    micromamba: str | None = None
    """For a parent without conda, the image whose micromamba makes the environment; it is no part of the result."""
    cudnn: str | None = None
    """Major version of its cuDNN; None: it has none, or it is not known."""

    @property
    def has_conda(self) -> bool:
        """Whether the model gets a conda environment; else its packages go into the parent's own Python."""
        return self.kind not in ("nvidia", "custom")


def choose_parent(config: ModelConfig, settings: Settings, today: datetime.date | None = None) -> Parent:
    """The parent image for a config (interface document, config.yaml; original.md, "Parents in use").

    Raises:
        UsageError: the settings ask for a parent that a `custom` or `nvidia` bundle cannot have, or for a platform
            that the parent does not exist for.
        BundleError: the config asks for a combination that the matrix does not hold.
    """
    today = today or datetime.date.today()
    if config.base_image in ("custom", "nvidia"):
        return _parent_of_bundle(config, settings)
    if settings.parent == "local":
        return _local_parent(config)
    if settings.parent == "slim":
        return _slim_parent(config, settings, today)
    if settings.parent != "gcp":
        return Parent(
            kind="reference",
            reference=resolved_reference(settings.parent, settings),
            cuda=config.cuda_version,
            conda_channels=settings.conda_channels,
            why="named by the setting `parent`",
            warnings=(*_misspelled(settings.parent), *_kernel_warnings(config)),
        )
    return _google_parent(config, settings, today)


def resolved_reference(name: str, settings: Settings) -> str:
    """What is pulled for an image: replaced, then mirrored, then pinned, each as the settings say.

    A digest names the same bytes wherever they come from, so a pin holds for the image under its own name.
    """
    name = settings.parent_replacements.get(name, name)
    digest = settings.parent_pins.get(name)
    reference = _mirrored(name, settings)
    return f"{_without_tag(reference)}@{digest}" if digest and "@" not in reference else reference


def google_name(image: ParentImage, settings: Settings) -> str:
    """The full name of one of Google's parents, in the registry that the settings name."""
    replaced = settings.parent_replacements.get(image.image)
    return replaced or f"{settings.parent_registry.rstrip('/')}/{image.image}"


def _mirrored(name: str, settings: Settings) -> str:
    full = _full_name(name)
    for prefix in sorted(settings.parent_mirrors, key=len, reverse=True):
        for written in (full, name):
            if written.startswith(prefix):
                return settings.parent_mirrors[prefix] + written[len(prefix) :]
    return name


def _full_name(name: str) -> str:
    """A reference with the registry that a short one means (distribution reference, "familiar names")."""
    host, slash, _ = name.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        return name
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"


def _without_tag(reference: str) -> str:
    name, colon, tag = reference.rpartition(":")
    return name if colon and "/" not in tag else reference


def _google_parent(config: ModelConfig, settings: Settings, today: datetime.date) -> Parent:
    if config.device_type == "cpu":
        image, why = support_matrix().cpu.google, "Google's parent for device_type cpu"
        slim: ParentImage | None = support_matrix().cpu.slim
    else:
        row = _cuda_row(config)
        image, why, slim = row.google, f"Google's parent for CUDA {config.cuda_version}", row.slim
    replaced = image.image in settings.parent_replacements
    _check_platform(image, settings, slim)
    return Parent(
        kind="gcp",
        reference=resolved_reference(google_name(image, settings), settings),
        cuda=config.cuda_version,
        conda_channels=settings.conda_channels,
        why=f"in place of {why}, by the setting parent_replacements" if replaced else why,
        warnings=(*(() if replaced else _age_warnings(image, slim, today)), *_kernel_warnings(config)),
        cudnn=image.cudnn,
    )


def _slim_parent(config: ModelConfig, settings: Settings, today: datetime.date) -> Parent:
    matrix = support_matrix()
    if config.device_type == "cpu":
        image: ParentImage | None = matrix.cpu.slim
    else:
        image = _cuda_row(config).slim
    if image is None:
        newer = next(version for version, row in matrix.gpu.items() if row.slim)
        raise BundleError(
            Problem(
                code="parents.no-slim",
                what=f"CUDA {config.cuda_version} has no slim parent: NVIDIA has removed its images of it",
                where=_CONFIG_CUDA,
                expected=f'cuda_version "{newer}" or newer for --parent slim',
                next_step="build with --parent gcp, or name an image of yours with --parent REF",
            )
        )
    _check_platform(image, settings, None)
    return Parent(
        kind="slim",
        reference=resolved_reference(image.image, settings),
        cuda=config.cuda_version,
        conda_channels=settings.conda_channels,
        why="the maintained equivalent of Google's parent, to which micromamba brings the environment",
        warnings=(*_patch_warnings(image, settings, today), *_kernel_warnings(config)),
        micromamba=resolved_reference(matrix.micromamba.image, settings),
        cudnn=image.cudnn,
    )


def _cuda_row(config: ModelConfig) -> CudaRow:
    rows = support_matrix().gpu
    row = rows.get(config.cuda_version or "")
    if row is None:
        raise BundleError(
            Problem(
                code="parents.no-such-cuda",
                what=f"there is no parent image for cuda_version {config.cuda_version}",
                where=_CONFIG_CUDA,
                expected="one of " + ", ".join(rows),
            )
        )
    return row


def _check_platform(image: ParentImage, settings: Settings, slim: ParentImage | None) -> None:
    if settings.platform in image.platforms or image.image in settings.parent_replacements:
        return
    other = "build for linux/amd64, as the platform runs it"
    if slim is not None and settings.platform in slim.platforms:
        other = f"--parent slim takes {slim.image}, which has {settings.platform}; or {other}"
    raise UsageError(
        Problem(
            code="parents.no-such-platform",
            what=f"the parent image {image.image} does not exist for {settings.platform}",
            where=Location("settings", key="platform"),
            expected=" or ".join(image.platforms),
            next_step=other,
        )
    )


def _misspelled(reference: str) -> tuple[Problem, ...]:
    near = difflib.get_close_matches(reference.lower(), NAMED_KINDS, n=1, cutoff=0.7)
    if not near:
        return ()
    return (
        Problem(
            code="parents.misspelled",
            what=f"`{reference}` is taken for the name of an image",
            where=Location("settings", key="parent"),
            expected="`gcp`, `slim`, `local`, or an image reference such as registry.example/base:1",
            next_step=f"did you mean `{near[0]}`?",
        ),
    )


def _age_warnings(image: ParentImage, slim: ParentImage | None, today: datetime.date) -> Iterator[Problem]:
    if not image.past_availability(today):
        return
    since = (
        f"its announced end of availability was {image.available_until}"
        if image.available_until
        else "Google's page no longer lists it"
    )
    instead = f"--parent slim takes {slim.image} instead; or " if slim else "nobody keeps an equivalent: "
    yield Problem(
        code="parents.past-end",
        what=f"the parent image {image.image} may be gone any day: {since}",
        where=_CONFIG_CUDA,
        next_step=f"{instead}keep a copy in a registry of yours (setting parent_registry) and pin it "
        "(mdai-build parents pin), or ask for a newer cuda_version",
    )


def _patch_warnings(image: ParentImage, settings: Settings, today: datetime.date) -> Iterator[Problem]:
    if image.patched_until and image.patched_until < today and image.image not in settings.parent_replacements:
        yield Problem(
            code="parents.unpatched",
            what=f"the parent image {image.image} has had no patches since {image.patched_until}",
            where=_CONFIG_CUDA,
            next_step="ask for a newer cuda_version if the model can do with one",
        )


def _kernel_warnings(config: ModelConfig) -> Iterator[Problem]:
    """A CUDA with which GPUs of the last years run nothing. Later ones lack the newest generations alone."""
    matrix, cuda = support_matrix(), config.cuda_version
    row = matrix.gpu.get(cuda or "")
    if row is None or cuda is None or config.device_type != "gpu" or not matrix.lacks_expected(cuda):
        return
    last_but_one, newest = matrix.generations_of(row)[-2:]
    *later, latest = (each.shown for each in matrix.newer_generations(row))
    other = next(version for version in matrix.gpu if not matrix.lacks_expected(version))
    yield Problem(
        code="parents.no-kernels",
        what=f"CUDA {cuda} has no kernels for GPUs newer than {newest.shown}: on {', '.join(later)} and {latest} "
        "the model fails, or first compiles for minutes",
        where=_CONFIG_CUDA,
        next_step=f"run it on {newest.shown} or {last_but_one.shown}, or move the model to "
        f'cuda_version "{other}" or newer',
    )


def _local_parent(config: ModelConfig) -> Parent:
    parents = support_matrix().local
    warnings: tuple[Problem, ...] = ()
    if config.device_type == "gpu":
        warnings = (
            Problem(
                code="parents.local-without-cuda",
                what=f"the local parent has no CUDA; the bundle asks for CUDA {config.cuda_version}",
                where=Location(".mdai/config.yaml", key="device_type"),
                next_step="use the image to see that the model installs and loads; build with --parent gcp for a GPU",
            ),
            *_kernel_warnings(config),
        )
    return Parent(
        kind="local",
        reference=(parents.gpu if config.device_type == "gpu" else parents.cpu).image,
        cuda=None,
        conda_channels=(),
        why="the parent made on this machine stands in for Google's",
        warnings=warnings,
    )


def _parent_of_bundle(config: ModelConfig, settings: Settings) -> Parent:
    if settings.parent not in NAMED_KINDS:
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
    clara = support_matrix().clara[config.clara_version or ""]
    _check_platform(clara, settings, None)
    return Parent(
        kind="nvidia",
        reference=resolved_reference(clara.image, settings),
        cuda=None,
        conda_channels=(),
        why=f"NVIDIA's Clara Train SDK for clara_version {config.clara_version}",
        warnings=() if settings.parent == "gcp" else (_no_other_clara(settings.parent),),
    )


def _no_other_clara(parent: str) -> Problem:
    return Problem(
        code="parents.no-local-clara" if parent == "local" else "parents.no-slim-clara",
        what=f"`parent: {parent}` has no effect: base_image nvidia has a parent of its own, which must be pulled",
        where=Location(".mdai/config.yaml", key="base_image"),
    )
