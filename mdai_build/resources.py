"""Where the data files are that the repo keeps beside the package: `templates/` and `base_images/`."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parent


def resource(*parts: str) -> Path:
    """The path of a data file or folder, such as `resource("base_images", "matrix.yaml")`.

    A wheel carries the data in `_data` beside this module; a checkout has it at the top of the repo.
    """
    bundled = _PACKAGE / "_data"
    root = bundled if bundled.is_dir() else _PACKAGE.parent
    return root.joinpath(*parts)


def yaml_resource(*parts: str) -> Any:
    """The content of a YAML data file of ours: the fast loader, where PyYAML has it, is poor at telling mistakes."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(resource(*parts).read_text(encoding="utf-8"), Loader=loader)


def runtime_folder() -> Path:
    """The package folder that runs inside an image."""
    return _PACKAGE / "runtime"


@cache
def resources_digest() -> str:
    """SHA-256 of all that an image is made from besides its plan: templates, pins, and what runs inside it."""
    digest = hashlib.sha256()
    pins = resource("base_images")
    files = {file.name: file for file in pins.glob("*.txt")}
    for name, folder in (
        ("templates", resource("templates")),
        ("preinstalled", pins / "preinstalled"),
        ("server", pins / "server"),
        ("runtime", runtime_folder()),
    ):
        found = (file for file in folder.rglob("*") if file.suffix in (".j2", ".txt", ".py") and _in_image(file))
        files |= {f"{name}/{file.relative_to(folder).as_posix()}": file for file in found}
    for name in sorted(files):
        digest.update(f"{name}\0{hashlib.sha256(files[name].read_bytes()).hexdigest()}\0".encode())
    return digest.hexdigest()


def _in_image(file: Path) -> bool:
    """Whether a template has a part in an image; those of the report and of `init` have none."""
    return not any(file.is_relative_to(resource("templates", name)) for name in ("report", "init"))
