"""The container engine: builds images, runs containers. The only room that starts processes or talks to a daemon.

Its names are looked up when they are asked for: the resolver alone is needed where no container engine is, and the
Docker library takes a quarter of a second to import.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mdai_build.engine.archive import layers_of, load_image, save_image
    from mdai_build.engine.attach import attach_statement, attached_statement
    from mdai_build.engine.bake import bake_file, bake_images
    from mdai_build.engine.build import BuildRequest, BuildResult, build_image
    from mdai_build.engine.connection import Engine, ImageFacts, require_image, restarts_told
    from mdai_build.engine.container import (
        RunOptions,
        can_do_without_network,
        end_work,
        require_local,
        running_container,
    )
    from mdai_build.engine.finding import connect
    from mdai_build.engine.gpus import GpuRequest, gpu_request
    from mdai_build.engine.inspection import ImageDetails, Layer, digests_of, file_of_image, look_into
    from mdai_build.engine.local import LocalServer, find_python, install_server_packages, local_server
    from mdai_build.engine.parent import ensure_parent, in_registry, pull_image
    from mdai_build.engine.progress import Stage, Step
    from mdai_build.engine.push import Pushed, push_image
    from mdai_build.engine.resolver import Resolution, Resolver
    from mdai_build.engine.secrets import netrc_file, proxy_file
    from mdai_build.engine.target import GpuTarget, Reloadable
    from mdai_build.engine.unfinished import remove_unfinished, unfinished_images
    from mdai_build.engine.watch import FolderWatch, watched

_MODULES = {
    "attach": ("attach_statement", "attached_statement"),
    "archive": ("layers_of", "load_image", "save_image"),
    "bake": ("bake_file", "bake_images"),
    "build": ("BuildRequest", "BuildResult", "build_image"),
    "connection": ("Engine", "ImageFacts", "require_image", "restarts_told"),
    "container": ("RunOptions", "can_do_without_network", "end_work", "require_local", "running_container"),
    "finding": ("connect",),
    "gpus": ("GpuRequest", "gpu_request"),
    "inspection": ("ImageDetails", "Layer", "digests_of", "file_of_image", "look_into"),
    "local": ("LocalServer", "find_python", "install_server_packages", "local_server"),
    "parent": ("ensure_parent", "in_registry", "pull_image"),
    "progress": ("Stage", "Step"),
    "push": ("Pushed", "push_image"),
    "resolver": ("Resolution", "Resolver"),
    "secrets": ("netrc_file", "proxy_file"),
    "target": ("GpuTarget", "Reloadable"),
    "unfinished": ("remove_unfinished", "unfinished_images"),
    "watch": ("FolderWatch", "watched"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "BuildRequest",
    "BuildResult",
    "Engine",
    "FolderWatch",
    "GpuRequest",
    "GpuTarget",
    "ImageDetails",
    "ImageFacts",
    "Layer",
    "LocalServer",
    "Pushed",
    "Reloadable",
    "Resolution",
    "Resolver",
    "RunOptions",
    "Stage",
    "Step",
    "attach_statement",
    "attached_statement",
    "bake_file",
    "bake_images",
    "build_image",
    "can_do_without_network",
    "connect",
    "digests_of",
    "end_work",
    "ensure_parent",
    "file_of_image",
    "find_python",
    "gpu_request",
    "in_registry",
    "install_server_packages",
    "layers_of",
    "load_image",
    "local_server",
    "look_into",
    "netrc_file",
    "proxy_file",
    "pull_image",
    "push_image",
    "remove_unfinished",
    "require_image",
    "require_local",
    "restarts_told",
    "running_container",
    "save_image",
    "unfinished_images",
    "watched",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
