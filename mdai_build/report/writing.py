"""Files that a user asked for, in places that may refuse them."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mdai_build.errors import Location, Problem, UsageError


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Tells of a place that cannot be written to as the user's mistake; a full disk is none.

    Raises:
        UsageError: it cannot be written to.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UsageError(
            Problem(
                code="output.refused",
                what=f"this cannot be written: {error.strerror or error}",
                where=Location(str(place)),
                expected="a place that this user may write to",
            )
        ) from error
