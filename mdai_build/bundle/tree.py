"""From the entries of an archive to the files of a tree: names made safe, links followed, the rest refused by name."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mdai_build.bundle.limits import too_many_entries
from mdai_build.bundle.names import UnsafeNameError, check_extent, folded, left_out_part, safe_path, shown
from mdai_build.errors import BundleError, Location, Problem

if TYPE_CHECKING:
    from mdai_build.bundle.model import Limits

_TOLD_APART = 3  # as many of one kind are told one by one, more of them together
_MOST_HOPS = 40  # as Linux: more links in one path are a loop
_STEPS_AN_ENTRY = 20  # through links, for each entry that an archive may have; some dozen lead to any file
_PACK_ANEW = "pack the model folder anew, and trust no archive whose origin you do not know"


@dataclass(frozen=True)
class Entry:
    """One entry of an archive as its author wrote it."""

    name: str
    kind: Literal["file", "folder", "symlink", "hardlink", "special"]
    size: int = 0
    executable: bool = False
    target: str = ""
    """Of a link: where it points. Of a special entry: what it is, such as `a device`."""


@dataclass(frozen=True)
class Tree:
    """The files of an archive by safe path from its top; the value is the number of the entry with the content."""

    files: Mapping[str, int]
    folders: frozenset[str]
    warnings: tuple[Problem, ...]


class Refusals:
    """Collects what is refused, so that all of it is told at once."""

    def __init__(self, origin: Path) -> None:
        self._origin = origin
        self._names: dict[tuple[str, str, str], list[str]] = {}

    def add(self, code: str, name: str, reason: str, next_step: str = _PACK_ANEW) -> None:
        """Refuses the member `name` for a reason that continues "`name` …"."""
        self._names.setdefault((code, reason, next_step), []).append(name)

    def raise_if_any(self) -> None:
        """Raises a BundleError if anything was refused."""
        problems = [
            problem
            for (code, reason, next_step), names in self._names.items()
            for problem in self._problems(f"bundle.{code}", reason, next_step, names)
        ]
        if problems:
            raise BundleError(problems)

    def _problems(self, code: str, reason: str, next_step: str, names: Sequence[str]) -> Iterator[Problem]:
        if len(names) <= _TOLD_APART:
            for name in names:
                where = Location(str(self._origin), key=shown(name))
                yield Problem(code, f"`{shown(name)}` {reason}", where, next_step=next_step)
            return
        where = Location(str(self._origin), key=shown(names[0]))
        more = f"{len(names) - 1} more, such as `{shown(names[1])}`"
        every = "\n".join(shown(name) for name in names[:1000])
        yield Problem(code, f"`{shown(names[0])}` {reason}; so it is with {more}", where, None, next_step, every)


def build_tree(entries: Sequence[Entry], origin: Path, limits: Limits) -> Tree:
    """The tree that unpacking all entries would give, had it been made by hand.

    Raises:
        BundleError: an entry is unsafe or ambiguous; all such entries at once.
    """
    refusals = Refusals(origin)
    nodes = _place(entries, refusals)
    folders = _folders(nodes, entries, limits, origin, refusals)
    _refuse_other_spellings({*nodes, *folders}, refusals)
    linked = [path for path, number in nodes.items() if entries[number].kind in ("symlink", "hardlink")]
    if linked:
        files = _Links(nodes, entries, folders, limits, refusals).followed()
    else:
        files = {path: number for path, number in nodes.items() if entries[number].kind == "file"}
    refusals.raise_if_any()
    return Tree(files, folders, tuple(case_collisions(files, origin)))


def _place(entries: Sequence[Entry], refusals: Refusals) -> dict[str, int]:
    """Each safe path with the number of its entry, without those that no model needs."""
    nodes: dict[str, int] = {}
    for number, entry in enumerate(entries):
        if not entry.name and entry.kind == "folder":
            continue  # the top itself, as Python's `tar.add(folder, arcname="")` writes it
        try:
            path = safe_path(entry.name)
        except UnsafeNameError as unsafe:
            refusals.add(unsafe.code, entry.name, unsafe.reason, unsafe.next_step or _PACK_ANEW)
            continue
        if not path:
            if entry.kind != "folder":
                refusals.add("empty-name", entry.name, "is no name for a file")
            continue
        if entry.kind == "special":
            refusals.add("special-file", entry.name, f"is {entry.target}; a bundle holds files and folders only")
            continue
        if entry.kind == "file" and entry.name.endswith("/"):
            refusals.add("file-as-folder", entry.name, "is a file in the archive, and has the name of a folder")
            continue
        if left_out_part(path):
            continue
        earlier = nodes.setdefault(path, number)
        if earlier != number and not (entry.kind == entries[earlier].kind == "folder"):
            refusals.add("duplicate", entry.name, "is in the archive more than once; which one counts is not clear")
    return nodes


def _refuse_other_spellings(paths: Iterable[str], refusals: Refusals) -> None:
    """Some tools compose accents when they unpack: two names of files, folders or links would be one then."""
    spelled: dict[str, str] = {}
    for path in sorted(path for path in paths if not path.isascii()):
        other = spelled.setdefault(unicodedata.normalize("NFC", path), path)
        if other != path:
            refusals.add("duplicate", path, f"is another spelling of `{shown(other)}`, with the same letters")


def _folders(
    nodes: Mapping[str, int], entries: Sequence[Entry], limits: Limits, origin: Path, refusals: Refusals
) -> frozenset[str]:
    """All folders, those that are only implied by their files too; refuses files that lie beneath files or links."""
    folders: set[str] = set()
    for path, number in nodes.items():
        if entries[number].kind == "folder":
            folders.add(path)
        parent = path.rpartition("/")[0]
        while parent and parent not in folders:
            folders.add(parent)
            parent = parent.rpartition("/")[0]
        if len(folders) > limits.entries:  # one name can imply two thousand
            raise BundleError(too_many_entries(origin, limits, "folders"))
    for folder in sorted(folders):
        number = nodes.get(folder, -1)
        if number >= 0 and entries[number].kind != "folder":
            what = "a link" if entries[number].kind in ("symlink", "hardlink") else "a file"
            refusals.add("file-as-folder", folder, f"is {what} in the archive, and a folder with files in it too")
    return frozenset(folders)


class _LinkError(ValueError):
    pass


class _Links:
    """Follows the links of a tree, so that each becomes a copy of what it points to."""

    def __init__(
        self,
        nodes: Mapping[str, int],
        entries: Sequence[Entry],
        folders: frozenset[str],
        limits: Limits,
        refusals: Refusals,
    ) -> None:
        self._nodes = nodes
        self._entries = entries
        self._folders = folders
        self._limits = limits
        self._refusals = refusals
        self._steps = 0
        self._hard_targets: dict[int, str] = {}
        self._children: dict[str, list[str]] = {}
        for path in {*nodes, *folders}:
            self._children.setdefault(path.rpartition("/")[0], []).append(path)

    def followed(self) -> dict[str, int]:
        """Every file of the tree, those behind links too, with the number of its content."""
        files: dict[str, int] = {}
        # What is to be visited: the path that it gets, the node that it is, and the folders that led to it.
        waiting: list[tuple[str, str, tuple[str, ...]]] = [("", "", ())]
        visited = 0
        while waiting:
            path, node, above = waiting.pop()
            visited += 1
            # Links to folders can make a small archive a tree without end, also one without a single file.
            if visited > 2 * self._limits.entries or self._steps > _STEPS_AN_ENTRY * self._limits.entries:
                self._refusals.add("too-many", path, "is where links led to, after more steps than an archive may take")
                return files
            try:
                check_extent(path)
            except UnsafeNameError as unsafe:
                self._refusals.add(unsafe.code, path, f"{unsafe.reason}, by links", _REPLACE_LINK)
                continue
            number = self._nodes.get(node, -1)
            kind = self._entries[number].kind if number >= 0 else "folder"
            if kind in ("symlink", "hardlink"):
                try:
                    node = self._target(node, number)
                    if node in above:
                        raise _LinkError("is a link to a folder that it lies in; it never ends")
                except _LinkError as error:
                    self._refusals.add("link", self._entries[number].name, str(error), _REPLACE_LINK)
                    continue
                number = self._nodes.get(node, -1)
            if node and node not in self._folders:
                files[path] = number
                if len(files) > self._limits.entries:
                    self._refusals.add("too-many", path, f"is one file more than {self._limits.entries}, by links")
                    return files
                continue
            above = (*above, node)
            for child in self._children.get(node, ()):
                name = child.rpartition("/")[2]
                waiting.append((f"{path}/{name}" if path else name, child, above))
        return files

    def _target(self, link: str, number: int) -> str:
        entry = self._entries[number]
        if entry.kind == "hardlink":
            return self._hard_target(number)
        target = self._resolve(link)
        if target and target not in self._nodes and target not in self._folders:
            raise _LinkError(f"is a link to `{shown(entry.target)}`, which is not in the archive")
        found = self._nodes.get(target, -1)
        return self._hard_target(found) if found >= 0 and self._entries[found].kind == "hardlink" else target

    def _hard_target(self, number: int) -> str:
        """The file that a hard link is a name of, perhaps by way of others: of them there may be thousands."""
        chain = []
        while number not in self._hard_targets:
            self._steps += 1
            chain.append(number)
            target = self._hard_target_of_one(number)
            found = self._nodes[target]
            if self._entries[found].kind == "file":
                self._hard_targets[number] = target
            else:
                number = found
        self._hard_targets.update(dict.fromkeys(chain, self._hard_targets[number]))
        return self._hard_targets[number]

    def _hard_target_of_one(self, number: int) -> str:
        entry = self._entries[number]
        try:
            target = safe_path(entry.target)
            if entry.target.endswith("/"):
                raise _LinkError(f"is a hard link to `{shown(entry.target)}`, which is the name of a folder")
        except UnsafeNameError as unsafe:
            raise _LinkError(f"is a hard link to `{shown(entry.target)}`, which {unsafe.reason}") from None
        found = self._nodes.get(target, -1)
        # As tar unpacks in order, the file must have come before its second name.
        if not 0 <= found < number or self._entries[found].kind not in ("file", "hardlink"):
            raise _LinkError(f"is a hard link to `{shown(entry.target)}`, which is no file before it")
        return target

    def _resolve(self, link: str) -> str:
        waiting = link.split("/")[::-1]
        done: list[str] = []
        hops = 0
        while waiting:
            part = waiting.pop()
            self._steps += 1
            if part in ("", ".", "..") and done and "/".join(done) not in self._folders:
                # As the kernel says of a path that goes on after what is no folder.
                raise _LinkError(f"is a link to `{self._shown_target(link)}`, which is not in the archive")
            if part in ("", "."):
                continue
            if part == "..":
                if not done:
                    raise _LinkError(f"is a link that leaves the archive: `{self._shown_target(link)}`")
                done.pop()
                continue
            done.append(part)
            number = self._nodes.get("/".join(done), -1)
            if number < 0 or self._entries[number].kind != "symlink":
                continue
            hops += 1
            target = self._entries[number].target
            if hops > _MOST_HOPS:
                raise _LinkError("is a link that leads back to itself")
            if target.startswith("/") or "\\" in target or target[1:2] == ":" or not target:
                raise _LinkError(f"is a link that leaves the archive: `{self._shown_target(link)}`")
            done.pop()
            waiting.extend(target.split("/")[::-1])
        return "/".join(done)

    def _shown_target(self, link: str) -> str:
        return shown(self._entries[self._nodes[link]].target)


def empty_folders(folders: Iterable[str], files: Iterable[str]) -> tuple[str, ...]:
    """The lowest of the folders that hold no file, sorted; to make those is to make all that are empty."""
    above_files = _above(files)
    empty = {folder for folder in folders if folder not in above_files}
    return tuple(sorted(empty - _above(empty)))


def _above(paths: Iterable[str]) -> set[str]:
    above: set[str] = set()
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent and parent not in above:
            above.add(parent)
            parent = parent.rpartition("/")[0]
    return above


_REPLACE_LINK = "put the file itself in the place of the link, or take the link out, and pack anew"


def case_collisions(files: Iterable[str], origin: Path) -> Iterator[Problem]:
    """A warning for each pair of paths that some file systems cannot keep apart; Linux, and so the image, can."""
    seen: dict[str, str] = {}
    for path in files:
        other = seen.setdefault(folded(path), path)
        if other != path:
            yield Problem(
                "bundle.case-collision",
                f"`{shown(other)}` and `{shown(path)}` differ in case or accents alone",
                Location(str(origin), key=shown(path)),
                next_step="rename one: on Windows and macOS they are the same file",
            )
