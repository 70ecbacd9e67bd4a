"""What `docker save` writes, opened: the configuration of one image and its layers, each as a plain tar file.

Both image stores write `manifest.json` (the Docker Image Specification v1.2), which names the configuration and the
layers, oldest first; a layer may be packed by gzip or zstd, as it is in the containerd store.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@dataclass
class ImageArchive:
    """An opened archive of one image."""

    path: Path
    config: dict[str, Any]
    """The image's configuration (OCI Image Specification, config.md)."""
    blobs: tuple[tuple[int, int], ...]
    """Where in the archive each layer is, oldest first: offset and bytes, as it is packed."""
    scratch: Path
    """A folder for layers that have to be unpacked first."""
    _plain: dict[int, Path] = field(default_factory=dict)

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """Digest of each layer's tar file, oldest first."""
        return tuple(self.config["rootfs"]["diff_ids"])

    @contextmanager
    def layer(self, number: int) -> Iterator[tarfile.TarFile]:
        """A layer, opened."""
        with self.open_layer(number) as stream, tarfile.open(fileobj=stream, mode="r:") as layer:
            yield layer

    def open_layer(self, number: int) -> IO[bytes]:
        """The bytes of a layer's tar file."""
        if number in self._plain:
            return self._plain[number].open("rb")
        packed = self.open_blob(number)
        start = packed.read(4)
        packed.seek(0)
        if start[:2] != _GZIP and start != _ZSTD:
            return packed
        place = self.scratch / f"layer-{number}.tar"
        with packed, place.open("wb") as target:
            if start == _ZSTD:
                import zstandard

                zstandard.ZstdDecompressor().copy_stream(packed, target)
            else:
                shutil.copyfileobj(gzip.GzipFile(fileobj=packed), target, 2**20)
        self._plain[number] = place
        return place.open("rb")

    def open_blob(self, number: int) -> IO[bytes]:
        """The bytes of a layer as the archive has them."""
        return cast("IO[bytes]", io.BufferedReader(_Part(self.path, *self.blobs[number]), 2**20))


@contextmanager
def open_archive(path: Path, scratch: Path) -> Iterator[ImageArchive]:
    """Opens an archive that holds one image.

    Raises:
        ValueError: it is no archive of an image.
    """
    with tarfile.open(path, mode="r:") as archive:
        members = {member.name: member for member in archive}

        def read(name: str) -> Any:
            stream = archive.extractfile(members[name]) if name in members else None
            if stream is None:
                raise ValueError(f"the archive has no {name}")
            return json.load(stream)

        images = read("manifest.json")
        if len(images) != 1:
            raise ValueError(f"the archive holds {len(images)} images")
        config = read(images[0]["Config"])
        blobs = []
        for name in images[0]["Layers"]:
            member = members[name]
            if member.issym():  # as older engines write a layer that they wrote already
                member = members[os.path.normpath(f"{name}/../{member.linkname}")]
            blobs.append((member.offset_data, member.size))
    if len(blobs) != len(config["rootfs"]["diff_ids"]):
        raise ValueError("the archive has not as many layers as its configuration says")
    yield ImageArchive(path, config, tuple(blobs), scratch)


class _Part(io.RawIOBase):
    """A part of a file, as a file."""

    def __init__(self, path: Path, offset: int, size: int) -> None:
        self._stream = path.open("rb", buffering=0)
        self._offset, self._size, self._at = offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        count = max(0, min(len(buffer), self._size - self._at))
        self._stream.seek(self._offset + self._at)
        read = self._stream.readinto(memoryview(buffer)[:count])
        self._at += read
        return read

    def close(self) -> None:
        self._stream.close()
        super().close()
