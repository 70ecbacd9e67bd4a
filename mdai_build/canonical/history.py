"""What made a layer, in the words of the Dockerfile."""

from __future__ import annotations

import re


def instruction(text: str) -> str:
    """What made a layer, as in the Dockerfile: engines put the shell before it, and before that the values of ARG."""
    text = text.removesuffix("# buildkit").strip()
    words, shell, command = text.partition("/bin/sh -c ")
    if not shell or not re.fullmatch(r"(?:RUN )?(?:\|\d+ .*)?", words, re.S):
        return text
    nothing = "#(nop)"
    return command.removeprefix(nothing).strip() if command.startswith(nothing) else f"RUN {command}"
