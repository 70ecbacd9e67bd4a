"""Why a build failed, in our words: whose fault it is, where, and what to do."""

from __future__ import annotations

import re

from mdai_build.engine.failed_log import line_that_matters
from mdai_build.engine.failures import disk_full, says_disk_full
from mdai_build.engine.progress import Progress
from mdai_build.errors import (
    BuildFailedError,
    BundleError,
    Location,
    MdaiBuildError,
    Problem,
    RequirementsError,
    UnavailableError,
)

_PARSE_ERROR = re.compile(
    r"failed to solve: (?:dockerfile parse error on line (?P<line>\d+): )?"
    r"(?P<reason>(?(line)|(?:dockerfile parse error|no build stage|failed to parse)).*)"
)
# Words of uv, pip, conda, apt and git when a host cannot be reached or trusted: no fault of the bundle.
_NETWORK = re.compile(
    r"(?i)temporary failure (?:in name )?resol\w+|could not resolve host|dns error|name or service not known"
    r"|network is unreachable|connection (?:refused|reset|timed out)|operation timed out"
    r"|error decoding response body|request or response body error|end of file before message length"
    r"|error sending request|IncompleteRead|connection broken"
    r"|invalid peer certificate|certificate verify failed|condahttperror"
)
# Words of buildx when what it speaks with is gone; a step of a build has no such connection.
_ENGINE_GONE = re.compile(
    r"code = Unavailable desc = (?:error reading from server|closing transport|connection error).*"
)
# Words of uv, pip, conda and git when a login is missing or wrong.
_LOGIN = re.compile(
    r"(?i)HTTP status client error \((?:401|403|407)[^)]*\)|\b40[137] Client Error|HTTP error 40[137]"
    r"|Authentication failed for|could not read Username|terminal prompts disabled|returned error: 40[137]"
    r"|407 Proxy Authentication Required|response 40[137]"
)
_NO_CACHE_EXPORT = "Cache export is not supported"
_LONGEST_NAME = 160
_ADVICE = {
    "-linux-musl": "this Python is made for musl, the C library of Alpine, which the wheels of numpy and its kind do "
    "not run on: begin .mdai/Dockerfile with an image of Debian or Ubuntu, such as python:3.10-slim",
    "that are here: none of": "name a parent that has conda; or let micromamba come to this one: --parent slim, and "
    "this image in place of the slim parent (setting parent_replacements)",
    "Terms of Service have not been accepted": "take packages from conda-forge, which asks for none (setting "
    "conda_channels); for a channel of Anaconda's, accept its terms in a parent image of your own",
    "Unable to locate package libgl1": "this parent's apt has no package with libGL any more: take a newer parent, or "
    "its maintained equivalent, --parent slim",
    "exec format error": "this engine's machine cannot run programs of that architecture: install an emulator for it "
    "(binfmt), or build for the machine's own with --platform",
    "/bin/sh: no such file": "the image that this starts from has no shell: take a fuller one; in a Dockerfile of "
    "your own, such as python:3.10-slim",
    "-m pip --version": "the image that .mdai/Dockerfile ends with needs a `python3` from 3.7 to 3.13, with pip",
    "failed to calculate checksum": "paths in COPY and ADD begin at the folder that holds .mdai, as in "
    "COPY .mdai/requirements.txt /tmp/",
}
"""What to do about a failed step, by words of its name or log."""


def says_engine_gone(progress: Progress) -> bool:
    """Whether the builder lost what it speaks with, though that may answer again by now."""
    log = progress.logs.get(progress.failed or "", [])
    return _ENGINE_GONE.search("\n".join([*log, *progress.rest])) is not None


def build_failure(progress: Progress, author_line: int = 1) -> MdaiBuildError:
    """The failure of a build, told by the step that failed and its own log.

    `author_line` is the line on which the author's own part of the Dockerfile begins.
    """
    name = progress.names.get(progress.failed or "", "")
    log = "\n".join(progress.logs.get(progress.failed or "", []) or progress.rest)
    if found := _PARSE_ERROR.search("\n".join(progress.rest)):
        return _unreadable(found, progress.rest, author_line)
    if _NO_CACHE_EXPORT in "\n".join(progress.rest):
        return UnavailableError(
            Problem(
                code="engine.no-cache-export",
                what="this engine cannot write a build cache to a registry: its own image store knows no such thing",
                where=Location("settings", key="cache_to"),
                expected="an engine on the containerd image store, or a builder of the docker-container driver",
                next_step="switch the engine's store (containerd-snapshotter in its daemon.json), name such a builder "
                "with --builder, or leave out --cache-to; --cache-from works here",
                details="\n".join(progress.rest).strip(),
            )
        )
    if says_disk_full(said := "\n".join(dict.fromkeys([*log.split("\n"), *progress.rest]))):
        return disk_full(f"it was at this step: {_cut(name)}" if name else "the build had not begun", said)
    if not name or "load metadata for" in name or name.startswith("[internal]"):
        return UnavailableError(
            Problem(
                code="engine.build-not-started",
                what="the engine could not begin the build",
                next_step="the engine's own words say why"
                if not name
                else "if the parent image is what is missing: --parent local, or a mirror with parent_registry",
                details="\n".join(dict.fromkeys([*log.split("\n"), *progress.rest])).strip() or None,
            )
        )
    if found := _LOGIN.search(log):
        return UnavailableError(
            Problem(
                code="engine.login-refused",
                what=f"a server asked for a login that it was not given, or refused it: {_cut(name)}",
                expected=f"an answer; the log says: {found.group(0)}",
                next_step="give it in a file that the setting netrc names, or in the address in index_url or proxies",
                details=log,
            )
        )
    if found := _NETWORK.search(log):
        return UnavailableError(
            Problem(
                code="engine.no-network",
                what=f"the network failed during this step of the build: {_cut(name)}",
                expected=f"an answer; the log says: {found.group(0)}",
                next_step="check the network, and the settings index_url, proxies and ca_bundle",
                details=log,
            )
        )
    if "_install.txt" in name or "_vcs.txt" in name:
        return RequirementsError(
            Problem(
                code="engine.install-failed",
                what=f"the requirements cannot be installed\n{line_that_matters(log)}".strip(),
                next_step="the log below names the requirement; change its line in .mdai/requirements.txt",
                details=log,
            )
        )
    return BuildFailedError(
        Problem(
            code="engine.step-failed",
            what=f"this step of the build failed: {_cut(name)}\n{line_that_matters(log)}".strip(),
            next_step=next((advice for words, advice in _ADVICE.items() if words in f"{name}\n{log}"), None),
            details=log,
        )
    )


def _unreadable(found: re.Match[str], said: list[str], author_line: int) -> BundleError:
    """Our own part parses, so this is about what an author's Dockerfile adds: told by its lines, not by ours."""
    number = found["line"]
    marked = next((line for line in said if number and re.match(rf"\s*{number} \| >>>", line)), None)
    return BundleError(
        Problem(
            code="engine.dockerfile",
            what=f"the bundle's Dockerfile cannot be read: {found['reason']}",
            where=Location(
                ".mdai/Dockerfile",
                line=int(number) - author_line + 1 if number else None,
                source=marked.partition(">>> ")[2] if marked else None,
            ),
            next_step="try it alone, in the model folder: docker build -f .mdai/Dockerfile .",
            details=None if marked else "\n".join(said).strip(),
        )
    )


def _cut(step: str) -> str:
    """A step's name, short enough to be a sentence's end; its log says the rest."""
    return step if len(step) <= _LONGEST_NAME else f"{step[:_LONGEST_NAME].rstrip()} …"
