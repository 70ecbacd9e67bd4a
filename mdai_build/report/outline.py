"""An output in words: what it is of, what it holds, where it belongs, how likely it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mdai_build.report.outputs import json_text
from mdai_build.report.overlay import colour_number
from mdai_build.report.text import clean, clean_line
from mdai_build.smoke.answers import data_kind, files_meant

if TYPE_CHECKING:
    from mdai_build.smoke.request import SmokeRequest

_MOST_BARS = 30
_MOST_JSON = 4000


@dataclass(frozen=True)
class Bar:
    """A probability."""

    label: str
    share: float
    """From 0 to 1."""
    text: str
    colour: int | None = None
    """Of its class; None for that of the output."""


def class_names(request: SmokeRequest) -> dict[str, str]:
    """The names of the user's own label classes; the ones made for synthetic samples say nothing."""
    if not request.own_labels:
        return {}
    return {
        str(entry.get("class_index")): clean_line(str((entry.get("label") or {}).get("name", "")))[:80]
        for entry in request.label_classes
    }


def title_of(output: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Its class, by number and name."""
    index = output.get("class_index")
    if index is None:
        return "no class"
    name = names.get(str(index)[:40])
    return f"class {str(index)[:12]}" + (f", {name}" if name else "")


def kind_of(data: Any) -> str:
    """What its `data` holds."""
    kind = data_kind(data)
    if kind == "mask" and isinstance(data["mask"], Sequence) and data["mask"]:
        first = data["mask"][0]
        return f"mask, {len(data['mask'])} x {len(first) if isinstance(first, Sequence) else '?'}"
    if kind == "vertices" and isinstance(data["vertices"], Sequence):
        return f"{len(data['vertices'])} vertices"
    if kind == "frames":
        return clean_line(f"frames {data.get('start_frame_number')} to {data.get('end_frame_number')}")[:60]
    return kind or ""


def place_of(output: Mapping[str, Any], request: SmokeRequest) -> str:
    """What it belongs to: an image, a series, a study."""
    meant = files_meant(request.files, output)
    number = output.get("frame_number")
    frame = f", frame {str(number)[:8]}" if number is not None else ""
    if output.get("instance_uid"):
        return (clean_line(meant[0].name) if len(meant) == 1 else "an image that was not sent") + frame
    whole = "series" if output.get("series_uid") else "study" if output.get("study_uid") else "request"
    return f"the {whole}, {len(meant)} file{'s' if len(meant) != 1 else ''}{frame}"


def bars_of(probability: Any, names: Mapping[str, str]) -> Iterator[Bar]:
    """Its probability, or those of all classes."""
    if isinstance(probability, (int, float)) and not isinstance(probability, bool):
        yield _bar("probability", probability)
    elif isinstance(probability, Sequence) and not isinstance(probability, (str, bytes)):
        entries = [entry for entry in probability if isinstance(entry, Mapping)]
        for entry in entries[:_MOST_BARS]:
            value = entry.get("probability")
            if isinstance(value, (int, float)):
                yield replace(_bar(title_of(entry, names), value), colour=colour_number(entry.get("class_index")))


def _bar(label: str, value: float) -> Bar:
    share = min(max(float(value), 0.0), 1.0) if value == value else 0.0
    return Bar(label, share, f"{value:.3f}" if abs(value) < 1e6 else "out of bounds")


def note_of(note: Any) -> str:
    """Its note, whatever it was made of."""
    if note in (None, ""):
        return ""
    return clean(note if isinstance(note, str) else json_text(note))[:2000]


def json_of(output: Any) -> str:
    """The output as JSON on one line, with its long parts told by their length."""
    return clean(json_text(_short(output)))[:_MOST_JSON]


def _short(value: Any, depth: int = 0) -> Any:
    """A value from msgpack with its long parts told by their length."""
    if isinstance(value, (bytes, bytearray)):
        return f"({len(value)} bytes)"
    if isinstance(value, str):
        return value if len(value) <= 300 else value[:300] + "…"
    if isinstance(value, Mapping):
        if depth > 5:
            return "{…}"
        return {str(key)[:80]: _short(entry, depth + 1) for key, entry in list(value.items())[:40]}
    if isinstance(value, (list, tuple)):
        if depth > 5:
            return "[…]"
        if len(value) > 12:
            return [*(_short(entry, depth + 1) for entry in value[:3]), f"… {len(value)} in all"]
        return [_short(entry, depth + 1) for entry in value]
    return value
