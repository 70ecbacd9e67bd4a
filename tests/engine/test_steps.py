"""What is on the move in a build, from BuildKit's lines; the installers' lines were printed by real runs."""

from __future__ import annotations

import pytest

from mdai_build.engine.failed_log import line_that_matters
from mdai_build.engine.progress import readable_step
from mdai_build.engine.steps import Packages, StepNow, StepReader, packages_after

UV = """\
Using Python 3.9.18 environment at: /opt/conda/envs/mdai-env
Resolved 9 packages in 443ms
Downloading scipy (33.7MiB)
Downloading pillow (6.8MiB)
 Downloaded pillow
Downloading numpy (16.1MiB)
"""
PIP = """\
Collecting torch==1.13.1
  Downloading torch-1.13.1-cp38-cp38-manylinux1_x86_64.whl (887.4 MB)
Collecting typing-extensions
  Downloading typing_extensions-4.13.2-py3-none-any.whl (45 kB)
"""


def read(text: str) -> dict[str, StepNow]:
    reader = StepReader(readable_step)
    told = [now for line in text.splitlines() if (now := reader.read(line)) is not None]
    return {now.id: now for now in told}


def packages(text: str) -> Packages | None:
    now = None
    for line in text.splitlines():
        now = packages_after(now, line)
    return now


def test_what_uv_is_fetching() -> None:
    now = packages(UV)
    assert now is not None
    assert (now.total, now.downloaded) == (9, 1)
    assert now.downloading == (("scipy", int(33.7 * 2**20)), ("numpy", int(16.1 * 2**20)))
    after = packages(UV + "Prepared 9 packages in 618ms\n")
    assert after is not None and after.downloading == ()


def test_what_pip_is_fetching() -> None:
    now = packages(PIP)
    assert now is not None
    assert now.seen == 2
    assert now.downloading == (("typing_extensions-4.13.2-py3-none-any.whl", 45_000),)


def test_another_log_is_no_installer_s() -> None:
    assert packages("Downloading the weights\ncompiling\n") is None


def test_layers_of_a_pulled_image_are_added_up() -> None:
    steps = read(
        "#6 [mdai-parent 1/1] FROM example.org/base\n"
        "#6 sha256:aa 10.49MB / 29.15MB 0.4s\n#6 sha256:bb 1.05kB / 2kB 0.1s\n#6 sha256:aa 20MB / 29.15MB 0.8s\n"
    )
    assert (steps["6"].done_bytes, steps["6"].total_bytes) == (20_001_050, 29_152_000)


def test_the_context_on_its_way() -> None:
    step = read("#3 [model 2/5] COPY _mdai/weights/ /src/lib/\n#3 transferring context: 1.05GB 3.1s\n")["3"]
    assert (step.line, step.done_bytes, step.total_bytes) == ("transferring context", 1_050_000_000, 0)


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("DONE 2.5s", "done"),
        ("CACHED", "cached"),
        ("ERROR: process x", "failed"),
        ("CANCELED", "failed"),
        ("0.3 x", "running"),
    ],
)
def test_states(line: str, state: str) -> None:
    assert read(f"#5 [model 2/5] RUN x\n#5 {line}\n")["5"].state == state


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (
            "Collecting a\nERROR: No matching distribution found for a\nnotice: new pip",
            "ERROR: No matching distribution found for a",
        ),
        ("x\nerror: Failed to fetch\n  caused by: dns\n", "error: Failed to fetch"),
        ("Traceback (most recent call last):\n  File x\nValueError: no\nmake: *** stop\n", "ValueError: no"),
        ("cc -c a.c\na.c:1:10: fatal error: Python.h: No such file or directory\ncompilation terminated.", None),
        ("Reading lists\nE: Unable to locate package libfoo\n", "E: Unable to locate package libfoo"),
        ("/bin/sh: 1: cmake: not found\n", "/bin/sh: 1: cmake: not found"),
        ("one\ntwo\n\n", "two"),
        ("", ""),
    ],
)
def test_the_line_that_says_why(log: str, line: str | None) -> None:
    expected = "a.c:1:10: fatal error: Python.h: No such file or directory" if line is None else line
    assert line_that_matters(log) == expected
