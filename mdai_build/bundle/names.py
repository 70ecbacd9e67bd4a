"""Names of members: which are safe, which are left out, how they are shown, how a bundle's name becomes a slug."""

from __future__ import annotations

import hashlib
import re
import unicodedata

LEFT_OUT = frozenset({"__MACOSX", ".DS_Store", ".git", "__pycache__"})
"""Folders and files that tools leave behind and no model needs."""

_APPLE_DOUBLE = "._"
_DRIVE = re.compile(r"[A-Za-z]:")
_WHITEOUT = ".wh."  # OCI image specification, "Whiteouts"
_LONGEST_PATH = 3584  # PATH_MAX of Linux is 4096, and the file gets folders of ours above it
_MOST_PARTS = 128  # Python makes and removes folders by recursion; its stack has room for some hundred
_LONGEST_PART = 255  # NAME_MAX of Linux
# Controls that reorder or break a line when it is shown: a name must read as what it is.
_MISLEADING = frozenset("\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class UnsafeNameError(ValueError):
    """A member's name that must not become a path.

    `code` is the stable part of a problem's code, `reason` continues "the member …".
    """

    def __init__(self, code: str, reason: str, next_step: str | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.next_step = next_step


def safe_path(name: str) -> str:
    """The POSIX path, relative to the archive's top, that a member's name stands for; "" is the top itself.

    `./` and doubled slashes mean nothing and are dropped.

    Raises:
        UnsafeNameError: the name leads out of the archive, or means different things to different systems.
    """
    if not name:
        raise UnsafeNameError("empty-name", "has an empty name")
    _refuse_odd_characters(name)
    if name.startswith("/"):
        raise UnsafeNameError("absolute-path", "has an absolute path")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UnsafeNameError("parent-path", "leads out of its folder with `..`")
    path = "/".join(parts)
    if any(part.startswith(_WHITEOUT) for part in parts):
        raise UnsafeNameError(
            "layer-name", f"starts with `{_WHITEOUT}`, by which an image's layers say that a file is gone", "rename it"
        )
    if _DRIVE.match(path):
        raise UnsafeNameError("absolute-path", "starts with a drive letter")
    check_extent(path)
    return path


def check_extent(path: str) -> None:
    """Refuses a path that is deeper or longer than a file can have here and in an image.

    Raises:
        UnsafeNameError: it is.
    """
    parts = path.split("/")
    if len(parts) > _MOST_PARTS:
        few = "take out some of the folders in between"
        raise UnsafeNameError("long-name", f"lies too deep (in more than {_MOST_PARTS - 1} folders)", few)
    if len(path.encode()) > _LONGEST_PATH or any(len(part.encode()) > _LONGEST_PART for part in parts):
        most = f"more than {_LONGEST_PART} bytes a part, or {_LONGEST_PATH} in all"
        raise UnsafeNameError("long-name", f"has a name that is too long ({most})")


def _refuse_odd_characters(name: str) -> None:
    if "\\" in name:
        raise UnsafeNameError(
            "backslash",
            "has a backslash in its name, which separates folders on Windows and nowhere else",
            "pack anew with a tool that writes `/`, such as 7-Zip or Explorer; `Compress-Archive` of old does not",
        )
    if name.isascii() and name.isprintable():
        return
    for character in name:
        category = unicodedata.category(character)
        if category == "Cs":
            raise UnsafeNameError("name-encoding", "has a name that is not UTF-8", "rename it, and pack anew")
        if category == "Cc" or character in _MISLEADING:
            raise UnsafeNameError("control-character", f"has the control character U+{ord(character):04X} in its name")


def left_out_part(path: str) -> str | None:
    """The topmost part of a path that is left out of every bundle, as a path itself; None: the path stays."""
    parts = path.split("/")
    for index, part in enumerate(parts):
        if part in LEFT_OUT or part.startswith(_APPLE_DOUBLE):
            return "/".join(parts[: index + 1])
    return None


def folded(path: str) -> str:
    """What a path becomes on a file system that tells neither case nor Unicode's compositions apart."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def shown(text: str, limit: int = 200) -> str:
    """A stranger's text fit for a terminal: what is not printable is escaped, what is long is cut."""
    cut = text if len(text) <= limit else text[:limit] + "…"
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in cut
    )


def slug(name: str) -> str:
    """A name fit for an image (OCI distribution specification: lower case, digits, `-` between).

    Where letters get lost, a few digits of the name's SHA-256 stand for them: names that differ stay apart.
    """
    plain = unicodedata.normalize("NFKD", name).casefold()
    kept = re.sub(r"[^a-z0-9]+", "-", plain.encode("ascii", "ignore").decode("ascii"))
    kept = kept.strip("-")[:100].rstrip("-") or "model"
    if not any(character.isalnum() and not character.isascii() for character in plain):
        return kept
    # As two file systems spell the same name.
    composed = unicodedata.normalize("NFC", name)
    return f"{kept}-{hashlib.sha256(composed.encode('utf-8', 'replace')).hexdigest()[:8]}"
