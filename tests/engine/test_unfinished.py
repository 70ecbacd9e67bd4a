"""Notes of images that are being made: what ends without a tag goes, also after a kill; what another makes stays."""

from __future__ import annotations

import os
import signal
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from mdai_build.engine import Engine
from mdai_build.engine.connection import ImageFacts
from mdai_build.engine.unfinished import remove_unfinished, unfinished_images
from mdai_build.errors import UnavailableError

LABEL = "label"


@dataclass
class Images:
    """An engine that holds images without a tag, by the value of their label; no container and no volume."""

    held: list[str]
    host: str = "unix:///here"
    labels: dict[str, str] = field(default_factory=dict)
    client: Any = field(default_factory=lambda: cast(Any, Images.Client))

    class Client:
        class containers:
            @staticmethod
            def list(**_: object) -> list[object]:
                return []

        volumes = containers

    def images_labelled(self, name: str, value: str) -> tuple[ImageFacts, ...]:
        assert name == LABEL
        return tuple(ImageFacts(each, 1, (), self.labels) for each in self.held if each == value)

    def remove_image(self, image_id: str) -> None:
        self.held.remove(image_id)

    def as_engine(self) -> Engine:
        return cast(Engine, self)


def test_what_has_no_tag_in_the_end_is_removed(tmp_path: Path) -> None:
    images = Images(["a", "b"])
    with pytest.raises(KeyboardInterrupt), unfinished_images(images.as_engine(), tmp_path, LABEL, ["a"]):
        raise KeyboardInterrupt
    assert images.held == ["b"] and not list(tmp_path.glob("*.json"))


def test_another_run_that_makes_the_same_keeps_it(tmp_path: Path) -> None:
    images = Images(["a"])
    with unfinished_images(images.as_engine(), tmp_path, LABEL, ["a"]):
        with unfinished_images(images.as_engine(), tmp_path, LABEL, ["a"]):
            pass
        remove_unfinished(images.as_engine(), tmp_path)
        assert images.held == ["a"]
    assert images.held == []


def test_what_a_killed_run_left_is_removed_by_the_next_one_on_that_engine(tmp_path: Path) -> None:
    (tmp_path / "killed.json").write_text('{"engine": "unix:///here", "label": "label", "values": ["a", "b"]}')
    (tmp_path / "half.json").write_text('{"engine": "unix')
    other = Images(["a"], host="unix:///elsewhere")
    remove_unfinished(other.as_engine(), tmp_path)
    assert other.held == ["a"]
    images = Images(["a", "b", "c"])
    with unfinished_images(images.as_engine(), tmp_path, LABEL, ["b"]):
        assert images.held == ["b", "c"]  # this run wants b
    assert images.held == ["c"] and not list(tmp_path.glob("*.json"))


@pytest.mark.parametrize("module, name", [(tempfile, "mkstemp"), (os, "write")], ids=("made", "written"))
def test_an_interruption_while_the_note_is_made_leaves_none(
    module: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it is held for as long as this process lasts, and other runs keep the images that it names."""
    real = getattr(module, name)

    def interrupted(*args: Any, **named: Any) -> Any:
        done = real(*args, **named)
        monkeypatch.undo()
        signal.raise_signal(signal.SIGINT)
        return done

    images = Images(["a"])
    monkeypatch.setattr(module, name, interrupted)
    with pytest.raises(KeyboardInterrupt), unfinished_images(images.as_engine(), tmp_path, LABEL, ["a"]):
        pytest.fail("the interruption was lost")
    assert images.held == [] and not list(tmp_path.glob("*.json"))


def test_what_inherited_the_label_stays(tmp_path: Path) -> None:
    models = Images(["a"], labels={"of-models": ""})
    with unfinished_images(models.as_engine(), tmp_path, LABEL, ["a"], without="of-models"):
        (tmp_path / "killed.json").write_text((next(tmp_path.glob("*.json"))).read_text())
    remove_unfinished(models.as_engine(), tmp_path)
    assert models.held == ["a"] and not list(tmp_path.glob("*.json"))
    bases = Images(["a"])
    with unfinished_images(bases.as_engine(), tmp_path, LABEL, ["a"], without="of-models"):
        pass
    assert bases.held == []


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UnavailableError) as failure,
        unfinished_images(Images([]).as_engine(), tmp_path / "file", LABEL, ["a"]),
    ):
        pass
    assert failure.value.problems[0].code == "engine.no-notes"


def test_the_folders_of_killed_runs_go_even_where_this_run_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / "mdai-build-run-abcdefgh"
    left.mkdir()
    with unfinished_images(Images([]).as_engine(), tmp_path / "notes", LABEL, []):
        assert not left.exists()
