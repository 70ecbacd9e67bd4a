"""A build plan rendered to a Dockerfile: same plan, same bytes. The text itself is in `templates/`."""

from __future__ import annotations

import json
import re
from functools import cache

from jinja2 import Environment

from mdai_build import __version__
from mdai_build.plan import SBOM_FILE, BuildPlan
from mdai_build.text_templates import text_templates

USER_ID = 1000
"""The numeric user and group that a model runs as."""


def render_dockerfile(plan: BuildPlan) -> str:
    """The Dockerfile for a plan. Its sources are those that the `context` room lays out.

    Raises:
        ValueError: a value cannot be written into a Dockerfile (a line break or a NUL); the rooms before refuse those.
    """
    return (
        _environment()
        .get_template("Dockerfile.j2")
        .render(plan=plan, user=USER_ID, sbom=SBOM_FILE, version=__version__)
    )


def render_wheels_dockerfile(plan: BuildPlan) -> str:
    """The Dockerfile of a folder of wheels: all that a build of this plan installs, and nothing else.

    Raises:
        ValueError: as `render_dockerfile`.
    """
    return _environment().get_template("Wheels.j2").render(plan=plan, user=USER_ID, version=__version__)


def render_lock_dockerfile(plan: BuildPlan) -> str:
    """The Dockerfile that finds out what the requirements of this plan come down to, and holds nothing else.

    Raises:
        ValueError: as `render_dockerfile`.
    """
    return _environment().get_template("Lock.j2").render(plan=plan, user=USER_ID, version=__version__)


def render_base_dockerfile(plan: BuildPlan, with_server: bool = True) -> str:
    """The Dockerfile of the base image that a model's plan can start from, and of its server; without, of that alone.

    Raises:
        ValueError: as `render_dockerfile`.
    """
    return _environment().get_template("Base.j2").render(plan=plan, user=USER_ID, with_server=with_server)


def author_line(plan: BuildPlan) -> int:
    """The line of the Dockerfile on which the author's own part begins, from 1."""
    text = render_dockerfile(plan)
    return text.count("\n", 0, text.index(plan.author_dockerfile or "")) + 1


def quote_value(value: str) -> str:
    """A value as one double-quoted word of an ENV or LABEL instruction, whatever characters it holds.

    In a Dockerfile's double quotes a backslash escapes, and `$` starts a substitution; nothing else is special.
    (Dockerfile reference, "ENV" and "Environment replacement".)
    """
    if re.search(r"[\x00\n\r]", value):
        raise ValueError(f"{value!r} cannot stand in a Dockerfile: it has a line break or a NUL")
    return '"' + re.sub(r'([\\"$])', r"\\\1", value) + '"'


def quote_words(words: list[str]) -> str:
    """Words as the JSON array of an instruction's exec form."""
    return json.dumps(words)


def quote_shell(value: str) -> str:
    """A value as one word of a RUN instruction's shell command."""
    if re.search(r"[\x00\n\r]", value):
        raise ValueError(f"{value!r} cannot stand in a Dockerfile: it has a line break or a NUL")
    # A backslash that ends a line would continue it; inside single quotes and with the quote after it, it cannot.
    return "'" + value.replace("'", "'\"'\"'") + "'"


@cache
def _environment() -> Environment:
    return text_templates(quote_value=quote_value, quote_words=quote_words, quote_shell=quote_shell)
