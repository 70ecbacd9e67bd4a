"""What BuildKit's plain progress says, read line by line. The lines were printed by a real build."""

from __future__ import annotations

import time

import pytest

from mdai_build.engine.build import Progress, build_failure, readable_step
from mdai_build.errors import BuildFailedError, RequirementsError, UnavailableError

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


def test_a_failed_install_is_about_the_requirements_and_shows_its_own_log() -> None:
    failure = build_failure(read(PRINTED + '#5 ERROR: process "/bin/sh -c …" did not complete: exit code: 1\n'))
    assert isinstance(failure, RequirementsError)
    assert (failure.problems[0].details or "").startswith("error: no such package\nhint: look again")


def test_a_failed_step_is_named() -> None:
    failure = build_failure(read("#4 [environment 1/1] RUN conda create\n#4 0.1 boom\n#4 ERROR: exit code: 1\n"))
    assert isinstance(failure, BuildFailedError)
    assert "RUN conda create" in failure.problems[0].what
    assert "boom" in (failure.problems[0].details or "")


def test_a_parent_that_cannot_be_resolved_is_no_fault_of_the_bundle() -> None:
    failure = build_failure(
        read("#2 [internal] load metadata for example.org/base:latest\n#2 ERROR: failed to do request: no such host\n")
    )
    assert isinstance(failure, UnavailableError)
    assert "no such host" in (failure.problems[0].details or "")


def test_a_dockerfile_that_cannot_be_read_is_told_by_the_authors_lines() -> None:
    printed = (
        "Dockerfile:4\n"
        "--------------------\n"
        "   3 |     FROM debian AS mdai-parent\n"
        "   4 | >>> RNU true\n"
        "--------------------\n"
        "ERROR: failed to solve: dockerfile parse error on line 4: unknown instruction: RNU (did you mean RUN?)\n"
    )
    (problem,) = build_failure(read(printed), author_line=3).problems
    assert problem.what.endswith("cannot be read: unknown instruction: RNU (did you mean RUN?)")
    assert problem.where is not None
    assert (str(problem.where), problem.where.source) == (".mdai/Dockerfile:2", "RNU true")
    assert problem.details is None


def test_a_builder_that_says_nothing_but_an_error_is_told_with_it() -> None:
    failure = build_failure(read('ERROR: no builder "nowhere" found\n'))
    assert isinstance(failure, UnavailableError)
    assert "nowhere" in (failure.problems[0].details or "")


@pytest.mark.parametrize(
    "line",
    [
        "  Caused by: client error (Connect) dns error: failed to lookup address information",
        "  cause: invalid peer certificate: UnknownIssuer",
        "fatal: unable to access 'https://example.org/': Could not resolve host: example.org",
    ],
)
def test_a_network_that_fails_is_no_fault_of_the_requirements(line: str) -> None:
    log = f"#5 1.1 {line}\n#5 ERROR: exit code: 2\n"
    assert isinstance(build_failure(read(PRINTED + log)), UnavailableError)


@pytest.mark.parametrize(
    "line",
    [
        "  cause: HTTP status client error (401 Unauthorized) for url (https://index.test/simple/pillow/)",
        "Could not fetch URL https://index.test/simple/uv/: 401 Client Error: Unauthorized for url: https://index.test",
        "fatal: Authentication failed for 'https://git.test/tool.git/'",
        "OSError: Tunnel connection failed: 407 Proxy Authentication Required",
    ],
)
def test_a_login_that_is_missing_or_wrong_is_told_as_one(line: str) -> None:
    failure = build_failure(read(PRINTED + f"#5 1.1 {line}\n#5 ERROR: exit code: 2\n"))
    assert isinstance(failure, UnavailableError) and failure.problems[0].code == "engine.login-refused"


def test_a_full_disk_is_told_as_one() -> None:
    line = "error: failed to copy numpy: No space left on device (os error 28)"
    failure = build_failure(read(PRINTED + f"#5 1.1 {line}\n#5 ERROR: exit code: 2\n"))
    assert isinstance(failure, UnavailableError) and failure.problems[0].code == "engine.disk-full"
