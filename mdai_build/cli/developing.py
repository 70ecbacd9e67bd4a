"""The command `dev`: a model folder is served, and tried after each save."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mdai_build.cli.completing import bundles
from mdai_build.cli.options import (
    engine_options,
    install_options,
    local_options,
    look_up_option,
    parent_options,
    read_settings,
    smoke_options,
)

if TYPE_CHECKING:
    from mdai_build.report.values import Verdict
    from mdai_build.smoke import Scope


@click.command("dev")
@click.argument("folder", metavar="FOLDER", type=click.Path(exists=True, path_type=Path), shell_complete=bundles)
@local_options
@click.option("--port", default=6324, show_default=True, type=click.IntRange(0, 65535), help="Port on loopback.")
@parent_options
@look_up_option
@install_options
@engine_options
@smoke_options
def dev_command(
    folder: Path,
    local: bool,
    python: str | None,
    port: int,
    samples: Path | None,
    scope: Scope | None,
    out: Path | None,
    **options: Any,
) -> None:
    """Serve a model folder, and test the model after each save. Ctrl-C ends it.

    The container sees the folder itself: nothing is copied, and the model is loaded anew when a file is saved. With
    --local there is no container. Pictures are drawn with --out only.
    """
    from mdai_build.pipeline.develop import DevelopOptions, develop
    from mdai_build.pipeline.serve import Trial

    if python is not None and not local:
        raise click.UsageError("--python goes with --local")
    settings = read_settings(options)
    trial = Trial(samples, scope, out)
    with _Screen() as screen, contextlib.suppress(KeyboardInterrupt):
        develop(folder, settings, DevelopOptions((python or "python3") if local else None, port, trial), screen)
    click.echo("stopped", err=True)


class _Screen(contextlib.AbstractContextManager["_Screen"]):
    """Verdicts on standard output; what goes on in between on standard error, on a terminal in one live line."""

    def __init__(self) -> None:
        from rich.console import Console

        from mdai_build.report.verdicts import VerdictPrinter

        self._verdicts = VerdictPrinter()
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._status = self._console.status("") if self._console.is_terminal else None

    def __enter__(self) -> _Screen:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._status is not None:
            self._status.stop()

    def tell(self, text: str) -> None:
        """Something began."""
        from rich.text import Text

        from mdai_build.report.terminal import clean

        line = clean(text).strip()
        if self._status is not None:
            self._status.update(Text(line))
        else:
            self._console.print(f"{time.strftime('%H:%M:%S')}  {line}")

    def serving(self, url: str) -> None:
        """The model is served there."""
        self._undisturbed(lambda: click.echo(f"serving at {url}; Ctrl-C stops it", err=True))

    def verdict(self, verdict: Verdict) -> None:
        """What is known after a change."""
        self._undisturbed(lambda: self._verdicts.print(verdict))
        if verdict.complete and self._status is not None:
            self._status.update("waiting for the next save; Ctrl-C stops it")

    def _undisturbed(self, action: Any) -> None:
        if self._status is None:
            action()
            return
        self._status.stop()
        action()
        self._status.start()
