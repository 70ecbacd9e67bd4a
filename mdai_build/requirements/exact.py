"""The packages that an image's bill of materials lists, as what installs exactly those again.

The list comes from a stranger's image: what is no plain name and version is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from packaging.version import InvalidVersion, Version

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_CONDA_WORD = re.compile(r"[A-Za-z0-9_.!+]+")
_CONDA_NAME = re.compile(r"[a-z0-9_][a-z0-9_.-]*")
_PREFIX = "mdai-build:"


def exact_package(component: Mapping[str, Any]) -> str | None:
    """The pin of a Python package of the model that came from an index; None for any other component."""
    properties = _properties(component)
    name, version = str(component.get("name")), str(component.get("version"))
    if properties.get("group") != "model" or "source" in properties or not _NAME.fullmatch(name):
        return None
    try:
        return f"{name}=={Version(version)}"
    except InvalidVersion:
        return None


def exact_conda_package(component: Mapping[str, Any]) -> str | None:
    """A conda package as `conda create` asks for it exactly, `name=version=build`; None for any other component."""
    if _properties(component).get("group") != "conda":
        return None
    try:
        url = urlsplit(str(component.get("purl")))
    except ValueError:
        return None
    name, _, version = unquote(url.path).removeprefix("conda/").partition("@")
    build = parse_qs(url.query).get("build", [""])[0]
    if not _CONDA_NAME.fullmatch(name) or not _CONDA_WORD.fullmatch(version) or not _CONDA_WORD.fullmatch(build):
        return None
    return f"{name}={version}={build}"


def _properties(component: Mapping[str, Any]) -> dict[str, str]:
    found = component.get("properties")
    entries = [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
    return {str(entry.get("name")).removeprefix(_PREFIX): str(entry.get("value")) for entry in entries}
