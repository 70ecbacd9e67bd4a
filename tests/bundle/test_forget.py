"""The store forgets what was not used for long, never what somebody uses."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from mdai_build.bundle import Forgotten, Keep, UnpackedBundle, forget_bundles, read_bundle, unpack_bundle

DAY = 24 * 3600


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def unpack(making: Any, tmp_path: Path, store: Path) -> Any:
    """Unpacks a model of that name with weights of so many bytes, whose archive is not brand-new."""

    def go(name: str, size: int = 1000, keep: Keep | None = None) -> UnpackedBundle:
        path = tmp_path / f"{name}.zip"
        if not path.exists():
            entries = [*making.entries(), ("model/net.bin", name.encode() * (size // len(name)))]
            making.zip(path, entries=entries)
            time.sleep(0.15)  # else its stamp is too fresh to be remembered
        return unpack_bundle(read_bundle(path), store, None, keep)

    return go


def age(folder: Path, seconds: float, pattern: str = "*.json") -> None:
    for record in folder.glob(pattern):
        os.utime(record, (time.time() - seconds,) * 2)


def objects(store: Path) -> set[str]:
    return {path.name for path in (store / "objects").rglob("*") if path.is_file()}


def weights(unpacked: UnpackedBundle) -> Path:
    return next(file.source for file in unpacked.files if file.path == "net.bin")


def test_what_is_in_use_stays_and_is_gone_once_it_is_not(unpack: Any, store: Path) -> None:
    unpacked = unpack("one")
    place = weights(unpacked)
    assert forget_bundles(store, Keep(0, 0)) is None
    assert place.is_file()
    del unpacked
    done = forget_bundles(store, Keep(0, 0))
    assert done is not None and done.files > 1 and done.bytes > 900
    assert not place.exists() and objects(store) == set()
    assert weights(unpack("one")).read_bytes().startswith(b"one")


def test_what_was_not_used_for_long_is_forgotten(unpack: Any, store: Path) -> None:
    old = weights(unpack("old"))
    age(store / "archives", 40 * DAY)
    new = weights(unpack("new"))
    shared = {file.source for file in unpack("new").files} - {new}
    _age_objects(store)
    before = forget_bundles(store, Keep(30 * DAY, 10**9), dry_run=True)
    assert before == Forgotten(1, 999) and old.is_file()
    assert forget_bundles(store, Keep(30 * DAY, 10**9)) == before
    assert not old.exists() and new.is_file() and all(path.is_file() for path in shared)


def test_a_use_counts_as_one(unpack: Any, store: Path) -> None:
    place = weights(unpack("one"))
    age(store / "archives", 40 * DAY)
    assert weights(unpack("one")) == place
    _age_objects(store)
    assert forget_bundles(store, Keep(30 * DAY, 10**9)) == Forgotten()


def test_the_oldest_go_first_when_there_is_too_much(unpack: Any, store: Path) -> None:
    places = {}
    for number, name in enumerate(("aa", "bb", "cc")):
        places[name] = weights(unpack(name, 100_000))
        age(store / "archives", 3600 * (3 - number) + 10, "*.json") if name == "aa" else None
    _age_objects(store)
    done = forget_bundles(store, Keep(30 * DAY, 250_000))
    assert done == Forgotten(1, 100_000)
    assert not places["aa"].exists() and places["bb"].is_file() and places["cc"].is_file()


def test_it_forgets_on_its_own_but_not_all_the_time(unpack: Any, store: Path) -> None:
    old = weights(unpack("old"))
    age(store / "archives", 40 * DAY)
    _age_objects(store)
    unpack("new")
    assert old.is_file(), "it was looked through a moment ago"
    os.utime(store / "locks" / "use", (time.time() - 2 * 3600,) * 2)
    unpack("new")
    assert not old.exists()


def test_a_store_that_is_not_there_has_nothing_to_forget(tmp_path: Path) -> None:
    assert forget_bundles(tmp_path / "none", Keep()) == Forgotten()
    assert not (tmp_path / "none").exists()


def _age_objects(store: Path) -> None:
    """Their times of change cannot be set: what is young is told by the clock, which is moved instead."""
    import mdai_build.bundle.forget as forget

    forget._YOUNG_SECONDS = 0


@pytest.fixture(autouse=True)
def young_again(monkeypatch: pytest.MonkeyPatch) -> None:
    import mdai_build.bundle.forget as forget

    monkeypatch.setattr(forget, "_YOUNG_SECONDS", forget._YOUNG_SECONDS)
