"""Which newer versions an installer builds from source, though an older one has a wheel.

pip and uv take the newest version that the Python may have, wheel or not. The preflight may not build anything, so that
its uv passes such a version over; this finds out which, without fetching one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from mdai_build.errors import Location, Problem
from mdai_build.requirements.model import REQUIREMENTS_FILE, Requirements
from mdai_build.requirements.preflight import CONFIG_FILE, full_version
from mdai_build.requirements.refusal import Refusal
from mdai_build.requirements.resolved import Resolved
from mdai_build.requirements.target import MACHINE, uv_platform

SOURCE_FILE = "_source.txt"
_SEARCHED = re.compile(r"Searching for a compatible version of ([A-Za-z0-9][\w.-]*)\S*(?: [^(]*)? \(([^)]*)\)")
_UPPER = re.compile(r"<(=?)([^=,|\s][^,|\s]*)")


def passed_over(log: str, resolved: Resolved) -> Iterator[tuple[str, str, str]]:
    """Of each package for which uv looked at newer versions first: name, version, and what bounds the newer ones.

    uv narrows its search to `<=` the next older version whenever it passes one over; what other packages ask for is
    mostly written with `<`.

    Args:
        log: of uv's search, with `--verbose`.
        resolved: what it came to.
    """
    ranges: dict[str, list[str]] = {}
    for name, text in _SEARCHED.findall(log):
        ranges.setdefault(name, []).append(text)
    for name, searched in sorted(ranges.items()):
        found = resolved.version(name)
        if found is None:
            continue
        bounds = [
            (equal, version) for text in searched for equal, text in _UPPER.findall(text) if (version := _version(text))
        ]
        first = {version for equal, text in _UPPER.findall(searched[0]) if equal and (version := _version(text))}
        if any(equal and version >= found and version not in first for equal, version in bounds):
            below = [version for equal, version in bounds if not equal and version > found]
            yield name, str(found), f"<{min(below)}" if below else ""


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def source_file(requirements: Requirements, name: str, version: str, bound: str) -> str:
    """The file that asks for one of the newer versions, from the same indexes."""
    left_out = ("--no-binary ", "--find-links ./", "--require-hashes")
    options = [option for option in requirements.options if not option.startswith(left_out)]
    newer = f"{name}>{version}" + (f",{bound}" if bound else "")
    return "".join(f"{line}\n" for line in (*options, newer))


def source_command(python: str, uv: Path, interpreter: Path, machine: str = MACHINE) -> list[str]:
    """The command that resolves `source_file` from what an earlier run has cached, and fetches nothing.

    It succeeds where a newer version is for this Python; with `--no-build` only where it has a wheel, too.
    """
    return [
        *(str(uv), "pip", "compile", "--offline", "--quiet", "--config-file", CONFIG_FILE, "--color", "never"),
        *("--no-deps", "--prerelease", "disallow", "--no-python-downloads", "--python", str(interpreter)),
        *("--python-version", full_version(python), "--python-platform", uv_platform(machine)),
        SOURCE_FILE,
    ]


def built_instead(requirements: Requirements, python: str, name: str, version: str) -> Problem:
    """The warning that an installer builds the newer version."""
    line = next((line for line in requirements.lines if line.name and canonicalize_name(line.name) == name), None)
    return Refusal(
        "built-from-source",
        f"an installer tries a newer {name} than {version} first, one without a wheel for Python {python}: "
        "it makes it from its source, which may take a while or fail",
        next_step=f"write `{name}<={version}`, which has a wheel",
    ).at(Location(line.file, line.line, source=line.text) if line else Location(REQUIREMENTS_FILE))
