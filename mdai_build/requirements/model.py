"""What a bundle asks to have installed, once its requirements.txt has been read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mdai_build.errors import Problem

Kind = Literal["index", "url", "vcs", "wheel", "sdist", "folder"]

REQUIREMENTS_FILE = ".mdai/requirements.txt"
LOCK_FILE = ".mdai/requirements.lock"
LOCAL_KINDS: tuple[Kind, ...] = ("wheel", "sdist", "folder")


@dataclass(frozen=True)
class Requirement:
    """One line that names something to install (or, among `Requirements.constraints`, to hold back)."""

    kind: Kind
    text: str
    """The logical line as the installer reads it: rebuilt from what was parsed, never copied from the file."""
    name: str | None
    """As written; None where neither the line nor a file's name tells it (a bare git URL, a folder)."""
    specifier: str
    extras: tuple[str, ...]
    marker: str | None
    hashes: tuple[str, ...]
    """`sha256:…`, of which the installed archive must have one."""
    file: str
    line: int
    path: str | None = None
    """Of a wheel, an sdist or a folder, relative to the model root."""
    applies: bool = True
    """Whether the marker holds on the target; a line that does not apply is not installed."""


@dataclass(frozen=True)
class Pin:
    """A package that the image's conda environment has before the bundle's own requirements are installed."""

    name: str
    version: str


@dataclass(frozen=True)
class Override:
    """A preinstalled package that a line of the bundle changes."""

    name: str
    preinstalled: str
    asked: str
    """What the line asks for: `==1.19.2`, or the URL or path that it names."""
    file: str
    line: int


@dataclass(frozen=True)
class Requirements:
    """Everything that the install step needs to know. Lines are in the order of the files, includes in their place."""

    lines: tuple[Requirement, ...] = ()
    constraints: tuple[Requirement, ...] = ()
    """From `-c` files: versions for what is installed anyway."""
    options: tuple[str, ...] = ()
    """Global options in order, each as `--option value`."""
    files: tuple[str, ...] = ()
    """The members of the bundle that `lines` and `options` install from, relative to the model root and sorted."""
    sources: tuple[str, ...] = ()
    """The files that were read: requirements.txt, then what it includes."""
    overrides: tuple[Override, ...] = ()
    warnings: tuple[Problem, ...] = ()
    lock: str | None = None
    """The lock that the lines come from: all that is installed, so that no dependency of theirs is looked for."""
    machine: str = "x86_64"
    """The processor that they are installed for, as wheels name it."""

    @property
    def needs_git(self) -> bool:
        """Whether something is to be fetched with git."""
        return any(line.kind == "vcs" and line.applies for line in self.lines)
