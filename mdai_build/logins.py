"""Names and passwords for package indexes, kept apart from addresses, and written as the one netrc file of a build.

uv, pip, conda and git all read a netrc file, so that one secret serves them, and none of them needs a password in an
address, where it would stay in the image's history.
"""

from __future__ import annotations

import netrc
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from mdai_build.errors import Location, Problem, UsageError


@dataclass(frozen=True)
class Login:
    """Who we are for one host. Not shown when printed: a token may stand in either place."""

    host: str
    user: str = field(repr=False)
    password: str | None = field(repr=False)
    """None: the address named a user only, and the password is to be found elsewhere."""
    url: str = ""
    """The address, without the login, that it was given for."""


def take_login(url: str) -> tuple[str, Login | None]:
    """An address without user and password, and those; the address as it is where it has none.

    Raises:
        UsageError: a password in it holds characters that end the host's part of an address.
    """
    parts = urlsplit(url)
    login, at, place = parts.netloc.rpartition("@")
    if not at and "@" in url and not re.fullmatch(r"[^:]*(?::\d*)?|\[.*\](?::\d*)?", place):
        raise UsageError(
            Problem(
                code="settings.address",
                what="an address seems to carry a password with a `/`, `?` or `#` in it",
                where=Location("settings", key="index_url"),
                expected="these written as %2F, %3F, %23; or the password in a file that the setting netrc names",
            )
        )
    if not at or not parts.hostname:
        return url, None
    user, colon, password = login.partition(":")
    bare = urlunsplit(parts._replace(netloc=place))
    return bare, Login(parts.hostname, unquote(user), unquote(password) if colon else None, bare)


def hide_login(text: str) -> str:
    """A text in which every address shows `***` for its user and password."""
    return re.sub(r"(?<=://)[^/\s'\"]+@", "***@", text)


def read_netrc(file: Path) -> tuple[Login, ...]:
    """The logins of a netrc file; its `default` entry has an empty host and comes last.

    Raises:
        UsageError: there is no such file, or it is none.
    """
    try:
        hosts = netrc.netrc(str(file)).hosts
    except OSError as error:
        raise _unreadable(file, error.strerror or "it cannot be opened") from None
    except netrc.NetrcParseError as error:
        raise _unreadable(file, f"line {error.lineno} is not of a netrc file", error.lineno) from None
    except UnicodeDecodeError:
        raise _unreadable(file, "it is no text") from None
    for host, (user, _, secret) in hosts.items():
        if not user or not secret:
            raise _unreadable(file, f"the entry of {host} lacks its {'password' if user else 'login'}")
    logins = [Login("" if host == "default" else host, user, secret) for host, (user, _, secret) in hosts.items()]
    return tuple(sorted(logins, key=lambda login: not login.host))


def netrc_text(logins: Iterable[Login]) -> str:
    """A netrc file with these logins; of several for one host the first counts.

    Raises:
        UsageError: two users for one host, which a netrc file cannot tell apart, or a name or password that its readers
            would not read alike.
    """
    entries: dict[str, Login] = {}
    for login in logins:
        earlier = entries.setdefault(login.host, login)
        if earlier.url and login.url and (earlier.user, earlier.password) != (login.user, login.password):
            raise UsageError(
                Problem(
                    code="settings.two-logins",
                    what=f"two different logins are given for {login.host}; a build can have one for each host",
                    where=Location("settings", key="index_url"),
                    next_step="use one account that can read both indexes",
                )
            )
    lines = []
    for login in sorted(entries.values(), key=lambda login: not login.host):
        for word in (login.user, login.password or ""):
            # Readers differ in blanks, quotes at the start, and backslashes; there is no escape that all of them know.
            if not word or re.search(r"[\s\\\x00]", word) or word[0] in "\"'":
                raise UsageError(
                    Problem(
                        code="settings.login-characters",
                        what=f"the login for {login.host or 'the default host'} cannot be written to a netrc file",
                        where=Location("settings", key="netrc"),
                        expected="a user and a password without blanks and backslashes, and no quote at the start",
                        next_step="make a token for this purpose; most indexes offer one",
                    )
                )
        machine = f"machine {login.host}" if login.host else "default"
        lines.append(f"{machine} login {login.user} password {login.password}\n")
    return "".join(lines)


def _unreadable(file: Path, why: str, line: int | None = None) -> UsageError:
    return UsageError(
        Problem(
            code="settings.netrc",
            what=f"the netrc file cannot be read: {why}",
            where=Location(str(file), line=line, key="netrc"),
            expected="lines such as: machine pypi.example.org login NAME password SECRET",
        )
    )
