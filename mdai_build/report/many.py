"""The report of many builds, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from mdai_build.report.terminal import console, print_problems, table
from mdai_build.report.text import clean_line, duration

if TYPE_CHECKING:
    from mdai_build.report.values import BakeReport


def print_bake(report: BakeReport, to_stderr: bool = False) -> None:
    """Prints the outcome of many builds: what is wrong, model by model, and then one table of all."""
    on = console(to_stderr)
    print_by_model(report, on)
    on.print()
    models = table("model", "outcome", "seconds", "")
    for model in report.models:
        good = model.exit_code == 0
        first = str(model.problems[0]) if model.problems else ""
        models.add_row(
            Text(clean_line(model.name)),
            Text(model.outcome, style="green" if good else "bold red"),
            f"{model.seconds:.1f}",
            Text(model.tag if good else clean_line(first)),
        )
    on.print(models)
    on.print()
    count = sum(model.exit_code == 0 for model in report.models)
    verdict = f"{count} of {len(report.models)} models are good after {duration(report.seconds_total)}"
    on.print(Text(verdict, style="bold red" if report.exit_code else "bold green"))


def print_by_model(report: BakeReport, on: Console | None = None) -> None:
    """Prints what is wrong and what is dubious, under the name of each model."""
    on = on or console(to_stderr=True)
    for model in report.models:
        if model.problems or model.warnings:
            on.print()
            on.print(Text(clean_line(model.name), style="bold"))
            print_problems(model.warnings, "warning", on)
            print_problems(model.problems, "error", on)
