"""The packages that a resolution came to, read from what `uv pip compile` writes."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote, urlsplit

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

_HASH = re.compile(r"--hash[= ](\S+)")


@dataclass(frozen=True)
class ResolvedPackage:
    """One package that the installer would install."""

    name: str
    """Canonical (PEP 503)."""
    version: str | None
    """None where only the archive itself could tell."""
    source: str | None = None
    """The URL or path that it comes from; None: a package index."""
    hashes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Resolved:
    """Everything that the installer would install, sorted by name."""

    packages: tuple[ResolvedPackage, ...] = ()

    def version(self, name: str) -> Version | None:
        """The version of a package, None where it is not among them or its version is none by PEP 440."""
        package = self._by_name.get(canonicalize_name(name))
        try:
            return Version(package.version) if package and package.version else None
        except InvalidVersion:
            return None

    def __contains__(self, name: str) -> bool:
        return canonicalize_name(name) in self._by_name

    @cached_property
    def _by_name(self) -> dict[str, ResolvedPackage]:
        return {package.name: package for package in self.packages}


def parse_resolved(text: str) -> Resolved:
    """Reads the requirements file that `uv pip compile` writes; lines that name no package are passed over."""
    return Resolved(tuple(sorted(_packages(text), key=lambda package: package.name)))


def _packages(text: str) -> Iterator[ResolvedPackage]:
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        bare = re.sub(r"(?:^|\s)#.*", "", line).strip()
        hashes = tuple(_HASH.findall(bare))
        wanted = re.split(r"\s+;|\s+--hash", bare)[0].strip()
        if pinned := re.fullmatch(r"([\w.-]+)(?:\[[^\]]*\])?===?(\S+)", wanted):
            yield ResolvedPackage(canonicalize_name(pinned[1]), pinned[2], None, hashes)
        elif addressed := re.fullmatch(r"([\w.-]+)(?:\[[^\]]*\])? @ (\S+)", wanted):
            yield ResolvedPackage(canonicalize_name(addressed[1]), _wheel(addressed[2])[1], addressed[2], hashes)
        elif wanted.endswith(".whl") and (wheel := _wheel(wanted))[0]:
            yield ResolvedPackage(wheel[0], wheel[1], wanted, hashes)


def _wheel(address: str) -> tuple[str, str | None]:
    """Name and version that the file name at the end of an address tells."""
    try:
        name, version, _, _ = parse_wheel_filename(unquote(posixpath.basename(urlsplit(address).path)))
    except (InvalidWheelFilename, ValueError):
        return "", None
    return str(name), str(version)
