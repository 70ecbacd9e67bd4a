"""Where a secret is, in any shape that it may have taken: in an image, in files, in text."""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import os
import tarfile
import tempfile
import urllib.parse
from collections.abc import Callable, Iterable
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


def in_builder(client: docker.DockerClient, secrets: Iterable[bytes]) -> list[str]:
    """The records that the engine's BuildKit keeps of builds, steps and caches and that hold a secret."""
    wanted, found = tuple(secrets), []
    records = Path(client.info()["DockerRootDir"], "buildkit")
    assert (records / "history.db").is_file() and (records / "metadata_v2.db").is_file(), "the engine is not here"
    for place, folders, names in os.walk(records):
        if "executor" in folders:
            folders.remove("executor")  # file systems of steps that run just now
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # other builds go on
                if in_bytes(Path(place, name).read_bytes(), wanted):
                    found.append(str(Path(place, name)))
    return found


def in_image(client: docker.DockerClient, image: str, secrets: Iterable[bytes]) -> tuple[list[str], set[str]]:
    """What of an image holds a secret (files of any layer, parts of its description); the paths of all its files."""
    wanted = tuple(secrets)
    described: dict[str, Any] = {
        "description": client.api.inspect_image(image),
        "history": client.api.history(image),
    }
    found = [name for name, value in described.items() if in_bytes(repr(value).encode(), wanted)]
    paths: set[str] = set()
    with tempfile.TemporaryFile() as saved:
        for chunk in client.api.get_image(image):
            saved.write(chunk)
        saved.seek(0)
        with tarfile.open(fileobj=saved) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is None:
                    continue
                content = file.read()
                if content[:2] == b"\x1f\x8b":  # as an engine with containerd's store keeps layers
                    content = gzip.decompress(content)
                files = _members(content, wanted if in_bytes(content, wanted) else ())
                paths |= files.keys()
                found += [path for path, holds in files.items() if holds]
                if not files and in_bytes(content, wanted):
                    found.append(member.name)
    return found, paths


def in_cache_mounts(
    run: Callable[..., object], parent: str, names: Iterable[str], secrets: Iterable[bytes]
) -> list[str]:
    """The files of BuildKit's cache mounts of these names that hold a secret; mounts that are all empty are told too.

    `run` runs a command that can reach the engine; `parent` is an image with a shell and grep.
    """
    mounts = " ".join(f"--mount=type=cache,id={name},target=/caches/{name}" for name in names)
    with tempfile.TemporaryDirectory() as folder:
        words = Path(folder, "words")
        words.write_bytes(b"\n".join(secrets))
        dockerfile = Path(folder, "Dockerfile")
        dockerfile.write_text(
            f"FROM {parent} AS look\nARG once\n"
            f"RUN {mounts} --mount=type=secret,id=words,target=/words mkdir /found && "
            "{ find /caches -type f | grep -q . || echo all are empty > /found/found; } && "
            "grep -rlF -f /words /caches >> /found/found || true\n"
            "FROM scratch\nCOPY --from=look /found/ /\n"
        )
        # A step without the cache would be given empty mounts: it is another step each time.
        once = f"once={Path(folder).name}"
        run("docker", "buildx", "build", "--build-arg", once, "--secret", f"id=words,src={words}", "-o", folder, folder)
        return Path(folder, "found").read_text().splitlines()


def _members(layer: bytes, wanted: tuple[bytes, ...]) -> dict[str, bool]:
    """The files of a layer, and whether each holds a secret; none if it is no layer but some JSON of the image."""
    try:
        with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
            return {
                member.name: bool(wanted)
                and (
                    in_bytes(member.name.encode(), wanted)
                    or (member.isreg() and in_bytes(archive.extractfile(member).read(), wanted))  # type: ignore[union-attr]
                )
                for member in archive
            }
    except tarfile.ReadError:
        return {}
