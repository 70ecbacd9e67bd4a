"""The container engine: builds images, runs containers. The only room that starts processes or talks to a daemon."""

from mdai_build.engine.build import BuildRequest, BuildResult, Stage, build_image
from mdai_build.engine.connection import Engine, connect, require_image
from mdai_build.engine.container import RunOptions, running_container
from mdai_build.engine.local import LocalServer, find_python, install_server_packages, local_server
from mdai_build.engine.parent import ensure_parent, stages_from
from mdai_build.engine.secrets import netrc_file, proxy_file

__all__ = [
    "BuildRequest",
    "BuildResult",
    "Engine",
    "LocalServer",
    "RunOptions",
    "Stage",
    "build_image",
    "connect",
    "ensure_parent",
    "find_python",
    "install_server_packages",
    "local_server",
    "netrc_file",
    "proxy_file",
    "require_image",
    "running_container",
    "stages_from",
]
