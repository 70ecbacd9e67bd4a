"""Models that attack what they run in, and the machine that tests them: told in plain words, in time, and gone."""

from __future__ import annotations

import io
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import docker
import pytest
from harness.runner import run_command

from mdai_build.engine import Engine, RunOptions, connect, running_container
from mdai_build.engine.container import OWNER_LABEL
from mdai_build.report.text import clean
from mdai_build.settings import load_settings
from mdai_build.smoke import SmokeResult, make_smoke_plan, run_smoke_test

MODEL = Path(__file__).parent / "models" / "hostile" / "model"
TAG = "mdai-build-test/hostile:latest"
MIB = 1024**2
SETTINGS = load_settings({"memory": "600m", "predict_timeout": "20", "ready_timeout": "20"})
# Short where nothing but the limit ends it, long where a busy machine may be slow.
IMPATIENT = {
    "never loads": {"ready_seconds": 3},
    "fork bomb": {"predict_seconds": 4},
    "never": {"predict_seconds": 2},
    "huge answer": {"predict_seconds": 5},
}


@pytest.fixture(scope="module")
def image(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory, cache_folder: Path) -> Iterator[str]:
    """The hostile model, which does nothing until it is told."""
    words = ["build", str(MODEL), "--tag", TAG, "--json"]
    environment = {"MDAI_BUILD_CACHE_FOLDER": str(cache_folder), "MDAI_BUILD_PARENT": "local"}
    run = run_command(words, tmp_path_factory.mktemp("hostile"), environment, 300)
    assert run.exit_code == 0, run
    yield str(json.loads(run.stdout)["image"]["id"])
    engine.images.remove(TAG, force=True)


@pytest.fixture(scope="module")
def ours() -> Iterator[Engine]:
    """The engine, as `mdai-build` sees it."""
    connected = connect(SETTINGS.engine_folder)
    yield connected
    connected.client.close()


def attacked(engine: Engine, image: str, attack: str, read_only: bool = True) -> tuple[SmokeResult, str]:
    """What the smoke test says of an attack, tried as `mdai-build` does it but on two samples, and the log."""
    plan = make_smoke_plan(SETTINGS)
    options = RunOptions(
        memory=SETTINGS.memory,
        cpus=SETTINGS.cpus,
        network=False,
        read_only=read_only,
        writable_bytes=300 * MIB,
        environment=(("ATTACK", attack),),
    )
    with running_container(engine, image, options) as container:
        smoke = run_smoke_test(
            container, replace(plan, requests=plan.requests[:2], **IMPATIENT.get(attack, {})), lambda _: None
        )
        return smoke, container.logs()


def test_nothing_is_reached_that_must_not_be(ours: Engine, image: str) -> None:
    """The server's memory, files and environment, other machines, rights, devices, places to write: see `reach`."""
    smoke, log = attacked(ours, image, "reach")
    assert smoke.passed, [problem.what for problem in smoke.problems]
    assert len(smoke.answers) == 2, log


def test_the_attacks_are_real(engine: docker.DockerClient, image: str) -> None:
    """The same attempts come far in a container as `docker run` makes it."""
    look = "import sys; sys.path.insert(0, '/src/lib/.mdai'); import mdai_deploy as m; print(*m.reach(), sep=chr(10))"
    entry = ["/opt/conda/envs/mdai-env/bin/python", "-c", look]
    environment = {"ITS_PASSWORD": "a secret"}
    reached = engine.containers.run(image, entrypoint=entry, environment=environment, remove=True).decode().splitlines()
    assert {"/proc/1/environ", "write over the code", "a route: eth0", "NoNewPrivs is 0", "variable ITS_PASSWORD"} <= {
        line.strip() for line in reached
    }


@pytest.mark.parametrize(
    ("attack", "code", "words"),
    [
        # What it meets first depends on the machine: the limit of processes, of memory, or of time.
        (
            "fork bomb",
            tuple(f"smoke.{k}" for k in ("out-of-memory", "predict-timeout", "worker-died", "predict-raised")),
            "",
        ),
        ("never loads", ("smoke.not-ready",), "not ready after 3 s"),
        ("hog memory", ("smoke.out-of-memory",), "600 MiB"),
        ("fill tmp", ("smoke.predict-raised",), "300 MiB: No space left on device"),
        ("fill disk", ("smoke.ended",), "it wrote more than 314572800 bytes to its disk"),
        ("kill", ("smoke.exited", "smoke.worker-died", "smoke.bad-answer"), ""),
        ("huge answer", ("smoke.bad-answer",), "more than 4000000 lists and maps"),
        ("never", ("smoke.predict-timeout",), "no answer to sample ct after 2 s"),
        ("children", ("smoke.worker-died",), "exit code 3"),
    ],
)
def test_an_attack_is_told_and_over(
    engine: docker.DockerClient, ours: Engine, image: str, attack: str, code: tuple[str, ...], words: str
) -> None:
    begun = time.monotonic()
    smoke, _ = attacked(ours, image, attack, read_only=attack != "fill disk")
    assert not smoke.passed
    first = smoke.problems[0]
    assert first.code in code, first
    assert words in first.what
    assert first.next_step
    assert time.monotonic() - begun < 30
    own = f"{OWNER_LABEL}={socket.gethostname()}:{os.getpid()}"
    assert not engine.containers.list(all=True, filters={"label": own})


def test_a_log_without_end_is_cut_and_cleaned(ours: Engine, image: str) -> None:
    smoke, log = attacked(ours, image, "log")
    assert not smoke.passed
    assert len(log) <= 4 * MIB
    for problem in smoke.problems:
        shown = clean(problem.what + (problem.details or ""))
        assert not set(shown) & set("\x1b\x07\u202e"), problem


@pytest.mark.parametrize("read_only", [True, False])
def test_a_volume_of_the_image_is_no_way_to_the_engine_s_disk(
    engine: docker.DockerClient, ours: Engine, image: str, read_only: bool
) -> None:
    """VOLUME in an author's Dockerfile: there, as large as the disk, and nobody can write to it."""
    lines = (
        "USER 0",
        "RUN mkdir -m 777 /data && echo seed > /data/seed",
        'VOLUME ["//data/", "/tmp", "/tmp/x"]',
        "USER 1000",
    )
    dockerfile = io.BytesIO("\n".join((f"FROM {image}", *lines)).encode())
    with_volume, _ = engine.images.build(fileobj=dockerfile, rm=True)
    abandoned = engine.volumes.create(labels={OWNER_LABEL: f"{socket.gethostname()}:{2**30}"})
    before = {volume.name for volume in engine.volumes.list()} - {abandoned.name}
    options = RunOptions(memory=SETTINGS.memory, network=False, read_only=read_only, writable_bytes=300 * MIB)
    own = f"{OWNER_LABEL}={socket.gethostname()}:{os.getpid()}"
    try:
        with running_container(ours, str(with_volume.id), options):
            (container,) = engine.containers.list(filters={"label": own})
            look = "exec 2>&1; cat /data/seed; touch /tmp/free; for place in /data /tmp/x; do touch $place/file; done"
            said = cast("bytes", container.exec_run(["sh", "-c", look]).output).decode().splitlines()
        assert said[0] == "seed"
        assert [line.endswith("Read-only file system") for line in said[1:]] == [True, True], said
        assert {volume.name for volume in engine.volumes.list()} <= before
    finally:
        engine.images.remove(str(with_volume.id), force=True)
