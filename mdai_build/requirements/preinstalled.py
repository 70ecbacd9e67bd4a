"""The packages that an image has before the bundle's own requirements: `base_images/preinstalled/pyXY.txt`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement as Specification
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from mdai_build.requirements.model import Override, Pin, Requirement
from mdai_build.resources import resource


def preinstalled_file(python: str) -> Path:
    """The requirements file with the pins for this Python, such as "3.10"."""
    return resource("base_images", "preinstalled", f"py{python.replace('.', '')}.txt")


def preinstalled(python: str) -> tuple[Pin, ...]:
    """The packages, by exact version, that `mdai-env` has in an image of this Python.

    The document's list, at its versions where that Python has them, and what those need.
    """
    pins = []
    for line in preinstalled_file(python).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            pins.append(Pin(name, version))
    return tuple(pins)


def find_overrides(lines: Iterable[Requirement], python: str | None) -> tuple[Override, ...]:
    """Which preinstalled packages these lines change, in the order of the lines.

    A line with a version that the preinstalled one satisfies changes nothing; one that names a file or a URL does.
    """
    if python is None:
        return ()
    pins = {canonicalize_name(pin.name): pin for pin in preinstalled(python)}
    found = []
    for line in lines:
        pin = pins.get(canonicalize_name(line.name)) if line.name and line.applies else None
        if pin is None or (line.kind == "index" and _satisfied(line, pin)):
            continue
        asked = line.specifier if line.kind == "index" else line.text
        found.append(Override(pin.name, pin.version, asked, line.file, line.line))
    return tuple(found)


def _satisfied(line: Requirement, pin: Pin) -> bool:
    specifier = Specification(f"{line.name}{line.specifier}").specifier
    try:
        return specifier.contains(Version(pin.version), prereleases=True)
    except InvalidVersion:
        return False
