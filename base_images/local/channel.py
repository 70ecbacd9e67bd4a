"""A conda channel in a folder, made of the Python interpreters on this machine and of pip from the package index."""

from __future__ import annotations

import asyncio
import configparser
import fnmatch
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import zstandard
from rattler.index import index_fs

# What a model's environment never loads: half of an installation's size.
LEFT_OUT = [
    "bin/*-gdb.py",
    "bin/idle*",
    "bin/pip*",
    "lib/python*/*/idle_test",
    "lib/python*/*/test",
    "lib/python*/*/tests",
    "lib/python*/config-*/*.a",
    "lib/python*/config-*/*.o",
    "lib/python*/ensurepip",
    "lib/python*/idlelib",
    "lib/python*/lib-dynload/_tkinter.*",
    "lib/python*/lib-dynload/nis.*",
    "lib/python*/site-packages/*",
    "lib/python*/test",
    "lib/python*/tkinter",
    "lib/python*/turtledemo",
    "share",
    "*.opt-[12].pyc",
]
# The newest release of each that still runs on that Python, pinned so that the image stays the same.
PYTHON_TOOLS = [
    ("pip", "24.0", "3.7"),
    ("pip", "25.0.1", "3.8"),
    ("pip", "25.3", "3.9"),
    ("setuptools", "68.0.0", "3.7"),
    ("setuptools", "75.3.2", "3.8"),
    ("setuptools", "80.9.0", "3.9"),
    ("wheel", "0.42.0", "3.7"),
    ("wheel", "0.45.1", "3.8"),
]
DEPENDENCIES = {"pip": ["setuptools", "wheel"]}


@dataclass(frozen=True)
class Package:
    """A conda package: its record, and the folder whose content it installs."""

    name: str
    version: str
    depends: Sequence[str]
    content: Path
    noarch: bool = False
    # Commands for a noarch Python package: "pip = pip._internal.cli.main:main".
    entry_points: Sequence[str] = ()
    # Text files hold this prefix; the linker puts the environment's own in its place.
    placeholder: str | None = None

    @property
    def subdir(self) -> str:
        return "noarch" if self.noarch else "linux-64"


def make_channel(interpreters: Iterable[Path], channel: Path, work: Path, environment: Mapping[str, str]) -> None:
    """Fill the folder `channel`: python from each interpreter, and pip, setuptools and wheel for each.

    Args:
        interpreters: installation folders, each named by its version (`.../3.8.18`).
        channel: made here; any conda client reads it as a `file:` channel.
        work: scratch folder.
        environment: finds `patchelf` and `strip`.
    """
    for subdir in ("linux-64", "noarch"):
        (channel / subdir).mkdir(parents=True)
    for interpreter in interpreters:
        write(python_package(interpreter, work / interpreter.name, environment), channel)
    for name, version, python in PYTHON_TOOLS:
        write(tool_package(name, version, python, work / f"{name}-{version}"), channel)
    asyncio.run(index_fs(channel, write_zst=False, write_shards=False))


def python_package(interpreter: Path, content: Path, environment: Mapping[str, str]) -> Package:
    """The interpreter's installation, made relocatable and free of debug symbols."""
    shutil.copytree(interpreter, content, symlinks=True, ignore=_left_out(interpreter))
    for file in _files(content):
        if file.is_symlink():
            continue
        with file.open("rb") as opened:
            if opened.read(4) != b"\x7fELF":
                continue
        origin = os.path.relpath(content / "lib", file.parent)
        for command in (["strip", "--strip-unneeded"], ["patchelf", "--set-rpath", f"$ORIGIN/{origin}"]):
            subprocess.run([*command, str(file)], env=environment, check=True, capture_output=True)
    return Package("python", interpreter.name, [], content, placeholder=str(interpreter))


def _left_out(root: Path) -> Callable[[str, list[str]], set[str]]:
    def ignore(folder: str, names: list[str]) -> set[str]:
        inside = Path(folder).relative_to(root)
        return {name for name in names if any(fnmatch.fnmatch(str(inside / name), shape) for shape in LEFT_OUT)}

    return ignore


def tool_package(name: str, version: str, python: str, content: Path) -> Package:
    """A wheel of the package index as a noarch package."""
    site = content / "site-packages"
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--python-version", python]
    subprocess.run([*command, "--target", str(site), f"{name}=={version}"], check=True)
    shutil.rmtree(site / "bin", ignore_errors=True)
    (site / ".lock").unlink(missing_ok=True)
    declared = configparser.ConfigParser(delimiters="=")
    declared.read(site.glob("*.dist-info/entry_points.txt"))
    commands = declared["console_scripts"] if declared.has_section("console_scripts") else {}
    entry_points = [f"{command} = {target}" for command, target in commands.items()]
    depends = [f"python >={python}", *DEPENDENCIES.get(name, [])]
    return Package(name, version, depends, content, noarch=True, entry_points=entry_points)


def write(package: Package, channel: Path) -> None:
    """Write the package in conda's `.conda` format: a zip of two tar archives, one of them the metadata."""
    info: dict[str, object] = {
        "index.json": {
            "name": package.name,
            "version": package.version,
            "build": "local_0",
            "build_number": 0,
            "depends": list(package.depends),
            "subdir": package.subdir,
            **({"noarch": "python"} if package.noarch else {"arch": "x86_64", "platform": "linux"}),
        },
        "paths.json": {"paths_version": 1, "paths": [_path_entry(file, package) for file in _files(package.content)]},
    }
    if package.noarch:
        noarch = {"type": "python", "entry_points": list(package.entry_points)}
        info["link.json"] = {"package_metadata_version": 1, "noarch": noarch}
    stem = f"{package.name}-{package.version}-local_0"
    members = {f"info/{name}": json.dumps(value, indent=1).encode() for name, value in info.items()}
    with zipfile.ZipFile(channel / package.subdir / f"{stem}.conda", "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("metadata.json", json.dumps({"conda_pkg_format_version": 2}))
        archive.writestr(f"info-{stem}.tar.zst", _packed_members(members))
        archive.writestr(f"pkg-{stem}.tar.zst", _packed_folder(package.content))


def _path_entry(file: Path, package: Package) -> dict[str, object]:
    content = file.read_bytes()
    entry: dict[str, object] = {
        "_path": str(file.relative_to(package.content)),
        "path_type": "softlink" if file.is_symlink() else "hardlink",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_in_bytes": len(content),
    }
    # Text only. In a binary the linker may have merged "3.8.18" with the tail of ".../versions/3.8.18", so that
    # replacing the prefix would corrupt sys.version.
    textual = not file.is_symlink() and b"\0" not in content
    if package.placeholder and textual and package.placeholder.encode() in content:
        entry |= {"prefix_placeholder": package.placeholder, "file_mode": "text"}
    return entry


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield Path(parent, name)


def _packed_members(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return zstandard.compress(buffer.getvalue())


def _packed_folder(folder: Path) -> bytes:
    def root_owned(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for file in _files(folder):
            tar.add(file, str(file.relative_to(folder)), filter=root_owned)
    return zstandard.compress(buffer.getvalue())
