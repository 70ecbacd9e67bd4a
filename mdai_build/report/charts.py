"""What `profile` found, as a table, a plot and a line of blocks: numbers here, drawing in the templates."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mdai_build.errors import SmokeTestFailedError
from mdai_build.report.document import FORMAT
from mdai_build.report.text import duration, size
from mdai_build.smoke.profile import STEPS, Measurement, ProfileResult, percentile

if TYPE_CHECKING:
    from mdai_build.documents.smoke import MeasurementDocument, ProfileDocument
    from mdai_build.errors import Problem

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 860.0, 260.0, 62.0, 24.0
_RIGHT = 70.0
_MOST_COLUMNS = 400

STATISTICS: tuple[tuple[str, Callable[[Sequence[float]], float]], ...] = (
    ("p50", lambda values: percentile(values, 0.5)),
    ("p95", lambda values: percentile(values, 0.95)),
    ("max", max),
)


@dataclass(frozen=True)
class Row:
    """One line of the table: a quantity by its name, and its statistics as text."""

    name: str
    first: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Rectangle:
    """A part of a column of the plot."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class ProfileView:
    """What the page shows of a profile."""

    count: int
    samples: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    columns: tuple[Rectangle, ...]
    lines: tuple[tuple[str, str], ...]
    """Kind and points of each line over the columns: `memory`, `gpu`."""
    seconds_ticks: tuple[tuple[float, str], ...]
    bytes_ticks: tuple[tuple[float, str], ...]
    width: float = _WIDTH
    height: float = _HEIGHT
    left: float = _LEFT
    right: float = _WIDTH - _RIGHT
    bottom: float = _HEIGHT - _BOTTOM


def _time(seconds: float) -> str:
    """Seconds for a table in which some are thousandths: 0.4 ms, 13 ms, 1.3 s."""
    milliseconds = 1000 * seconds
    if milliseconds >= 1000:
        return duration(seconds)
    return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"


def profile_rows(profile: ProfileResult) -> tuple[Row, ...]:
    """The table: time of the whole and of each step, then memory of each step; what was not measured has no row."""
    return tuple(
        Row(name, show(first) if first is not None else "", tuple(show(value(values)) for _, value in STATISTICS))
        for name, first, values, show in _quantities(profile)
        if values
    )


def _quantities(profile: ProfileResult) -> Iterator[tuple[str, float | None, list[float], Callable[[Any], str]]]:
    first, later = profile.first, profile.later
    yield "answer", first.seconds if first else None, [found.seconds for found in later], _time
    of: tuple[tuple[str, Callable[[Measurement], Mapping[str, float]], Callable[[Any], str]], ...] = (
        ("", lambda found: found.steps, _time),
        (" memory", lambda found: found.peak, size),
        (" GPU memory", lambda found: found.gpu, size),
    )
    for suffix, values, show in of:
        for step in STEPS:
            seen = [values(found)[step] for found in later if step in values(found)]
            yield f"{step}{suffix}", values(first).get(step) if first else None, seen, show


def profile_as_json(target: str, profile: ProfileResult, warnings: Sequence[Problem] = ()) -> ProfileDocument:
    """A profile as JSON-ready values. Seconds are wall time, memory is bytes; `first` is not among the later ones."""
    statistics = {}
    for name, _, values, _ in _quantities(profile):
        if values:
            statistics[name.replace(" ", "_").lower()] = {word: round(of(values), 6) for word, of in STATISTICS}
    return {
        "format": FORMAT,
        "exit_code": 0 if profile.passed else SmokeTestFailedError.exit_code,
        "target": target,
        "warnings": [problem.as_json() for problem in warnings],
        "problems": [problem.as_json() for problem in profile.problems],
        "load_seconds": profile.load_seconds,
        "peak_memory_bytes": profile.peak_memory,
        "requests": len(profile.later),
        "statistics": statistics,
        "first": _as_json(profile.first) if profile.first else None,
        "measurements": [_as_json(found) for found in profile.later],
    }


def _as_json(found: Measurement) -> MeasurementDocument:
    return {
        "request": found.request,
        "seconds": round(found.seconds, 6),
        "steps_seconds": {step: round(value, 6) for step, value in found.steps.items()},
        "peak_memory_bytes": dict(found.peak),
        "gpu_memory_bytes": dict(found.gpu),
        "sent_bytes": found.sent_bytes,
        "answer_bytes": found.answer_bytes,
    }


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """The values from zero on as a line of blocks, the highest of those that share a block."""
    if not values:
        return ""
    columns = min(width, len(values))
    edges = [round(place * len(values) / columns) for place in range(columns + 1)]
    peaks = [max(values[begin:end]) for begin, end in itertools.pairwise(edges)]
    top = max(peaks) or 1.0
    return "".join(_BLOCKS[min(len(_BLOCKS) - 1, int(peak / top * (len(_BLOCKS) - 0.001)))] for peak in peaks)


def profile_facts(profile: ProfileResult) -> tuple[tuple[str, str], ...]:
    """What is told once."""
    rows = []
    if profile.load_seconds is not None:
        rows.append(("loads in", duration(profile.load_seconds)))
    if profile.peak_memory:
        rows.append(("peak memory", size(profile.peak_memory)))
    if profile.later:
        total = sum(found.seconds for found in profile.later)
        count = len(profile.later)
        rows.append(("answers", f"{count} in {duration(total)}, {count / total:.3g} a second"))
        last = profile.later[-1]
        rows.append(("a request", f"{size(last.sent_bytes)}, its answer {size(last.answer_bytes)}"))
    return tuple(rows)


def profile_view(profile: ProfileResult) -> ProfileView:
    """What the page shows of a profile."""
    shown = profile.later[:: -(-len(profile.later) // _MOST_COLUMNS)] if profile.later else ()
    most_seconds = _round_up(max((found.seconds for found in shown), default=0.0) or 1.0)
    memory = [max(found.peak.values(), default=0) for found in shown]
    gpu = [max(found.gpu.values(), default=0) for found in shown]
    most_bytes = _round_up(float(max([*memory, *gpu], default=0) or 1))
    inner_width, inner_height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _BOTTOM - 10
    width = inner_width / max(1, len(shown))
    lines = []
    for kind, values in (("memory", memory), ("gpu", gpu)):
        if any(values):
            points = (
                f"{_LEFT + (place + 0.5) * width:.1f},{_HEIGHT - _BOTTOM - value / most_bytes * inner_height:.1f}"
                for place, value in enumerate(values)
            )
            lines.append((kind, " ".join(points)))
    return ProfileView(
        count=len(profile.later),
        samples=tuple(dict.fromkeys(found.request for found in profile.later)),
        facts=profile_facts(profile),
        rows=profile_rows(profile),
        columns=tuple(_columns(shown, width, inner_height / most_seconds)),
        lines=tuple(lines),
        seconds_ticks=tuple(
            (_HEIGHT - _BOTTOM - share * inner_height, _time(share * most_seconds)) for share in (0.0, 0.5, 1.0)
        ),
        bytes_ticks=tuple(
            (_HEIGHT - _BOTTOM - share * inner_height, size(round(share * most_bytes))) for share in (0.0, 0.5, 1.0)
        )
        if lines
        else (),
    )


def _columns(shown: Sequence[Measurement], width: float, scale: float) -> Iterator[Rectangle]:
    gap = min(2.0, width * 0.15)
    for place, found in enumerate(shown):
        base = _HEIGHT - _BOTTOM
        parts = [(step, found.steps.get(step, 0.0)) for step in STEPS]
        # What is left is the way there and back: sending, waiting, receiving.
        parts.append(("rest", max(0.0, found.seconds - sum(found.steps.values()))))
        for kind, seconds in parts:
            height = seconds * scale
            if height > 0.05:
                title = f"{place + 1}: {'sending and receiving' if kind == 'rest' else kind} {_time(seconds)}"
                yield Rectangle(kind, _LEFT + place * width, base - height, max(0.3, width - gap), height, title)
            base -= height


def _round_up(value: float) -> float:
    """The next number of one digit that people read easily: 1, 2, 3, 4, 5, 6, 8 times a power of ten."""
    power = 1.0
    while power * 10 <= value:
        power *= 10
    while power > value:
        power /= 10
    return next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= value * 0.999999)
