"""Makes the model of a case: a folder, an archive, or something that only looks like one."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import shutil
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

from harness.case import FoundCase, Member


def make_model(found: FoundCase, place: Path, placeholders: Mapping[str, str]) -> Path:
    """Makes the case's model in `place` and gives the path for the command line.

    Placeholders (`@LINKS@` and the like) are filled in where they stand in the case's own files.
    """
    case = found.case
    if case.raw is not None:
        path = place / f"{found.name}.{case.pack.split()[0]}"
        path.write_text(case.raw, encoding="utf-8")
        return path
    folder = place / found.name
    source = found.folder / case.model
    if source.is_dir():
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in case.files.items():
        path = folder / name
        if text is None:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(filled(text, placeholders), encoding="utf-8", newline="")
    for name in case.executable:
        (folder / name).chmod(0o755)
    for name, wheel in case.wheels.items():
        write_wheel(folder / name, wheel.module, wheel.source)
    if case.pack == "folder":
        return folder
    archive = place / f"{found.name}.{case.pack.split()[0]}"
    top = f"{found.name}/" if case.pack.endswith("top folder") else ""
    pack = _zip if case.pack.startswith("zip") else _tar
    pack(archive, folder, top, case.members)
    shutil.rmtree(folder)
    return archive


def filled(text: str, placeholders: Mapping[str, str]) -> str:
    """The text with every placeholder replaced."""
    for name, value in placeholders.items():
        text = text.replace(name, value)
    return text


def _files(folder: Path) -> list[tuple[str, Path]]:
    return [(path.relative_to(folder).as_posix(), path) for path in sorted(folder.rglob("*")) if path.is_file()]


def _zip(archive: Path, folder: Path, top: str, members: tuple[Member, ...]) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, path in _files(folder):
            file.write(path, top + name)
        for member in members:
            entry = zipfile.ZipInfo(member.path)
            entry.create_system = 3  # Unix, so that the mode counts
            mode = stat.S_IFREG | 0o644 if member.link is None else stat.S_IFLNK | 0o777
            entry.external_attr = mode << 16
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Duplicate name")  # some cases want just that
                file.writestr(entry, member.content if member.link is None else member.link)


def _tar(archive: Path, folder: Path, top: str, members: tuple[Member, ...]) -> None:
    with tarfile.open(archive, "w:gz") as file:
        for name, path in _files(folder):
            file.add(path, top + name)
        for member in members:
            entry = tarfile.TarInfo(member.path)
            content = member.content.encode()
            entry.size = len(content)
            if member.link is not None:
                entry.type, entry.linkname, entry.size = tarfile.SYMTYPE, member.link, 0
            file.addfile(entry, io.BytesIO(content))


def write_wheel(path: Path, module: str, source: str, more: Mapping[str, bytes] | None = None) -> None:
    """Writes a wheel of one module and of further files by path (PEP 427); name and version are those of its path."""
    name, version = path.name.split("-")[:2]
    info = f"{name}-{version}.dist-info"
    contents = {
        f"{module}.py": source.encode(),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        **(more or {}),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: harness\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for member, content in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record += f"{member},sha256={digest},{len(content)}\n"
    contents[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as wheel:
        for member, content in contents.items():
            wheel.writestr(zipfile.ZipInfo(member), content)


def fingerprint(path: Path) -> dict[str, tuple[str, int]]:
    """Digest and mode of every file at or below a path: equal before and after if nobody touched it."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return {
        os.path.relpath(each, path): (hashlib.sha256(each.read_bytes()).hexdigest(), each.stat().st_mode)
        for each in files
    }
