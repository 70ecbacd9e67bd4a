"""Files with secrets: logins from addresses, a file, the keyring, and proxies; their owner's alone, gone afterwards."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from mdai_build.engine import BuildRequest, netrc_file, proxy_file
from mdai_build.engine.build import _command
from mdai_build.engine.connection import Engine
from mdai_build.engine.process import Environment
from mdai_build.errors import UsageError
from mdai_build.settings import Settings, load_settings

KEYRING = """#!/bin/sh
echo "$@" >> "$ASKED"
case "$1 $2 $3" in
    "get https://a.test/simple u") exit 1 ;;
    "get a.test u") echo from-the-keyring ;;
    *) exit 1 ;;
esac
"""


def settings_for(place: Path, **values: object) -> Settings:
    return load_settings(values, {}, place)


def test_the_file_is_its_owners_alone_and_gone_afterwards(tmp_path: Path) -> None:
    written = tmp_path / "logins"
    written.write_text("machine b.test login v password q\nmachine a.test login other password other\n")
    settings = settings_for(tmp_path, index_url="https://u:p@a.test/simple", netrc=written)
    with pytest.raises(RuntimeError), netrc_file(settings) as file:
        assert file is not None
        assert file.read_text() == "machine a.test login u password p\nmachine b.test login v password q\n"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        raise RuntimeError
    assert not file.parent.exists()


def test_without_logins_there_is_none_even_where_the_user_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine a.test login u password p\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with netrc_file(settings_for(tmp_path, index_url="https://a.test/simple")) as file:
        assert file is None


def test_the_netrc_file_completes_a_user(tmp_path: Path) -> None:
    written = tmp_path / "logins"
    written.write_text("machine a.test login u password from-the-file\n")
    with netrc_file(settings_for(tmp_path, index_url="https://u@a.test/simple", netrc=written)) as file:
        assert file is not None and "login u password from-the-file" in file.read_text()


@pytest.mark.process
def test_the_keyring_is_asked_when_the_settings_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a `keyring` command as pip and uv call it: an address, then the host."""
    command = tmp_path / "keyring"
    command.write_text(KEYRING)
    command.chmod(0o755)
    asked = tmp_path / "asked"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("ASKED", str(asked))
    with (
        pytest.raises(UsageError, match="no password is known"),
        netrc_file(settings_for(tmp_path, index_url="https://u@a.test/simple")),
    ):
        pass
    assert not asked.exists()
    settings = settings_for(tmp_path, index_url="https://u@a.test/simple", keyring="subprocess")
    with netrc_file(settings) as file:
        assert file is not None and file.read_text() == "machine a.test login u password from-the-keyring\n"
    assert asked.read_text().splitlines() == ["get https://a.test/simple u", "get a.test u"]


@pytest.mark.process
def test_a_shell_reads_the_proxies_as_they_were_given(tmp_path: Path) -> None:
    given = {"https_proxy": "http://u:it's$HOME@proxy.test:3128", "no_proxy": "localhost,.test"}
    with proxy_file(settings_for(tmp_path, proxies=given)) as file:
        assert file is not None and stat.S_IMODE(file.stat().st_mode) == 0o600
        script = f". {file} && env"
        shown = subprocess.run(["sh", "-c", script], env={}, capture_output=True, text=True, check=True).stdout
    assert set(shown.splitlines()) >= {f"{name}={value}" for name, value in given.items()}
    assert f"HTTPS_PROXY={given['https_proxy']}" in shown.splitlines()
    assert not file.exists()


def test_proxies_without_a_login_need_no_file_and_stand_on_no_command_line(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, proxies={"https_proxy": "http://proxy.test:3128"})
    with proxy_file(settings) as file:
        assert file is None
    request = BuildRequest(context=tmp_path, proxies=tuple(settings.proxies.items()))
    engine = Engine(client=None, host="", version="", environment=Environment({}))  # type: ignore[arg-type]
    words = _command(engine, request, tmp_path / "id")
    assert "--build-arg=https_proxy" in words and "proxy.test" not in " ".join(words) + repr(request)
