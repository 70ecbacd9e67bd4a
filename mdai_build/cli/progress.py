"""Shows what is going on: one live line on a terminal, plain lines in a log. Always on standard error."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.status import Status

if TYPE_CHECKING:
    from mdai_build.smoke import Check

_WIDEST = 160
_WORDS = {"passed": "ok", "warning": "warning", "failed": "FAILED"}


class Progress:
    """What the pipeline tells goes through here, while the `with` block lasts."""

    def __init__(self) -> None:
        from mdai_build.report.text import clean_line

        self._clean = clean_line
        self._console = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
        self._status: Status | None = None
        self._begun = time.monotonic()
        self._last = ""

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._status = self._console.status("")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def tell(self, text: str) -> None:
        """A new step began, or the present one got further."""
        line = self._clean(text)[:_WIDEST]
        if self._status is not None:
            self._status.update(escape(line))
        elif line.partition(":")[0] != self._last.partition(":")[0] or not line.endswith("MiB"):
            self._print(line)
        self._last = line

    def tell_check(self, check: Check) -> None:
        """A check of the smoke test ended."""
        if self._status is not None:
            self._status.update(escape(f"smoke test: {self._clean(check.name)}"))
        else:
            self._print(f"smoke test: {self._clean(check.name)}: {_WORDS[check.outcome]}")

    def _print(self, line: str) -> None:
        self._console.print(f"{time.monotonic() - self._begun:7.1f} s  {escape(line)}")
