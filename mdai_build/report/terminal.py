"""Reports for people, by rich: coloured and wrapped on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mdai_build.error_pages import PAGE, error_pages, number_of
from mdai_build.errors import Location, MdaiBuildError, Problem
from mdai_build.report.text import clean, clean_line, duration, size

if TYPE_CHECKING:
    from mdai_build.report.values import BuildReport
    from mdai_build.smoke.gpu import GpuResult
    from mdai_build.smoke.result import SmokeResult

__all__ = ["clean", "print_checked", "print_failure", "print_problems", "print_report", "print_smoke"]

Heading = Literal["error", "warning"]

_STYLES = {"error": "bold red", "warning": "bold yellow"}
_OUTCOMES = {"passed": ("ok", "green"), "warning": ("warning", "yellow"), "failed": ("FAILED", "bold red")}
_PLAIN_WIDTH = 10_000
_WIDEST = 120
_LONGEST_SOURCE = 200
_NARROWEST = 8
_MOST_NUMBERS = 6
_OTHER_COLUMNS = len("seconds") + len("warning") + 4 * 2


def console(to_stderr: bool = False) -> Console:
    """A console that neither interprets nor colours what it is given, and never fails for a character."""
    stream = sys.stderr if to_stderr else sys.stdout
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    made = Console(file=stream, highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made.width = _PLAIN_WIDTH  # lines are not broken in a log
    elif made.width > _WIDEST:
        made.width = _WIDEST
    return made


def print_problems(problems: Iterable[Problem], heading: Heading, on: Console | None = None) -> None:
    """Prints problems like a compiler's: what, where with the line and a caret, expected, next step, details."""
    on = on or console(to_stderr=True)
    for problem in problems:
        _print_problem(on, problem, heading)


def print_failure(failure: MdaiBuildError) -> None:
    """Prints why a command failed, on standard error."""
    on = console(to_stderr=True)
    print_problems(failure.warnings, "warning", on)
    print_problems(failure.problems, "error", on)
    print_where_to_read(on, (*failure.problems, *failure.warnings))
    count = len(failure.problems)
    on.print(Text(f"{failure.title}: {count} problem{'s' if count > 1 else ''}", style="bold red"))


def print_checked(summary: Mapping[str, Any], warnings: Sequence[Problem]) -> None:
    """Prints what `check` found about a bundle in which nothing is wrong."""
    print_problems(warnings, "warning")
    print_where_to_read(console(to_stderr=True), warnings)
    on = console()
    config, parent = summary["config"], summary["parent"]
    device = str(config["device_type"])
    if config.get("cuda_version"):
        device += f", CUDA {config['cuda_version']}"
    requirements, lock = summary["requirements"], summary.get("lock")
    installed = ", ".join(requirements) if requirements else "none"
    if lock:
        installed = f"{len(requirements)} packages, exactly as {lock} says: {installed}"
    rows = [
        ("bundle", f"{summary['bundle']} ({summary['kind']}, {summary['files']} files, {size(summary['bytes'])})"),
        ("runs on", f"{config['base_image']}, {device}"),
        ("parent", f"{parent['reference']}: {parent['why']}"),
        ("requirements", installed),
        *_override_rows(summary["overrides"]),
    ]
    print_facts(on, rows)
    if warnings:
        count = f"{len(warnings)} warning{'s' if len(warnings) > 1 else ''}"
        on.print(Text(f"{count}; nothing else is wrong that can be seen without building it", style="yellow"))
    else:
        on.print(Text("nothing is wrong that can be seen without building it", style="green"))


def print_report(report: BuildReport, to_stderr: bool = False) -> None:
    """Prints the outcome of a build."""
    on = console(to_stderr)
    rows = []
    if report.image is not None:
        rows.append(("image", report.image.reference))
        rows.append(("", f"{report.image.id}, {size(report.image.size_bytes)}"))
    if report.pushed is not None:
        there = f", {size(report.pushed.size_bytes)}" if report.pushed.size_bytes is not None else ""
        new = report.pushed.new_layers
        rows.append(
            ("pushed", f"{report.pushed.reference}{there}, {new} new layers in {duration(report.pushed.seconds)}")
        )
    rows.append(("parent", f"{report.parent.reference}: {report.parent.why}"))
    if report.base is not None:
        rows.append(("base", report.base.reference or report.base.why))
    rows += _override_rows(report.overrides)
    on.print()
    print_facts(on, rows)
    if report.stages:
        on.print()
        stages = table("stage", "seconds", "")
        for stage in report.stages:
            stages.add_row(
                Text(clean_line(stage.name)), f"{stage.seconds:.1f}", Text("from the cache" if stage.cached else "")
            )
        on.print(stages)
    if report.smoke is not None:
        _print_smoke(on, report.smoke, report.pictures)
    _print_findings(on, report.warnings, report.smoke)
    on.print()
    verdict = Text()
    if report.exit_code == 0 and report.image is not None:
        built = "built" if report.stages else "unchanged"
        tested = " and tested" if report.smoke is not None else ", not tested"
        verdict.append(f"{built}{tested} in {duration(report.seconds_total)}: ", style="bold green")
        verdict.append(report.image.reference, style="bold")
    else:
        verdict.append(f"the smoke test failed after {duration(report.seconds_total)}", style="bold red")
        verdict.append("; no image was kept")
    on.print(verdict)


def print_smoke(
    smoke: SmokeResult, pictures: Sequence[Path], warnings: Sequence[Problem] = (), to_stderr: bool = False
) -> None:
    """Prints the outcome of a smoke test alone; `warnings` are those of the bundle."""
    on = console(to_stderr)
    _print_smoke(on, smoke, pictures)
    _print_findings(on, warnings, smoke)
    on.print()
    if smoke.passed:
        on.print(Text("the smoke test passed", style="bold green"))
    else:
        on.print(Text("the smoke test failed", style="bold red"))


def _print_smoke(on: Console, smoke: SmokeResult, pictures: Sequence[Path]) -> None:
    on.print()
    checks = table("smoke test", "seconds", "", "")
    names = [clean_line(check.name) for check in smoke.checks]
    # Only messages give way on a narrow terminal: the outcome is what the table is for.
    room = min(_WIDEST, max(_NARROWEST, on.width - max(map(len, names), default=0) - _OTHER_COLUMNS))
    for name, check in zip(names, smoke.checks, strict=True):
        word, style = _OUTCOMES[check.outcome]
        checks.add_row(Text(name), f"{check.seconds:.2f}", Text(word, style=style), Text(_cut(check.message, room)))
    on.print(checks)
    on.print()
    measured = [
        ("loads in", smoke.load_seconds, duration),
        ("first answer", smoke.first_seconds, duration),
        ("later answers", smoke.later_seconds, duration),
        ("peak memory", smoke.peak_memory, size),
        ("API version", smoke.api_version, clean_line),
        ("GPU", smoke.gpu, _gpu),
        ("GPU memory", smoke.gpu.peak_bytes if smoke.gpu else None, size),
        ("GPU use", smoke.gpu.utilisation if smoke.gpu else None, lambda percent: f"{percent} % at most"),
    ]
    # Each formatter takes what stands beside it, which a list of mixed rows cannot say.
    rows = [(name, show(value)) for name, value, show in measured if value is not None]  # type: ignore[operator]
    if pictures:
        rows.append(("pictures", f"{len(pictures)} in {pictures[0].parent}"))
    print_facts(on, rows)


def _gpu(gpu: GpuResult) -> str:
    if not gpu.tested:
        return "not tested"
    return f"{', '.join(gpu.devices) or 'none'}; driver {gpu.driver or '?'}, CUDA up to {gpu.cuda or '?'}"


def _override_rows(overrides: Sequence[str]) -> list[tuple[str, str]]:
    return [("preinstalled" if number == 0 else "", change) for number, change in enumerate(overrides)]


def _cut(message: str, room: int) -> str:
    line = clean_line(message)
    return line if len(line) <= room else line[: room - 3] + "..."


def _print_findings(on: Console, warnings: Sequence[Problem], smoke: SmokeResult | None) -> None:
    errors = smoke.problems if smoke else ()
    shown = (*warnings, *(smoke.warnings if smoke else ()))
    if shown or errors:
        on.print()
    print_problems(shown, "warning", on)
    print_problems(errors, "error", on)
    print_where_to_read(on, (*errors, *shown))


def print_where_to_read(on: Console, problems: Iterable[Problem]) -> None:
    """Prints how to read more about the kinds of these problems, each once."""
    numbers = dict.fromkeys(number_of(problem.code) for problem in problems if problem.code in error_pages())
    if not numbers:
        return
    some = list(numbers)[:_MOST_NUMBERS]
    line = f"more about {'these' if len(numbers) > 1 else 'this'}: mdai-build explain {' '.join(some)}"
    on.print(Text(f"{line} ({PAGE})", style="dim"), soft_wrap=True)


def table(*headings: str) -> Table:
    """An empty table with these headings; numbers stand to the right."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        justify: Literal["left", "right"] = "right" if heading in ("seconds", "size") else "left"
        # A message that is cut here stands whole among the problems below.
        made.add_column(heading, justify=justify, no_wrap=True, overflow="ellipsis")
    return made


def print_facts(on: Console, rows: Iterable[tuple[str, str]]) -> None:
    """Prints names and values in two columns."""
    facts = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in rows:
        facts.add_row(Text(name), Text(clean_line(value)))
    on.print(facts)


def _print_problem(on: Console, problem: Problem, heading: Heading) -> None:
    style = _STYLES[heading]
    first = Text(f"{heading}", style=style)
    first.append(f"[{number_of(problem.code)}]", style="dim")
    first.append(": ", style=style)
    first.append(_fold(on, clean(problem.what).strip(), len(first), "  "), style="bold")
    on.print(first, soft_wrap=True)
    if problem.where is not None:
        _print_place(on, problem.where, style)
    for name, value in (("expected", problem.expected), ("help", problem.next_step)):
        if value:
            line = Text(f"  = {name}: ", style="cyan")
            line.append(_fold(on, clean(value).strip(), len(line), "    "), style="default")
            on.print(line, soft_wrap=True)
    if problem.details and problem.details.strip():
        on.print()
        details = textwrap.indent(clean(problem.details).strip("\n"), "    ", predicate=lambda line: True)
        on.print(Text(details, style="default"), soft_wrap=True)
    on.print()


def _fold(on: Console, text: str, before: int, indent: str) -> str:
    """Lines broken at words, on a terminal alone; `before` characters stand before the first, `indent` before more."""
    if not on.is_terminal:
        return text.replace("\n", "\n" + indent)
    lines = []
    for number, line in enumerate(text.split("\n")):
        start = " " * (before if number == 0 else len(indent))
        lines.append(
            textwrap.fill(
                line,
                max(30, on.width - 1),
                initial_indent=start,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
    return "\n".join(lines)[before:]


def _print_place(on: Console, where: Location, style: str) -> None:
    place = Text("  --> ", style="cyan")
    place.append(clean_line(str(where)))
    if where.key and where.source is None:
        place.append(f" ({clean_line(where.key)})")
    on.print(place, soft_wrap=True)
    if where.source is None or where.line is None:
        return
    number = str(where.line)
    gutter = " " * len(number)
    source = clean_line_keeping_indent(where.source)
    on.print(Text(f" {gutter} |", style="cyan"))
    line = Text(f" {number} | ", style="cyan")
    line.append(source, style="default")
    on.print(line, soft_wrap=True)
    span = _caret(where, source)
    if span is not None:
        caret = Text(f" {gutter} | ", style="cyan")
        caret.append(" " * span[0] + "^" * span[1], style=style)
        on.print(caret, soft_wrap=True)


def clean_path(path: Path) -> str:
    """A path as it can be shown."""
    return clean_line(str(path))


def clean_line_keeping_indent(source: str) -> str:
    """A source line as it is, with tabs as four spaces and nothing in it that a terminal obeys."""
    line = clean(source.rstrip("\r\n").expandtabs(4)).replace("\n", " ")
    return line if len(line) <= _LONGEST_SOURCE else line[: _LONGEST_SOURCE - 3] + "..."


def _caret(where: Location, source: str) -> tuple[int, int] | None:
    """Where the caret goes, and how many there are: under the column's word, or under the key."""
    if where.column is not None and where.source is not None:
        start = len(clean_line_keeping_indent(where.source[: where.column - 1]))
        if start > len(source):
            return None
        rest = source[start:]
        word = (
            where.key if where.key and rest.startswith(where.key) else rest.split(maxsplit=1)[0] if rest.strip() else ""
        )
        return start, max(1, len(word.rstrip(":,")))
    if where.key:
        last = where.key.rpartition(".")[2]
        start = source.find(last)
        if start >= 0:
            return start, max(1, len(last))
    # Nothing more is known than the line: all of it is meant.
    text = source.strip()
    return (source.index(text), len(text)) if text else None
