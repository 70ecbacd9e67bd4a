"""What the HTML report shows of a sample: its frames as pictures, with what the model found as shapes upon them.

Outputs come from strangers' code: sizes are bounded, pictures are decoded and encoded anew, and what fails to be drawn
costs itself alone. Nothing here is HTML; the templates escape every text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mdai_build.report.frames import Budget, FrameView, Key, Outputs, encoded, frame_views
from mdai_build.report.outline import Bar, bars_of, class_names, json_of, kind_of, note_of, place_of, title_of
from mdai_build.report.overlay import colour_number
from mdai_build.report.render import NotDrawableError, render
from mdai_build.report.text import clean, clean_line
from mdai_build.smoke.answers import files_meant

if TYPE_CHECKING:
    from mdai_build.errors import Problem
    from mdai_build.smoke.request import InputFile, SmokeRequest
    from mdai_build.smoke.result import Answer, Check

MOST_FRAMES, MOST_OWN_FRAMES = 24, 120
"""Of a synthetic sample, and of one of the user's own."""
_MOST_OUTPUTS = 300
_MOST_IMAGES = 24
_LONE_SIDE, _SERIES_SIDE, _EXTRA_SIDE = 1024, 512, 384
_MAX_EXTRA_BYTES = 64 * 1024**2


@dataclass(frozen=True)
class ImageView:
    """An explanation, or an image that the model made."""

    name: str
    description: str
    address: str
    how: str


@dataclass(frozen=True)
class OutputView:
    """One output, told."""

    number: int
    colour: int
    title: str
    kind: str
    place: str
    """What it belongs to: an image, a series, a study."""
    frame: int | None
    """The number of its frame among those of the sample that are shown."""
    bars: tuple[Bar, ...]
    note: str
    images: tuple[ImageView, ...]
    more_images: int
    text: str
    """The output as JSON, shortened."""


@dataclass(frozen=True)
class SampleView:
    """One request, and what became of it."""

    name: str
    scope: str
    files: int
    seconds: float
    outcome: str
    message: str
    problems: tuple[Problem, ...]
    frames: tuple[FrameView, ...]
    all_frames: int
    first: int
    """The frame that is shown first."""
    outputs: tuple[OutputView, ...]
    more_outputs: int


def sample_view(request: SmokeRequest, answer: Answer | None, check: Check | None, budget: Budget) -> SampleView:
    """What a page shows of a request; None stands for an answer or a check that there is not."""
    outputs = [(index, output) for index, output in enumerate(answer.outputs if answer else ()) if _is_map(output)]
    by_frame, frame_of = _placed(request.files, outputs)
    chosen = _chosen(request, by_frame)
    number_of = {key: number for number, key in enumerate(chosen)}
    names = class_names(request)
    side = _LONE_SIDE if len(chosen) == 1 else _SERIES_SIDE
    frames = tuple(frame_views(request.files, chosen, by_frame, names, side, budget))
    views = tuple(
        _output_view(index, output, names, request, number_of.get(frame_of[index] or (-1, -1)), budget)
        for index, output in outputs[:_MOST_OUTPUTS]
    )
    marked = [number for number, frame in enumerate(frames) if frame.marks]
    return SampleView(
        name=clean_line(request.name),
        scope=request.scope,
        files=len(request.files),
        seconds=check.seconds if check else 0.0,
        outcome=check.outcome if check else "failed",
        message=clean_line(check.message) if check else "not sent",
        problems=check.problems if check else (),
        frames=frames,
        all_frames=sum(file.frames for file in request.files),
        first=marked[len(marked) // 2] if marked else len(frames) // 2,
        outputs=views,
        more_outputs=max(0, len(outputs) - _MOST_OUTPUTS),
    )


def _is_map(output: Any) -> bool:
    return isinstance(output, Mapping)


def _placed(
    files: Sequence[InputFile], outputs: Outputs
) -> tuple[dict[Key, list[tuple[int, Mapping[str, Any]]]], dict[int, Key | None]]:
    """The outputs by the frame that they name, and the frame of each; None where it names a series or a study."""
    place = {id(file): number for number, file in enumerate(files)}
    by_frame: dict[Key, list[tuple[int, Mapping[str, Any]]]] = {}
    frame_of: dict[int, Key | None] = {}
    for index, output in outputs:
        meant = files_meant(files, output)
        number = output.get("frame_number")
        frame_of[index] = None
        if len(meant) == 1 and (output.get("instance_uid") or len(files) == 1):
            key = (place[id(meant[0])], number if isinstance(number, int) and 0 <= number < meant[0].frames else 0)
            frame_of[index] = key
            by_frame.setdefault(key, []).append((index, output))
    return by_frame, frame_of


def _chosen(request: SmokeRequest, by_frame: Mapping[Key, Any]) -> list[Key]:
    """The frames that a page shows: all of a series, as far as there are not too many; then evenly spread ones."""
    most = MOST_OWN_FRAMES if request.required else MOST_FRAMES
    every = [(place, frame) for place, file in enumerate(request.files) for frame in range(min(file.frames, 100_000))]
    if len(every) <= most:
        return every
    wanted = [key for key in every if key in by_frame]
    if len(wanted) > most // 2:
        wanted = _spread(wanted, most // 2)
    return sorted({*wanted, *_spread(every, most - len(wanted))})


def _spread(keys: Sequence[Key], count: int) -> list[Key]:
    if count <= 1:
        return [keys[len(keys) // 2]][:count]
    return [keys[round(place * (len(keys) - 1) / (count - 1))] for place in range(count)]


def _output_view(
    number: int,
    output: Mapping[str, Any],
    names: Mapping[str, str],
    request: SmokeRequest,
    frame: int | None,
    budget: Budget,
) -> OutputView:
    images, more = _images(output, budget)
    return OutputView(
        number=number,
        colour=colour_number(output.get("class_index")),
        title=title_of(output, names),
        kind=" ".join(filter(None, (clean_line(str(output.get("type")))[:12], kind_of(output.get("data"))))),
        place=place_of(output, request),
        frame=frame,
        bars=tuple(bars_of(output.get("probability"), names)),
        note=note_of(output.get("note")),
        images=images,
        more_images=more,
        text=json_of(output),
    )


def _images(output: Mapping[str, Any], budget: Budget) -> tuple[tuple[ImageView, ...], int]:
    """Explanations, and images that the model made, and how many more there are than are shown."""
    contents = list(_contents(output))
    views = []
    for name, description, content in contents[:_MOST_IMAGES]:
        address, how = "", "not shown: the page holds as many pictures as a browser likes"
        if not budget.spent:
            try:
                if len(content) > _MAX_EXTRA_BYTES:
                    raise NotDrawableError(f"{len(content)} bytes are too many")
                picture, how = render(content)
                address = budget.take(*encoded(picture, _EXTRA_SIDE))
            except (NotDrawableError, OSError) as error:
                how = f"not shown: {error}"
        views.append(ImageView(clean_line(name)[:120], clean(description)[:600], address, clean_line(how)[:200]))
    return tuple(views), max(0, len(contents) - _MOST_IMAGES)


def _contents(output: Mapping[str, Any]) -> Iterator[tuple[str, str, bytes]]:
    explanations, images = output.get("explanations"), output.get("images")
    for number, entry in enumerate(explanations if isinstance(explanations, (list, tuple)) else ()):
        if isinstance(entry, Mapping) and isinstance(entry.get("content"), bytes) and entry["content"]:
            name = str(entry.get("name") or f"explanation {number}")
            yield name, str(entry.get("description") or ""), entry["content"]
    for number, entry in enumerate(images if isinstance(images, (list, tuple)) else ()):
        if isinstance(entry, bytes):
            yield f"image {number}", "", entry
