"""The command `verify`: whether an image is what a model builds to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from mdai_build.cli.completing import bundles, images
from mdai_build.cli.options import (
    engine_options,
    install_options,
    json_option,
    parent_options,
    print_json,
    read_settings,
)


@click.command("verify")
@click.argument("image", shell_complete=images)
@click.argument("model", type=click.Path(exists=True, path_type=Path), shell_complete=bundles)
@parent_options
@install_options
@engine_options
@json_option
def verify_command(image: str, model: Path, as_json: bool, **options: Any) -> None:
    """Build MODEL anew and tell whether IMAGE holds the same; if not, which files differ. Exit code 6: it does not."""
    from mdai_build.cli.progress import Progress
    from mdai_build.pipeline.verify import verify_image
    from mdai_build.report.verification import print_verification, verification_as_json

    settings = read_settings(options)
    with Progress() as progress:
        found = verify_image(image, model, settings, progress.tell)
    if as_json:
        print_json(verification_as_json(found))
    else:
        print_verification(found)
    sys.exit(0 if found.same else 6)
