"""How the parts of this room tell the reader that a line cannot be taken; the reader adds file and line."""

from __future__ import annotations

from mdai_build.errors import Location, Problem
from mdai_build.requirements.redact import redact


class Refusal(Exception):
    """A line that cannot be installed as it stands. Credentials in its texts are taken out here, whoever wrote them."""

    def __init__(self, code: str, what: str, *, expected: str | None = None, next_step: str | None = None) -> None:
        super().__init__(redact(what))
        self.code = code
        self.what = redact(what)
        self.expected = redact(expected) if expected else None
        self.next_step = redact(next_step) if next_step else None

    def at(self, where: Location) -> Problem:
        """The refusal as a problem of that line."""
        return Problem(
            code=f"requirements.{self.code}",
            what=self.what,
            where=where,
            expected=self.expected,
            next_step=self.next_step,
        )
