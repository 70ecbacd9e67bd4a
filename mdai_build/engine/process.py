"""Starts commands: the one wrapper through which every process of this program goes.

On Linux a command ends with us, even where we are killed: it would go on building, and write into folders that the next
run clears up. The system tells it when the thread that started it ends (prctl(2), PR_SET_PDEATHSIG), so whoever starts
one ends it in the same thread, as both functions here do.
"""

from __future__ import annotations

import io
import logging
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

log = logging.getLogger(__name__)
_GRACE_SECONDS = 10
_ENDS_WITH_US = ("--pdeathsig", "TERM", "--")
_running: set[subprocess.Popen[str]] = set()
"""What `started` has started and not ended yet, in all threads."""


@dataclass(frozen=True)
class Environment:
    """Environment variables of a command. Not shown when printed: they may hold secrets."""

    values: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """How a command ended; `output` is its standard output and error together."""

    exit_code: int
    output: str


def run_quietly(
    command: Sequence[str],
    environment: Environment,
    timeout: float = 60,
    secret: bool = False,
    folder: Path | None = None,
) -> Answer:
    """Runs a command to its end and keeps what it prints. One that cannot start or takes too long has exit code 127.

    The words of a `secret` command, apart from the program, are not logged.
    """
    log.debug("$ %s", f"{command[0]} ..." if secret else shlex.join(command))
    try:
        done = subprocess.run(  # noqa: S603 - a list of words, no shell
            _ending_with_us(command, environment),
            env=dict(environment.values),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            text=True,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Answer(127, str(error))
    return Answer(done.returncode, done.stdout)


@contextmanager
def started(
    command: Sequence[str], environment: Environment, folder: Path | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A running command whose lines can be read from its `stdout`; it is ended when the block is left.

    The command gets a session of its own, so that Ctrl-C reaches us first and we end it in order.
    """
    log.debug("$ %s", shlex.join(command))
    process = subprocess.Popen(  # noqa: S603 - a list of words, no shell
        _ending_with_us(command, environment),
        env=dict(environment.values),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    if isinstance(process.stdout, io.TextIOWrapper):
        # A carriage return ends no line: what a bundle's code prints behind one would pass for the command's own.
        process.stdout.reconfigure(newline="\n")
    _running.add(process)
    try:
        yield process
    finally:
        _running.discard(process)
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _ending_with_us(command: Sequence[str], environment: Environment) -> list[str]:
    """A command line that ends with the thread that starts it, where the machine can do that."""
    setpriv = _setpriv()
    # One that is missing is told of by its own name.
    program = shutil.which(command[0], path=environment.values.get("PATH")) if setpriv else None
    return [setpriv, *_ENDS_WITH_US, program, *command[1:]] if setpriv and program else list(command)


@cache
def _setpriv() -> str | None:
    """The program that sets it: in Python between fork and exec that is not safe beside other threads."""
    program = shutil.which("setpriv", path=f"{os.environ.get('PATH', os.defpath)}:/usr/bin:/bin")
    if program is None:
        return None
    try:  # busybox has one of that name that does not know this
        done = subprocess.run(  # noqa: S603 - a list of words, no shell
            [program, *_ENDS_WITH_US, program, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_GRACE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return program if done.returncode == 0 else None


def end_started() -> None:
    """Ends what `started` has running in other threads: an interruption reaches the main one alone."""
    for process in tuple(_running):
        if process.poll() is None:
            process.terminate()
