"""How the parts of this room tell the reader that a line cannot be taken; the reader adds file and line."""

from __future__ import annotations

from mdai_build.errors import Location, Problem


class Refusal(Exception):
    """A line that cannot be installed as it stands. Texts hold no credentials."""

    def __init__(self, code: str, what: str, *, expected: str | None = None, next_step: str | None = None) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.expected = expected
        self.next_step = next_step

    def at(self, where: Location) -> Problem:
        """The refusal as a problem of that line."""
        return Problem(
            code=f"requirements.{self.code}",
            what=self.what,
            where=where,
            expected=self.expected,
            next_step=self.next_step,
        )
