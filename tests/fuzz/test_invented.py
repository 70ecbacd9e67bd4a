"""A few of what `make scoreboard` invents by the thousand: a change that lets something through is seen at once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import agreement
import archivers
import archives
import debian
import messages
import pytest
import texts

from mdai_build.settings import load_settings

FINE = {"accepted", "refused"}


@pytest.mark.process
@pytest.mark.filterwarnings("ignore")  # zipfile warns of duplicate names
def test_what_is_unpacked_is_what_other_programs_unpack(tmp_path: Path) -> None:
    """Starts unzip and bsdtar; without one of them the others are asked, and the test says so by being skipped."""
    others, missing = {}, []
    for name in archivers.PACKAGES:
        try:
            others[name] = archivers.find(name, load_settings().engine_folder)
        except debian.Unavailable as unavailable:
            missing.append(f"{name}: {unavailable}")
    found: Counter[str] = Counter()
    for number in range(600):
        suffix, content = archives.invent(number)
        archive = tmp_path / f"m{suffix}"
        archive.write_bytes(content)
        verdict = agreement.judge(archive, tmp_path, others)
        assert verdict.kind in FINE, (number, verdict)
        found[verdict.kind] += 1
        archive.unlink()
    assert min(found["accepted"], found["refused"]) > 100
    if missing:
        pytest.skip("; ".join(missing))


def test_configs_say_what_was_written_or_are_refused() -> None:
    found = Counter(verdict for number in range(1000) if (verdict := texts.judge_config(texts.invent_config(number))))
    assert found.keys() == FINE, found


def test_lines_say_to_the_installer_what_they_say_to_us_or_are_refused() -> None:
    found = Counter(texts.judge_line(texts.invent_line(number)) for number in range(1000))
    assert found.keys() == FINE, found


def test_bodies_and_outputs_are_judged_as_by_the_slow_check() -> None:
    found = Counter(messages.judge_message(number) for number in range(3000))
    assert found.keys() == FINE, found


@pytest.mark.parametrize("number", range(20))
def test_the_same_number_gives_the_same_input(number: int) -> None:
    assert archives.invent(number) == archives.invent(number)
    assert texts.invent_config(number) == texts.invent_config(number)
