"""PNG files of what a model said: each input image with its outputs drawn on it and listed beside it.

Outputs come from strangers' code: sizes are bounded, and a picture that fails is a line in the log, never an error.
"""

from __future__ import annotations

import json
import logging
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont

from mdai_build.report.outline import class_names
from mdai_build.report.overlay import class_colour, draw_output
from mdai_build.report.render import NotDrawableError, render
from mdai_build.report.text import clean_line
from mdai_build.smoke.answers import data_kind, files_meant

if TYPE_CHECKING:
    from mdai_build.smoke.request import InputFile
    from mdai_build.smoke.result import Answer, SmokeResult

MANIFEST = "pictures.json"
MOST_PER_SAMPLE = 4
"""Pictures of a synthetic sample, and extra images of one; of the user's own samples there are more."""
MOST_PER_OWN_SAMPLE = 64

_LOG = logging.getLogger(__name__)
_MOST_OUTPUTS_DRAWN = 64
_LONGEST_SIDE, _SHORTEST_SIDE = 1024, 512
_TEXT_HEIGHT = 260
_PANEL_WIDTH = 380
_MARGIN = 16
_LINE = 19
_GROUND, _INK, _FAINT = (24, 26, 30), (236, 238, 240), (150, 156, 164)
_THUMBNAIL, _LONE_THUMBNAIL = 164, 240
_MOST_THUMBNAILS = 4
_MAX_EXTRA_BYTES = 64 * 1024**2
_EXTRA_COMPRESSION = 1  # three times as fast as zlib's default, for files a fifth larger


@dataclass
class _Scene:
    """One frame of one input file, and the outputs that belong to it."""

    file: InputFile
    frame: int
    outputs: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)


def draw_pictures(smoke: SmokeResult, folder: Path) -> tuple[Path, ...]:
    """Draws every answer into the folder; returns the files made, in the order of the samples.

    Pictures of an earlier run in the same folder are removed; other files there are left alone.
    """
    drawer = Drawer(folder)
    for answer in smoke.answers:
        drawer.draw(answer)
    return drawer.finish()


class Drawer:
    """Draws answers into a folder as they come. A folder that cannot be written to is a line in the log."""

    def __init__(self, folder: Path) -> None:
        """Pictures of an earlier run in the folder are removed; other files there are left alone."""
        self._folder = folder
        self._paths: list[Path] = []
        self._number = 0
        self._works = self._attempt(self._begin)

    def draw(self, answer: Answer) -> None:
        """Draws one more answer."""
        self._number += 1
        stem = f"{self._number:02d}-{_file_name(answer.request.name)}"
        if self._works:
            self._works = self._attempt(lambda: self._paths.extend(_draw_answer(answer, self._folder, stem)))

    def finish(self) -> tuple[Path, ...]:
        """The files that were made."""
        if self._works:
            self._attempt(self._note)
        return tuple(self._paths)

    def _begin(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        _remove_earlier(self._folder)

    def _note(self) -> None:
        (self._folder / MANIFEST).write_text(json.dumps([path.name for path in self._paths]), encoding="utf-8")

    def _attempt(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except OSError as error:
            _LOG.warning("pictures: cannot write to %s: %s", self._folder, error)
            return False
        return True


class DrawerBeside:
    """Draws answers by a thread of its own, while the model works on the next request.

    Left early, what is not drawn yet is not drawn any more.
    """

    def __init__(self, folder: Path) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pictures")
        self._drawer = self._pool.submit(Drawer, folder)
        self._drawn: list[Future[None]] = []

    def __enter__(self) -> DrawerBeside:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def draw(self, answer: Answer) -> None:
        """Has one more answer drawn, and does not wait for it."""
        self._drawn.append(self._pool.submit(lambda: self._drawer.result().draw(answer)))

    def finish(self) -> tuple[Path, ...]:
        """Waits until all are drawn; the files that were made."""
        for drawn in self._drawn:
            drawn.result()
        return self._drawer.result().finish()


def thumbnail(answer: Answer, side: int) -> Image.Image | None:
    """A small picture of what an answer says of its first image that it says something of; None: it cannot be drawn."""
    outputs = [(index, output) for index, output in enumerate(answer.outputs) if isinstance(output, Mapping)]
    scenes = _scenes(answer, outputs)
    try:
        picture, _ = _draw_frame(next((scene for scene in scenes if scene.outputs), scenes[0]))
        picture.thumbnail((side, side))
    except Exception as error:  # noqa: BLE001  # as below: this picture alone is lost
        _LOG.info("pictures: no thumbnail: %s: %s", type(error).__name__, error)
        return None
    return picture


def _remove_earlier(folder: Path) -> None:
    with suppress(OSError, ValueError, TypeError):
        for name in json.loads((folder / MANIFEST).read_text(encoding="utf-8")):
            if re.fullmatch(r"\d\d[\w.-]*\.png", name):
                (folder / name).unlink(missing_ok=True)


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:60] or "sample"


def _draw_answer(answer: Answer, folder: Path, stem: str) -> Iterator[Path]:
    outputs = [(index, output) for index, output in enumerate(answer.outputs) if isinstance(output, Mapping)]
    extras: dict[int, list[Image.Image]] = {}
    for path, index, image in _save_extras(outputs, folder, stem, _most(answer)):
        extras.setdefault(index, []).append(image)
        yield path
    scenes = _scenes(answer, outputs)
    for number, scene in enumerate(scenes, 1):
        suffix = f"-{number:03d}" if len(scenes) > 1 else ""
        path = folder / f"{stem}{suffix}.png"
        try:
            _draw_scene(answer, scene, extras).save(path, compress_level=3)
        # Whatever a stranger's output makes a drawing library raise costs this picture alone.
        except Exception as error:  # noqa: BLE001
            _LOG.warning("pictures: %s was not drawn: %s: %s", path.name, type(error).__name__, error)
            continue
        yield path


def _most(answer: Answer) -> int:
    return MOST_PER_OWN_SAMPLE if answer.request.required else MOST_PER_SAMPLE


def _scenes(answer: Answer, outputs: Sequence[tuple[int, Mapping[str, Any]]]) -> list[_Scene]:
    """The frames worth a picture: those that outputs name, else the middle one; evenly chosen if there are many."""
    files = answer.request.files
    middle = files[len(files) // 2]
    scenes: dict[tuple[str, int], _Scene] = {}
    rest: list[tuple[int, Mapping[str, Any]]] = []
    for index, output in outputs:
        meant = files_meant(files, output)
        number = output.get("frame_number")
        if len(meant) == 1 and (output.get("instance_uid") or len(files) == 1):
            frame = number if isinstance(number, int) and 0 <= number < meant[0].frames else 0
            scene = scenes.setdefault((meant[0].instance_uid, frame), _Scene(meant[0], frame))
            scene.outputs.append((index, output))
        else:
            rest.append((index, output))
    if rest or not scenes:
        home = next((scene for scene in scenes.values() if scene.file is middle), None)
        if home is None:
            home = scenes.setdefault((middle.instance_uid, 0), _Scene(middle, 0))
        home.outputs[:0] = rest
    order = {file.instance_uid: place for place, file in enumerate(files)}
    chosen = sorted(scenes.values(), key=lambda scene: (order[scene.file.instance_uid], scene.frame))
    most = _most(answer)
    if len(chosen) > most:
        last = len(chosen) - 1
        chosen = [chosen[round(place * last / (most - 1))] for place in range(most)]
    return chosen


def _draw_frame(scene: _Scene) -> tuple[Image.Image, str]:
    """The frame with its outputs drawn on it, and how it was made."""
    file = scene.file
    try:
        picture, how = render(file.shown_as or file.content, scene.frame)
    except NotDrawableError as error:
        picture, how = Image.new("RGB", (max(file.columns, 1), max(file.rows, 1)), (60, 60, 60)), f"not shown: {error}"
    picture = _fitted(picture)
    for index, output in sorted(scene.outputs, key=_masks_first)[:_MOST_OUTPUTS_DRAWN]:
        try:
            picture = draw_output(picture, output, file.rows, file.columns)
        except Exception as error:  # noqa: BLE001  # as above: this drawing alone is lost
            _LOG.warning("pictures: outputs[%d] was not drawn: %s: %s", index, type(error).__name__, error)
    return picture, how


def _draw_scene(answer: Answer, scene: _Scene, extras: Mapping[int, Sequence[Image.Image]]) -> Image.Image:
    picture, how = _draw_frame(scene)
    thumbnails = [image for index, _ in scene.outputs for image in extras.get(index, ())][:_MOST_THUMBNAILS]
    height = max(picture.height, _SHORTEST_SIDE, _TEXT_HEIGHT + _height_of(thumbnails))
    sheet = Image.new("RGB", (picture.width + _PANEL_WIDTH, height), _GROUND)
    sheet.paste(picture, (0, (height - picture.height) // 2))
    _draw_panel(sheet, picture.width + _MARGIN, answer, scene, how, thumbnails)
    return sheet


def _masks_first(item: tuple[int, Mapping[str, Any]]) -> bool:
    return data_kind(item[1].get("data")) != "mask"


def _fitted(picture: Image.Image) -> Image.Image:
    """The picture at a size that a screen shows: its longer side 512 to 1024 pixels."""
    longest = max(picture.size)
    if longest > _LONGEST_SIDE:
        scale, how = _LONGEST_SIDE / longest, Image.Resampling.LANCZOS
    elif longest < _SHORTEST_SIDE:
        scale, how = _SHORTEST_SIDE / longest, Image.Resampling.BICUBIC
    else:
        return picture
    return picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), how)


def _draw_panel(
    sheet: Image.Image, left: int, answer: Answer, scene: _Scene, how: str, thumbnails: Sequence[Image.Image]
) -> None:
    """The list beside the picture: what it shows, then the outputs, then explanations and images."""
    draw = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(18), ImageFont.load_default(14)
    bottom = sheet.height - _MARGIN
    side = _side_of(thumbnails)
    bottom -= _height_of(thumbnails)
    y = _MARGIN
    for line in _wrapped(answer.request.name, large):
        draw.text((left, y), line, font=large, fill=_INK)
        y += 24
    frame = f", frame {scene.frame} of {scene.file.frames}" if scene.file.frames > 1 else ""
    facts = [
        f"{scene.file.name}{frame}",
        f"{scene.file.columns} x {scene.file.rows}, {how}",
        f"scope {answer.request.scope}, {len(answer.request.files)} file(s), answered in {answer.seconds:.2f} s",
    ]
    if not answer.valid:
        facts.append("this answer is NOT valid")
    for line in (part for fact in facts for part in _wrapped(fact, small)):
        draw.text((left, y), line, font=small, fill=_FAINT)
        y += _LINE
    y += 10
    names = class_names(answer.request)
    for place, (index, output) in enumerate(scene.outputs):
        lines = [part for text in _describe(index, output, names) for part in _wrapped(text, small, indent=26)]
        if y + _LINE * (len(lines) + 1) > bottom:
            rest = len(scene.outputs) - place
            draw.text((left, y), f"and {rest} more output{'s' if rest > 1 else ''}", font=small, fill=_FAINT)
            y += _LINE
            break
        colour = class_colour(output.get("class_index"))
        draw.rounded_rectangle((left, y + 2, left + 16, y + 15), 3, fill=colour)
        for row, line in enumerate(lines):
            draw.text((left + 26, y), line, font=small, fill=_INK if row == 0 else _FAINT)
            y += _LINE
        y += 5
    if not scene.outputs:
        draw.text((left, y), "no outputs for this image", font=small, fill=_FAINT)
    if thumbnails:
        y = bottom + 4
        draw.text((left, y), "explanations and images", font=small, fill=_FAINT)
        for number, image in enumerate(thumbnails):
            small_image = image.copy()
            small_image.thumbnail((side, side))
            row, column = divmod(number, 2)
            sheet.paste(small_image, (left + column * (side + 8), y + _LINE + row * (side + 8)))


def _side_of(thumbnails: Sequence[Image.Image]) -> int:
    return _THUMBNAIL if len(thumbnails) > 1 else _LONE_THUMBNAIL


def _height_of(thumbnails: Sequence[Image.Image]) -> int:
    """What explanations and images take of the panel, with the line above them."""
    return (_side_of(thumbnails) + 8) * ((len(thumbnails) + 1) // 2) + _LINE if thumbnails else 0


def _describe(index: int, output: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    kind = data_kind(output.get("data"))
    what = f"class {str(output['class_index'])[:12]}" if output.get("class_index") is not None else "no class"
    name = names.get(str(output.get("class_index")))
    if name:
        what += f" {clean_line(name)[:40]}"
    if kind:
        what += f": {kind}"
    probability = output.get("probability")
    if isinstance(probability, (int, float)):
        what += f", p={probability:.3f}"
    yield what
    yield f"outputs[{index}], {str(output.get('type'))[:12]}"
    if isinstance(probability, Sequence) and not isinstance(probability, str):
        entries = [entry for entry in probability if isinstance(entry, Mapping)][:12]
        shown = [f"{str(entry.get('class_index'))[:6]}: {_number(entry.get('probability'))}" for entry in entries]
        yield "p = " + ", ".join(shown) + (", ..." if len(probability) > 12 else "")
    note = output.get("note")
    if note:
        yield "note: " + clean_line(str(note)[:400])[:200]
    explanations = output.get("explanations")
    if isinstance(explanations, Sequence):
        titles = [str(entry.get("name") or "")[:60] for entry in explanations[:6] if isinstance(entry, Mapping)]
        if any(titles):
            yield "explanations: " + ", ".join(clean_line(title) for title in titles if title)


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, (int, float)) else str(value)[:8]


def _wrapped(text: str, font: Any, indent: int = 0) -> list[str]:
    """The text in lines that fit into the panel, four at most."""
    average = font.getlength("abcdefghijklmnopqrstuvwxyz0123456789 ") / 37
    width = int((_PANEL_WIDTH - 2 * _MARGIN - indent) / average)
    lines = textwrap.wrap(clean_line(text), max(width, 10), max_lines=4, placeholder=" ...")
    return lines or [""]


def _save_extras(
    outputs: Sequence[tuple[int, Mapping[str, Any]]], folder: Path, stem: str, most: int
) -> Iterator[tuple[Path, int, Image.Image]]:
    """Saves images and explanations that outputs carry, as PNG: decoded and encoded anew, never a stranger's bytes."""
    count = 0
    for index, output in outputs:
        for name, content in _contents(output):
            if count == most:
                return
            count += 1
            path = folder / f"{stem}-output{index}-{name}.png"
            try:
                if len(content) > _MAX_EXTRA_BYTES:
                    raise NotDrawableError(f"{len(content)} bytes are too many")
                image, _ = render(content)
                image.save(path, compress_level=_EXTRA_COMPRESSION)
            except (NotDrawableError, OSError) as error:
                # What is no image is a problem of the smoke test already.
                _LOG.info("pictures: %s of %s outputs[%d] was not drawn: %s", name, stem, index, error)
                continue
            yield path, index, image


def _contents(output: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    for key, name in (("images", "image"), ("explanations", "explanation")):
        values = output.get(key)
        if not isinstance(values, (list, tuple)):
            continue
        for number, value in enumerate(values):
            content = value.get("content") if isinstance(value, Mapping) else value
            if isinstance(content, bytes):
                yield f"{name}{number}", content
