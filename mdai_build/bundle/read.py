"""From a path to a `Bundle`: what kind it is (by its first bytes, not its name), where its model is, what is in it."""

from __future__ import annotations

import re
import stat
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from mdai_build.bundle import folder_source
from mdai_build.bundle.archive import ArchiveSource
from mdai_build.bundle.folder_source import FolderSource
from mdai_build.bundle.layout import beside_warning, find_config, find_root
from mdai_build.bundle.limits import too_large
from mdai_build.bundle.model import Bundle, BundleKind, Limits, Member
from mdai_build.bundle.names import shown, slug
from mdai_build.bundle.reader import telling_damage
from mdai_build.bundle.stamp import changed
from mdai_build.bundle.tar_source import TarSource
from mdai_build.bundle.tree import build_tree, case_collisions, empty_folders
from mdai_build.bundle.zip_source import ZipSource
from mdai_build.errors import BundleError, Location, Problem

_EXPECTED = "a .zip or a .tar.gz of a model folder, or the folder itself"
_OTHER_KINDS = (
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"BZh", "packed with bzip2"),
    (b"\xfd7zXZ\0", "packed with xz"),
    (b"\x28\xb5\x2f\xfd", "packed with Zstandard"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (weights, such as .h5)"),
    (b"\x80\x02", "a pickle (weights, such as .pt)"),
)
_ARCHIVE_SUFFIX = re.compile(r"(\.zip|\.tar\.gz|\.tgz|\.tar)$", re.IGNORECASE)


def read_bundle(path: Path, limits: Limits = Limits()) -> Bundle:  # noqa: B008 - frozen
    """Reads what a bundle holds. Writes nothing, unpacks nothing; of a zip it reads the central directory only.

    Raises:
        BundleError: it is no bundle, it is unsafe or damaged, or its `.mdai` or config file is missing.
    """
    path = Path(path)
    kind = _kind(path)
    try:
        if kind == "folder":
            return _read_folder(path, limits)
        source = ZipSource(path, limits) if kind == "zip" else TarSource(path, limits)
    except FileNotFoundError as error:  # it was there a moment ago
        raise changed(Path(error.filename or path), "folder" if kind == "folder" else "archive") from error
    tree = build_tree(source.entries, path, limits)
    root = find_root(tree.files.keys(), tree.folders, path)
    prefix = f"{root}/" if root else ""
    contents = {name[len(prefix) :]: number for name, number in tree.files.items() if name.startswith(prefix)}
    members = (
        Member(name, source.entries[number].size, source.entries[number].executable)
        for name, number in contents.items()
    )
    beside = {name.split("/")[0] for name in tree.files if not name.startswith(prefix)}
    folders = (name[len(prefix) :] for name in tree.folders if name.startswith(prefix))
    return _bundle(path, kind, members, folders, tree.warnings, (root, beside), limits, ArchiveSource(source, contents))


def _read_folder(path: Path, limits: Limits) -> Bundle:
    files, folders = folder_source.look_into(path)
    if path.resolve().name == ".mdai" and ".mdai" not in folders:
        raise BundleError(
            Problem(
                "bundle.inside-mdai",
                "this is the .mdai folder itself",
                Location(str(path)),
                "the model folder, which holds .mdai",
                f"give {path.resolve().parent} instead",
            )
        )
    root = find_root(files, folders, path)
    source = folder_source.walk(path / root, limits)
    members = (
        Member(name, source.statuses[number].st_size, bool(source.statuses[number].st_mode & 0o111))
        for name, number in source.contents.items()
    )
    beside = {name.split("/")[0] for name in (*files, *folders)} - {root} if root else set()
    warnings = [*case_collisions(source.contents, path), *_dangling(source, path)]
    return _bundle(path, "folder", members, source.folders, warnings, (root, beside), limits, source)


def _bundle(
    path: Path,
    kind: BundleKind,
    members: Iterable[Member],
    folders: Iterable[str],
    warnings: Iterable[Problem],
    root_and_beside: tuple[str, Collection[str]],
    limits: Limits,
    source: FolderSource | ArchiveSource,
) -> Bundle:
    ordered = tuple(sorted(members, key=lambda member: member.path))
    if sum(member.size for member in ordered) > limits.total_bytes:
        raise BundleError(too_large(path, limits))
    paths = source.contents.keys()
    root, beside = root_and_beside
    return Bundle(
        name=slug(_ARCHIVE_SUFFIX.sub("", path.resolve().name)),
        origin=path,
        kind=kind,
        members=ordered,
        warnings=(*warnings, *beside_warning(beside, root, path)),
        config_path=find_config(paths, path),
        limits=limits,
        source=source,
        empty_folders=empty_folders(folders, paths),
    )


def _dangling(source: FolderSource, path: Path) -> Iterator[Problem]:
    if source.dangling:
        yield Problem(
            "bundle.dangling-link",
            f"left out, as they are links to nothing: {', '.join(f'`{shown(name)}`' for name in source.dangling[:8])}",
            Location(str(path)),
            next_step="remove them, or put the files there that they point to",
        )


def _kind(path: Path) -> BundleKind:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            return "folder"
        if not stat.S_ISREG(status.st_mode):
            raise _no_bundle(path, "is neither a file nor a folder")
        with path.open("rb") as file:
            start = file.read(512)
    except (FileNotFoundError, NotADirectoryError):
        raise _no_bundle(path, "does not exist", _nearby(path)) from None
    except OSError as error:
        raise _no_bundle(path, f"cannot be read: {error.strerror or error}", "check its permissions") from None
    except ValueError:
        raise _no_bundle(path, "is no path") from None
    if start.startswith((b"PK\3\4", b"PK\5\6")):
        return "zip"
    if start.startswith(b"\x1f\x8b"):
        return "tar.gz"
    raise _not_an_archive(path, start)


def _not_an_archive(path: Path, start: bytes) -> BundleError:
    if not start:
        return _no_bundle(path, "is empty: it has no bytes", "copy or download it again")
    if start.startswith((b"PK\7\x08", b"PK00")):
        return _no_bundle(path, "is one part of a split zip", "pack it in one piece")
    for magic, kind in _OTHER_KINDS:
        if start.startswith(magic):
            return _no_bundle(path, f"is {kind}", "pack the model folder, for instance with `zip -r model.zip model`")
    if start[257:262] == b"ustar":
        return _no_bundle(path, "is a tar without compression", f"compress it: gzip {path.name}")
    with telling_damage(path):
        if ZipSource.ends_like_one(path):
            return _no_bundle(path, "is a zip with other data before it", "pack the model folder anew")
    if path.suffix.lower() in (".py", ".yaml", ".yml"):
        return _no_bundle(path, "is a single file", "give the model folder that holds its .mdai folder")
    return _no_bundle(path, "is neither a zip nor a gzip file", "pack it anew; a broken download may look like this")


def _no_bundle(path: Path, reason: str, next_step: str | None = None) -> BundleError:
    return BundleError(
        Problem("bundle.not-a-bundle", f"`{shown(str(path))}` {reason}", Location(str(path)), _EXPECTED, next_step)
    )


def _nearby(path: Path) -> str | None:
    try:
        near = sorted(other.name for other in path.parent.iterdir() if _ARCHIVE_SUFFIX.search(other.name))
    except OSError:
        return None
    return f"there: {', '.join(shown(name) for name in near[:5])}" if near else None
