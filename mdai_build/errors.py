"""Every way in which mdai-build can fail, each with its exit code.

A failure carries `Problem`s: what is wrong, where, what was expected, what to do next. Problems are plain frozen
values, so that the terminal, the JSON report and the tests read the same thing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, cast

from mdai_build.error_pages import error_pages

if TYPE_CHECKING:
    from mdai_build.documents.problems import ProblemDocument


@dataclass(frozen=True)
class Location:
    """Where in the user's files a problem is. Lines and columns count from 1."""

    file: str
    line: int | None = None
    column: int | None = None
    key: str | None = None
    """The key of a map (`cuda_version`), the requirement, or the archive member that is meant."""
    source: str | None = None
    """The text of that line, for the caret under it."""

    def __str__(self) -> str:
        text = self.file
        if self.line is not None:
            text += f":{self.line}"
            if self.column is not None:
                text += f":{self.column}"
        return text


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong (or, in a list of warnings, dubious), in words that its reader can act on."""

    code: str
    """Stable name, `room.what`, such as `config.unknown-key`."""
    what: str
    where: Location | None = None
    expected: str | None = None
    next_step: str | None = None
    details: str | None = field(default=None, repr=False)
    """Longer text that belongs to it: the model's traceback, the log of a failed build step."""

    def as_json(self) -> ProblemDocument:
        """The problem as JSON-ready values; absent parts are left out."""
        parts: dict[str, Any] = {"code": self.code, "what": self.what}
        if page := error_pages().get(self.code):
            parts["number"], parts["page"] = page.number, page.link
        if self.where is not None:
            where = {name: getattr(self.where, name) for name in ("file", "line", "column", "key")}
            parts["where"] = {name: value for name, value in where.items() if value is not None}
        for name in ("expected", "next_step", "details"):
            value = getattr(self, name)
            if value is not None:
                parts[name] = value
        return cast("ProblemDocument", parts)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.what}"


class MdaiBuildError(Exception):
    """The base of all failures that we foresee. `problems` is never empty."""

    exit_code: ClassVar[int] = 1
    title: ClassVar[str] = "mdai-build failed"

    def __init__(self, problems: Problem | Iterable[Problem], warnings: Sequence[Problem] = ()) -> None:
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        if not self.problems:
            raise ValueError("a failure needs at least one problem")
        self.warnings: tuple[Problem, ...] = tuple(warnings)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class UsageError(MdaiBuildError):
    """The command line or the settings are wrong."""

    exit_code = 2
    title = "wrong usage"


class BundleError(MdaiBuildError):
    """The archive or folder, its config.yaml or its mdai_deploy.py is wrong."""

    exit_code = 3
    title = "the bundle is wrong"


class RequirementsError(MdaiBuildError):
    """The bundle's requirements cannot be met."""

    exit_code = 4
    title = "the requirements cannot be met"


class UnavailableError(MdaiBuildError):
    """The engine, a parent image or the network is not available."""

    exit_code = 5
    title = "not available"


class BuildFailedError(MdaiBuildError):
    """The engine ran the build and a step of it failed."""

    exit_code = 6
    title = "the build failed"


class NotVerifiedError(MdaiBuildError):
    """An image is not what it is said to be."""

    exit_code = 6
    title = "not verified"


class SmokeTestFailedError(MdaiBuildError):
    """The image was built and does not do what the interface asks for."""

    exit_code = 7
    title = "the smoke test failed"
