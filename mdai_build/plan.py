"""The build plan: everything that a build needs, as plain frozen data, printable as JSON.

A template sees the plan and nothing else; the same plan renders to the same bytes.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from typing import Literal

from mdai_build import __version__
from mdai_build.bundle import UnpackedBundle
from mdai_build.config import ModelConfig
from mdai_build.errors import BundleError, Location, Problem, UsageError
from mdai_build.parents import Parent
from mdai_build.requirements import Requirements, constraint_file, install_file, installer_arguments, vcs_lines
from mdai_build.settings import Settings

LABEL_PREFIX = "io.mdai-build."
CONDA_INTERPRETER = "/opt/conda/envs/mdai-env/bin/python"
SBOM_FILE = "/opt/mdai/sbom.cdx.json"
"""Where an image says what is installed in it; a label names the place."""
WEIGHTS_FROM_BYTES = 1024 * 1024
"""Files from this size on count as weights and get a layer of their own, so that a change of code copies none."""

_IMAGE_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*")
_INDEX_WITH_CREDENTIALS = re.compile(r"^[a-z+]+://[^/@]+@")

CaBundle = Literal["none", "secret", "file"]


@dataclass(frozen=True)
class BuildPlan:
    """What goes into one image."""

    name: str
    """The bundle's name, fit for an image name."""
    parent: Parent
    python: str | None
    """Version of the conda environment's Python, such as `3.8`; None: the parent's own Python is used."""
    interpreter: str
    device_type: Literal["cpu", "gpu"]
    env: tuple[tuple[str, str], ...]
    """The bundle's environment variables, in the author's order."""
    author_dockerfile: str | None
    """For `base_image: custom`, the text of the bundle's `.mdai/Dockerfile`, its last stage named `mdai-parent`."""
    workspace: bool
    """Whether the model root's `workspace/` is also copied to `/workspace` (`base_image: nvidia`)."""
    weights: tuple[str, ...]
    code: tuple[str, ...]
    """Members of the bundle by layer, as paths relative to the model root."""
    requirements_text: str
    """The flattened requirements file that the install step reads; empty when there is nothing to install."""
    constraints_text: str
    """Versions for what is installed anyway (`-c`), beside it."""
    installer_arguments: tuple[str, ...]
    vcs_requirements: tuple[str, ...]
    """Requirements that are fetched by a version control system, built to wheels in a stage of their own."""
    requirement_files: tuple[str, ...]
    """Members of the bundle that the install step needs beside those texts: local wheels, for instance."""
    index_url: str | None
    extra_index_urls: tuple[str, ...]
    ca_bundle: CaBundle
    """How CA certificates reach the install steps: not at all, as a secret of the build, or as a file of the
    context. Either way they are mounted, never part of a layer."""
    labels: tuple[tuple[str, str], ...]

    def as_json(self) -> str:
        """The plan as indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False)


def make_plan(
    unpacked: UnpackedBundle,
    config: ModelConfig,
    requirements: Requirements,
    parent: Parent,
    settings: Settings,
    ca_bundle: CaBundle | None = None,
) -> BuildPlan:
    """The plan for a bundle whose parts have been read and found right.

    Raises:
        UsageError: the parent's reference is no image reference, or an index address carries credentials.
    """
    bundle = unpacked.bundle
    _check_settings(parent, settings)
    if ca_bundle is None:
        ca_bundle = "secret" if settings.ca_bundle else "none"
    author_dockerfile = None
    if parent.kind == "custom":
        author_dockerfile = name_last_stage(bundle.read_text(".mdai/Dockerfile"), parent.reference)
    return BuildPlan(
        name=bundle.name,
        parent=dataclasses.replace(parent, warnings=()),
        python=config.python,
        interpreter=CONDA_INTERPRETER if parent.has_conda else "python3",
        device_type=config.device_type,
        env=tuple(config.env.items()),
        author_dockerfile=author_dockerfile,
        workspace=parent.kind == "nvidia" and any(m.path.startswith("workspace/") for m in bundle.members),
        weights=tuple(file.path for file in unpacked.files if file.size >= WEIGHTS_FROM_BYTES),
        code=tuple(file.path for file in unpacked.files if file.size < WEIGHTS_FROM_BYTES),
        requirements_text=install_file(requirements),
        constraints_text=constraint_file(requirements),
        installer_arguments=installer_arguments(requirements, "uv"),
        vcs_requirements=vcs_lines(requirements),
        requirement_files=requirements.files,
        index_url=settings.index_url,
        extra_index_urls=settings.extra_index_urls,
        ca_bundle=ca_bundle,
        labels=_labels(unpacked, config, parent),
    )


def _labels(unpacked: UnpackedBundle, config: ModelConfig, parent: Parent) -> tuple[tuple[str, str], ...]:
    values = {
        "org.opencontainers.image.title": unpacked.bundle.name,
        "org.opencontainers.image.base.name": parent.reference if parent.kind != "custom" else "",
        LABEL_PREFIX + "version": __version__,
        LABEL_PREFIX + "bundle.digest": unpacked.digest,
        LABEL_PREFIX + "base-image": config.base_image,
        LABEL_PREFIX + "device-type": config.device_type,
        LABEL_PREFIX + "cuda-version": config.cuda_version or "",
        LABEL_PREFIX + "parent.kind": parent.kind,
        LABEL_PREFIX + "parent.why": parent.why,
        LABEL_PREFIX + "sbom": SBOM_FILE,
    }
    return tuple((name, value) for name, value in values.items() if value)


def _check_settings(parent: Parent, settings: Settings) -> None:
    problems = []
    if not _IMAGE_REFERENCE.fullmatch(parent.reference):
        problems.append(
            Problem(
                code="plan.no-image-reference",
                what=f"{parent.reference!r} is not an image reference",
                where=Location("settings", key="parent"),
                expected="`gcp`, `local`, or a reference such as debian:12 or registry.example/base@sha256:…",
            )
        )
    for url in (settings.index_url, *settings.extra_index_urls):
        if url and _INDEX_WITH_CREDENTIALS.match(url):
            problems.append(
                Problem(
                    code="plan.credentials-in-index",
                    what="an index address carries a user name or a password; it would stay in the image's history",
                    where=Location("settings", key="index_url"),
                    expected="an address without credentials",
                )
            )
    if problems:
        raise UsageError(problems)


def name_last_stage(dockerfile: str, name: str) -> str:
    """A Dockerfile's text with its last stage named `name`, so that further stages can follow it.

    A stage that has a name already keeps it: one more stage of the wanted name then starts from it.

    Raises:
        BundleError: it has no FROM.
    """
    text = dockerfile.replace("\r\n", "\n").rstrip("\n") + "\n"
    stages = list(
        re.finditer(r"^[ \t]*FROM[ \t]+(?:--\S+[ \t]+)*(\S+)(?:[ \t]+AS[ \t]+(\S+))?[ \t]*$", text, re.I | re.M)
    )
    if not stages:
        raise BundleError(
            Problem(
                code="plan.no-from",
                what="the Dockerfile has no FROM instruction",
                where=Location(".mdai/Dockerfile", line=1),
                expected="a Dockerfile of its own, such as one that begins with: FROM ubuntu:22.04",
            )
        )
    last = stages[-1]
    if last.group(2):
        return f"{text}\nFROM {last.group(2)} AS {name}\n"
    return f"{text[: last.end()].rstrip()} AS {name}{text[last.end() :]}"
