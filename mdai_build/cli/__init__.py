"""The command line: words in, calls out, an exit code at the end. No logic lives here."""

from __future__ import annotations

TYPE_CHECKING = False  # as in mdai_build: nothing is imported before a Ctrl-C can be caught
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """The command `mdai-build`. Ctrl-C while it still imports what it needs ends it like any other."""
    try:
        from mdai_build.cli.main import main as run
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    run()
