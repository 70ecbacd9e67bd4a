"""Both installers read what is written for them. Each test starts them: nothing else shows what they accept."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Literal

import pytest
import uv

from mdai_build.bundle import Bundle
from mdai_build.requirements import (
    CONSTRAINT_FILE,
    Requirements,
    constraint_file,
    install_file,
    installer_arguments,
    read_requirements,
)

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
Installer = Literal["uv", "pip"]
pytestmark = [pytest.mark.process, pytest.mark.parametrize("installer", ["uv", "pip"])]


def wheel(name: str, version: str = "1.0", needs: Mapping[str, str] | None = None) -> bytes:
    """A wheel with one empty module. `needs` are requirements by the extra that asks for them."""
    info = f"{name}-{version}.dist-info"
    extras = "".join(
        f"Provides-Extra: {extra}\nRequires-Dist: {needed} ; extra == '{extra}'\n"
        for extra, needed in (needs or {}).items()
    )
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{extras}")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return packed.getvalue()


@pytest.fixture
def links(tmp_path: Path) -> Iterator[str]:
    """The address of a page on loopback with links to wheels: mdai_linked 1.0, 2.0 and 3.0rc1."""
    folder = tmp_path / "links"
    folder.mkdir()
    names = [f"mdai_linked-{version}-py3-none-any.whl" for version in ("1.0", "2.0", "3.0rc1")]
    for name in names:
        (folder / name).write_bytes(wheel("mdai_linked", name.split("-")[1]))
    (folder / "index.html").write_text("".join(f'<a href="{name}">{name}</a>\n' for name in names))
    serve = partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/index.html"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


def installed(requirements: Requirements, bundle: Bundle, installer: Installer, tmp_path: Path) -> set[str]:
    """Install as the image's install step does, and tell what came, as `name==version`."""
    folder, target = tmp_path / "install", tmp_path / "site"
    for path in requirements.files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(bundle.read_bytes(path))
    folder.mkdir(exist_ok=True)
    (folder / "_install.txt").write_text(install_file(requirements))
    (folder / CONSTRAINT_FILE).write_text(constraint_file(requirements))
    command = [uv.find_uv_bin(), "pip"] if installer == "uv" else [sys.executable, "-m", "pip", "--isolated"]
    command += ["install", "--no-index", "--no-cache-dir" if installer == "pip" else "--no-cache"]
    command += ["--target", str(target), "-r", "_install.txt", *installer_arguments(requirements, installer)]
    if installer == "uv":
        command += ["--python", sys.executable]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Ignoring" not in done.stderr
    return {"==".join(info.stem.split("-")) for info in target.glob("*.dist-info")}


def test_paths(installer: Installer, bundle_of, tmp_path: Path) -> None:
    bundle = bundle_of(
        "./mdai_beside-1.0-py3-none-any.whl\n"
        "mdai_bare-1.0-py3-none-any.whl\n"
        "my wheels/mdai_deep-1.0-py3-none-any.whl[more] ; python_version > '3'\n"
        "../räder/mdai_root-1.0-py3-none-any.whl\n"
        "mdai_gone-1.0-py3-none-any.whl ; sys_platform == 'win32'\n"
        "./mdai_more-1.0-py3-none-any.whl\n",
        {
            ".mdai/mdai_beside-1.0-py3-none-any.whl": wheel("mdai_beside"),
            ".mdai/mdai_bare-1.0-py3-none-any.whl": wheel("mdai_bare"),
            ".mdai/my wheels/mdai_deep-1.0-py3-none-any.whl": wheel("mdai_deep", needs={"more": "mdai_more"}),
            ".mdai/mdai_more-1.0-py3-none-any.whl": wheel("mdai_more"),
            "räder/mdai_root-1.0-py3-none-any.whl": wheel("mdai_root"),
        },
    )
    found = installed(read_requirements(bundle, PYTHON), bundle, installer, tmp_path)
    assert found == {f"mdai_{name}==1.0" for name in ("beside", "bare", "deep", "more", "root")}


def test_find_links_in_two_lines(installer: Installer, bundle_of, links: str, tmp_path: Path) -> None:
    bundle = bundle_of(f"-f {links}\nmdai_linked\n")
    assert installed(read_requirements(bundle, PYTHON), bundle, installer, tmp_path) == {"mdai_linked==2.0"}


def test_find_links_beside_the_package(installer: Installer, bundle_of, links: str, tmp_path: Path) -> None:
    bundle = bundle_of(f"mdai_linked<2 -f {links}\n")
    assert installed(read_requirements(bundle, PYTHON), bundle, installer, tmp_path) == {"mdai_linked==1.0"}


def test_pre_releases(installer: Installer, bundle_of, links: str, tmp_path: Path) -> None:
    bundle = bundle_of(f"--pre\n-f {links}\nmdai_linked\n")
    assert installed(read_requirements(bundle, PYTHON), bundle, installer, tmp_path) == {"mdai_linked==3.0rc1"}


def test_constraints(installer: Installer, bundle_of, links: str, tmp_path: Path) -> None:
    bundle = bundle_of(
        f"-c limits.txt\n-f {links}\nmdai_linked\n", {".mdai/limits.txt": "mdai_linked<2\nmdai_other<1\n"}
    )
    assert installed(read_requirements(bundle, PYTHON), bundle, installer, tmp_path) == {"mdai_linked==1.0"}


def test_a_folder_of_wheels(installer: Installer, bundle_of, tmp_path: Path) -> None:
    bundle = bundle_of(
        "--no-index\n-f wheels\nmdai_first\n",
        {
            ".mdai/wheels/mdai_first-1.0-py3-none-any.whl": wheel("mdai_first"),
            ".mdai/wheels/mdai_second-1.0-py3-none-any.whl": wheel("mdai_second"),
        },
    )
    assert installed(read_requirements(bundle, PYTHON), bundle, installer, tmp_path) == {"mdai_first==1.0"}


def test_a_wheel_by_url(installer: Installer, bundle_of, links: str, tmp_path: Path) -> None:
    address = links.replace("index.html", "mdai_linked-1.0-py3-none-any.whl")
    bundle = bundle_of(f"{address}\n")
    assert installed(read_requirements(bundle, PYTHON), bundle, installer, tmp_path) == {"mdai_linked==1.0"}


def test_hashes(installer: Installer, bundle_of, links: str, tmp_path: Path) -> None:
    digest = sha256((tmp_path / "links" / "mdai_linked-2.0-py3-none-any.whl").read_bytes()).hexdigest()
    bundle = bundle_of(f"-f {links}\nmdai_linked==2.0 \\\n    --hash=sha256:{digest}\n")
    assert installed(read_requirements(bundle, PYTHON), bundle, installer, tmp_path) == {"mdai_linked==2.0"}


def test_a_wrong_hash_is_not_installed(installer: Installer, bundle_of, links: str, tmp_path: Path) -> None:
    bundle = bundle_of(f"-f {links}\nmdai_linked==2.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(AssertionError, match=r"(?i)hash"):
        installed(read_requirements(bundle, PYTHON), bundle, installer, tmp_path)
