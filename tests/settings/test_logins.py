"""Names and passwords: taken out of addresses at once, and written to a netrc file that all its readers read alike."""

from __future__ import annotations

import netrc
from pathlib import Path

import pytest

from mdai_build.errors import UsageError
from mdai_build.logins import Login, netrc_text, read_netrc, take_login
from mdai_build.settings import load_settings

SECRET = "s3cret/with:odd%characters"
QUOTED = "s3cret%2Fwith%3Aodd%25characters"


def test_no_setting_that_can_be_printed_holds_a_login(tmp_path: Path) -> None:
    (tmp_path / "mdai-build.toml").write_text(f'conda_channels = ["https://c:{QUOTED}@conda.test/channel", "plain"]\n')
    environment = {
        "MDAI_BUILD_INDEX_URL": f"https://a:{QUOTED}@one.test:8443/simple/",
        "MDAI_BUILD_EXTRA_INDEX_URLS": f"https://b:{QUOTED}@two.test/simple, https://three.test/simple",
    }
    settings = load_settings({}, environment, tmp_path)
    assert settings.index_url == "https://one.test:8443/simple/"
    assert settings.extra_index_urls == ("https://two.test/simple", "https://three.test/simple")
    assert settings.conda_channels == ("https://conda.test/channel", "plain")
    given = {login.host: (login.user, login.password) for login in settings.logins}
    assert given == {"one.test": ("a", SECRET), "two.test": ("b", SECRET), "conda.test": ("c", SECRET)}
    for shown in (repr(settings), settings.model_dump_json(), repr(settings.logins)):
        assert SECRET not in shown and QUOTED not in shown


@pytest.mark.parametrize(
    ("url", "bare", "user", "password"),
    [
        ("https://u:p@h.test/x?q=1#f", "https://h.test/x?q=1#f", "u", "p"),
        ("https://u:p@w@h.test/x", "https://h.test/x", "u", "p@w"),
        ("https://u@h.test/x", "https://h.test/x", "u", None),
        ("https://u:@h.test/x", "https://h.test/x", "u", ""),
    ],
)
def test_a_login_is_taken_out(url: str, bare: str, user: str, password: str | None) -> None:
    assert take_login(url) == (bare, Login(bare.split("/")[2], user, password, bare))


@pytest.mark.parametrize(
    "url", ["https://h.test/x", "https://h.test:80/@scope/x", "https://[::1]:80/x@y", "conda-forge"]
)
def test_what_has_no_login_stays(url: str) -> None:
    assert take_login(url) == (url, None)


@pytest.mark.parametrize("url", ["https://u:pa/ss@h.test/simple", "https://u:pa#ss@h.test/simple"])
def test_a_password_that_ends_the_host_early_is_refused_and_not_shown(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="password") as caught:
        load_settings({}, {"MDAI_BUILD_INDEX_URL": url}, tmp_path)
    assert "ss@" not in str(caught.value.problems)


def test_a_wrong_setting_is_told_without_its_login(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_settings({}, {"MDAI_BUILD_PROXIES": "http://u:secret@proxy.test"}, tmp_path)
    assert "***@proxy.test" in str(caught.value) and "secret" not in str(caught.value)


def test_the_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    logins = [Login("", "d", "default"), Login("a.test", "u", SECRET, "x"), Login("a.test", "other", "later")]
    file = tmp_path / "netrc"
    file.write_text(netrc_text(logins))
    hosts = netrc.netrc(str(file)).hosts
    assert {host: (user, password) for host, (user, _, password) in hosts.items()} == {
        "a.test": ("u", SECRET),
        "default": ("d", "default"),
    }
    assert [login.host for login in read_netrc(file)] == ["a.test", ""]


@pytest.mark.parametrize("password", ["two words", "back\\slash", '"quoted', ""])
def test_what_no_netrc_file_can_hold_is_refused_and_not_shown(password: str) -> None:
    with pytest.raises(UsageError) as caught:
        netrc_text([Login("a.test", "u", password)])
    assert not password or password not in str(caught.value)


def test_two_addresses_with_different_logins_for_one_host_are_refused() -> None:
    one, other = Login("a.test", "u", "p", "https://a.test/1"), Login("a.test", "v", "p", "https://a.test/2")
    assert netrc_text([one, one]).count("machine") == 1
    with pytest.raises(UsageError, match=r"a\.test"):
        netrc_text([one, other])


@pytest.mark.parametrize("content", [b"machine a.test login u\n", b"no such word\n", b"\xff\xfe\x00"])
def test_a_file_that_is_no_netrc_is_named(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "netrc"
    file.write_bytes(content)
    with pytest.raises(UsageError, match="netrc"):
        read_netrc(file)


def test_a_missing_netrc_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_netrc(tmp_path / "none")
