"""What is told of a build that failed, from the lines that it printed: whose fault, and the log that shows it."""

from __future__ import annotations

import pytest

from mdai_build.engine.build_failure import build_failure, says_engine_gone
from mdai_build.engine.progress import Progress
from mdai_build.errors import BuildFailedError, RequirementsError, UnavailableError

INSTALLING = """\
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


def test_a_failed_install_is_about_the_requirements_and_shows_its_own_log() -> None:
    failure = build_failure(read(INSTALLING + '#5 ERROR: process "/bin/sh -c …" did not complete: exit code: 1\n'))
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
    assert isinstance(build_failure(read(INSTALLING + log)), UnavailableError)


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
    failure = build_failure(read(INSTALLING + f"#5 1.1 {line}\n#5 ERROR: exit code: 2\n"))
    assert isinstance(failure, UnavailableError) and failure.problems[0].code == "engine.login-refused"


def test_a_full_disk_is_told_as_one() -> None:
    line = "error: failed to copy numpy: No space left on device (os error 28)"
    failure = build_failure(read(INSTALLING + f"#5 1.1 {line}\n#5 ERROR: exit code: 2\n"))
    assert isinstance(failure, UnavailableError) and failure.problems[0].code == "engine.disk-full"


def test_a_disk_that_is_full_before_the_first_step_is_told_as_one() -> None:
    log = "#1 [internal] load build context\n#1 ERROR: write /data/tmp: no space left on device\n"
    failure = build_failure(read(log))
    assert isinstance(failure, UnavailableError) and failure.problems[0].code == "engine.disk-full"


def test_a_builder_that_lost_its_engine_is_no_failed_step() -> None:
    lost = "ERROR: failed to receive status: rpc error: code = Unavailable desc = error reading from server: EOF\n"
    assert says_engine_gone(read(INSTALLING + lost))
    assert not says_engine_gone(read(INSTALLING + "#5 ERROR: exit code: 2\n"))
