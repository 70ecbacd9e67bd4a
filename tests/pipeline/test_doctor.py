"""What `doctor` finds on a machine that lacks this and that; the servers that it asks are real ones, on loopback."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mdai_build.errors import Location, Problem, UsageError
from mdai_build.pipeline.doctor import DEADLINE_SECONDS, examine
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


def test_the_report(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    health = examine(settings)
    print_health(health)
    told = capsys.readouterr().out
    assert "error[MB501]: no container engine answers" in told and "is missing" in told
    assert json.loads(json.dumps(health_as_json(health)))["exit_code"] == 5
