"""What a bundle is, once it has been read and once it has been unpacked."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

from mdai_build.bundle.names import shown
from mdai_build.bundle.reader import MemberReader
from mdai_build.errors import BundleError, Location, Problem

GIB = 1024**3
BundleKind = Literal["zip", "tar.gz", "folder"]


@dataclass(frozen=True)
class Limits:
    """How much a bundle may hold before it is refused. Sizes are bytes."""

    entries: int = 100_000
    total_bytes: int = 64 * GIB
    ratio: int = 200
    """Unpacked size over packed size, of each member and of the whole, for what unpacks to more than `ratio_floor`."""
    ratio_floor: int = 256 * 1024**2
    text_bytes: int = 1024**2
    """The largest file that is read as text: config.yaml, requirements.txt, mdai_deploy.py."""


@dataclass(frozen=True)
class Member:
    """A file of the bundle. `path` is POSIX and relative to the model root, `size` is bytes."""

    path: str
    size: int
    executable: bool


class Source(Protocol):
    """Where a bundle's bytes come from. Contents are numbered: a link shares the number of its target."""

    @property
    def contents(self) -> Mapping[str, int]:
        """The number of each member's content."""

    def stream(self, numbers: Collection[int]) -> Iterator[tuple[int, MemberReader]]:
        """These contents, in the order that is cheapest to read; each is to be read before the next is asked for.

        Raises:
            BundleError: the archive is damaged, or has changed since it was read first.
        """

    def check_unchanged(self, smallest: int) -> None:
        """Looks whether the files that are read where they lie, of at least so many bytes, are what they were.

        Raises:
            BundleError: one of them changed, or is gone.
        """


@dataclass(frozen=True)
class Bundle:
    """A model folder or archive that is safe to unpack. Its bytes are read when they are asked for."""

    name: str
    """Fit for an image name."""
    origin: Path
    kind: BundleKind
    members: tuple[Member, ...]
    """Files only, sorted by path, without what was left out."""
    warnings: tuple[Problem, ...]
    config_path: str
    """`.mdai/config.yaml` or `.mdai/config.yml`."""
    limits: Limits = field(repr=False)
    source: Source = field(repr=False, compare=False)
    empty_folders: tuple[str, ...] = ()
    """Folders without a file in or below them, sorted; those above them are not named. Models look into them."""

    @cached_property
    def _by_path(self) -> Mapping[str, Member]:
        return {member.path: member for member in self.members}

    def has(self, path: str) -> bool:
        """Whether there is a file at this path, relative to the model root."""
        return path in self._by_path

    def read_bytes(self, path: str) -> bytes:
        """The content of a small file.

        Raises:
            BundleError: there is no such file, it is larger than `limits.text_bytes`, or the archive is damaged.
        """
        member = self._by_path.get(path)
        if member is None:
            raise BundleError(
                Problem(
                    code="bundle.missing-file",
                    what=f"the bundle has no `{shown(path)}`",
                    where=Location(shown(path)),
                    next_step=f"add the file to the model folder and pack {self.origin.name} anew",
                )
            )
        if member.size > self.limits.text_bytes:
            raise BundleError(
                Problem(
                    code="bundle.text-too-large",
                    what=f"`{shown(path)}` has {member.size} bytes, too many for a text file",
                    where=Location(shown(path)),
                    expected=f"at most {self.limits.text_bytes} bytes",
                    next_step="check that it is the file that you meant",
                )
            )
        parts: list[bytes] = []
        for _, reader in self.source.stream((self.source.contents[path],)):
            while part := reader.read(1024**2):
                parts.append(part)
        return b"".join(parts)

    def read_text(self, path: str) -> str:
        """The text of a small UTF-8 file, without its byte order mark.

        Raises:
            BundleError: as `read_bytes`, or the file is not UTF-8.
        """
        content = self.read_bytes(path)
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            encoding = "UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else None
            raise BundleError(
                Problem(
                    code="bundle.not-utf8",
                    what=f"`{shown(path)}` is not UTF-8 text"
                    + (f"; it looks like {encoding}" if encoding else f" (byte {error.start})"),
                    where=Location(shown(path), line=content[: error.start].count(b"\n") + 1),
                    expected="a text file in UTF-8",
                    next_step="save it as UTF-8 in your editor",
                )
            ) from None


@dataclass(frozen=True)
class UnpackedFile:
    """A file of the bundle with the place on disk where its bytes are. The place is read-only."""

    path: str
    source: Path
    size: int
    executable: bool


@dataclass(frozen=True)
class UnpackedBundle:
    """A bundle whose files are on disk."""

    bundle: Bundle
    digest: str
    """`sha256:…` over path, execute bit and content of every member, and the empty folders; the same for all kinds."""
    files: tuple[UnpackedFile, ...]
