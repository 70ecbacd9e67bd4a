"""An engine elsewhere, over TCP with certificates on both sides: a door of its own before the engine that runs here."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
import trustme
from harness.case import BUNDLES
from harness.runner import Run, run_command

from mdai_build.engine import connect
from mdai_build.settings import load_settings

TAG = "mdai-build-test/elsewhere:latest"


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Address of an engine that speaks with nobody but who has a certificate, and the folder with one."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    mine = authority.issue_cert("me@example.test")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    mine.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    mine.private_key_pem.write_to_path(folder / "key.pem")
    side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(side)
    authority.configure_trust(side)
    side.verify_mode = ssl.CERT_REQUIRED
    found = connect(load_settings().engine_folder)
    found.client.close()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, args=(listening, side, found.host.removeprefix("unix://")), daemon=True).start()
        yield f"tcp://127.0.0.1:{listening.getsockname()[1]}", folder


def serve(listening: socket.socket, side: ssl.SSLContext, engine: str) -> None:
    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=let_in, args=(listening.accept()[0], side, engine), daemon=True).start()


def let_in(plain: socket.socket, side: ssl.SSLContext, engine: str) -> None:
    """Carries bytes between a guest and the engine until either side ends."""
    with (
        contextlib.suppress(OSError),
        plain,
        side.wrap_socket(plain, server_side=True) as guest,
        socket.socket(socket.AF_UNIX) as inside,
    ):
        inside.connect(engine)
        guest.settimeout(0.002)
        inside.setblocking(False)
        carry(guest, inside)


def carry(guest: ssl.SSLSocket, inside: socket.socket) -> None:
    """One thread for both ways, since no two may use one TLS connection at once."""
    while True:
        with contextlib.suppress(TimeoutError, ssl.SSLWantReadError):
            if not (data := guest.recv(65536)):
                return
            inside.setblocking(True)
            inside.sendall(data)
            inside.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            if not (data := inside.recv(65536)):
                return
            guest.settimeout(None)
            guest.sendall(data)
            guest.settimeout(0.002)


def run(place: Path, cache: Path, environment: dict[str, str], *words: str) -> Run:
    place.mkdir()
    return run_command(words, place, {"MDAI_BUILD_CACHE_FOLDER": str(cache), **environment}, timeout=300)


def test_over_tls(door: tuple[str, Path], engine: docker.DockerClient, cache_folder: Path, tmp_path: Path) -> None:
    address, certificates = door
    there = {"DOCKER_HOST": address, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(certificates)}
    model = tmp_path / "model"
    shutil.copytree(BUNDLES / "minimal" / "model", model)
    built = run(tmp_path / "build", cache_folder, there, "build", str(model), "--parent", "local", "-t", TAG, "--json")
    try:
        assert built.exit_code == 0, str(built)
        assert json.loads(built.stdout)["image"]["id"] == engine.images.get(TAG).id

        told = run(tmp_path / "context", cache_folder, context_of(door, tmp_path / "config"), "inspect", TAG, "--json")
        assert told.exit_code == 0, str(told)
        assert json.loads(told.stdout)["built"]["parent"] == "mdai-build/parent:local-cpu"
    finally:
        with contextlib.suppress(docker.errors.ImageNotFound):
            engine.images.remove(TAG, force=True)


def context_of(door: tuple[str, Path], config: Path) -> dict[str, str]:
    """Variables under which the same engine is that of a docker context."""
    address, folder = door
    found = connect(load_settings().engine_folder)
    found.client.close()
    environment = {**found.environment.values, "DOCKER_CONFIG": str(config)}
    environment.pop("DOCKER_HOST", None)
    config.mkdir()
    if (
        plugins := Path(found.environment.values.get("DOCKER_CONFIG", "~/.docker")).expanduser() / "cli-plugins"
    ).exists():
        (config / "cli-plugins").symlink_to(plugins)
    where = f"host={address},ca={folder}/ca.pem,cert={folder}/cert.pem,key={folder}/key.pem"
    words = found.command("context", "create", "elsewhere", "--docker", where)
    subprocess.run(words, env=environment, check=True, capture_output=True)
    return {"DOCKER_CONFIG": str(config), "DOCKER_CONTEXT": "elsewhere", "DOCKER_HOST": ""}


@pytest.mark.parametrize(
    "variables, told",
    [
        ({"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/nowhere"}, "certificates"),
        ({}, "no container engine answers"),
    ],
    ids=["certificates that are not there", "no certificate"],
)
def test_who_is_not_let_in_is_told_why(
    door: tuple[str, Path], variables: dict[str, str], told: str, cache_folder: Path, tmp_path: Path
) -> None:
    there = {"DOCKER_HOST": door[0], "DOCKER_TLS_VERIFY": "", **variables}
    refused = run(tmp_path / "inspect", cache_folder, there, "inspect", TAG)
    assert refused.exit_code == 5, str(refused)
    assert told in refused.stderr
