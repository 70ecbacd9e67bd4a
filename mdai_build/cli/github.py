"""What GitHub Actions understands in the output of a job: groups that fold, and annotations of files.

Source: GitHub's "Workflow commands". What a build or a model prints could hold such commands too, so that they are
switched off as long as we run, and on for each command of our own.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from mdai_build.errors import Location, Problem

MODEL = "mdai_build.model"
"""Where click's context keeps the path of the model that was given."""
_MOST = 10
"""GitHub shows no more annotations of one kind for a step."""


class GitHub:
    """Writes workflow commands on standard error."""

    def __init__(self, token: str, workspace: Path) -> None:
        self._token = token
        self._workspace = workspace
        self._open = False

    def group(self, title: str) -> None:
        """What follows is folded below a title, up to the next group or `end_group`."""
        self.end_group()
        self._command("group", title)
        self._open = True

    def end_group(self) -> None:
        """Ends the group, if one is open."""
        if self._open:
            self._command("endgroup", "")
            self._open = False

    def annotate(self, problems: Iterable[Problem], kind: Literal["error", "warning"], model: Path | None) -> None:
        """Shows problems beside the lines that they are about. `model` is what was given on the command line."""
        from mdai_build.error_pages import number_of
        from mdai_build.report.document import problem_text

        self.end_group()
        for problem in list(problems)[:_MOST]:
            place = self._place(problem.where, model) if problem.where else {}
            text = (
                problem_text(problem).removesuffix(f"\n{problem.details}") if problem.details else problem_text(problem)
            )
            self._command(kind, text, {**place, "title": number_of(problem.code)})

    def _place(self, where: Location, model: Path | None) -> dict[str, str]:
        from mdai_build.report.places import place_of

        place = place_of(where, model)
        if place is None:
            return {}
        lines = {"line": place.line, "col": place.column}
        with_place = {name: str(number) for name, number in lines.items() if number is not None}
        return {"file": self._relative(place.file), **with_place}

    def _relative(self, file: Path) -> str:
        try:
            return file.resolve().relative_to(self._workspace.resolve()).as_posix()
        except ValueError:
            return file.as_posix()

    def _command(self, name: str, message: str, properties: Mapping[str, str] | None = None) -> None:
        words = ",".join(f"{key}={_escaped(value, in_property=True)}" for key, value in (properties or {}).items())
        sys.stdout.flush()
        sys.stderr.write(f"::{self._token}::\n::{name}{' ' if words else ''}{words}::{_escaped(message)}\n")
        sys.stderr.write(f"::stop-commands::{self._token}\n")
        sys.stderr.flush()


_current: GitHub | None = None


def github() -> GitHub | None:
    """GitHub Actions, where this process runs there and `on_github` has begun."""
    return _current


@contextmanager
def on_github(environment: Mapping[str, str] = os.environ) -> Iterator[None]:
    """While the block lasts, what is printed is no command, unless we give it."""
    global _current
    if environment.get("GITHUB_ACTIONS") != "true":
        yield
        return
    token = secrets.token_hex(16)
    sys.stderr.write(f"::stop-commands::{token}\n")
    _current = GitHub(token, Path(environment.get("GITHUB_WORKSPACE") or "."))
    try:
        yield
    finally:
        _current.end_group()
        _current = None
        sys.stdout.flush()
        sys.stderr.write(f"::{token}::\n")
        sys.stderr.flush()


def annotate(errors: Iterable[Problem], warnings: Iterable[Problem] = ()) -> None:
    """On GitHub, shows problems beside the files of the model that the command was given; elsewhere does nothing."""
    on = github()
    if on is not None:
        context = click.get_current_context(silent=True)
        model = context.meta.get(MODEL) if context else None
        on.annotate(warnings, "warning", model)
        on.annotate(errors, "error", model)


def _escaped(text: str, in_property: bool = False) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if in_property else text
