"""Addresses in requirements: which of them can be installed from."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from mdai_build.requirements.redact import redact
from mdai_build.requirements.refusal import Refusal

_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\]")
# What RFC 3986 allows, less what could be read as another part of the line: `;` begins a marker, `{}` a variable.
_URL_TEXT = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,=%-]+")
# Folders of the machines on which conda's packages are built; an environment's `pip freeze` is full of them.
_BUILT_BY_CONDA = re.compile(r"conda|croot|feedstock|concourse|/tmp/build/|:/ci/|/ci_|:/bld/|/work$")

CREDENTIALS_NEXT_STEP = (
    "take the password out of the file; a private index is given to the build by its settings, "
    "where it reaches no layer, no log and no report. Change the password if the bundle was shared"
)


def split_url(url: str, *, schemes: tuple[str, ...]) -> SplitResult:
    """The parts of an address that is safe to hand to an installer.

    Raises:
        Refusal: another scheme, credentials, no host, or characters that no URL has.
    """
    shown = redact(url)
    try:
        parts = urlsplit(url)
        host, port, user = parts.hostname or "", parts.port, parts.username
    except ValueError:
        if "@" in url and shown != url:
            raise _credentials(shown) from None
        raise Refusal("url", f"`{shown}` is not a URL", expected="https://host/path") from None
    if user is not None and not (user == "git" and parts.password is None and "ssh" in parts.scheme):
        raise _credentials(shown)
    if parts.scheme not in schemes:
        raise _scheme_refusal(parts.scheme, shown, schemes)
    authority = parts.netloc.rpartition("@")[2]
    named = authority if port is None else authority.rpartition(":")[0]
    if not host or not _HOST.fullmatch(named.rstrip(":")):
        raise Refusal("url", f"`{shown}` names no valid host", expected="https://host/path")
    if not _URL_TEXT.fullmatch(url):
        odd = next(character for character in url if not _URL_TEXT.fullmatch(character))
        raise Refusal(
            "url",
            f"`{shown}` holds {odd!r}, which a URL cannot",
            next_step=f"write it as %{ord(odd):02X}" if ord(odd) < 128 else "quote it (percent-encoding)",
        )
    return parts


def _credentials(shown: str) -> Refusal:
    return Refusal("credentials", f"`{shown}` carries a user name or password", next_step=CREDENTIALS_NEXT_STEP)


def _scheme_refusal(scheme: str, shown: str, schemes: tuple[str, ...]) -> Refusal:
    if scheme == "file" and _BUILT_BY_CONDA.search(shown):
        return Refusal(
            "file-url",
            f"`{shown}` is where conda built the package; `pip freeze` writes this inside a conda environment",
            expected="the package with its version, such as numpy==1.23.3",
            next_step="write the version that `conda list` shows, or take the lines of `pip list --format=freeze`",
        )
    if scheme == "file":
        return Refusal(
            "file-url",
            f"`{shown}` names a file of your own machine",
            next_step="put the wheel into `.mdai` and write `./its-name.whl`",
        )
    if scheme.startswith("git") or scheme == "ssh":
        return Refusal(
            "vcs-scheme",
            f"`{shown}` cannot be fetched in the build, which has no keys",
            expected="git+https://host/path",
            next_step="write `git+https://…`, or build a wheel of it and put that into `.mdai`",
        )
    if scheme.split("+")[0] in ("hg", "svn", "bzr"):
        return Refusal(
            "vcs-scheme",
            f"`{shown}` needs {scheme.split('+')[0]}, which the build does not have",
            expected="git+https://host/path",
            next_step="build a wheel of it and put that into `.mdai`",
        )
    return Refusal("url", f"`{shown}` is of a kind that cannot be installed from", expected=" or ".join(schemes))
