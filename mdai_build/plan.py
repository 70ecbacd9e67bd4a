"""The build plan: everything that a build needs, as plain frozen data, printable as JSON.

A template sees the plan and nothing else; the same plan renders to the same bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from packaging.utils import canonicalize_name

from mdai_build import __version__
from mdai_build.bundle import UnpackedBundle, UnpackedFile
from mdai_build.config import AUTHOR_DOCKERFILE, ModelConfig, final_image, name_last_stage
from mdai_build.errors import Location, Problem, RequirementsError, UsageError
from mdai_build.matrix import Platform
from mdai_build.parents import Parent
from mdai_build.requirements import (
    Requirement,
    Requirements,
    constraint_file,
    install_file,
    installer_arguments,
    redact,
    vcs_lines,
)
from mdai_build.resources import resources_digest
from mdai_build.settings import Settings

LABEL_PREFIX = "io.mdai-build."
CONTENT_LABEL = LABEL_PREFIX + "content"
"""On an image that `build` made: the `content_digest` that it was made from."""
BASE_DIGEST_LABEL = "org.opencontainers.image.base.digest"
PARENT_ID_LABEL = LABEL_PREFIX + "parent.id"
"""On an image that `build` made: which parent it starts from, by the digest in a registry and by the engine's id.

Not on a reproducible image: a parent that came as a file has no digest, and its id is another on each image store.
"""
TEMPLATES_LABEL = LABEL_PREFIX + "templates"
"""What an image is made from besides its plan: the digest of templates, pins, and what runs inside it."""
CONDA_INTERPRETER = "/opt/conda/envs/mdai-env/bin/python"
SBOM_FILE = "/opt/mdai/sbom.cdx.json"
"""Where an image says what is installed in it; a label names the place."""
WEIGHTS_FROM_BYTES = 1024 * 1024
"""Files from this size on count as weights and get a layer of their own, so that a change of code copies none."""

WEIGHTS_FIRST_FROM_BYTES = 896 * 1024 * 1024
"""Where weights and a requirement that change as often as each other cost the same in either order; measured by
`benchmarks/layer_order.py` for a requirement of a few megabytes."""
LARGE_PACKAGES = frozenset(
    {"torch", "torchvision", "tensorflow", "tensorflow-gpu", "tensorflow-cpu", "jax", "jaxlib", "mxnet", "paddlepaddle"}
    | {"fastai", "keras", "monai", "nnunet", "nnunetv2", "timm", "totalsegmentator"}
)
"""Packages of a gigabyte or so, or that bring one."""

_IMAGE_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*")
# The second form is conda's: https://host/t/TOKEN/channel.
_WITH_CREDENTIALS = re.compile(r"(?i)[a-z+]+://(?:[^/@]+@|[^/]+/t/[^/]{8,}/)")

CaBundle = Literal["none", "secret", "file"]


@dataclass(frozen=True)
class BuildPlan:
    """What goes into one image; by default nothing but what every image has."""

    name: str
    """The bundle's name, fit for an image name."""
    parent: Parent
    python: str | None
    """Version of the conda environment's Python, such as `3.8`; None: the parent's own Python is used."""
    interpreter: str
    device_type: Literal["cpu", "gpu"]
    env: tuple[tuple[str, str], ...] = ()
    """The bundle's environment variables, in the author's order."""
    author_dockerfile: str | None = None
    """For `base_image: custom`, the text of the bundle's `.mdai/Dockerfile`, its last stage named `mdai-parent`."""
    workspace: bool = False
    """Whether the model root's `workspace/` is also copied to `/workspace` (`base_image: nvidia`)."""
    weights: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    """Members of the bundle by layer, as paths relative to the model root."""
    layers_merge: bool = True
    """Whether the builder can put a layer that is there on top of another one without copying its files."""
    weights_first: bool = False
    """Whether the weights' layer lies below the requirements' instead of above."""
    requirements_text: str = ""
    """The flattened requirements file that the install step reads; empty when there is nothing to install."""
    constraints_text: str = ""
    """Versions for what is installed anyway (`-c`), beside it."""
    installer: Literal["uv", "pip"] = "uv"
    """What installs the model's requirements; the packages of our own lists always come by uv."""
    installer_arguments: tuple[str, ...] = ()
    vcs_requirements: tuple[str, ...] = ()
    """Requirements that are fetched by git."""
    build_requirements: tuple[tuple[str, str], ...] = ()
    """For source packages that do not tell it themselves: the package, and what its build needs (uv only)."""
    ahead_text: str = ""
    """Requirements that are installed before the others, which then build beside them; mostly empty: all at once."""
    builds_from_source: bool = False
    """Whether the install step is lent compilers and git, for packages that come as sources."""
    requirement_files: tuple[str, ...] = ()
    """Members of the bundle that the install step needs beside those texts: local wheels, for instance."""
    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    """Addresses without credentials: those are in the netrc file."""
    netrc: bool = False
    """Whether the install steps are given a secret of the build named `netrc`: names and passwords by host."""
    secret_proxies: bool = False
    """Whether the steps that use a network are given a secret named `proxies`, a shell file that sets the proxies'
    variables. As build arguments, which Docker knows by itself, they would be in the builder's own records."""
    wheels: bool = False
    """Whether everything is installed from a folder of wheels, the build context named `mdai-wheels`, and no index."""
    ca_bundle: CaBundle = "none"
    """How CA certificates reach the install steps: not at all, as a secret of the build, or as a file of the
    context. Either way they are mounted, never part of a layer."""
    labels: tuple[tuple[str, str], ...] = ()
    conda_packages: tuple[str, ...] = ()
    """Exact conda packages for the environment, `name=version=build`; none: what the channels have for that Python."""
    lock_preferences: str | None = None
    """For `mdai-build lock`: the versions to take where they fit."""
    platform: Platform = "linux/amd64"
    """What the image runs on."""
    weights_apart: bool = False
    """Whether the weights are a build context of their own, `mdai-weights`: no other step waits until they are sent."""
    spares_secrets: bool = False
    """Whether a step is given a secret only for what is one, since the builder hashes the image below it for each."""
    base: str | None = None
    """A base image in place of the stages up to the preinstalled packages; None: they are made inline."""
    base_server: str | None = None
    """Likewise an image in place of the stages that make the server and the installer."""

    @property
    def takes_resolved(self) -> bool:
        """Whether the install step is told what the requirements came to when that was looked up before the build.

        It is told by a secret of the build named `resolved`, which may be missing: a file of the context would run the
        step anew whenever an index has something newer, though nothing asks for it.
        """
        if self.spares_secrets and not (self.netrc or self.secret_proxies):
            return False  # to resolve once more takes less than that hash
        may_look = self.installer == "uv" and "--no-deps" not in self.installer_arguments
        return may_look and not self.builds_from_source and not self.wheels and self.python is not None

    def sparing_secrets(self) -> BuildPlan:
        """The plan for a builder to which a secret is dear: CA certificates, which are none, come as a file.

        An author's own Dockerfile may copy the whole context, and would put that file into a layer.
        """
        if self.author_dockerfile is not None:
            return self
        ca_bundle: CaBundle = "file" if self.ca_bundle == "secret" else self.ca_bundle
        return dataclasses.replace(self, spares_secrets=True, ca_bundle=ca_bundle)

    @property
    def cache(self) -> str:
        """Name of pip's cache: a package built on one parent may not run on another's C library."""
        other = "" if self.platform == "linux/amd64" else f"-{self.platform}"
        return re.sub(r"[^A-Za-z0-9]+", "-", f"{self.parent.reference}{other}")

    @property
    def trusts_parent(self) -> bool:
        """Whether the parent image is ours to trust; an author's own may put anything in the place of its Python."""
        return self.parent.kind != "custom"

    @property
    def runs_no_code(self) -> bool:
        """Whether the step that installs the requirements runs no code of the bundle or of its packages."""
        return self.trusts_parent and self.parent.has_conda and not self.builds_from_source

    @property
    def packages_cache(self) -> str:
        """Name of uv's cache. It holds bytecode beside the packages, which all of a Python's images would else get of
        every other Python."""
        return f"{self.cache}-py{self.python.replace('.', '')}" if self.python else self.cache

    @property
    def plain_hosts(self) -> tuple[str, ...]:
        """Hosts and ports of indexes without TLS, which pip asks nothing of unless told."""
        urls = (self.index_url or "", *self.extra_index_urls)
        return tuple(dict.fromkeys(urlsplit(url).netloc for url in urls if url.startswith("http://")))

    def without_access(self) -> BuildPlan:
        """The plan without how the machine that builds reaches packages, which are the same from wherever they come."""
        return dataclasses.replace(
            self,
            index_url=None,
            extra_index_urls=(),
            netrc=False,
            secret_proxies=False,
            wheels=False,
            ca_bundle="none",
            spares_secrets=False,
        )

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
    installer: Literal["uv", "pip"] = "uv",
    build_requirements: tuple[tuple[str, str], ...] = (),
    builds_from_source: bool = True,
    sources_last: bool = False,
) -> BuildPlan:
    """The plan for a bundle whose parts have been read and found right.

    `ca_bundle` is what the settings say where it is not given. `builds_from_source` may be false only where it is known
    that no requirement has to be: any package may need one that has no wheel.

    Raises:
        UsageError: the parent's reference is no image reference, or an address carries credentials.
        RequirementsError: without an index, a requirement cannot be found by its name.
    """
    bundle = unpacked.bundle
    _check_settings(parent, settings)
    if ca_bundle is None:
        ca_bundle = "secret" if settings.ca_bundle else "none"
    if settings.wheels is not None:
        requirements = _without_network(requirements)
    if installer == "pip":
        _check_hashes(requirements)
    requirements_text, vcs_requirements = install_file(requirements), vcs_lines(requirements)
    author_dockerfile = None
    if parent.kind == "custom":
        author_dockerfile = name_last_stage(bundle.read_text(AUTHOR_DOCKERFILE), parent.reference)
    stands_on = final_image(author_dockerfile, settings.platform) if author_dockerfile else parent.reference
    return BuildPlan(
        name=bundle.name,
        parent=dataclasses.replace(parent, warnings=()),
        python=config.python,
        interpreter=CONDA_INTERPRETER if parent.has_conda else "python3",
        device_type=config.device_type,
        env=tuple(config.env.items()),
        author_dockerfile=author_dockerfile,
        workspace=parent.kind == "nvidia" and any(m.path.startswith("workspace/") for m in bundle.members),
        weights=tuple(file.path for file in unpacked.files if _is_weights(file)),
        code=tuple(file.path for file in unpacked.files if not _is_weights(file)),
        layers_merge=True,
        weights_first=False,
        requirements_text=requirements_text,
        constraints_text=constraint_file(requirements),
        installer=installer,
        installer_arguments=installer_arguments(requirements, installer),
        vcs_requirements=vcs_requirements,
        build_requirements=build_requirements,
        builds_from_source=builds_from_source and bool(requirements_text or vcs_requirements),
        ahead_text=_ahead_text(requirements) if sources_last else "",
        requirement_files=requirements.files,
        index_url=settings.index_url,
        extra_index_urls=settings.extra_index_urls,
        netrc=bool(settings.netrc or settings.logins),
        secret_proxies=settings.secret_proxies,
        wheels=settings.wheels is not None,
        ca_bundle=ca_bundle,
        labels=_labels(unpacked, config, parent, stands_on),
        platform=settings.platform,
    )


def content_digest(plan: BuildPlan, parents: Iterable[str]) -> str:
    """What tells an image that is there already from one that has to be built: the digest of all that goes into it.

    The plan holds the digest of the bundle's every byte. `parents` are the contents of the images that it starts from.
    Whether a base image stood in for some stages makes no difference: it holds what they would.
    """
    made = dataclasses.replace(plan, base=None, base_server=None)
    content = json.dumps([dataclasses.asdict(made), resources_digest(), list(parents)])
    return f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"


def _is_weights(file: UnpackedFile) -> bool:
    # BuildKit obeys a file of that name at the top of the context that the weights are.
    return file.size >= WEIGHTS_FROM_BYTES and file.path != ".dockerignore"


def _check_hashes(requirements: Requirements) -> None:
    """Refuse what pip could not install from a lock.

    Raises:
        RequirementsError: a line of the lock has no hash, and pip asks for one everywhere.
    """
    unhashed = [line for line in requirements.lines if line.applies and not line.hashes] if requirements.lock else []
    if unhashed:
        raise RequirementsError(
            Problem(
                code="plan.pip-and-lock",
                what=f"pip wants a hash for all that it installs, and `{redact(line.text)}` is built in the image",
                where=Location(line.file, line=line.line),
                next_step="install with uv (`--installer uv`), or without the lock",
            )
            for line in unhashed
        )


def _without_network(requirements: Requirements) -> Requirements:
    """The requirements with every address gone: what comes from one is asked for by its name.

    Raises:
        RequirementsError: a line has an address and no name.
    """
    nameless = [line for line in requirements.lines if line.applies and line.kind in ("vcs", "url") and not line.name]
    if nameless:
        raise RequirementsError(
            Problem(
                code="plan.no-name",
                what=f"`{redact(line.text)}` cannot be fetched without a network, and does not tell its package's name",
                where=Location(line.file, line=line.line),
                expected="NAME @ git+https://…, so that its wheel can be found in the folder",
            )
            for line in nameless
        )
    return dataclasses.replace(
        requirements,
        lines=tuple(_by_name(line) if line.kind in ("vcs", "url") else line for line in requirements.lines),
        options=tuple(
            option
            for option in requirements.options
            if not option.startswith(("--index-url", "--extra-index-url")) and "://" not in option
        ),
    )


def weights_cost_more(unpacked: UnpackedBundle, requirements: Requirements) -> bool:
    """Whether to copy the weights takes longer than to install the requirements.

    Where layers do not merge, a change of the lower one costs the upper one again; so the costlier is the lower.
    """
    names = {canonicalize_name(line.name) for line in requirements.lines if line.applies and line.name}
    weights = sum(file.size for file in unpacked.files if file.size >= WEIGHTS_FROM_BYTES)
    return weights >= WEIGHTS_FIRST_FROM_BYTES and not names & LARGE_PACKAGES


def _ahead_text(requirements: Requirements) -> str:
    """The install file without what comes as sources; setuptools builds those, and wants `wheel` beside it."""
    kept = tuple(line for line in requirements.lines if line.kind not in ("vcs", "sdist", "folder"))
    return install_file(dataclasses.replace(requirements, lines=kept)) + "wheel\n"


def _by_name(line: Requirement) -> Requirement:
    extras = f"[{','.join(line.extras)}]" if line.extras else ""
    marker = f" ; {line.marker}" if line.marker else ""
    return dataclasses.replace(line, kind="index", specifier="", hashes=(), text=f"{line.name}{extras}{marker}")


def _labels(
    unpacked: UnpackedBundle, config: ModelConfig, parent: Parent, stands_on: str | None
) -> tuple[tuple[str, str], ...]:
    values = {
        "org.opencontainers.image.title": unpacked.bundle.name,
        "org.opencontainers.image.base.name": stands_on or "",
        LABEL_PREFIX + "version": __version__,
        TEMPLATES_LABEL: f"sha256:{resources_digest()}",
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
    references = [parent.reference, *([parent.micromamba] if parent.micromamba else [])]
    for reference in references:
        if _IMAGE_REFERENCE.fullmatch(reference):
            continue
        problems.append(
            Problem(
                code="plan.no-image-reference",
                what=f"{reference!r} is not an image reference",
                where=Location("settings", key="parent"),
                expected="`gcp`, `slim`, `local`, or a reference such as debian:12 or registry.example/base@sha256:…",
            )
        )
    for key, urls in {
        "index_url": (settings.index_url or "", *settings.extra_index_urls),
        "conda_channels": settings.conda_channels,
    }.items():
        # `load_settings` takes logins out; what is found here came another way, or is a token in a channel's path.
        if any(_WITH_CREDENTIALS.match(url) for url in urls):
            problems.append(
                Problem(
                    code="plan.credentials-in-address",
                    what="an address carries a token or a password that would stay in the image's history",
                    where=Location("settings", key=key),
                    expected="an address without it; the login in a file that the setting netrc names",
                )
            )
    if problems:
        raise UsageError(problems)
