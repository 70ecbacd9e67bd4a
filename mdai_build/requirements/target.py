"""The machine that requirements are installed on: its Python and processor, and which wheels and markers fit it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType

from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

from mdai_build.matrix import Platform, support_matrix

MACHINE = "x86_64"
MACHINES: Mapping[Platform, str] = MappingProxyType({"linux/amd64": MACHINE, "linux/arm64": "aarch64"})
"""What an image's architecture is called in a wheel's tags (PEP 425) and by `platform.machine()`."""
# What only the running interpreter or kernel could tell; a marker over these is left to the installer.
_UNKNOWN_VARIABLES = re.compile(r"\b(?:python_full_version|implementation_version|platform_(?:release|version))\b")
# Far above any release: a minor version comes out every half a year.
_LAST_GLIBC_MINOR = 60
_SYSTEMS = (
    (re.compile(r"win(?:32|_\w+)"), "Windows"),
    (re.compile(r"macosx_\w+"), "macOS"),
    (re.compile(r"\w*linux\w*_(?:aarch64|arm\w*)"), "Linux on ARM"),
    (re.compile(r"\w*linux\w*_i686"), "32-bit Linux"),
    (re.compile(r"musllinux_\w+"), "Alpine Linux"),
)


@dataclass(frozen=True)
class Target:
    """Where requirements are installed. `python` is such as "3.10", None where the parent image decides."""

    python: str | None
    glibc_minor: int = field(default_factory=lambda: support_matrix().glibc_minor)
    """The C library's version is 2.this; by default the oldest among the parents."""
    machine: str = MACHINE

    def __str__(self) -> str:
        return f"Python {self.python} on Linux {self.machine}" if self.python else f"Linux {self.machine}"

    def applies(self, marker: Marker | None) -> bool:
        """Whether a line with this marker is installed; True where only the installer can tell."""
        if marker is None or self.python is None or _UNKNOWN_VARIABLES.search(str(marker)):
            return True
        environment = {
            "implementation_name": "cpython",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_version": self.python,
            "sys_platform": "linux",
            "extra": "",
        }
        try:
            return marker.evaluate(environment)
        except ValueError:
            return True

    def with_any_glibc(self) -> Target:
        """The same with a C library that is new enough for every wheel there is."""
        return replace(self, glibc_minor=_LAST_GLIBC_MINOR)

    def fits(self, tags: frozenset[Tag]) -> bool:
        """Whether a wheel with these tags (PEP 425) can be installed."""
        if self.python is None:
            platforms = set(_platforms(self.glibc_minor, self.machine))
            return any(tag.platform in platforms for tag in tags)
        return not tags.isdisjoint(self._tags)

    @cached_property
    def _tags(self) -> frozenset[Tag]:
        assert self.python is not None
        major, minor = (int(part) for part in self.python.split("."))
        interpreter = f"cp{major}{minor}"
        # Given by hand: left out, the library would take the flags of the interpreter that runs this program.
        abi = interpreter + ("m" if (major, minor) < (3, 8) else "")
        platforms = _platforms(self.glibc_minor, self.machine)
        return frozenset(
            (
                *cpython_tags((major, minor), abis=[abi], platforms=platforms),
                *compatible_tags((major, minor), interpreter=interpreter, platforms=platforms),
            )
        )


def oldest_platform() -> str:
    """The platform that a wheel for every parent has at most in its tags (PEP 600), such as `manylinux_2_17`."""
    return f"manylinux_2_{support_matrix().glibc_minor}"


def uv_platform(machine: str) -> str:
    """The same in uv's words, with the processor, such as `x86_64-manylinux_2_17`."""
    return f"{machine}-{oldest_platform()}"


def _platforms(glibc_minor: int, machine: str) -> list[str]:
    """Linux platform tags, PEP 600 and its forerunners, with `any` for pure wheels."""
    perennial = [f"manylinux_2_{minor}_{machine}" for minor in range(5, glibc_minor + 1)]
    named = [f"{name}_{machine}" for name in ("manylinux1", "manylinux2010", "manylinux2014", "linux")]
    return [*perennial, *named, "any"]


def newer_glibc(filename: str, target: Target) -> int | None:
    """The 2.x of the C library that the wheel needs, where that is all that keeps it from fitting."""
    tags = parse_wheel_filename(filename)[3]
    if target.fits(tags):
        return None
    for minor in range(target.glibc_minor + 1, _LAST_GLIBC_MINOR + 1):
        if replace(target, glibc_minor=minor).fits(tags):
            return minor
    return None


def pythons_of(filename: str) -> tuple[str, ...]:
    """The Pythons that a wheel's tags name, such as ("3.8", "3.9"); empty for any Python 3."""
    found = set()
    for tag in parse_wheel_filename(filename)[3]:
        version = re.fullmatch(r"(?:cp|py|pp)(\d)(\d+)", tag.interpreter)
        if version:
            found.add((int(version[1]), int(version[2])))
        elif tag.interpreter == "py2":
            found.add((2, 7))
    return tuple(f"{major}.{minor}" for major, minor in sorted(found))


def made_for(filename: str) -> str:
    """What a wheel's tags say that it was made for, in words: `Python 3.8 on Windows (cp38-cp38-win_amd64)`."""
    tags = sorted(parse_wheel_filename(filename)[3], key=str)
    pythons = pythons_of(filename)
    systems = sorted({_system(tag.platform) for tag in tags})
    words = [f"Python {' and '.join(pythons)}" if pythons else "Python 3"]
    if any(tag.interpreter.startswith("pp") for tag in tags):
        words = [words[0].replace("Python", "PyPy")]
    if systems != ["any system"]:
        words.append(f"on {' and '.join(systems)}")
    first = f"{tags[0]}" if len(tags) == 1 else filename.removesuffix(".whl").split("-", 2)[2]
    return f"{' '.join(words)} ({first})"


def _system(platform: str) -> str:
    if platform == "any":
        return "any system"
    for pattern, name in _SYSTEMS:
        if pattern.fullmatch(platform):
            return name
    return f"Linux {MACHINE}" if platform.endswith(MACHINE) else platform
