"""The forms that one requirement has: from the index, by URL, from git, and by a path in the bundle.

Each is rebuilt from its parts into the text that the installer reads. Tried with uv 0.13 and pip 23.2:

- A path is relative to the working folder of the installer (not to the file that names it), and may have extras and
  a marker after ` ; `. A bare `a.whl` is one too; `./` is set before it so that no installer takes it for a name.
- `name[extra] @ url ; marker` is read alike by both; `#egg=name` is left out of the URL, since uv refuses one that
  differs from the package's own name and pip warns of it.
- A git URL needs no name.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote

import pip_requirements_parser as pip  # type: ignore[import-untyped]
from packaging.markers import Marker
from packaging.specifiers import SpecifierSet

from mdai_build.requirements import hints
from mdai_build.requirements.local import LocalFiles, archive_name, check_wheel_name, wheel_name_refusal
from mdai_build.requirements.model import Kind, Requirement
from mdai_build.requirements.redact import redact
from mdai_build.requirements.refusal import Refusal
from mdai_build.requirements.target import Target
from mdai_build.requirements.urls import split_url

_HASH = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_REFERENCE = re.compile(r"[A-Za-z0-9_][\w./+-]*")
_LONGEST = 4096  # no name, address or marker comes near; parsers take minutes for some lines of a megabyte
_MOST_PARENTHESES = 50
_KEPT_FRAGMENTS = ("subdirectory", "sha256", "sha384", "sha512", "sha224", "sha1", "md5")


@dataclass(frozen=True)
class Forms:
    """Reads single requirements, for one bundle and target."""

    local: LocalFiles
    target: Target

    def read(self, written: str, hashes: tuple[str, ...], file: str, number: int) -> Requirement:
        """The requirement that a line names.

        Args:
            written: the logical line without its options.
            hashes: values of its `--hash` options.
            file: path in the bundle of the file that has the line.
            number: of the line, from 1.

        Raises:
            Refusal: pip rejects the line, or it cannot be installed in the image.
        """
        if len(written) > _LONGEST or written.count("(") > _MOST_PARENTHESES:
            most = f"{_LONGEST} characters and {_MOST_PARENTHESES} parentheses"
            raise Refusal("too-long", "the line is too long for one requirement", expected=f"at most {most}")
        for value in hashes:
            if not _HASH.fullmatch(value):
                raise Refusal("hash", f"`{value}` is no hash", expected="sha256: and 64 hexadecimal digits")
        parts = _split(written)
        applies = self.target.applies(parts.marker)
        path: str | None = None
        specifier = ""
        if parts.address is None:
            kind: Kind = "index"
            assert parts.name is not None
            if applies:
                hints.check_name(parts.name, parts.specifier)
            name: str | None = parts.name
            specifier = str(parts.specifier)
            stem = f"{name}{_bracketed(parts.extras)}{specifier}"
        elif _is_url(parts.address):
            kind, name, url = self._address(parts.address, parts.name)
            if applies and url.split("#")[0].endswith(".whl"):
                check_wheel_name(unquote(posixpath.basename(url.split("#")[0])), self.target)
            if parts.extras and name is None:
                raise Refusal("name", f"`{written}` has extras and no name", expected="name[extra] @ URL")
            stem = url if name is None else f"{name}{_bracketed(parts.extras)} @ {url}"
        else:
            kind, path = self._path(parts.address, file, applies)
            name = parts.name or archive_name(posixpath.basename(parts.address))
            stem = f"./{path or parts.address}{_bracketed(parts.extras)}"
        if parts.misnamed:
            raise wheel_name_refusal(posixpath.basename(parts.address or ""))
        return Requirement(
            kind=kind,
            text=" ".join(
                (
                    stem,
                    *((f"; {parts.marker}",) if parts.marker else ()),
                    *(f"--hash={value}" for value in hashes),
                )
            ),
            name=name,
            specifier=specifier,
            extras=parts.extras,
            marker=str(parts.marker) if parts.marker else None,
            hashes=hashes,
            file=file,
            line=number,
            path=path,
            applies=applies,
        )

    def _address(self, address: str, name: str | None) -> tuple[Kind, str | None, str]:
        """Kind, name and cleaned URL."""
        if "+" in address.split(":", 1)[0]:
            url = split_url(address, schemes=("git+https", "git+http"))
            _check_reference(url)
            kind: Kind = "vcs"
        else:
            url = split_url(address, schemes=("https", "http"))
            if url.path.endswith(".git") or (
                re.fullmatch(r"/[\w.-]+/[\w.-]+/?", url.path)
                and (url.hostname in ("github.com", "gitlab.com", "bitbucket.org"))
            ):
                raise Refusal(
                    "url", f"`{redact(address)}` is a git repository", next_step=f"write `git+{redact(address)}`"
                )
            kind = "url"
        fragments = [part.partition("=")[::2] for part in url.fragment.split("&") if part]
        kept = [f"{key}={value}" for key, value in fragments if key in _KEPT_FRAGMENTS]
        for key, value in fragments:
            if key == "subdirectory" and (value.startswith("/") or ".." in value.split("/")):
                raise Refusal("url", f"the subdirectory `{value}` lies outside the repository")
        if name is None:
            name = archive_name(unquote(posixpath.basename(url.path))) if kind == "url" else None
        return kind, name, url._replace(fragment="&".join(kept)).geturl()

    def _path(self, written: str, file: str, applies: bool) -> tuple[Kind, str | None]:
        """Kind and path in the bundle."""
        try:
            kind, path = self.local.find(written, file)
        except Refusal:
            if applies:
                raise
            # A wheel for Windows beside one for Linux need not be there; the line is never installed.
            return "wheel", None
        if kind == "wheel" and applies:
            check_wheel_name(posixpath.basename(path), self.target)
        return kind, path


@dataclass(frozen=True)
class _Parts:
    name: str | None
    extras: tuple[str, ...]
    specifier: SpecifierSet
    address: str | None
    """A URL or path; None for a package from the index."""
    marker: Marker | None
    misnamed: bool = False
    """Whether the address ends in `.whl`, but the name is none of a wheel."""


def _split(written: str) -> _Parts:
    """The parts of a requirement, as pip tells them apart.

    Raises:
        Refusal: pip rejects the line.
    """
    shown = redact(written)
    if local := re.fullmatch(r"[\w.-]+(?:\[[\w,.-]*\])?\s*@\s*(?:file:(?!//))?(\.{0,2}/?[^:]*\.whl)", written):
        raise Refusal("syntax", f"pip does not read `{shown}`", next_step=f"write the path alone: `{local[1]}`")
    try:
        parsed = pip.parse_reqparts_from_string(written)
    except (pip.PipError, ValueError, AssertionError) as error:
        address = re.split(r"\s*;", written)[0]
        if address.endswith(".whl") and " @ " not in address:
            # Where the file lies is told first: it may be no file of the bundle at all.
            return _Parts(None, (), SpecifierSet(), address, None, misnamed=True)
        if "://" in written:
            split_url(written.split(" ")[-1], schemes=("https", "http", "git+https", "git+http"))
        reason = redact(str(error).strip().split("\n")[0].rpartition(": ")[2])
        raise hints.rejected(shown, reason) from None
    requirement = parsed.requirement
    marker = parsed.marker or (requirement.marker if requirement else None)
    extras = tuple(sorted(set(parsed.extras) | set(requirement.extras if requirement else ())))
    if parsed.link is not None:
        address = parsed.link.url
        if "@" in address and not _is_url(address) and re.match(r"(?:git@|git\+git@)", address):
            raise hints.rejected(shown, "")
        return _Parts(_egg_name(parsed.link.egg_fragment), extras, SpecifierSet(), address, marker)
    assert requirement is not None
    return _Parts(requirement.name, extras, requirement.specifier, requirement.url, marker)


def _is_url(address: str) -> bool:
    return bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", address))


def _egg_name(fragment: str | None) -> str | None:
    """The name that `#egg=` tells. Old files have the version in it (`egg=name-1.0`), which then is no name."""
    name = re.split(r"[\[=<>!~]", fragment or "")[0]
    return name if _NAME.fullmatch(name) and not re.search(r"-\d[\w.]*$", name) else None


def _bracketed(extras: tuple[str, ...]) -> str:
    return f"[{','.join(extras)}]" if extras else ""


def _check_reference(url: SplitResult) -> None:
    """Refuse what git would not take for a branch, tag or commit."""
    _, found, reference = url.path.rpartition("@")
    if found and not _REFERENCE.fullmatch(reference):
        raise Refusal(
            "vcs-reference",
            f"`{reference}` is no branch, tag or commit",
            expected="git+https://host/path@branch-tag-or-commit",
        )
    if len(url.path.strip("/")) == 0:
        raise Refusal("url", f"`{url.geturl()}` names no repository", expected="git+https://host/path")
