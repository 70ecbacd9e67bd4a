"""The command `doctor`: what is missing on this machine."""

from __future__ import annotations

import sys
from typing import Any

import click

from mdai_build.cli.options import json_option, parent_options, print_json


@click.command("doctor")
@parent_options
@click.option("--builder", help="Name of the buildx builder.")
@json_option
def doctor_command(as_json: bool, **options: Any) -> None:
    """Look at what builds need (engine, disk, network, ...) and say the command that mends what is missing.

    The exit code is 5 when something is missing without which nothing can be built.
    """
    from mdai_build.pipeline.doctor import examine, readable_settings
    from mdai_build.report.health import health_as_json, print_health

    health = examine(*readable_settings(options))
    if as_json:
        print_json(health_as_json(health))
    print_health(health, to_stderr=as_json)
    sys.exit(health.exit_code)
