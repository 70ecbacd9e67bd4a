"""Runs what a page of the documentation shows, in a folder of its own, as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from doc_blocks import Block, blocks

PROGRESS = re.compile(r"^ *\d+\.\d s  .*\n", re.M)
"""What a command tells while it works, where nobody watches; a terminal does not keep it."""
_CHANGING = (
    (re.compile(r"(sha256:)?\b(?=[0-9a-f]*\d)[0-9a-f]{12,}\b"), "DIGEST"),
    (re.compile(r"\b\d+(\.\d+)? ?(s|ms|bytes|kB|MB|GB|MiB|GiB|%)(?=\W|$)"), "AMOUNT"),
    (re.compile(r"\b\d+\.\d+\b"), "NUMBER"),
)


def plain(text: str) -> list[str]:
    """The lines of an output without what is another at each run: seconds, sizes, digests; blank lines and ends."""
    text = PROGRESS.sub("", text)
    for pattern, word in _CHANGING:
        text = pattern.sub(word, text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def shows(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed: a line `...` stands for any lines, `...` in a line for any text."""
    pattern = ""
    for line in plain(shown):
        pattern += r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(re.escape("..."), ".*") + r"\n"
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in plain(printed))) is not None


class Reader:
    """Somebody who types what a page says, in one folder."""

    def __init__(self, folder: Path, environment: Mapping[str, str], names: Mapping[str, str]) -> None:
        self._folder = folder
        self._names = names
        programs = folder.parent / f"{folder.name}-programs"
        programs.mkdir()
        command = programs / "mdai-build"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mdai_build.cli "$@"\n')
        command.chmod(0o755)
        # Bytecode is written as it is on a reader's machine.
        unset = ("MDAI_BUILD_", "PYTHONDONTWRITEBYTECODE")
        own = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
        path = os.pathsep.join((str(programs), str(Path(sys.executable).parent), os.environ["PATH"]))
        self._environment = {**own, "PATH": path, "COLUMNS": "200", "NO_COLOR": "1", **environment}

    def follow(self, page: Path) -> int:
        """Does what the page says from its first line to its last; the number of commands."""
        count = 0
        for block in blocks(page):
            if block.runs and block.has_commands:
                count += self.run(block)
            elif block.title:
                self.write(block)
        return count

    def write(self, block: Block) -> None:
        """Writes the file that the block shows, or changes the lines of a `diff`."""
        file = self._folder / str(block.title)
        if block.language != "diff":
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
            return
        lines = block.text.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] in " -")
        after = "".join(line[1:] for line in lines if line[0] in " +")
        text = file.read_text(encoding="utf-8")
        assert text.count(before) == 1, f"{block.place}: the file does not have these lines once"
        file.write_text(text.replace(before, after), encoding="utf-8")

    def run(self, block: Block) -> int:
        """Runs the block's commands; how many there were."""
        commands = list(block.commands())
        for command in commands:
            line = command.line
            for name, value in self._names.items():
                line = re.sub(rf"(?<![\w/.-]){re.escape(name)}(?![\w:])", value, line)
            done = subprocess.run(
                ["bash", "-c", line],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                timeout=300,
                check=False,
            )
            told = f"{block.place}: $ {line}\n{done.stdout}exit code {done.returncode}"
            assert done.returncode == block.exit_code, told
            if command.shown is not None:
                assert shows(command.shown, done.stdout), f"{told}\nThe page shows:\n{command.shown}"
        return len(commands)
