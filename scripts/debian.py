"""Unpack Debian packages into a folder of our own, leaving the system and its package lists as they are.

Serves `engine.py` and `parent.py`; standard library only, since it runs before the virtual environment exists.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Unavailable(Exception):
    """Something that the script needs cannot be had here; the text says what, and what to do next."""


def codename(release_file: Path = Path("/etc/os-release")) -> str:
    """The code name of the Debian release that runs here, from os-release(5).

    Raises:
        Unavailable: another distribution, or not root.
    """
    try:
        lines = release_file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    release = dict(line.split("=", 1) for line in lines if "=" in line)
    if release.get("ID") != "debian" or not shutil.which("apt-get"):
        raise Unavailable(f"this is {release.get('PRETTY_NAME', 'no Debian')}: its packages cannot be used from here")
    if os.geteuid() != 0:
        raise Unavailable("this user is not root")
    return release["VERSION_CODENAME"]


def mirror(suite: str) -> str:
    """The package mirror that the system's own sources name for the release `suite`.

    Raises:
        Unavailable: the sources name none.
    """
    listed = run(["apt-get", "update", "--print-uris"]).stdout
    ending = f"/dists/{suite}/InRelease"
    for line in listed.splitlines():
        address = line.split()[0].strip("'")
        if address.endswith(ending):
            return address.removesuffix(ending)
    raise Unavailable(f"no mirror for {suite} among the system's package sources (/etc/apt/sources.list*)")


def unpack(packages: Sequence[str], *, suite: str, into: Path, work: Path, dependencies: bool) -> None:
    """Download `packages` of `suite` with apt and unpack them into the folder `into`.

    Args:
        packages: names of Debian packages.
        suite: release to take them from, which may be another one than the system's.
        into: root of the unpacked tree (`into/usr/bin/...`).
        work: folder for apt's lists and archives.
        dependencies: also take what they depend on and the system has not installed.

    Raises:
        Unavailable: apt could not get them.
    """
    archives = work / "cache" / "archives"
    for folder in (work / "lists" / "partial", archives / "partial", into):
        folder.mkdir(parents=True, exist_ok=True)
    sources = work / "sources.list"
    sources.write_text(f"deb [signed-by={KEYRING}] {mirror(codename())} {suite} main\n")
    apt = ["apt-get", "--yes"]
    for option in (
        f"Dir::State::Lists={work}/lists",
        f"Dir::Etc::sourcelist={sources}",
        "Dir::Etc::sourceparts=/dev/null",
        f"Dir::Cache={work}/cache",
        "APT::Sandbox::User=root",
        "APT::Update::Error-Mode=any",
        "Debug::NoLocking=1",
    ):
        apt += ["-o", option]
    run([*apt, "update"])
    if dependencies:
        run([*apt, "install", "--download-only", "--no-install-recommends", *packages])
    else:
        run([*apt, "download", *packages], cwd=archives)
    for archive in sorted(archives.glob("*.deb")):
        run(["dpkg", "-x", str(archive), str(into)])
    shutil.rmtree(work)


def run(
    command: Sequence[str], *, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command without input and return what it printed.

    Raises:
        Unavailable: it failed; the text holds its last lines.
    """
    done = subprocess.run(
        command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-5:]
        raise Unavailable("\n  ".join([f"`{Path(command[0]).name} ... {command[-1]}` failed:", *said]))
    return done
