"""What is wrong with requirements that are each right by themselves: seen only when all of them have been read."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Iterator, Sequence

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from mdai_build.errors import Location, Problem
from mdai_build.requirements.install import is_pinned
from mdai_build.requirements.knowledge import first_version
from mdai_build.requirements.model import Requirement
from mdai_build.requirements.refusal import Refusal


def contradictions(lines: Iterable[Requirement]) -> Iterator[Problem]:
    """Two lines that pin one package to different versions: no installer can satisfy both."""
    first: dict[str, Requirement] = {}
    for line in lines:
        if line.name is None or not line.applies or not is_pinned(line):
            continue
        earlier = first.setdefault(canonicalize_name(line.name), line)
        if _version(earlier) != _version(line):
            yield Refusal(
                "contradiction",
                f"`{line.text}` contradicts `{earlier.text}` of {earlier.file}:{earlier.line}",
                next_step="keep one of the two lines",
            ).at(_place(line))


def missing_hashes(lines: Sequence[Requirement], options: Collection[str]) -> Iterator[Problem]:
    """pip and uv want a hash in every line as soon as one has one."""
    if "--require-hashes" not in options and not any(line.hashes for line in lines):
        return
    for line in lines:
        if line.applies and not line.hashes and "#sha" not in line.text:
            yield Refusal(
                "hash",
                f"`{line.text}` has no hash, while other lines have",
                expected="a --hash in every line, or in none",
                next_step="let pip-compile or uv write all hashes; a git address cannot have one",
            ).at(_place(line))


def unused_wheels(lines: Iterable[Requirement], wheels: Iterable[str], searched: Collection[str]) -> Iterator[Problem]:
    """Wheels of the bundle that no line names, and that lie in none of the folders that are searched for packages."""
    used = {line.path for line in lines}
    for path in wheels:
        if path in used or posixpath.dirname(path) in searched:
            continue
        yield Refusal(
            "unused-wheel",
            "no line of requirements.txt names this wheel: it is not installed",
            next_step=f"write `./{posixpath.relpath(path, '.mdai')}`, or take the file out of the bundle",
        ).at(Location(path))


def local_versions(lines: Iterable[Requirement], options: Iterable[str], python: str | None) -> Iterator[Problem]:
    """`torch==1.7.1+cu101`: the public index has no version with a `+` (PEP 440, local version identifiers)."""
    has_page = any(not option.startswith("--no-") for option in options if " " in option)
    for line in lines:
        if line.kind != "index" or not line.applies or not is_pinned(line) or "+" not in line.specifier:
            continue
        yield from _too_old_for_python(line, python)
        if has_page:
            continue
        page = "https://download.pytorch.org/whl/torch_stable.html"
        pytorch = line.name in ("torch", "torchvision", "torchaudio")
        yield Refusal(
            "local-version",
            f"`{line.text}`: versions with `+` are not on the public package index",
            next_step=f"write `-f {page if pytorch else 'PAGE-WITH-ITS-WHEELS'}` on the line above",
        ).at(_place(line))


def _too_old_for_python(line: Requirement, python: str | None) -> Iterator[Problem]:
    """`torch==1.6.0+cu101` on Python 3.9: PyTorch's own page has a version's builds for the Pythons of its time."""
    first = first_version(line.name or "", python) if python else None
    version = line.specifier.lstrip("= ").partition("+")[0]
    if first is None or python is None or Version(version) >= Version(first):
        return
    yield Refusal(
        "too-old-for-python",
        f"there is no build of {line.name} {version} for Python {python}: {first} is the first that has one",
        next_step=f"take {first} or newer, or the base_image of an older Python",
    ).at(_place(line))


def _place(line: Requirement) -> Location:
    return Location(line.file, line.line, source=line.text)


def _version(line: Requirement) -> Version | str:
    """The version that the line pins; `===` may pin one that is none by PEP 440."""
    text = line.specifier.lstrip("=").strip()
    try:
        return Version(text)
    except InvalidVersion:
        return text
