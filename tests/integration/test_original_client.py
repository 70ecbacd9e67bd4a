"""A client of the existing system - requests and msgpack, nothing of ours - is served as before by our image.

What it may rely on stands in the existing system's facts: content types, status codes, message pack's string and bytes,
work folder, port and user.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import msgpack
import pytest
import requests
from docker.models.containers import Container
from harness.runner import run_command

MODEL = Path(__file__).parent / "models" / "on-request" / "model"
TAG = "mdai-build-test/original-client:latest"


@pytest.fixture(scope="module")
def image(
    engine: docker.DockerClient, cache_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """The engine's facts about the built image; it is not smoke tested, since it answers made-up UIDs."""
    run = run_command(
        ["build", str(MODEL), "--tag", TAG, "--no-test", "--parent", "local"],
        tmp_path_factory.mktemp("build"),
        {"MDAI_BUILD_CACHE_FOLDER": str(cache_folder)},
        timeout=300,
    )
    assert run.exit_code == 0, str(run)
    yield engine.api.inspect_image(TAG)
    engine.api.remove_image(TAG)


@contextlib.contextmanager
def serving(engine: docker.DockerClient, **options: Any) -> Iterator[tuple[str, Container]]:
    """Runs the image as a platform does; gives its URL and the container once the server answers."""
    container = engine.containers.run(TAG, detach=True, ports={"6324/tcp": ("127.0.0.1", None)}, **options)
    try:
        container.reload()
        port = container.attrs["NetworkSettings"]["Ports"]["6324/tcp"][0]["HostPort"]
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: requests.get(f"{url}/healthz", timeout=5).status_code == 200, container)
        yield url, container
    finally:
        container.remove(force=True)


def wait_for(condition: Callable[[], bool], container: Container) -> None:
    """Asks until it holds; fails with the container's log after half a minute."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(requests.ConnectionError):
            if condition():
                return
        time.sleep(0.05)
    pytest.fail(f"it did not come to that; the log:\n{container.logs().decode()}")


@pytest.fixture(scope="module")
def url(engine: docker.DockerClient, image: dict[str, Any]) -> Iterator[str]:
    """A server whose model is loaded."""
    with serving(engine) as (address, container):
        wait_for(lambda: requests.get(f"{address}/ready", timeout=5).status_code == 200, container)
        yield address


def post(url: str, **args: str) -> requests.Response:
    """What the existing system's client sends."""
    body = {
        "files": [{"content": b"\x00\xffDICM", "content_type": "application/dicom"}],
        "annotations": [],
        "label_classes": [],
        "args": args,
    }
    headers = {"content-type": "application/msgpack"}
    return requests.post(f"{url}/inference", data=msgpack.packb(body, use_bin_type=True), headers=headers, timeout=60)


def test_an_answer_is_the_list_of_outputs(url: str) -> None:
    answer = post(url)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/msgpack")
    assert msgpack.unpackb(answer.content, raw=False) == [{"type": "NONE", "study_uid": "1.2.3"}]


def test_strings_stay_strings_and_bytes_stay_bytes(url: str) -> None:
    (output,) = msgpack.unpackb(post(url, do="echo").content, raw=False)
    assert output["note"] == "bytes str str"
    assert output["explanations"][0]["content"] == b"\x00\xffDICM"


@pytest.mark.parametrize("content_type", ["application/json", "application/octet-stream", "text/plain"])
def test_another_content_type_is_refused(url: str, content_type: str) -> None:
    answer = requests.post(f"{url}/inference", data=b"\x80", headers={"content-type": content_type}, timeout=30)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("do", "told"),
    [
        ("raise", ["Traceback (most recent call last)", "KeyError: 'told to raise'", "mdai_deploy.py"]),
        ("forget the type", ["outputs[0]", "type"]),
        ("return a set", ["outputs[0].note", "set"]),
        ("die", ["9"]),
    ],
)
def test_a_failure_is_told_as_text_and_the_next_request_is_served(url: str, do: str, told: list[str]) -> None:
    answer = post(url, do=do)
    assert answer.status_code == 500
    assert answer.headers["content-type"].startswith("text/plain")
    for text in told:
        assert text in answer.text
    assert post(url).status_code == 200


def test_a_body_that_does_not_decode_is_told(url: str) -> None:
    headers = {"content-type": "application/msgpack"}
    answer = requests.post(f"{url}/inference", data=b"\xc1 no msgpack", headers=headers, timeout=30)
    assert answer.status_code == 500
    assert answer.headers["content-type"].startswith("text/plain")
    assert "Traceback" not in answer.text


def test_health_readiness_and_version(url: str) -> None:
    health = requests.get(f"{url}/healthz", timeout=5)
    assert (health.status_code, health.content) == (200, b"")
    assert requests.get(f"{url}/ready", timeout=5).status_code == 200
    version = requests.get(f"{url}/version", timeout=5)
    assert (version.status_code, version.text.strip()) == (200, "0.3")


def test_health_is_answered_during_a_long_prediction_and_a_second_request_waits(url: str) -> None:
    ends: list[float] = []

    def predict() -> None:
        assert post(url, do="sleep", seconds="1.5").status_code == 200
        ends.append(time.monotonic())

    begun = time.monotonic()
    threads = [threading.Thread(target=predict) for _ in range(2)]
    for thread in threads:
        thread.start()
    slowest = 0.0
    while any(thread.is_alive() for thread in threads):
        asked = time.monotonic()
        assert requests.get(f"{url}/healthz", timeout=5).status_code == 200
        slowest = max(slowest, time.monotonic() - asked)
        time.sleep(0.05)
    assert slowest < 0.5
    assert len(ends) == 2 and max(ends) - begun >= 3.0


def test_a_model_that_fails_to_load_is_never_ready(engine: docker.DockerClient, image: dict[str, Any]) -> None:
    with serving(engine, environment={"FAIL_TO_LOAD": "1"}) as (url, container):
        wait_for(lambda: "told not to load" in requests.get(f"{url}/ready", timeout=5).text, container)
        assert requests.get(f"{url}/ready", timeout=5).status_code == 503
        answer = post(url)
        assert answer.status_code == 500
        assert "told not to load" in answer.text
        assert requests.get(f"{url}/healthz", timeout=5).status_code == 200


def test_the_image_is_laid_out_as_published_models_expect(image: dict[str, Any]) -> None:
    config = image["Config"]
    assert config["WorkingDir"] == "/src"
    assert "6324/tcp" in config["ExposedPorts"]
    assert "MDAI_PATH=.mdai" in config["Env"]
    user = config["User"].split(":")[0]
    assert user.isdigit() and int(user) > 0


def test_it_runs_as_a_strict_platform_would(engine: docker.DockerClient, image: dict[str, Any]) -> None:
    strict = {
        "read_only": True,
        "tmpfs": {"/tmp": "mode=1777"},
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "user": "12345:12345",
    }
    with serving(engine, **strict) as (url, container):
        wait_for(lambda: requests.get(f"{url}/ready", timeout=5).status_code == 200, container)
        assert post(url).status_code == 200
        begun = time.monotonic()
        container.stop(timeout=20)
        assert time.monotonic() - begun < 10
        container.reload()
        assert container.attrs["State"]["ExitCode"] == 0, container.logs().decode()


def test_bodies_beyond_the_containers_memory_do_not_end_the_server(
    engine: docker.DockerClient, image: dict[str, Any]
) -> None:
    """Bodies lie in memory that counts as the server's, which no worker's death gives back."""
    with serving(engine, mem_limit="256m", memswap_limit="256m") as (address, container):
        wait_for(lambda: requests.get(f"{address}/ready", timeout=5).status_code == 200, container)
        kind = {"content-type": "application/msgpack"}
        refused = requests.post(f"{address}/inference", data=bytes(300 * 2**20), headers=kind, timeout=60)
        assert refused.status_code == 413
        assert "half of the container's memory" in refused.text
        body = msgpack.packb({"files": [{"content": bytes(120 * 2**20), "content_type": "image/png"}], "args": {}})
        # The worker may or may not have room for its copy.
        assert requests.post(f"{address}/inference", data=body, headers=kind, timeout=60).status_code in (200, 500)
        assert post(address).status_code == 200
        container.reload()
        assert (container.status, container.attrs["RestartCount"]) == ("running", 0)
