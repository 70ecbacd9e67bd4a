"""An image in its normal form, and written as an archive that `docker load` reads.

All times are one time, names are sorted, a layer names what it changes and nothing else, a configuration's keys are
sorted: so the same content is the same bytes, whichever engine and image store built it.
"""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from mdai_build.canonical.archive import ImageArchive
from mdai_build.canonical.history import instruction
from mdai_build.canonical.tree import (
    Entry,
    Tree,
    ancestors,
    content_of,
    differing,
    digest_of,
    read_layer,
    topmost,
    with_digests,
)

EPOCH = 315532800
"""1980-01-01, the time of everything in a reproducible image: the earliest that a wheel, which is a zip, can hold."""
CREATED = "1980-01-01T00:00:00Z"
# Of the configuration (OCI Image Specification, config.md) what an image does when it runs; `Image`, `Hostname` and the
# like are what some engines add.
_CONFIG = (
    *("Cmd", "Entrypoint", "Env", "ExposedPorts", "Healthcheck", "Labels", "Shell", "StopSignal", "User", "Volumes"),
    "WorkingDir",
)
_PLATFORM = ("architecture", "os", "os.version", "os.features", "variant")


@dataclass(frozen=True)
class NormalLayer:
    """What one layer changes."""

    made_by: str
    entries: tuple[tuple[str, Entry], ...]
    """By path, sorted: what is new or different, and the folders above."""
    removed: tuple[str, ...]


@dataclass(frozen=True)
class NormalImage:
    """An image in its normal form."""

    archive: ImageArchive
    parent: tuple[str, ...]
    """Digests of the parent's layers, which stay as they are."""
    config: Mapping[str, Any]
    """The configuration but for `rootfs`."""
    layers: tuple[NormalLayer, ...]
    files: Tree
    """What is otherwise than in the parent, by path."""
    removed: tuple[str, ...]
    """What the parent has and the image has not."""
    made_by: Mapping[str, str]
    """Which instruction made each of `files`."""
    ignored_labels: tuple[str, ...] = ()
    """Labels that say nothing of the content, and do not count."""

    @cached_property
    def digest(self) -> str:
        """Of all that the image holds and does: the parent's layers, every file and its attributes, the configuration.

        Not of how it came about: layers, history and times do not count.
        """
        digest = hashlib.sha256(_json(["mdai-build image 1", self.parent, self.runs]))
        for path in sorted(self.files):
            entry = self.files[path]
            digest.update(json.dumps([path, *_printable(entry), entry.digest]).encode())
        digest.update(json.dumps(sorted(self.removed)).encode())
        return f"sha256:{digest.hexdigest()}"

    @property
    def runs(self) -> dict[str, Any]:
        """What the configuration says of how the image runs, and on what."""
        found = {key: value for key, value in self.config.items() if key not in ("history", "created")}
        runs = dict(found["config"])
        if "Labels" in runs:
            labels = {key: value for key, value in runs["Labels"].items() if key not in self.ignored_labels}
            runs["Labels"] = dict(sorted(labels.items()))
        return {**found, "config": runs}


@dataclass(frozen=True)
class Written:
    """By what an image is known that was written."""

    config: str
    """Digest of its configuration, which names the digest of every layer: the same on all machines and stores."""
    manifest: str
    """Digest of its manifest, which depends on how layers are packed too."""


def normalise(archive: ImageArchive, parent: Sequence[str], ignored_labels: Sequence[str] = ()) -> NormalImage:
    """The normal form of an image that was built on a parent whose layers have these digests.

    Raises:
        ValueError: the image does not begin with those layers, or a layer cannot be read.
    """
    if archive.diff_ids[: len(parent)] != tuple(parent):
        raise ValueError("the image does not begin with the parent's layers")
    made_by = [step for step in archive.config.get("history") or () if not step.get("empty_layer")]
    tree: Tree = {}
    for number in range(len(parent)):
        with archive.layer(number) as layer:
            tree = read_layer(layer, number, tree).after
    below = tree
    known: dict[Entry, str] = {}

    def digest(path: str, entry: Entry) -> str:
        if entry not in known:
            known[entry] = digest_of(path, entry, archive.open_layer, EPOCH)
        return known[entry]

    layers: list[NormalLayer] = []
    origin: dict[str, str] = {}
    touched: set[str] = set()
    for number in range(len(parent), len(archive.diff_ids)):
        with archive.layer(number) as layer:
            change = with_digests(read_layer(layer, number, tree), archive.open_layer, EPOCH)
        changed, removed = differing(change, digest)
        tree = change.after
        wanted = set(changed) | {above for path in (*changed, *removed) for above in ancestors(path)}
        words = instruction(str(made_by[number].get("created_by") or "")) if number < len(made_by) else ""
        layers.append(
            NormalLayer(
                words,
                tuple((path, tree[path]) for path in sorted(wanted) if path in tree),
                tuple(topmost(removed, tree | dict.fromkeys(removed, _GONE))),
            )
        )
        origin.update(dict.fromkeys(changed, words))
        touched |= {*changed, *removed}
    files = {
        path: tree[path] for path in touched if path in tree and _differs(path, below.get(path), tree[path], digest)
    }
    gone = tuple(sorted(path for path in touched if path not in tree and path in below))
    config = _normal_config(archive.config, len(parent), layers)
    return NormalImage(archive, tuple(parent), config, tuple(layers), files, gone, origin, tuple(ignored_labels))


def write_image(image: NormalImage, out: IO[bytes], scratch: Path, with_parent: bool, pack: bool = False) -> Written:
    """Writes the image as an archive for `docker load`.

    Without `with_parent` the parent's layers are named and left out, for an engine that holds them. With `pack`, layers
    that are plain are packed by zstd, as they are to be pushed.
    """
    parent = [_parent_layer(image.archive, number, scratch, pack) for number in range(len(image.parent))]
    own = [_own_layer(image, number, scratch, pack) for number, layer in enumerate(image.layers) if _holds(layer)]
    diff_ids = [*image.parent, *(layer.diff_id for layer in own)]
    config = _json({**image.config, "rootfs": {"type": "layers", "diff_ids": diff_ids}})
    labels = image.config["config"].get("Labels") or {}
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _descriptor("application/vnd.oci.image.config.v1+json", _sha256(config), len(config)),
        "layers": [_descriptor(layer.media_type, layer.digest, layer.size) for layer in (*parent, *own)],
        "annotations": {key: labels[key] for key in sorted(labels) if key.startswith("org.opencontainers.image.")},
    }
    written = _json(manifest)
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [_descriptor("application/vnd.oci.image.manifest.v1+json", _sha256(written), len(written))],
    }
    legacy = {
        "Config": _blob(_sha256(config)),
        "RepoTags": None,
        "Layers": [_blob(layer.digest) for layer in (*parent, *own)],
    }
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for name, content in {
            "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
            _blob(_sha256(config)): config,
            _blob(_sha256(written)): written,
        }.items():
            _add(archive, name, io.BytesIO(content), len(content))
        done = set()
        for layer in (*(parent if with_parent else ()), *own):
            if layer.digest not in done:
                with closing(layer.open()) as stream:
                    _add(archive, _blob(layer.digest), stream, layer.size)
            done.add(layer.digest)
        for name, content in {"index.json": _json(index), "manifest.json": _json([legacy])}.items():
            _add(archive, name, io.BytesIO(content), len(content))
    return Written(_sha256(config), _sha256(written))


_GONE = Entry(tarfile.DIRTYPE, 0, 0, 0)


@dataclass(frozen=True)
class _WrittenLayer:
    digest: str
    diff_id: str
    size: int
    media_type: str
    place: Path | tuple[ImageArchive, int]

    def open(self) -> IO[bytes]:
        return self.place.open("rb") if isinstance(self.place, Path) else self.place[0].open_blob(self.place[1])


def _own_layer(image: NormalImage, number: int, scratch: Path, pack: bool) -> _WrittenLayer:
    place = scratch / f"normal-{number}.tar"
    with place.open("wb") as stream:
        _write_layer(image, image.layers[number], stream)
    diff_id = _file_digest(place)
    return _packed(place, diff_id) if pack else _plain(place, diff_id)


def _parent_layer(archive: ImageArchive, number: int, scratch: Path, pack: bool) -> _WrittenLayer:
    with archive.open_blob(number) as stream:
        start = stream.read(4)
        if pack and start[:2] != b"\x1f\x8b" and start != b"\x28\xb5\x2f\xfd":
            place = scratch / f"parent-{number}.tar"
            stream.seek(0)
            with place.open("wb") as target:
                while part := stream.read(2**20):
                    target.write(part)
            return _packed(place, archive.diff_ids[number])
        stream.seek(0)
        packing = {b"\x1f\x8b": "+gzip", b"\x28\xb5": "+zstd"}.get(start[:2], "")
        digest = _stream_digest(stream) if packing else archive.diff_ids[number]
    media_type = f"application/vnd.oci.image.layer.v1.tar{packing}"
    return _WrittenLayer(digest, archive.diff_ids[number], archive.blobs[number][1], media_type, (archive, number))


def _plain(place: Path, diff_id: str) -> _WrittenLayer:
    return _WrittenLayer(diff_id, diff_id, place.stat().st_size, "application/vnd.oci.image.layer.v1.tar", place)


def _packed(place: Path, diff_id: str) -> _WrittenLayer:
    import zstandard

    packed = place.with_suffix(".tar.zst")
    with place.open("rb") as source, packed.open("wb") as target:
        zstandard.ZstdCompressor(level=3).copy_stream(source, target, size=place.stat().st_size)
    place.unlink()
    size = packed.stat().st_size
    return _WrittenLayer(_file_digest(packed), diff_id, size, "application/vnd.oci.image.layer.v1.tar+zstd", packed)


def _write_layer(image: NormalImage, layer: NormalLayer, stream: IO[bytes]) -> None:
    opened = image.archive.open_layer
    names: dict[str, Entry | None] = dict(layer.entries)
    for path in layer.removed:
        folder, name = posixpath.split(path)
        names[posixpath.join(folder, f".wh.{name}")] = None
    first_of: dict[str, str] = {}
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(names):
            entry = names[name]
            member = tarfile.TarInfo(name)
            member.mtime = EPOCH
            if entry is None:
                member.mode = 0o600
                archive.addfile(member)
                continue
            member.type, member.mode, member.uid, member.gid = entry.kind, entry.mode, entry.user, entry.group
            member.linkname = entry.target
            member.devmajor, member.devminor = entry.device
            member.pax_headers = dict(entry.xattrs)
            if entry.link_group in first_of:
                member.type, member.linkname = tarfile.LNKTYPE, first_of[entry.link_group]
            elif entry.content is not None:
                parts = _Parts(content_of(name, entry, opened, EPOCH))
                member.size = entry.content.size
                if name.endswith((".pyc", ".dist-info/RECORD")):  # what is rewritten may have another size
                    whole = parts.read(-1)
                    parts, member.size = _Parts(iter([whole])), len(whole)
                archive.addfile(member, parts)
                if entry.link_group:
                    first_of[entry.link_group] = name
                continue
            archive.addfile(member)


class _Parts(io.RawIOBase):
    """Parts of a file as a file to read from."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        found = [self._rest]
        have = len(self._rest)
        while (size < 0 or have < size) and (part := next(self._parts, None)) is not None:
            found.append(part)
            have += len(part)
        whole = b"".join(found)
        cut = len(whole) if size < 0 else size
        self._rest = whole[cut:]
        return whole[:cut]


def _normal_config(config: Mapping[str, Any], parents: int, layers: Sequence[NormalLayer]) -> dict[str, Any]:
    runs = {key: value for key in _CONFIG if (value := (config.get("config") or {}).get(key))}
    history: list[dict[str, Any]] = []
    holding = 0
    for step in config.get("history") or ():
        if holding < parents:
            history.append(step)
        holding += not step.get("empty_layer")
    # What a step was given depends on who builds (certificates, mirrors): of our own, what they made is told alone.
    history += [{"created": CREATED, "created_by": _made(layer)} for layer in layers if _holds(layer)]
    platform = {key: config[key] for key in _PLATFORM if config.get(key)}
    return {**platform, "created": CREATED, "config": runs, "history": history}


def _made(layer: NormalLayer) -> str:
    paths = [path for path, entry in layer.entries if entry.kind != tarfile.DIRTYPE] or list(layer.removed)
    paths = paths or [path for path, _ in layer.entries]
    place = posixpath.commonpath(paths) if len(paths) > 1 else posixpath.dirname(paths[0])
    return f"{layer.made_by.split(' ')[0]} /{place}"


def _holds(layer: NormalLayer) -> bool:
    return bool(layer.entries or layer.removed)


def _differs(path: str, before: Entry | None, after: Entry, digest: Any) -> bool:
    if before is None or before.attributes != after.attributes:
        return True
    if before.content == after.content or after.content is None or before.content is None:
        return before.content != after.content
    return bool(digest(path, before) != (after.digest or digest(path, after)))


def _printable(entry: Entry) -> list[object]:
    kind = entry.kind.decode()
    return [kind, entry.mode, entry.user, entry.group, entry.target, *entry.device, [list(x) for x in entry.xattrs]]


def _add(archive: tarfile.TarFile, name: str, stream: IO[bytes], size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, EPOCH, 0o644
    archive.addfile(member, stream)


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _blob(digest: str) -> str:
    return "blobs/" + re.sub(":", "/", digest, count=1)


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _file_digest(place: Path) -> str:
    with place.open("rb") as stream:
        return _stream_digest(stream)


def _stream_digest(stream: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while part := stream.read(2**20):
        digest.update(part)
    return f"sha256:{digest.hexdigest()}"
