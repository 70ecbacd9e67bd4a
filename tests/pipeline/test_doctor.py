"""What `doctor` finds on a machine that lacks this and that; the servers that it asks are real ones, on loopback."""

from __future__ import annotations

import datetime
import http.server
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mdai_build.errors import Location, Problem, UsageError
from mdai_build.pipeline.doctor import DEADLINE_SECONDS, _past_their_end, examine
from mdai_build.report.health import Health, HealthCheck, health_as_json, print_health
from mdai_build.settings import Settings


@pytest.fixture(autouse=True)
def no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a machine whose index and registry answer nothing, at once."""
    return Settings(
        cache_folder=tmp_path / "cache",
        engine_folder=tmp_path / "engine",
        index_url="http://127.0.0.1:9/simple",
        parent_registry="127.0.0.1:9/images",
    )


class Index(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(401 if self.path.startswith("/private") else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def index() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def by_name(health: Health) -> dict[str, HealthCheck]:
    return {check.name: check for check in health.checks}


def test_all_that_is_missing_is_told_with_a_command(settings: Settings) -> None:
    health = examine(settings)
    assert health.exit_code == 5
    found = by_name(health)
    for name in ("engine", "parent image", "package index"):
        assert found[name].outcome == "missing"
        problem = found[name].problem
        assert problem is not None and problem.next_step
    assert found["buildx"].outcome == found["engine's disk"].outcome == "skipped"
    assert "unset DOCKER_HOST" in str(found["engine"].problem and found["engine"].problem.next_step)


def test_an_index_that_answers_and_one_that_wants_a_login(settings: Settings, index: str) -> None:
    assert by_name(examine(settings.model_copy(update={"index_url": index})))["package index"].outcome == "ok"
    found = by_name(examine(settings.model_copy(update={"index_url": f"{index}/private"})))["package index"]
    assert found.problem is not None and found.problem.code == "engine.login-refused"
    assert "MDAI_BUILD_NETRC" in str(found.problem.next_step)


def test_what_hangs_costs_its_few_seconds_and_no_more(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        address = f"http://127.0.0.1:{hangs.getsockname()[1]}"
        begun = time.monotonic()
        found = by_name(examine(settings.model_copy(update={"index_url": address})))
        assert time.monotonic() - begun < DEADLINE_SECONDS + 1
    assert "did not answer in time" in found["package index"].message


def test_a_proxy_that_is_not_there(settings: Settings) -> None:
    proxies = {"http_proxy": "http://user:secret@127.0.0.1:9"}
    found = by_name(examine(settings.model_copy(update={"proxies": proxies})))["proxies"]
    assert found.outcome == "missing" and found.problem is not None
    assert "unset http_proxy" in str(found.problem.next_step)
    assert "secret" not in f"{found}{health_as_json(Health((found,), 0))}"


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_are_none(settings: Settings, tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    found = by_name(examine(settings.model_copy(update={"ca_bundle": file})))["CA certificates"]
    assert found.problem is not None and found.problem.code == "doctor.ca"


def test_a_setting_that_is_wrong_stops_nothing_else(settings: Settings) -> None:
    place = Location("environment variable MDAI_BUILD_MEMORY", key="memory")
    wrong = UsageError(Problem("settings.wrong-value", "memory: lots", place))
    found = by_name(examine(settings, wrong))
    assert found["settings"].problem is not None
    assert "unset MDAI_BUILD_MEMORY" in str(found["settings"].problem.next_step)
    assert found["cache folder"].outcome in ("ok", "warning")


def test_a_cache_folder_that_is_a_file(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    found = by_name(examine(settings))["cache folder"]
    assert found.problem is not None and found.problem.code == "doctor.cache-folder"


def nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, answers: dict[str, str]) -> None:
    """A tool that answers these questions, and refuses all others as the real one does."""
    lines = [f"*--query-gpu={asked}\\ *) echo '{answer}' ;;" for asked, answer in answers.items()]
    refused = "*) echo 'Field \"compute_cap\" is not a valid field to query.'; exit 2 ;;"
    program = folder / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("\n".join(["#!/bin/sh", 'case "$* " in', *lines, refused, "esac", ""]))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)


@pytest.mark.process  # a tool of the driver is asked
@pytest.mark.parametrize(
    ("answers", "told", "advice"),
    [
        (
            {"name,driver_version,compute_cap": "Tesla T4, 470.82.01, 7.5"},
            "Tesla T4 (Turing), driver 470.82.01: cuda_version 10.0 to 11.8",
            None,
        ),
        (
            {"name,driver_version,compute_cap": "NVIDIA H200, 550.54.15, 9.0"},
            "NVIDIA H200 (Hopper), driver 550.54.15: cuda_version 11.8 to 12.4",
            None,
        ),
        ({"name,driver_version": "Tesla K80, 410.48"}, "Tesla K80, driver 410.48: cuda_version 10.0", None),
        (
            {"name,driver_version,compute_cap": "RTX 5090, 575.51.03, 12.0"},
            "RTX 5090 (Blackwell), driver 575.51.03: newer than every cuda_version, "
            "so that packages must bring their own CUDA",
            None,
        ),
        (
            {"name,driver_version,compute_cap": "NVIDIA A100, 440.33, 8.0"},
            "NVIDIA A100 (Ampere), driver 440.33",
            "driver 450.51.05 or newer, which CUDA 11.0 needs",
        ),
        (
            {"name,driver_version": "Tesla K80, 390.46"},
            "Tesla K80, driver 390.46",
            "driver 450.51.05 or newer, which CUDA 11.0 needs",
        ),
        ({"name,driver_version": "A GPU, [N/A]"}, "A GPU, driver [N/A]", None),
    ],
)
def test_a_gpu_is_told_with_what_its_driver_runs(
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answers: dict[str, str],
    told: str,
    advice: str | None,
) -> None:
    nvidia_smi(tmp_path, monkeypatch, answers)
    found = by_name(examine(settings))["GPU"]
    assert (found.message, found.outcome) == (told, "warning" if advice else "ok")
    assert (found.problem.expected if found.problem else None) == advice


def test_the_parents_are_told_as_the_matrix_has_them(settings: Settings) -> None:
    found = by_name(examine(settings.model_copy(update={"parent": "slim"})))["parent image"]
    assert "Debian 12, Ubuntu 20.04, Ubuntu 22.04" in found.message
    # What is past its announced end is told beside the registry that has it; every CUDA of Google's is.
    assert _past_their_end(datetime.date(2026, 11, 30)).startswith("; 9 of its 10 parent images")
    assert _past_their_end(datetime.date(2024, 6, 1)).startswith("; 2 of its 10 parent images")


def test_the_report(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    health = examine(settings)
    print_health(health)
    told = capsys.readouterr().out
    assert "error[MB501]: no container engine answers" in told and "is missing" in told
    assert json.loads(json.dumps(health_as_json(health)))["exit_code"] == 5
