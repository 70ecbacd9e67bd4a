"""Writes docs/mdai-build.1, the manual page, from the help of the commands; a test holds it to that.

The page is committed and the wheel puts it into share/man/man1: so it can be read in the repository, no build of a
wheel has to import the package, and `man mdai-build` finds it once the environment is on PATH.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from mdai_build.cli.main import cli
from mdai_build.settings import PREFIX, SETTINGS_FILE, Settings

PAGE = Path(__file__).resolve().parents[1] / "docs/mdai-build.1"
_EXIT_CODES = (
    (0, "all good"),
    (1, "a bug in mdai-build"),
    (2, "wrong usage"),
    (3, "the bundle, its config or its entry point is wrong"),
    (4, "its requirements cannot be met"),
    (5, "engine, parent image or network not available"),
    (6, "the build failed, or an image is not what it is said to be"),
    (7, "the smoke test failed"),
    (130, "interrupted"),
)


def man_page() -> str:
    """The page in roff, as man(7) describes it."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield r".\" Written by scripts/man_page.py from the help of the commands."
    yield '.TH MDAI\\-BUILD 1 "" mdai\\-build "User commands"'
    yield ".SH NAME"
    yield r"mdai\-build \- check, build and test MD.ai model bundles"
    yield ".SH SYNOPSIS"
    yield r".B mdai\-build"
    yield r"[\-v] \fICOMMAND\fR [\fIOPTION\fR]... [\fIARGUMENT\fR]..."
    yield ".br"
    yield r".B mdai\-build"
    yield r"\fIMODEL\fR [\fIOPTION\fR]..."
    yield ".SH DESCRIPTION"
    yield from _text(_paragraphs(cli)[0])
    yield ".PP"
    yield from _text(_paragraphs(cli)[1])
    context = click.Context(cli, info_name="mdai-build", **cli.context_settings)
    yield ".SH OPTIONS"
    yield from _options(cli, context)
    yield ".SH COMMANDS"
    yield from _commands(cli, context)
    yield ".SH EXIT STATUS"
    for code, meaning in _EXIT_CODES:
        yield from (".TP", f".B {code}", *_text(meaning))
    yield ".SH ENVIRONMENT"
    yield from _text(f"Each of these is also a key of {SETTINGS_FILE}, in small letters and without the prefix.")
    for name, field in Settings.model_fields.items():
        yield from (".TP", f".B {PREFIX}{name.upper()}", *_text(str(field.description)))
    yield ".SH FILES"
    yield from (".TP", f".I {_escaped(SETTINGS_FILE)}", *_text("settings, in the working folder or one above it"))
    yield from (".TP", ".I .mdai/config.yaml", *_text("what a model runs on"))
    yield from (".TP", ".I .mdai/smoke.yaml", *_text("how a model is tried"))
    yield ".SH SEE ALSO"
    yield r".BR docker (1)"


def _commands(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.commands[name]
        inside = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _commands(command, inside)
            continue
        yield f".SS {_escaped(inside.command_path.removeprefix('mdai-build '))}"
        words = " ".join(command.collect_usage_pieces(inside))
        yield f".B {_escaped(inside.command_path)}"
        yield from _text(words)
        for paragraph in _paragraphs(command):
            yield ".PP"
            yield from _text(paragraph)
        yield from _options(command, inside)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None:
            yield from (".TP", f".B {_escaped(record[0])}", *_text(record[1]))


def _paragraphs(command: click.Command) -> list[str]:
    """A command's help; lines that click is told to leave alone stay lines."""
    text = (command.help or "").replace("`", "")
    return [part.strip("\b\n ") for part in re.split(r"\n\s*\n", text) if part.strip("\b\n ")]


def _text(words: str) -> Iterator[str]:
    for line in words.splitlines():
        text = _escaped(" ".join(line.split()))
        # A line that begins so would be a request of roff's.
        yield r"\&" + text if text.startswith((".", "'")) else text


def _escaped(text: str) -> str:
    return text.replace("\\", r"\e").replace("-", r"\-").replace("…", "...")


if __name__ == "__main__":
    PAGE.write_text(man_page(), encoding="utf-8")
