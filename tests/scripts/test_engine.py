from __future__ import annotations

import ipaddress
import itertools
import signal
import subprocess
import sys
from pathlib import Path

import debian
import engine
import pytest


def docker_that(folder: Path, script: str) -> dict[str, str]:
    """An environment whose `docker` is a shell script: `$1` is `version` or `buildx`."""
    program = folder / "docker"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


@pytest.mark.process
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 26.1.5", None),
        ("echo 23.0.0-rc1", None),
        ("echo 20.10.24", "20.10.24"),
        ("echo '<nil>'", "<nil>"),
        ("exit 1", "no engine answers"),
        ('if [ "$1" = buildx ]; then exit 1; fi; echo 28.2.2', "no buildx"),
    ],
)
def test_an_engine_serves_if_new_enough_and_with_buildx(tmp_path: Path, script: str, reason: str | None) -> None:
    """Starts `docker`: the question is what its answers mean."""
    found = engine.shortcoming(docker_that(tmp_path, script))

    assert found is None if reason is None else reason in (found or "")


@pytest.mark.process
def test_an_engine_that_hangs_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts a `docker` that never answers."""
    monkeypatch.setattr(engine, "ANSWER_SECONDS", 0.2)

    assert engine.shortcoming(docker_that(tmp_path, "exec sleep 30")) == "the engine does not answer in time"


def test_without_a_docker_command_no_engine_serves(tmp_path: Path) -> None:
    assert engine.shortcoming({"PATH": str(tmp_path)}) == "no docker command on PATH"


@pytest.mark.process
def test_the_shell_line_survives_odd_folders(tmp_path: Path) -> None:
    """Starts `sh`, which is what the line is for."""
    private = engine.Engine(tmp_path / "it's $HOME; odd")
    script = f'{private.shell_line()}; printf "%s\\n" "$DOCKER_HOST" "$DOCKER_CONFIG" "$PATH"'
    shell = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"}
    )

    host, configuration, path = shell.stdout.splitlines()
    assert host == f"unix://{private.socket}"
    assert configuration == str(private.folder / "config")
    assert path == f"{private.folder}/bin:/usr/bin:/bin"


@pytest.mark.parametrize(
    ("variables", "containerd_store", "folder"),
    [
        ({"MDAI_BUILD_ENGINE_FOLDER": "/a/b"}, False, "/a/b"),
        ({"MDAI_BUILD_ENGINE_FOLDER": "/a/b"}, True, "/a/b-containerd"),
        ({"XDG_DATA_HOME": "/data"}, False, "/data/mdai-build/engine"),
        ({"HOME": "/home/someone"}, False, "/home/someone/.local/share/mdai-build/engine"),
    ],
)
def test_the_folder_of_the_private_engine(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], containerd_store: bool, folder: str
) -> None:
    for name in ("MDAI_BUILD_ENGINE_FOLDER", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert engine.private_engine(containerd_store=containerd_store).folder == Path(folder)


def test_each_engine_has_a_bridge_of_its_own() -> None:
    names = {engine.Engine(Path(folder)).bridge for folder in ("/a", "/b", "/" + 100 * "c")}

    assert len(names) == 3
    assert all(len(name) <= 15 for name in names)


def test_a_folder_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(debian.Unavailable, match="shorter path"):
        engine.Engine(tmp_path / (100 * "x")).start()


@pytest.mark.process
def test_only_processes_of_this_engine_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts stand-ins for dockerd, one of which ignores the request to end."""
    monkeypatch.setattr(engine, "STOP_SECONDS", 0.5)
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    folders = [tmp_path / "ours", tmp_path / "ours-too"]
    servers = []
    for folder in folders:
        folder.mkdir()
        words = ["dockerd", "-c", stubborn, "--data-root", f"{folder}/data"]
        servers.append(subprocess.Popen(words, executable=sys.executable, stdout=subprocess.PIPE))
    ours, other = servers
    try:
        for server in servers:
            assert server.stdout is not None
            server.stdout.readline()
        private = engine.Engine(folders[0])
        private.socket.touch()

        private.end_processes()

        assert ours.wait(timeout=10) == -signal.SIGKILL
        assert other.poll() is None
        assert not private.socket.exists()
    finally:
        for server in servers:
            server.kill()
            server.communicate()


def test_only_debian_provides_packages(tmp_path: Path) -> None:
    release = tmp_path / "os-release"
    release.write_text('PRETTY_NAME="Ubuntu 24.04"\nID=ubuntu\nVERSION_CODENAME=noble\n')

    with pytest.raises(debian.Unavailable, match="Ubuntu"):
        debian.codename(release)
    with pytest.raises(debian.Unavailable, match="no Debian"):
        debian.codename(tmp_path / "missing")


ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
{others}"""


def route(network: ipaddress.IPv4Network) -> str:
    """A line of /proc/net/route."""
    address, mask = (
        f"{int.from_bytes(part.packed, sys.byteorder):08X}" for part in (network.network_address, network.netmask)
    )
    return f"bridge\t{address}\t00000000\t0001\t0\t0\t0\t{mask}\t0\t0\t0\n"


def test_no_two_engines_have_addresses_of_one_network() -> None:
    """Two bridges with one network lost packets of builds: their downloads stood still for a minute."""
    taken: list[ipaddress.IPv4Network] = []
    for number in range(40):
        routes = ROUTES.format(others="".join(route(network) for network in taken))
        taken.append(engine.free_network(routes, f"/engine/{number}"))

    assert not any(one.overlaps(other) for one, other in itertools.combinations(taken, 2))


def test_an_engine_keeps_off_the_networks_of_its_machine() -> None:
    alone = engine.free_network(ROUTES.format(others=""), "/engine")
    wide = route(alone.supernet(new_prefix=13))

    assert not engine.free_network(ROUTES.format(others=wide), "/engine").overlaps(alone.supernet(new_prefix=13))


def test_a_machine_without_a_free_network_is_told_so() -> None:
    with pytest.raises(debian.Unavailable, match="no network free"):
        engine.free_network(ROUTES.format(others=route(ipaddress.IPv4Network("172.16.0.0/12"))), "/engine")


def test_engines_that_start_at_one_moment_look_in_different_places() -> None:
    found = {engine.free_network(ROUTES.format(others=""), f"/engine/{number}") for number in range(10)}

    assert len(found) > 5
