"""Images as `docker save` writes them, made by hand."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mdai_build.canonical import ImageArchive, open_archive

Member = tuple[tarfile.TarInfo, bytes]


def file(path: str, content: bytes = b"", **attributes: Any) -> Member:
    """A file of a layer; attributes are those of `tarfile.TarInfo`."""
    member = tarfile.TarInfo(path)
    member.size, member.mtime = len(content), 1_700_000_000
    for name, value in attributes.items():
        setattr(member, name, value)
    return member, content


def other(path: str, kind: bytes, linkname: str = "", **attributes: Any) -> Member:
    """A folder, link or device of a layer."""
    return file(path, type=kind, linkname=linkname, mode=0o755, **attributes)


def layer(*members: Member) -> bytes:
    """The tar file of a layer."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member, body in members:
            archive.addfile(member, io.BytesIO(body))
    return content.getvalue()


def saved(place: Path, layers: Iterable[bytes], config: dict[str, Any] | None = None) -> Path:
    """An archive of an image with these layers."""
    contents = list(layers)
    ids = [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in contents]
    full = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-11-25T10:00:00Z",
        "config": {"Env": ["A=1"], "Labels": {"b": "2", "a": "1"}},
        "history": [{"created": "2026-11-25T10:00:00Z", "created_by": f"RUN step {n}"} for n in range(len(contents))],
        **(config or {}),
        "rootfs": {"type": "layers", "diff_ids": ids},
    }
    names = [f"layer{number}.tar" for number in range(len(contents))]
    manifest = [{"Config": "config.json", "RepoTags": None, "Layers": names}]
    with tarfile.open(place, "w") as archive:
        for name, content in (
            *zip(names, contents, strict=True),
            ("config.json", json.dumps(full).encode()),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            archive.addfile(file(name, content)[0], io.BytesIO(content))
    return place


@contextmanager
def image(folder: Path, *layers: bytes, config: dict[str, Any] | None = None) -> Iterator[ImageArchive]:
    """An opened archive of an image with these layers."""
    folder.mkdir(parents=True, exist_ok=True)
    with open_archive(saved(folder / "image.tar", layers, config), folder) as archive:
        yield archive
