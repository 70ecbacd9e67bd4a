"""The container engine: builds images, runs containers. The only room that starts processes or talks to a daemon."""

from mdai_build.engine.build import BuildRequest, BuildResult, Stage, build_image
from mdai_build.engine.connection import Engine, connect, require_image
from mdai_build.engine.container import RunOptions, running_container
from mdai_build.engine.inspection import ImageDetails, Layer, file_of_image, look_into
from mdai_build.engine.local import LocalServer, find_python, install_server_packages, local_server
from mdai_build.engine.parent import ensure_parent, stages_from

__all__ = [
    "BuildRequest",
    "BuildResult",
    "Engine",
    "ImageDetails",
    "Layer",
    "LocalServer",
    "RunOptions",
    "Stage",
    "build_image",
    "connect",
    "ensure_parent",
    "file_of_image",
    "find_python",
    "install_server_packages",
    "local_server",
    "look_into",
    "require_image",
    "running_container",
    "stages_from",
]
