"""Where the data files are that the repo keeps beside the package: `templates/` and `base_images/`."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource(*parts: str) -> Path:
    """The path of a data file or folder, such as `resource("base_images", "matrix.yaml")`.

    A wheel carries the data in `_data` beside this module; a checkout has it at the top of the repo.
    """
    bundled = _PACKAGE / "_data"
    root = bundled if bundled.is_dir() else _PACKAGE.parent
    return root.joinpath(*parts)


def runtime_folder() -> Path:
    """The package folder that runs inside an image."""
    return _PACKAGE / "runtime"
