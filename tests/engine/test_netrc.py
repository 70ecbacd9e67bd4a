"""The netrc file of a build: from addresses, a file, the keyring; for its owner alone, and gone afterwards."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mdai_build.engine import netrc_file
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
