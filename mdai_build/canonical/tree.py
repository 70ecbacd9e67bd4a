"""The files of an image as its layers put them on top of each other (OCI Image Specification, layer.md)."""

from __future__ import annotations

import hashlib
import posixpath
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import IO

from mdai_build.canonical.bytecode import normal_pyc
from mdai_build.canonical.residue import is_residue, normal_text

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_XATTR = "SCHILY.xattr."
_BUNDLE = ("src/lib/", "workspace/")
"""Where an image has the files of its bundle."""
_CHUNK = 2**20
_MOST_REWRITTEN_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Content:
    """Where the bytes of a file are: in which layer, from which byte of its tar file on."""

    layer: int
    offset: int
    size: int


@dataclass(frozen=True)
class Entry:
    """A file, folder, link or device of an image."""

    kind: bytes
    """A type of the tar format; hard links are files."""
    mode: int
    user: int
    group: int
    target: str = ""
    """Of a symbolic link."""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[str, str], ...] = ()
    content: Content | None = None
    digest: str | None = None
    """SHA-256 of a file's normal content; None in layers of the parent until it is asked for."""
    link_group: str = ""
    """What the hard links to one file have in common; empty where there is one name only."""

    @property
    def attributes(self) -> tuple[object, ...]:
        """All but the content."""
        return (self.kind, self.mode, self.user, self.group, self.target, self.device, self.xattrs)


Tree = dict[str, Entry]
"""By path, without a slash at its begin."""
Opened = Callable[[int], IO[bytes]]
"""Gives the tar file of a layer."""


@dataclass(frozen=True)
class Change:
    """What one layer does to a tree."""

    before: Tree
    after: Tree
    touched: frozenset[str]
    """Paths that the layer names, and all that it removes."""


def read_layer(layer: tarfile.TarFile, number: int, before: Tree) -> Change:
    """The tree after a layer; files have no digest yet."""
    removed: set[str] = set()
    emptied: set[str] = set()
    added: Tree = {}
    for member in layer:
        path = posixpath.normpath("/" + member.name).lstrip("/")
        folder, name = posixpath.split(path)
        if name == _OPAQUE:
            emptied.add(folder)
        elif name.startswith(_WHITEOUT):
            removed.add(posixpath.join(folder, name[len(_WHITEOUT) :]))
        elif member.islnk():
            target = posixpath.normpath("/" + member.linkname).lstrip("/")
            first = added.get(target) or before.get(target)
            if first is None:
                raise ValueError(f"a layer has a hard link to nothing: {path}")
            if target in added:
                group = first.link_group or target
                added[target] = first = replace(first, link_group=group)
            added[path] = first
        elif path:
            added[path] = _of_bundle(_entry(member, number)) if path.startswith(_BUNDLE) else _entry(member, number)
    after = dict(before)
    # What was a folder and no longer is takes along what was in it.
    removed |= {p for p, e in added.items() if e.kind != tarfile.DIRTYPE and p in before and _is_folder(before[p])}
    gone = {path for path in before if _is_below(path, removed, emptied)} if removed or emptied else set()
    for path in gone:
        del after[path]
    after.update(added)
    return Change(before, after, frozenset(added) | gone)


def with_digests(change: Change, opened: Opened, time: int) -> Change:
    """The same, with the digest of each file's normal content, for files that the layer brings."""
    after = dict(change.after)
    known: dict[Content, str] = {}
    for path in change.touched:
        entry = after.get(path)
        if entry is None or entry.content is None or entry.digest is not None:
            continue
        if entry.content not in known:
            known[entry.content] = digest_of(path, entry, opened, time)
        after[path] = replace(entry, digest=known[entry.content])
    return Change(change.before, after, change.touched)


def digest_of(path: str, entry: Entry, opened: Opened, time: int) -> str:
    """SHA-256 of a file's normal content."""
    digest = hashlib.sha256()
    for part in content_of(path, entry, opened, time):
        digest.update(part)
    return digest.hexdigest()


def content_of(path: str, entry: Entry, opened: Opened, time: int) -> Iterator[bytes]:
    """A file's normal content, in parts."""
    content = entry.content
    if content is None:
        return
    with opened(content.layer) as stream:
        stream.seek(content.offset)
        if content.size <= _MOST_REWRITTEN_BYTES and path.endswith(".pyc"):
            yield normal_pyc(stream.read(content.size), time)
            return
        if content.size <= _MOST_REWRITTEN_BYTES and path.endswith(".dist-info/RECORD"):
            yield normal_text(path, stream.read(content.size))
            return
        left = content.size
        while left and (part := stream.read(min(left, _CHUNK))):
            left -= len(part)
            yield part


def differing(change: Change, digest: Callable[[str, Entry], str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The paths that a layer adds or changes, and those that it removes, both sorted; residue does not count.

    `digest` gives the digest of a file of a layer below that has none yet.
    """
    changed, removed = [], []
    for path in sorted(change.touched):
        old, new = change.before.get(path), change.after.get(path)
        if is_residue(path):
            continue
        if new is None:
            removed.append(path)
        elif old is None or old.attributes != new.attributes or not _same_content(path, old, new, digest):
            changed.append(path)
    return tuple(changed), tuple(removed)


def topmost(paths: Iterable[str], tree: Tree) -> Iterator[str]:
    """Of removed paths those that take the others along, without those that something else took the place of."""
    gone = set(paths)
    for path in sorted(gone):
        above = posixpath.dirname(path)
        if above not in gone and (above not in tree or _is_folder(tree[above])):
            yield path


def ancestors(path: str) -> Iterator[str]:
    """The folders above a path, the nearest first."""
    while path := posixpath.dirname(path):
        yield path


def _same_content(path: str, old: Entry, new: Entry, digest: Callable[[str, Entry], str]) -> bool:
    if old.content == new.content:
        return True
    if old.content is None or new.content is None:
        return False
    if old.content.size != new.content.size and not path.endswith((".pyc", "/RECORD")):
        return False
    return (old.digest or digest(path, old)) == (new.digest or digest(path, new))


def _entry(member: tarfile.TarInfo, number: int) -> Entry:
    kind = tarfile.REGTYPE if member.isreg() else member.type
    content = Content(number, member.offset_data, member.size) if member.isreg() else None
    xattrs = sorted((key, value) for key, value in member.pax_headers.items() if key.startswith(_XATTR))
    device = (member.devmajor, member.devminor) if member.ischr() or member.isblk() else (0, 0)
    target = member.linkname if member.issym() else ""
    return Entry(kind, member.mode & 0o7777, member.uid, member.gid, target, device, tuple(xattrs), content)


def _of_bundle(entry: Entry) -> Entry:
    """The rights of a bundle's own file: whether it may be executed is all that its digest counts."""
    if entry.kind not in (tarfile.REGTYPE, tarfile.DIRTYPE):
        return entry
    return replace(entry, mode=0o755 if entry.kind == tarfile.DIRTYPE or entry.mode & 0o100 else 0o644)


def _is_folder(entry: Entry) -> bool:
    return entry.kind == tarfile.DIRTYPE


def _is_below(path: str, removed: set[str], emptied: set[str]) -> bool:
    return path in removed or any(above in removed or above in emptied for above in ancestors(path))
