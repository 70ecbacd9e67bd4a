"""What a model says of a user's files, told on the terminal: answer by answer, a picture where it can show one."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from mdai_build.report.inline import inline_picture, side_of, way_of
from mdai_build.report.outline import bars_of, class_names, kind_of, note_of, place_of, title_of
from mdai_build.report.overlay import class_colour
from mdai_build.report.terminal import console, print_facts, print_problems
from mdai_build.report.text import clean_line, duration, size

if TYPE_CHECKING:
    from rich.console import Console

    from mdai_build.errors import Problem
    from mdai_build.smoke.request import SmokeRequest
    from mdai_build.smoke.result import Answer, Check, SmokeResult

_MOST_PICTURES = 3
_MOST_ANSWERS = 20
_MOST_OUTPUTS = 12
_MOST_BARS = 6
_BAR_WIDTH = 16


@dataclass(frozen=True)
class _Told:
    name: str
    seconds: float
    outcome: str
    lines: tuple[Text, ...]
    picture: str


class Predictions:
    """Keeps of each answer what will be printed: lines, and of the first few a picture."""

    def __init__(self, pictures: bool = True) -> None:
        """With `pictures`, they are shown where standard output is a terminal that can."""
        self._way = way_of(os.environ) if pictures and sys.stdout.isatty() else None
        self._told: list[_Told] = []
        self._count = 0
        self._good = 0

    def add(self, request: SmokeRequest, answer: Answer | None, check: Check | None) -> None:
        """One more answer, or that there is none."""
        self._count += 1
        outcome = check.outcome if check else "not sent"
        self._good += outcome in ("passed", "warning")
        if len(self._told) >= _MOST_ANSWERS:
            return
        picture = ""
        if self._way and answer and len(self._told) < _MOST_PICTURES:
            from mdai_build.report.pictures import thumbnail

            drawn = thumbnail(answer, side_of(self._way))
            picture = inline_picture(drawn, self._way) if drawn else ""
        lines = tuple(_lines(request, answer)) if answer else ()
        self._told.append(_Told(request.name, check.seconds if check else 0.0, outcome, lines, picture))

    def print(
        self,
        smoke: SmokeResult,
        scope: str,
        warnings: Sequence[Problem],
        files: Sequence[Path],
        pictures: Sequence[Path] = (),
        to_stderr: bool = False,
    ) -> None:
        """Prints all of it: answers, what is wrong, and where the files are."""
        on = console(to_stderr)
        for told in self._told:
            _print_answer(on, told)
        if self._count > len(self._told):
            on.print(Text(f"and {self._count - len(self._told)} more answers", style="dim"))
        on.print()
        told_twice = {id(problem) for check in smoke.checks if check.name == "samples" for problem in check.problems}
        print_problems([found for found in warnings if id(found) not in told_twice], "warning", on)
        print_problems(smoke.warnings, "warning", on)
        print_problems(smoke.problems, "error", on)
        rows = [("scope", scope)]
        if smoke.load_seconds is not None:
            rows.append(("loads in", duration(smoke.load_seconds)))
        if smoke.peak_memory:
            rows.append(("peak memory", size(smoke.peak_memory)))
        rows += [("files" if number == 0 else "", str(path)) for number, path in enumerate(files)]
        if pictures:
            rows.append(("pictures", f"{len(pictures)} in {pictures[0].parent}"))
        print_facts(on, rows)
        style = "bold green" if smoke.passed else "bold red"
        words = f"{self._good} of {self._count} requests answered as the interface asks"
        on.print(Text(words, style=style))


def _print_answer(on: Console, told: _Told) -> None:
    on.print()
    head = Text(clean_line(told.name), style="bold")
    head.append(f"  {duration(told.seconds)}", style="dim")
    if told.outcome in ("failed", "not sent"):
        head.append(f"  {told.outcome.upper() if told.outcome == 'failed' else told.outcome}", style="bold red")
    on.print(head, soft_wrap=True)
    if told.picture:
        on.file.write(told.picture)
        on.file.flush()
    for line in told.lines:
        on.print(line, soft_wrap=True)


def _lines(request: SmokeRequest, answer: Answer) -> list[Text]:
    names = class_names(request)
    outputs = [output for output in answer.outputs if isinstance(output, Mapping)]
    lines = []
    for output in outputs[:_MOST_OUTPUTS]:
        red, green, blue = class_colour(output.get("class_index"))
        line = Text("  ")
        line.append("■ ", style=f"rgb({red},{green},{blue})")
        line.append(title_of(output, names))
        kind = " ".join(filter(None, (clean_line(str(output.get("type")))[:12], kind_of(output.get("data")))))
        line.append(f"  {kind}  {place_of(output, request)}", style="dim")
        bars = list(bars_of(output.get("probability"), names))
        if len(bars) == 1:
            line.append(f"  {bars[0].text}")
        lines.append(line)
        for bar in sorted(bars, key=lambda bar: -bar.share)[:_MOST_BARS] if len(bars) > 1 else ():
            full = round(bar.share * _BAR_WIDTH)
            lines.append(Text(f"      {bar.text} {'█' * full}{'░' * (_BAR_WIDTH - full)} {bar.label}"))
        if note := clean_line(note_of(output.get("note"))):
            lines.append(Text(f"      {note[:200]}", style="italic"))
    if len(outputs) > _MOST_OUTPUTS:
        lines.append(Text(f"  and {len(outputs) - _MOST_OUTPUTS} more outputs", style="dim"))
    if not outputs:
        lines.append(Text("  no outputs", style="dim"))
    return lines
