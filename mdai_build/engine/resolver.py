"""Runs uv on this machine, to learn what an installer would make of requirements. It builds and installs nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mdai_build.engine.process import Answer, Environment, run_quietly
from mdai_build.engine.secrets import netrc_file
from mdai_build.settings import Settings

_NOT_INHERITED = ("UV_", "PIP_", "MDAI_")
_LONGEST_SECONDS = 60
_ERROR = re.compile(r"^error", re.MULTILINE)
_DEFAULT_INDEX = re.compile(r"--default-index\b[^<]*<DEFAULT_INDEX>[^<]*by\s+default:\s+<(https://[^>\s]+)>")
# Whoever is offline learns it at once. A lost packet costs a warning, not the build.
_CONNECT_SECONDS, _ANSWER_SECONDS, _RETRIES = 2, 10, 1


@dataclass(frozen=True)
class Resolution:
    """How uv ended. `failure` is what it wrote, empty where it found versions for everything."""

    failure: str
    resolved: str = ""
    """The requirements file that it wrote."""
    log: str = ""
    """What it told of its search."""


@dataclass(frozen=True)
class Resolver:
    """uv, with the network as the settings know it. What this machine's own uv and pip are set up with counts for
    nothing, since the build does not see it either."""

    uv: Path
    environment: Environment
    settings: Settings = field(repr=False)
    """With the logins of private indexes, if there are any."""

    @classmethod
    def find(cls, settings: Settings) -> Resolver | None:
        """The uv that came with this program; None where the installation lacks it."""
        import uv

        try:
            program = Path(uv.find_uv_bin())
        except FileNotFoundError:
            return None
        return cls(program, _environment(settings), settings)

    def default_index(self) -> str | None:
        """The package index that uv asks where nobody names one, in its own words; None where it does not tell."""
        answer = run_quietly([str(self.uv), "pip", "compile", "--help"], self.environment, timeout=_LONGEST_SECONDS)
        found = _DEFAULT_INDEX.search(answer.output)
        return found[1] if found else None

    def succeeds(self, command: Sequence[str], folder: Path) -> bool:
        """Whether a command in a folder finds what it is asked for."""
        return self._run(command, folder, "unsafe-best-match").exit_code == 0

    def forget(self) -> bool:
        """Empties uv's cache, once no other uv uses it; False where one does for too long."""
        command = [str(self.uv), "cache", "clean"]
        return run_quietly(command, self.environment, timeout=_LONGEST_SECONDS).exit_code == 0

    def resolve(self, command: Sequence[str], folder: Path, result: Path) -> Resolution:
        """Runs a command in a folder, where it writes `result`."""
        # As with pip, all indexes count alike.
        answer = self._run(command, folder, "unsafe-best-match")
        if answer.exit_code == 0:
            return Resolution("", result.read_text(encoding="utf-8"), answer.output)
        said = answer.output[match.start() :] if (match := _ERROR.search(answer.output)) else answer.output
        failure = said.strip() or f"uv ended with exit code {answer.exit_code}"
        if "not found in" in failure or "available" in failure or "no version" in failure:
            # uv tells of an index that refused to answer only where it asks them one after the other.
            again = self._run(command, folder, "first-index").output
            failure += "".join(f"\n{line}" for line in again.splitlines() if line.startswith("hint: An index"))
        return Resolution(failure)

    def _run(self, command: Sequence[str], folder: Path, strategy: str) -> Answer:
        with netrc_file(self.settings) as netrc:
            logins = {"NETRC": str(netrc)} if netrc else {}
            environment = Environment({**self.environment.values, **logins, "UV_INDEX_STRATEGY": strategy})
            return run_quietly(command, environment, timeout=_LONGEST_SECONDS, folder=folder)


def _environment(settings: Settings) -> Environment:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_NOT_INHERITED) and not name.lower().endswith("_proxy") and name != "VIRTUAL_ENV"
    }
    if settings.ca_bundle:
        inherited.pop("SSL_CERT_DIR", None)
        inherited["SSL_CERT_FILE"] = str(settings.ca_bundle)
    return Environment(
        {
            **inherited,
            **settings.proxies,
            "UV_CACHE_DIR": str(settings.cache_folder / "uv"),
            "UV_HTTP_CONNECT_TIMEOUT": str(_CONNECT_SECONDS),
            "UV_HTTP_RETRIES": str(_RETRIES),
            "UV_HTTP_TIMEOUT": str(_ANSWER_SECONDS),
            "UV_NO_PROGRESS": "1",
        }
    )
