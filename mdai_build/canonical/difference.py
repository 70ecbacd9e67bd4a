"""What two images in normal form differ in, by file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mdai_build.canonical.image import NormalImage
from mdai_build.canonical.tree import Entry

_PACKAGE = re.compile(r"(?:.*/)?(?:site-packages|opt/mdai/packages)/([^/]+)")


@dataclass(frozen=True)
class Difference:
    """One thing that is in one image and not in the other, or differs."""

    path: str
    """Of a file; of the configuration, `label NAME` or `setting NAME`."""
    what: str
    """In words: `only in the image`, `only in the rebuild`, `content`, or the attributes that differ."""
    made_by: str
    """The instruction that made it."""
    package: str | None
    """The Python package it belongs to, as its folder is called."""


def compare(image: NormalImage, rebuilt: NormalImage) -> tuple[Difference, ...]:
    """All that differs, sorted by path; nothing where both are the same."""
    found = [_config_difference(key, a, b) for key, a, b in _config_differences(image.runs, rebuilt.runs)]
    if image.parent != rebuilt.parent:
        found.append(Difference("parent", "they stand on different parents", "FROM", None))
    for path in sorted(image.files.keys() | rebuilt.files.keys()):
        what = _difference(image.files.get(path), rebuilt.files.get(path))
        if what:
            made_by = image.made_by.get(path) or rebuilt.made_by.get(path) or ""
            found.append(Difference(path, what, made_by, package_of(path)))
    found += [
        Difference(path, f"removed in the {where} only", "", package_of(path))
        for where, ours, theirs in (("image", image, rebuilt), ("rebuild", rebuilt, image))
        for path in sorted(set(ours.removed) - set(theirs.removed))
        if path not in theirs.files
    ]
    return tuple(found)


def package_of(path: str) -> str | None:
    """The package that a file belongs to, as far as its path tells."""
    match = _PACKAGE.match(path)
    if match is None:
        return None
    return re.sub(r"(?:-[^-]+)?\.(?:dist-info|egg-info|libs)$|\.py$|\.so$", "", match.group(1))


def _difference(ours: Entry | None, theirs: Entry | None) -> str:
    if ours is None or theirs is None:
        return "only in the rebuild" if ours is None else "only in the image"
    words = []
    for name, a, b in (
        ("kind", ours.kind, theirs.kind),
        ("mode", oct(ours.mode), oct(theirs.mode)),
        ("owner", (ours.user, ours.group), (theirs.user, theirs.group)),
        ("target", ours.target, theirs.target),
        ("device", ours.device, theirs.device),
        ("xattrs", ours.xattrs, theirs.xattrs),
        ("content", ours.digest, theirs.digest),
    ):
        if a != b:
            words.append(name)
    return ", ".join(words)


def _config_difference(key: str, ours: object, theirs: object) -> Difference:
    name = key.removeprefix("config.")
    label = name.removeprefix("Labels.")
    path = f"label {label}" if label != name else f"setting {name}"
    return Difference(path, f"{ours!r} in the image, {theirs!r} in the rebuild", "", None)


def _config_differences(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], above: str = ""
) -> list[tuple[str, Any, Any]]:
    found: list[tuple[str, Any, Any]] = []
    for key in sorted(ours.keys() | theirs.keys()):
        a, b = ours.get(key), theirs.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += _config_differences(a, b, f"{above}{key}.")
        elif a != b:
            found.append((f"{above}{key}", a, b))
    return found
