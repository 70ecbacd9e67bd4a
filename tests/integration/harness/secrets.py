"""Where a secret is, in any shape that it may have taken: in an image, in files, in text."""

from __future__ import annotations

import base64
import gzip
import io
import tarfile
import urllib.parse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import docker


def shapes(user: str, password: str) -> tuple[bytes, ...]:
    """The password as it is, percent-encoded, in base64 by itself, and as HTTP sends it with its user."""
    quoted = urllib.parse.quote(password, safe="")
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    return tuple({text.encode() for text in (password, quoted, base64.b64encode(password.encode()).decode(), pair)})


def in_bytes(content: bytes, secrets: Iterable[bytes]) -> bool:
    return any(secret in content for secret in secrets)


def in_folder(folder: Path, secrets: Iterable[bytes]) -> list[str]:
    """The files at or below a folder that hold a secret."""
    wanted = tuple(secrets)
    return [str(file) for file in folder.rglob("*") if file.is_file() and in_bytes(file.read_bytes(), wanted)]


def in_image(client: docker.DockerClient, image: str, secrets: Iterable[bytes]) -> list[str]:
    """The files of any layer, and the parts of the image's description, that hold a secret."""
    wanted = tuple(secrets)
    described: dict[str, Any] = {
        "description": client.api.inspect_image(image),
        "history": client.api.history(image),
    }
    found = [name for name, value in described.items() if in_bytes(repr(value).encode(), wanted)]
    saved = io.BytesIO(b"".join(client.api.get_image(image)))
    with tarfile.open(fileobj=saved) as archive:
        for member in archive:
            if not member.isfile():
                continue
            file = archive.extractfile(member)
            assert file is not None
            content = file.read()
            if content[:2] == b"\x1f\x8b":  # as an engine with containerd's store keeps layers
                content = gzip.decompress(content)
            if in_bytes(content, wanted):
                found += list(_members(content, wanted)) or [member.name]
    return found


def files_in_image(client: docker.DockerClient, image: str) -> set[str]:
    """The paths of all files in all layers."""
    saved = io.BytesIO(b"".join(client.api.get_image(image)))
    paths: set[str] = set()
    with tarfile.open(fileobj=saved) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is None:
                continue
            try:
                with tarfile.open(fileobj=io.BytesIO(file.read())) as layer:
                    paths.update(entry.name for entry in layer)
            except tarfile.ReadError:
                continue  # the image's own JSON
    return paths


def _members(layer: bytes, wanted: tuple[bytes, ...]) -> Iterator[str]:
    try:
        with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if in_bytes(member.name.encode(), wanted) or (file is not None and in_bytes(file.read(), wanted)):
                    yield member.name
    except tarfile.ReadError:
        return
