"""What BuildKit's plain progress says, read line by line. The lines were printed by a real build."""

from __future__ import annotations

import time

from mdai_build.engine.progress import Progress, readable_step
from mdai_build.engine.steps import StepReader

PRINTED = """\
#0 building with "default" instance using docker driver

#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 133B done
#1 DONE 0.0s

#4 [environment 1/1] RUN conda create --yes
#4 0.310 solving
#4 CACHED

#5 [model 2/5] RUN cd /requirements && /opt/uv/bin/uv pip install --requirement _install.txt
#5 0.512 error: no such package
#6 [server 1/2] RUN true
#6 DONE 0.2s
#5 1.020 hint: look again
"""


def read(text: str) -> Progress:
    progress = Progress()
    for line in text.splitlines():
        progress.read(line)
    return progress


def test_stages_have_seconds_and_whether_they_were_cached() -> None:
    rest = "#5 DONE 2.5s\n#8 [model 3/5] COPY x /x\n#8 DONE 0.5s\n#7 exporting to image\n#7 DONE 1.7s\n"
    stages = {stage.name: stage for stage in read(PRINTED + rest).stages()}
    assert list(stages) == ["environment", "model", "server", "export"]
    assert stages["environment"].cached
    assert (stages["model"].seconds, stages["model"].cached) == (3.0, False)
    assert stages["export"].seconds == 1.7


def test_steps_that_took_time_have_their_place_in_the_build() -> None:
    rest = "#2 [internal] load build context\n#2 DONE 1.5s\n#5 DONE 2.5s\n#7 exporting to image\n#7 DONE 1.7s\n"
    steps = read(PRINTED + rest).steps(time.monotonic() - 10)
    assert [(step.name.split(" RUN")[0], round(step.end - step.start, 1)) for step in steps] == [
        ("[model 2/5]", 2.5),
        ("exporting to image", 1.7),
        ("load build context", 1.5),
        ("[server 1/2]", 0.2),
    ]
    assert all(9 < step.end < 20 for step in steps)


def test_what_a_step_prints_behind_a_carriage_return_stays_its_own() -> None:
    forged = "#5 [model 2/5] RUN x\n#5 0.1 said\r#5 DONE 9.0s\r\n#5 0.2 more\r#6 [server 1/2] RUN y\n#5 DONE 1.0s\n"
    progress, now = Progress(), StepReader(readable_step)
    said = []
    for line in forged.split("\n"):
        progress.read(line)
        if (step := now.read(line)) is not None:
            said.append(step.line)
    assert progress.seconds == {"5": 1.0} and list(progress.names) == ["5"]
    assert progress.logs == {"5": ["said", "#5 DONE 9.0s", "more", "#6 [server 1/2] RUN y"]}
    assert not any("\r" in line for line in said)


def test_flags_of_an_instruction_are_not_shown() -> None:
    printed = (
        "[model 2/5] RUN --mount=type=cache,id=u,target=/c     --mount=type=bind,source=a,target=/a     cd /a &&     x"
    )
    assert readable_step(printed) == "[model 2/5] RUN cd /a && x"
    assert readable_step("[model 3/5] COPY --link --chown=1000:1000 a/ /b/") == "[model 3/5] COPY a/ /b/"


def test_a_step_is_told_once_even_when_its_log_is_interleaved() -> None:
    progress = Progress()
    told = [name for line in PRINTED.splitlines() if (name := progress.read(line))]
    assert len(told) == len(set(told))
