"""The templates whose results are text that programs read: Dockerfiles, and the files of a new model."""

from __future__ import annotations

from collections.abc import Callable

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mdai_build.resources import resource


def text_templates(**filters: Callable[..., str]) -> Environment:
    """What is in `templates/`, with these filters by name. Nothing is escaped: a filter quotes for its language.

    A name that a template was not given is an error, and a line that holds only a statement leaves none.
    """
    environment = Environment(
        loader=FileSystemLoader(resource("templates")),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(filters)
    return environment
