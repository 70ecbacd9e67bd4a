"""From the bytes of mdai_deploy.py to its syntax tree, for the Python that will run it."""

from __future__ import annotations

import ast
import io
import re
import sys
import threading
import tokenize
import warnings
from collections.abc import Sequence
from contextlib import suppress

from mdai_build.bundle.layout import ENTRY_POINT
from mdai_build.bundle.names import shown
from mdai_build.bundle.own_code import SourceFile
from mdai_build.errors import BundleError, Location, Problem


def decode_entry_point(content: bytes) -> SourceFile:
    """The file as text, in the encoding that it names.

    Raises:
        BundleError: it is not readable as text.
    """
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        return SourceFile(ENTRY_POINT, io.TextIOWrapper(io.BytesIO(content), encoding, newline=None).read())
    except (SyntaxError, UnicodeError, LookupError) as error:
        raise BundleError(
            Problem(
                "bundle.entry-point-encoding",
                f"mdai_deploy.py is not readable as text: {shown(str(error))}",
                Location(ENTRY_POINT),
                "a Python file in UTF-8",
                "save it as UTF-8 in your editor",
            )
        ) from None


def parse_entry_point(source: SourceFile, python: str | None) -> ast.Module | Problem:
    """The tree; a warning where a newer Python than ours may understand what we do not.

    Raises:
        BundleError: it is no Python, or not of that version.
    """
    target = tuple(int(part) for part in python.split(".")) if python else None
    newer = target is not None and target > sys.version_info[:2]
    # Grammar newer than the target's is refused by the parser where it can.
    version = target if target is not None and target < sys.version_info[:2] else None
    try:
        return _parse(source.text, version)
    except SyntaxError as error:
        problem = Problem(
            "bundle.syntax-error",
            f"mdai_deploy.py is not valid Python{f' {python}' if python else ''}: {shown(error.msg)}",
            _place(source, error),
            next_step=_syntax_advice(error, source.lines),
        )
    except (ValueError, RecursionError, MemoryError) as error:
        reason = "it holds a NUL byte" if isinstance(error, ValueError) else "it is nested too deep"
        problem = Problem("bundle.syntax-error", f"mdai_deploy.py is not valid Python: {reason}", Location(ENTRY_POINT))
    if not newer:
        raise BundleError(problem)
    return Problem(
        "bundle.entry-point-unread",
        f"mdai_deploy.py could not be checked: this is Python {sys.version_info[0]}.{sys.version_info[1]}, "
        f"and to it the file is {problem.what.partition(' is ')[2]}",
        problem.where,
        next_step=f"run mdai-build with Python {python} to have it checked",
    )


def _place(source: SourceFile, error: SyntaxError) -> Location:
    """Where it is; of a `match` that is too new the parser names the end."""
    if error.msg.startswith("Pattern matching"):
        with suppress(SyntaxError):
            found = [node for node in ast.walk(_parse(source.text, None)) if isinstance(node, ast.Match)]
            return source.at_node(min(found, key=lambda node: node.lineno))
    return source.at(error.lineno, error.offset or None)


def _parse(source: str, version: tuple[int, ...] | None) -> ast.Module:
    """The syntax tree. Before Python 3.11 a deep expression could overflow C's stack: there it gets a large one."""

    def parse() -> ast.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source, ENTRY_POINT, feature_version=version)  # type: ignore[arg-type]

    if sys.version_info >= (3, 11):
        return parse()
    from concurrent.futures import ThreadPoolExecutor

    usual = threading.stack_size(512 * 1024**2)
    try:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(parse).result()
    finally:
        threading.stack_size(usual)


def _syntax_advice(error: SyntaxError, lines: Sequence[str]) -> str | None:
    line = lines[error.lineno - 1].strip() if error.lineno and error.lineno <= len(lines) else ""
    if isinstance(error, TabError):
        return "indent with spaces only"
    if isinstance(error, IndentationError):
        return "make the indentation of this line fit the lines around it"
    if re.match(r"print\s+[^(=\s]", line):
        return "this is Python 2; write print(...)"
    if line.startswith(("<<<<<<<", "=======", ">>>>>>>")):
        return "this is a mark of a merge conflict; settle the conflict"
    if line.startswith(("%", "!")):
        return "this is a command of a notebook, not Python; remove the line"
    if "is only supported in Python" in error.msg or "are only supported in Python" in error.msg:
        return "write it for that Python, or choose a newer base_image in config.yaml"
    return None
