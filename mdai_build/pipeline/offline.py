"""Builds without an index: what a folder of wheels must hold, and how such a folder is filled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

from mdai_build.errors import Location, Problem, UnavailableError
from mdai_build.requirements import Requirements
from mdai_build.requirements.target import Target, oldest_platform
from mdai_build.resources import resource

# pip takes a platform alone, and does not think of the older ones itself.
_OLDER_PLATFORMS = ("manylinux_2_17", "manylinux2014", "manylinux2010", "manylinux1")


def check_wheels(folder: Path, requirements: Requirements, python: str, model: Path) -> None:
    """Looks whether a folder has a file for all that is named: by our own lists exactly, by the requirements by name.

    What those need in turn is found out by the installer.

    Raises:
        UnavailableError: something is missing; each list a problem, with all names and the command that fetches them.
    """
    available = list(_available(folder, Target(python, machine=requirements.machine)))
    pins = resource("base_images")
    key = f"py{python.replace('.', '')}"
    lists = {
        "the installer": _pins(pins / "uv.txt"),
        "the preinstalled packages": _pins(pins / "preinstalled" / f"{key}.txt"),
        "the server's packages": _pins(pins / "server" / f"{key}.txt"),
    }
    problems = [
        _problem(folder, what, missing, _download(missing, python, folder, requirements.machine))
        for what, wanted in lists.items()
        if (missing := _missing(wanted, available))
    ]
    named = [
        Requirement(f"{line.name}{line.specifier if line.kind == 'index' else ''}")
        for line in requirements.lines
        if line.applies and line.name and line.kind in ("index", "vcs", "url")
    ]
    if missing := _missing(named, available):
        problems.append(_problem(folder, "the requirements", missing, f"mdai-build wheels {model} {folder}"))
    if problems:
        raise UnavailableError(problems)


def _available(folder: Path, target: Target) -> Iterator[tuple[str, Version]]:
    for file in folder.iterdir():
        try:
            if file.suffix == ".whl":
                name, version, _, tags = parse_wheel_filename(file.name)
                if target.fits(tags):
                    yield name, version
            elif file.name.endswith((".tar.gz", ".zip")):
                yield parse_sdist_filename(file.name)
        except ValueError:  # no name that an installer would read
            continue


def _pins(file: Path) -> list[Requirement]:
    lines = (line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line]


def _missing(wanted: Iterable[Requirement], available: list[tuple[str, Version]]) -> list[Requirement]:
    return [
        each
        for each in wanted
        if not any(
            name == canonicalize_name(each.name) and each.specifier.contains(version, prereleases=True)
            for name, version in available
        )
    ]


def _download(missing: list[Requirement], python: str, folder: Path, machine: str) -> str:
    """pip's command for exact versions, which any machine with a network and any Python can run."""
    platforms = " ".join(f"--platform {name}_{machine}" for name in (oldest_platform(), *_OLDER_PLATFORMS))
    pins = " ".join(map(str, missing))
    return (
        f"pip download --no-deps --only-binary :all: --python-version {python} {platforms} --dest {folder} {pins}"
        f" (or for all at once: mdai-build wheels MODEL {folder})"
    )


def _problem(folder: Path, what: str, missing: list[Requirement], command: str) -> Problem:
    return Problem(
        code="offline.missing-wheels",
        what=f"the folder of wheels lacks {len(missing)} of {what}: {', '.join(map(str, missing))}",
        where=Location(str(folder), key="wheels"),
        next_step=f"where there is a network: {command}",
    )
