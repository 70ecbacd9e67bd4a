"""The lock of a bundle: `.mdai/requirements.lock`, every package that its requirements come down to, with hashes.

Only the pure parts: what is resolved, the command that does it, the text that is written, and what a lock says of
itself. A lock begins with comments of this form, and is otherwise a requirements file that pip and uv read:

    # Every package that .mdai/requirements.txt comes down to, exactly. `mdai-build lock` writes this file.
    # made by: mdai-build 0.1.0
    # python: 3.10
    # platform: x86_64-manylinux_2_28
    # requirements: sha256:…

There is no time in it: the same input gives the same bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.utils import canonicalize_name

from mdai_build import __version__
from mdai_build.bundle import Bundle
from mdai_build.errors import Location
from mdai_build.requirements.install import CONSTRAINT_FILE, constraint_file, installer_arguments
from mdai_build.requirements.model import LOCK_FILE, REQUIREMENTS_FILE, Kind, Requirements
from mdai_build.requirements.preinstalled import preinstalled
from mdai_build.requirements.refusal import Refusal
from mdai_build.requirements.target import MACHINE, uv_platform

_TITLE = f"# Every package that {REQUIREMENTS_FILE} comes down to, exactly. `mdai-build lock` writes this file.\n"
_FACT = re.compile(r"# (made by|python|platform|requirements): (\S.*)")
_PINNED = re.compile(r"([A-Za-z0-9][\w.-]*)==([^\s;\\]+)")
# How versions are chosen, which a lock has done, and what is said by its lines.
_CHOOSING = ("--pre", "--prefer-binary", "--require-hashes")
_BUILT: tuple[Kind, ...] = ("vcs", "sdist", "folder")
# What of a folder of the bundle says what it needs; a change of its code alone leaves the lock as it is.
_PROJECT_FILES = ("pyproject.toml", "setup.cfg", "setup.py")
RENEW = "run `mdai-build lock` on the model, and pack it anew"


@dataclass(frozen=True)
class LockFacts:
    """What a lock says that it was made from and for."""

    made_by: str
    python: str
    platform: str
    requirements: str
    """`sha256:…`, see `requirements_digest`."""


def lock_facts(text: str) -> LockFacts | None:
    """What the text of a lock says of itself; None when `mdai-build lock` did not write it."""
    found = {match[1]: match[2] for line in text.splitlines()[:20] if (match := _FACT.fullmatch(line))}
    if set(found) != {"made by", "python", "platform", "requirements"}:
        return None
    return LockFacts(found["made by"], found["python"], found["platform"], found["requirements"])


def requirements_digest(bundle: Bundle, requirements: Requirements) -> str:
    """What a lock is made from: the requirements files, and the project files of the folders that they name.

    Ends of lines do not count: archives and version control change them.
    """
    folders = [line.path for line in requirements.lines if line.kind == "folder" and line.path and line.applies]
    projects = [f"{'' if folder == '.' else f'{folder}/'}{name}" for folder in folders for name in _PROJECT_FILES]
    digest = hashlib.sha256()
    for path in (*requirements.sources, *sorted(filter(bundle.has, projects))):
        content = bundle.read_bytes(path).replace(b"\r\n", b"\n")
        digest.update(b"%s\0%d\0%s" % (path.encode(), len(content), content))
    return f"sha256:{digest.hexdigest()}"


def stale(facts: LockFacts, digest: str, python: str | None, machine: str = MACHINE) -> Refusal | None:
    """Why a lock does not hold for the bundle as it is now."""
    if facts.requirements != digest:
        return Refusal("stale-lock", f"the lock was made from another {REQUIREMENTS_FILE}", next_step=RENEW)
    if python is not None and facts.python != python:
        base_image = f"py{python.replace('.', '')}"
        what = f"the lock was made for Python {facts.python}; this bundle asks for {base_image}"
        return Refusal("stale-lock", what, next_step=RENEW)
    if facts.platform != uv_platform(machine):
        what = f"the lock was made for {facts.platform}; this image is for {uv_platform(machine)}"
        return Refusal("stale-lock", what, next_step=f"{RENEW}, for the same --platform")
    return None


def _platform(machine: str) -> str:
    return uv_platform(machine)


def needs_building(requirements: Requirements) -> bool:
    """Whether a package must be built to know what it needs, which is not done on the host: that would run its code."""
    return any(
        line.applies and (line.kind in _BUILT or (line.kind == "url" and not _is_wheel(line.text)))
        for line in requirements.lines
    ) or any(option.startswith("--no-binary") for option in requirements.options)


def lock_input(requirements: Requirements) -> str:
    """The requirements file that is resolved, for a folder as `install_file` asks for."""
    options = [option for option in requirements.options if option not in _CHOOSING]
    if constraint_file(requirements):
        options.append(f"-c {CONSTRAINT_FILE}")
    return "".join(f"{line}\n" for line in (*options, *(line.text for line in requirements.lines if line.applies)))


def preferences(python: str, old_lock: str | None) -> str:
    """The versions to take where they fit: those of an earlier lock, then those that an image has preinstalled.

    uv reads them from the file that it is to write. Without hashes, which it would take over unseen.
    """
    kept = {canonicalize_name(name): version for name, version in _PINNED.findall(old_lock or "")}
    for pin in preinstalled(python):
        kept.setdefault(canonicalize_name(pin.name), pin.version)
    return "".join(f"{name}=={version}\n" for name, version in sorted(kept.items()))


def lock_arguments(requirements: Requirements) -> tuple[str, ...]:
    """What `uv pip compile` is told in a container, for the same wheels as on the host."""
    return (
        *(
            "--python-platform",
            _platform(requirements.machine),
            "--quiet",
            "--color",
            "never",
            "--no-header",
            "--no-annotate",
            "--generate-hashes",
        ),
        *installer_arguments(requirements, "uv"),
    )


def lock_text(resolved: str, bundle: Bundle, requirements: Requirements, python: str) -> str:
    """The lock's text.

    Args:
        resolved: what uv wrote.
        bundle: that is locked.
        requirements: that were resolved.
        python: of the image, such as "3.10".
    """
    facts = (
        f"# made by: mdai-build {__version__}\n"
        f"# python: {python}\n"
        f"# platform: {_platform(requirements.machine)}\n"
        f"# requirements: {requirements_digest(bundle, requirements)}\n"
    )
    options = "".join(f"{option}\n" for option in requirements.options if option not in _CHOOSING)
    lines = "".join(f"{line}\n" for line in resolved.splitlines() if line.strip() and not _is_option(line))
    return f"{_TITLE}{facts}{options}{lines}"


def locked(raw: Requirements, lock: Requirements) -> Requirements:
    """What is installed when a lock holds: its lines in place of those of the requirements files."""
    return replace(lock, sources=(*raw.sources, LOCK_FILE), warnings=raw.warnings, lock=LOCK_FILE)


def place_of_archive_lock(archive: Path) -> Path:
    """Where the lock of an archive is written: beside it, since an archive is not rewritten."""
    name = archive.name
    for ending in (".zip", ".tar.gz", ".tgz"):
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
            break
    return archive.with_name(f"{name}.requirements.lock")


def without_hash(lock: Requirements) -> Sequence[Location]:
    """The lines of a lock that should have a hash and have none. What is built in the image cannot have one."""
    return [
        Location(line.file, line.line, source=line.text)
        for line in lock.lines
        if line.applies and not line.hashes and line.kind not in ("vcs", "folder")
    ]


def _is_wheel(text: str) -> bool:
    return text.split(" ;")[0].split(" --hash")[0].split("#")[0].endswith(".whl")


def _is_option(line: str) -> bool:
    return line.startswith("-")
