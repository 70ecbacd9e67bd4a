"""The command `inspect`: what an image is and holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mdai_build.cli.completing import images
from mdai_build.cli.options import json_option, print_file, print_json, read_settings


@click.command("inspect")
@click.argument("image", shell_complete=images)
@click.option("--sbom", is_flag=True, help="Print the bill of materials alone, CycloneDX JSON as the image holds it.")
@click.option(
    "--provenance",
    type=click.Path(exists=True, path_type=Path, dir_okay=False),
    help="Show what this file states of the image; it must speak of this very image.",
)
@click.option(
    "--key",
    type=click.Path(exists=True, path_type=Path, dir_okay=False),
    help="A public key, PEM: the statement must be signed by it. Without --provenance, it is read from the registry.",
)
@json_option
def inspect_command(
    image: str, sbom: bool, provenance: Path | None, key: Path | None, as_json: bool, **options: Any
) -> None:
    """Show what an image was built from and what is installed in it, without running it."""
    from mdai_build.pipeline.inspect import inspect_image, sbom_of_image
    from mdai_build.report.inspection import inspection_as_json, print_inspection

    settings = read_settings(options)
    if sbom:
        print_file(sbom_of_image(image, settings))
        return
    found = inspect_image(image, settings, provenance, key)
    if as_json:
        print_json(inspection_as_json(found))
    else:
        print_inspection(found)
