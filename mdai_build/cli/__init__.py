"""The command line: words in, calls out, an exit code at the end. No logic lives here."""

from mdai_build.cli.main import main

__all__ = ["main"]
