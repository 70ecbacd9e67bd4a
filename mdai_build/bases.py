"""Base images: the stages of a model's image that know nothing of the model, made once for many.

Two images stand for them. The large one holds the parent, the conda environment and the preinstalled packages; the
small one the server and the installer, so that a new server leaves the large one as it is. Both are named by what they
are made from:

    py38-cpu-0123456789ab                  the newest of this recipe
    py38-cpu-0123456789ab.ba9876543210     the one on a parent image with just this content
    py38-cpu-server-…                      the server for it

A recipe is the text of the stages with all that they read: the parent's reference, the channels, the pins, the uv that
installs, the code of the server. From where packages are fetched (index, proxy, certificates) is no part of it, since
their versions are exact. A machine that holds no parent image cannot know its content, and takes the newest.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from dataclasses import dataclass

from mdai_build.config import ModelConfig
from mdai_build.context import GENERATED, generated_files
from mdai_build.dockerfile import render_base_dockerfile
from mdai_build.parents import Parent
from mdai_build.plan import CONDA_INTERPRETER, LABEL_PREFIX, BuildPlan
from mdai_build.settings import Settings

LOCAL_REPOSITORY = "mdai-build/base"
"""Where base images are that this machine made."""
REPOSITORY = "base"
"""The last part of their name in a registry."""
RECIPE_LABEL = LABEL_PREFIX + "base.recipe"
"""On a base image, and on those made from it: the digest of the recipe."""
PARENT_LABEL = LABEL_PREFIX + "base.parent"
"""Likewise the content of the parent image (`ImageFacts.content`)."""
USED_LABEL = LABEL_PREFIX + "base.image"
"""On a model's image: the base image that it was made from, or `inline`."""
INLINE = "inline"
_SHOWN = 12
_PINS = f"{GENERATED}/pins/"
_SOURCES = re.compile(rf"(?:,source=|^COPY (?:--\S+ )*)({GENERATED}/[^\s,]*)", re.MULTILINE)


@dataclass(frozen=True)
class BaseName:
    """The tags of one base image, or of its server."""

    combination: str
    """Such as `py310-cu118`."""
    recipe: str
    """`sha256:…`."""

    @property
    def newest(self) -> str:
        """The tag of the one that was made last by this recipe."""
        return f"{self.combination}-{_short(self.recipe)}"

    def exact(self, parent: str) -> str:
        """The tag of the one on a parent image with this content (`sha256:…`)."""
        return f"{self.newest}.{_short(parent)}"


def has_base(plan: BuildPlan) -> bool:
    """Whether there is a base image for such a plan: a parent of a bundle's own is shared with nobody.

    They are made for one platform alone, on which nearly all models run.
    """
    shared = plan.parent.has_conda and plan.author_dockerfile is None and plan.python is not None
    return shared and plan.platform == "linux/amd64"


def base_plan(config: ModelConfig, parent: Parent, settings: Settings) -> BuildPlan:
    """The plan of the base image for models with such a config."""
    return BuildPlan(
        name=REPOSITORY,
        parent=dataclasses.replace(parent, warnings=()),
        python=config.python,
        interpreter=CONDA_INTERPRETER,
        device_type=config.device_type,
        index_url=settings.index_url,
        extra_index_urls=settings.extra_index_urls,
        netrc=bool(settings.netrc or settings.logins),
        secret_proxies=settings.secret_proxies,
        wheels=settings.wheels is not None,
        ca_bundle="secret" if settings.ca_bundle else "none",
    )


def base_name(plan: BuildPlan) -> BaseName:
    """What the base image is called that a plan can start from; the plan may be a model's."""
    return BaseName(_combination(plan), _recipe(plan, with_server=False))


def server_name(plan: BuildPlan) -> BaseName:
    """What the image is called that holds the server for it."""
    return BaseName(f"{_combination(plan)}-server", _recipe(plan, with_server=True))


def labels(name: BaseName, plan: BuildPlan, parent: str) -> tuple[tuple[str, str], ...]:
    """The labels of a base image on a parent with this content. Images made from it inherit them."""
    return (
        (RECIPE_LABEL, name.recipe),
        (PARENT_LABEL, parent),
        ("org.opencontainers.image.base.name", plan.parent.reference),
    )


def repository(settings: Settings) -> str | None:
    """The repository of base images in the registry that the settings name, if they do."""
    return f"{settings.base_registry.rstrip('/')}/{REPOSITORY}" if settings.base_registry else None


def _plain(plan: BuildPlan) -> BuildPlan:
    """The plan without what differs from machine to machine and from model to model, and is not in the base image."""
    parent = dataclasses.replace(plan.parent, why="")
    return dataclasses.replace(plan.without_access(), parent=parent, base=None, base_server=None)


def _combination(plan: BuildPlan) -> str:
    # What differs is the parent: one without CUDA serves a GPU model no better than any other.
    cuda = plan.parent.cuda
    return f"{_python(plan)}-cu{cuda.replace('.', '')}" if cuda else f"{_python(plan)}-cpu"


def _python(plan: BuildPlan) -> str:
    return f"py{(plan.python or '').replace('.', '')}"


def _recipe(plan: BuildPlan, with_server: bool) -> str:
    text = render_base_dockerfile(_plain(plan), with_server)
    # Comments make no difference to what is built.
    text = "\n".join(line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    digest = hashlib.sha256(text.encode())
    for path, content in sorted(generated_files(plan)):
        if _reads(text, path):
            digest.update(f"\0{path}\0{hashlib.sha256(content).hexdigest()}".encode())
    return f"sha256:{digest.hexdigest()}"


def _reads(text: str, path: str) -> bool:
    """Whether a step of a Dockerfile reads a file of the build context."""
    if path.startswith(_PINS):  # mounted as a whole, though each step reads one of them
        return f"/pins/{path.removeprefix(_PINS)}" in text
    return any(f"{path}/".startswith(f"{source.rstrip('/')}/") for source in _SOURCES.findall(text))


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:_SHOWN]
