"""Whether an image is what its model builds to, as people and machines are told."""

from __future__ import annotations

import pytest
from schema_checks import check_report

from mdai_build.canonical import Difference
from mdai_build.report.verification import Verification, print_verification, verification_as_json

SITE = "opt/conda/envs/mdai-env/lib/python3.8/site-packages"


def verification(*differences: Difference, notes: tuple[str, ...] = ()) -> Verification:
    return Verification(
        "lungs:1", "sha256:a", "sha256:b" if differences else "sha256:a", 6704, differences, notes, 20.0
    )


def test_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    print_verification(verification(notes=("the bundle has no lock",)))
    out = capsys.readouterr().out
    assert "lungs:1 is what the model builds to: 6704 files alike" in out
    assert "the bundle has no lock" in out and "sha256:a" in out
    assert verification_as_json(verification())["same"] is True
    check_report("verify", verification_as_json(verification()))


def test_differences_are_told_by_package_and_folder(capsys: pytest.CaptureFixture[str]) -> None:
    found = verification(
        *(Difference(f"{SITE}/numpy/{name}.py", "content", "RUN install", "numpy") for name in "abc"),
        Difference("src/lib/model.py", "mode", "COPY code", None),
        Difference("label io.mdai-build.version", "'1' in the image, '2' in the rebuild", "", None),
    )
    print_verification(found)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "lungs:1 is not what the model builds to: 5 differences, in 20.0 s"
    assert f"numpy 3, such as {SITE}/numpy/a.py content RUN install" in lines
    assert "/src/lib src/lib/model.py mode COPY code" in lines
    assert any(line.startswith("the configuration label io.mdai-build.version") for line in lines)
    assert len(verification_as_json(found)["differences"]) == 5
    assert verification_as_json(found)["exit_code"] == 6
    check_report("verify", verification_as_json(found))


def test_names_of_a_stranger_are_made_safe_and_rows_are_few(capsys: pytest.CaptureFixture[str]) -> None:
    strange = [Difference(f"d{n}/\x1b[31m\n{'x' * 300}", "content", "\x1b]0;x\x07" * 9, None) for n in range(50)]
    found = verification(*strange)
    print_verification(found)
    out = capsys.readouterr().out
    assert "\x1b" not in out and "and 30 more places" in out
    assert len(out.splitlines()) < 30
