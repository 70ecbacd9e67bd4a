"""What the smoke test asks of a thing that serves a model: a container and a local process both are one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class TargetState:
    """What became of the process behind a target."""

    running: bool
    exit_code: int | None = None
    """The exit status, once it runs no more; 128 + n, or -n, when signal n ended it."""
    oom_killed: bool = False
    """Whether the kernel killed something in it for want of memory."""
    error: str = ""
    """The engine's own words where it could not start it."""
    overstepped: str = ""
    """For what we ended it; empty if we did not."""


class Target(Protocol):
    """A served model under test."""

    @property
    def url(self) -> str:
        """Where it listens, such as `http://127.0.0.1:32768`, without a slash at the end."""

    def logs(self) -> str:
        """All that it wrote so far to its standard output and error."""

    def state(self) -> TargetState:
        """Whether it runs, and if not, how it ended."""

    def peak_memory(self) -> int | None:
        """The most memory, in bytes, that it used at any time so far; None where that is not known."""


class GpuTarget(Target, Protocol):
    """One that may have been given GPUs."""

    gpu_refused: str | None
    """Why it has none, as the end of a sentence; None: it was given what was asked for."""

    def ask_gpu(self, frameworks: Sequence[str]) -> str:
        """What the runtime's look at the GPUs prints, trying these frameworks (none: all that are installed); empty
        where it has no such runtime. UnavailableError: it runs no more.
        """


class Reloadable(Target, Protocol):
    """A served model whose files may change under it."""

    def reload(self) -> None:
        """Has the model loaded anew, once what is being answered is answered. UnavailableError: it runs no more."""

    def end(self) -> None:
        """Ends it at once, whatever it does."""
