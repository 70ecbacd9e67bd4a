from __future__ import annotations

from pathlib import Path

import pytest

from mdai_build.engine.connection import ImageFacts
from mdai_build.errors import UsageError
from mdai_build.pipeline.untested import note_tested, note_untested, refuse_to_push, tag_of_untested
from mdai_build.plan import CONTENT_LABEL
from mdai_build.settings import Settings

TAG = "mdai-build/lungs:latest"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache_folder=tmp_path / "cache")


def image(number: int) -> ImageFacts:
    return ImageFacts(f"sha256:{number:064x}", 1, (TAG,), {CONTENT_LABEL: f"content {number}"})


def test_a_free_tag_and_that_of_the_same_content_are_taken(settings: Settings) -> None:
    assert tag_of_untested(settings, None, TAG, "content 2") == (TAG, ())
    assert tag_of_untested(settings, image(2), TAG, "content 2") == (TAG, ())


def test_an_image_of_which_nothing_is_known_counts_as_tested(settings: Settings) -> None:
    tag, (told,) = tag_of_untested(settings, image(1), TAG, "content 2")
    assert tag == "mdai-build/lungs:latest-untested"
    assert told.code == "usage.tag-kept" and "--tag-untested" in (told.next_step or "")


def test_one_that_was_not_tested_is_replaced_until_it_passes(settings: Settings) -> None:
    note_untested(settings, image(1).id)
    assert tag_of_untested(settings, image(1), TAG, "content 2") == (TAG, ())
    note_tested(settings, image(1).id)
    assert tag_of_untested(settings, image(1), TAG, "content 2")[0] != TAG


def test_the_longest_version_has_room_for_the_suffix(settings: Settings) -> None:
    tag, _ = tag_of_untested(settings, image(1), f"host:5000/lungs:{'v' * 128}", "content 2")
    assert tag.startswith("host:5000/lungs:vvv") and tag.endswith("-untested")
    assert len(tag.rpartition(":")[2]) == 128


def test_what_nobody_asked_for_is_not_pushed() -> None:
    refuse_to_push(TAG, TAG)
    with pytest.raises(UsageError):
        refuse_to_push(TAG, f"{TAG}-untested")


def test_a_cache_that_cannot_be_written_leaves_tags_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = Settings(cache_folder=tmp_path / "file")
    note_untested(settings, image(1).id)
    assert tag_of_untested(settings, image(1), TAG, "content 2")[0] != TAG
