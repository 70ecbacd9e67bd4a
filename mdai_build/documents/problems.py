"""Where, why and how something is wrong, as every report tells it."""

from typing import Literal

from typing_extensions import NotRequired, TypedDict

Format = Literal[1]


class WhereDocument(TypedDict):
    """Where in the user's files a problem is. Lines and columns count from 1."""

    file: str
    line: NotRequired[int]
    column: NotRequired[int]
    key: NotRequired[str]
    """The key of a map, the requirement, the sample or the archive member that is meant."""


class ProblemDocument(TypedDict):
    """One thing that is wrong or dubious."""

    code: str
    """Stable name of the kind, such as `config.unknown-key`."""
    what: str
    number: NotRequired[str]
    """Stable number of the kind, such as MB306; `mdai-build explain` takes it."""
    page: NotRequired[str]
    """Where that kind is written about."""
    where: NotRequired[WhereDocument]
    expected: NotRequired[str]
    next_step: NotRequired[str]
    details: NotRequired[str]
    """Longer text that belongs to it: a traceback, the log of a failed step."""


class FailureDocument(TypedDict):
    """Why a command came to no result."""

    format: Format
    exit_code: int
    error: str
    problems: list[ProblemDocument]
    """Why; never empty."""
    warnings: list[ProblemDocument]
