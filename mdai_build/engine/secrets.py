"""Files with secrets for one build or one look at an index: made when needed, gone afterwards."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from mdai_build.engine.process import Environment, run_quietly
from mdai_build.errors import Location, Problem, UsageError
from mdai_build.logins import Login, netrc_text, read_netrc
from mdai_build.scratch import scratch_folder
from mdai_build.settings import Settings


@contextmanager
def netrc_file(settings: Settings) -> Iterator[Path | None]:
    """A netrc file with every login that the settings tell, for as long as the block lasts; None where there is none.

    Only its owner can read it. A program finds it by the environment variable NETRC (uv, pip) or as `$HOME/.netrc`.

    Raises:
        UsageError: a login is incomplete, or cannot be written to such a file.
    """
    with _temporary("netrc", netrc_text(_logins(settings))) as file:
        yield file


@contextmanager
def proxy_file(settings: Settings) -> Iterator[Path | None]:
    """A shell file that sets the proxies' variables, for as long as the block lasts; None unless one has a login.

    Only its owner can read it.
    """
    # Programs differ in which case they read.
    variables = {
        cased: value for name, value in sorted(settings.proxies.items()) for cased in (name.lower(), name.upper())
    }
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
    with _temporary("proxies", "".join(lines) if settings.secret_proxies else "") as file:
        yield file


@contextmanager
def _temporary(name: str, text: str) -> Iterator[Path | None]:
    if not text:
        yield None
        return
    with scratch_folder() as folder:
        file = folder / name
        file.touch(mode=0o600, exist_ok=False)
        file.write_text(text, encoding="utf-8")
        yield file


def _logins(settings: Settings) -> tuple[Login, ...]:
    """Those of addresses first, then the netrc file's; the keyring is asked for what is missing."""
    written = read_netrc(settings.netrc) if settings.netrc else ()
    return (*(_complete(login, written, settings) for login in settings.logins), *written)


def _complete(login: Login, written: tuple[Login, ...], settings: Settings) -> Login:
    if login.password is not None:
        return login
    for entry in written:
        if (entry.host, entry.user) == (login.host, login.user):
            return replace(login, password=entry.password)
    if settings.keyring == "subprocess":
        # As pip and uv do: the address first, then the host.
        for service in (login.url, login.host):
            answer = run_quietly(["keyring", "get", service, login.user], Environment(dict(os.environ)), secret=True)
            if answer.exit_code == 0 and answer.output.strip():
                return replace(login, password=answer.output.splitlines()[-1].strip())
    raise UsageError(
        Problem(
            code="settings.no-password",
            what=f"an address names a user for {login.host}, and no password is known for it",
            where=Location("settings", key="index_url"),
            expected="https://USER:PASSWORD@host/…, an entry in the file that the setting netrc names, or the setting "
            'keyring = "subprocess" and a `keyring` command that knows it'
            + ("" if settings.keyring == "disabled" else f" (`keyring get {login.url} USER` answered none)"),
        )
    )
