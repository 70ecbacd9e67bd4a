"""Wheels, source archives and folders of the bundle that a requirement names by its path."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

from mdai_build.bundle import Bundle
from mdai_build.matrix import support_matrix
from mdai_build.requirements.model import Kind
from mdai_build.requirements.refusal import Refusal
from mdai_build.requirements.target import Target, made_for, pythons_of

SDIST_ENDINGS = (".tar.gz", ".zip", ".tgz", ".tar.bz2", ".tar.xz")
# Both pip and uv read a path as it stands up to ` ;` or `[`, without percent-decoding; these characters mean
# nothing to either of them (tried with uv 0.13 and pip 23.2).
_PLAIN_PATH = re.compile(r"[\w.+@,~()=/-][\w .+@,~()=/-]*")
_SUGGESTED_FROM = 500
"""Nearest names are sought among this many members, so that a bundle of many files stays quick to check."""


class LocalFiles:
    """What the bundle holds that can be installed from."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._folders = {parent for member in bundle.members for parent in _parents(member.path)}

    def find(self, written: str, file: str) -> tuple[Kind, str]:
        """The kind and the path in the bundle of what a line of `file` names as `written`.

        Sought beside the file that has the line, then in `.mdai`, where today's system installs from, then in the
        model root.

        Raises:
            Refusal: nothing is there, it lies outside the bundle, or it is nothing to install from.
        """
        path = self._locate(written, file)
        if not _PLAIN_PATH.fullmatch(path) or " -" in path or "  " in path:
            raise Refusal(
                "path-characters",
                f"`{written}` has characters in its path that installers read as something else",
                expected="letters, digits and . _ + - in names of files and folders",
                next_step="rename the file or its folder",
            )
        if not self._bundle.has(path):
            return "folder", self._source_folder(path, written)
        name = posixpath.basename(path)
        if name.endswith(".whl"):
            return "wheel", path
        if name.endswith(SDIST_ENDINGS):
            return "sdist", path
        raise Refusal(
            "not-installable",
            f"`{written}` is neither a wheel nor a source archive",
            expected=f"a file ending in .whl, {', '.join(SDIST_ENDINGS)}, or a folder with pyproject.toml or setup.py",
        )

    def folder(self, written: str, file: str) -> str:
        """The path of a folder of the bundle, for `--find-links`.

        Raises:
            Refusal: it is not there, or lies outside the bundle.
        """
        path = self._locate(written, file)
        if path not in self._folders or not _PLAIN_PATH.fullmatch(path) or " " in path:
            raise Refusal(
                "find-links",
                f"`{written}` is not a folder of the bundle that can be searched",
                expected="the URL of a page with links, or a folder of the bundle without spaces in its name",
            )
        return path

    def archives(self, folder: str) -> tuple[str, ...]:
        """The wheels and source archives directly in a folder."""
        return tuple(
            path
            for path in self.below(folder)
            if posixpath.dirname(path) == ("" if folder == "." else folder) and path.endswith((".whl", *SDIST_ENDINGS))
        )

    def below(self, folder: str) -> Iterator[str]:
        """Every file in a folder and its subfolders."""
        prefix = "" if folder == "." else f"{folder}/"
        return (member.path for member in self._bundle.members if member.path.startswith(prefix))

    def beside(self) -> tuple[str, ...]:
        """The wheels that lie in `.mdai` or below it."""
        return tuple(path for path in self.below(".mdai") if path.endswith(".whl"))

    def _locate(self, written: str, file: str) -> str:
        if written.startswith(("/", "~")) or re.match(r"[A-Za-z]:", written):
            raise Refusal(
                "absolute-path",
                f"`{written}` is a path of your own machine",
                next_step=f"put the file into `.mdai` and write `./{re.split('[/:]', written)[-1]}`",
            )
        places = [posixpath.normpath(posixpath.join(base, written)) for base in (posixpath.dirname(file), ".mdai", "")]
        inside = [place for place in places if place != ".." and not place.startswith("../")]
        for place in inside:
            if self._bundle.has(place) or place in self._folders:
                return place
        if not inside:
            raise Refusal(
                "outside-bundle",
                f"`{written}` lies outside the bundle",
                next_step="put the file into `.mdai` and name it from there",
            )
        raise self._missing(written)

    def _source_folder(self, path: str, written: str) -> str:
        prefix = "" if path == "." else f"{path}/"
        if not any(self._bundle.has(f"{prefix}{name}") for name in ("pyproject.toml", "setup.py")):
            raise Refusal(
                "not-installable",
                f"the folder `{written}` is not a Python project",
                expected="a folder with a pyproject.toml or a setup.py",
                next_step="modules of the bundle need no line: every folder of it is on sys.path already",
            )
        return path

    def _missing(self, written: str) -> Refusal:
        name = posixpath.basename(written)
        wheel = name.endswith(".whl")
        there = [
            member.path
            for member in self._bundle.members
            if member.path.endswith(".whl") or (not wheel and member.path.endswith(SDIST_ENDINGS))
        ][:_SUGGESTED_FROM]
        near = _nearest(name, there)
        what = f"the bundle has no `{written}`"
        if near:
            return Refusal("missing-file", what, next_step=f"did you mean `./{posixpath.relpath(near, '.mdai')}`?")
        if re.match(r"(?:www\.)?(?:github\.com|gitlab\.com|bitbucket\.org)/", written):
            return Refusal(
                "missing-file",
                f"`{written}` is an address without the `https://` before it",
                next_step=f"write `git+https://{written.removeprefix('www.')}`",
            )
        if re.fullmatch(r"[\w.-]+/[\w.-]+", written) and not name.endswith((".whl", *SDIST_ENDINGS)):
            return Refusal(
                "missing-file", what, next_step=f"for a GitHub project write `git+https://github.com/{written}`"
            )
        return Refusal(
            "missing-file",
            what,
            expected="a path beside requirements.txt, in `.mdai`",
            next_step="add the file" if wheel else "add the file or folder, or take out the line",
        )


def _nearest(name: str, paths: list[str]) -> str | None:
    """The member most like the one that is missing: the same project first, then the nearest spelling."""
    by_name = {posixpath.basename(path).lower(): path for path in paths}
    if name.lower() in by_name:
        return by_name[name.lower()]
    project = _project(name)
    same = [path for path in paths if project and _project(posixpath.basename(path)) == project]
    if same:
        return same[0]
    close = get_close_matches(name.lower(), by_name, n=1)
    return by_name[close[0]] if close else None


def _project(filename: str) -> str | None:
    name = archive_name(filename)
    return canonicalize_name(name) if name else None


def archive_name(filename: str) -> str | None:
    """The project that a wheel's or sdist's file name tells; None when the name does not follow the standard."""
    try:
        if filename.endswith(".whl"):
            parse_wheel_filename(filename)
            return filename.split("-")[0]
        return str(parse_sdist_filename(filename)[0])
    except (InvalidWheelFilename, InvalidSdistFilename, ValueError):
        return None


def check_wheel_name(filename: str, target: Target) -> None:
    """Refuse a wheel that the target cannot install (PEP 425, PEP 427).

    Raises:
        Refusal: the name is none of a wheel, or its tags do not fit.
    """
    # Browsers add ` (1)` to a second download; the library takes it for a part of the platform.
    if re.search(r"[^\w.+!-]", filename):
        raise wheel_name_refusal(filename)
    try:
        tags = parse_wheel_filename(filename)[3]
    except (InvalidWheelFilename, ValueError):
        raise wheel_name_refusal(filename) from None
    # A newer C library alone may be there in the parent: the reader warns.
    if target.with_any_glibc().fits(tags):
        return
    next_step = f"take or build the wheel for {target}"
    usable = [python for python in pythons_of(filename) if python in support_matrix().pythons]
    if target.python and usable and replace(target.with_any_glibc(), python=usable[-1]).fits(tags):
        next_step += f", or set `base_image: py{usable[-1].replace('.', '')}`"
    raise Refusal(
        "wheel-tags",
        f"`{filename}` is made for {made_for(filename)}",
        expected=f"a wheel for {target}",
        next_step=next_step,
    )


def wheel_name_refusal(filename: str) -> Refusal:
    """Why a file that ends in `.whl` is not taken for a wheel."""
    return Refusal(
        "wheel-name",
        f"`{filename}` is not the name of a wheel, so that no installer takes it",
        expected="NAME-VERSION-PYTHON-ABI-PLATFORM.whl, such as custom_wheel-0.1.0-py3-none-any.whl",
        next_step="give the file back the name that it was built with",
    )


def _parents(path: str) -> Iterator[str]:
    yield "."
    while path := posixpath.dirname(path):
        yield path
