"""Order, limits, leaving clients and shutdown, as a client sees them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

# Starts the real server: connections and signals are what is tested.
pytestmark = pytest.mark.process

HEAD = b"POST /inference HTTP/1.1\r\nhost: x\r\ncontent-type: application/msgpack\r\n"


@pytest.fixture
def pool() -> Iterator[concurrent.futures.ThreadPoolExecutor]:
    with concurrent.futures.ThreadPoolExecutor(20) as executor:
        yield executor


def busy(server: Any, pool: concurrent.futures.ThreadPoolExecutor, seconds: float = 0.5) -> Any:
    """A request that keeps the worker busy for so long."""
    job = pool.submit(server.post, f"time.sleep({seconds})")
    server.wait(lambda: server.status()["state"] == "busy")
    return job


def body(do: str = "", **args: str) -> bytes:
    packed: bytes = msgpack.packb({"files": [], "args": {"do": do, **args}})
    return packed


def connect(server: Any) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), 10)
    connection.settimeout(10)
    return connection


def read_answer(connection: socket.socket) -> bytes:
    """Status, headers and body of one answer that announces its length."""
    answer = b""
    while True:
        answer += connection.recv(65536)
        head, end, content = answer.partition(b"\r\n\r\n")
        if end and len(content) == int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]):
            return answer


@pytest.mark.parametrize(
    "kind", ["", "application/json", "application/msgpackx", "text/plain", "application/x-msgpack"]
)
def test_any_other_content_type_is_refused(kind: str, shared: Any) -> None:
    response = shared.post_body(body(), kind)
    assert response.status_code == 400
    assert "application/msgpack" in response.text


@pytest.mark.parametrize(
    "content", [b"", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\x81", b"\x80\x80", b"\xa1\xff", b"\x91" * 5000]
)
def test_what_does_not_decode_is_told(content: bytes, shared: Any) -> None:
    response = shared.post_body(content)
    assert response.status_code == 500
    assert response.headers["mdai-failure"] == "decode"
    assert "not msgpack that decodes" in response.text
    assert shared.status()["worker_restarts"] == 0


def test_no_body_breaks_the_worker(shared: Any) -> None:
    chance = random.Random(1)
    valid = body("outputs = []", note="x" * 50)
    for _ in range(300):
        garbage = bytearray(valid if chance.random() < 0.7 else chance.randbytes(chance.randrange(200)))
        for _ in range(chance.randrange(1, 4) if garbage else 0):
            garbage[chance.randrange(len(garbage))] = chance.randrange(256)
        response = shared.post_body(bytes(garbage))
        assert response.status_code in (200, 500)
        assert response.status_code == 200 or response.headers["mdai-failure"] in (
            "decode",
            "request",
            "predict",
            "outputs",
        )
    assert shared.status()["worker_restarts"] == 0


def test_lists_that_announce_more_than_there_is_are_refused(shared: Any) -> None:
    nested = b"\xdd\x00\x01\xff\xff" * 500
    assert shared.post_body(nested + b"\xc0" * 140_000).status_code == 500
    assert shared.status()["worker_peak_bytes"] < 200 * 2**20


def test_an_answer_tells_its_times(shared: Any) -> None:
    timing = shared.post("time.sleep(0.1)").headers["server-timing"]
    steps = dict(step.split(";dur=") for step in timing.split(", "))
    assert list(steps) == ["decode", "predict", "check", "encode"]
    assert 100 <= float(steps["predict"]) < 1000


def test_other_paths_and_methods(shared: Any) -> None:
    assert shared.get("/").status_code == 404
    assert shared.get("/inference").status_code == 405
    assert shared.session.post(shared.url + "/healthz").status_code == 405
    head = shared.session.head(shared.url + "/version")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, "3", b"")


def test_metrics_are_in_prometheus_format(serve: Any) -> None:
    server = serve().until_ready()
    server.post()
    server.post("time.sleep(0.3); 1 / 0")
    text = server.get("/metrics").text
    for line in text.splitlines():
        assert re.match(r'(# (HELP|TYPE) mdai_\w+ .+|mdai_\w+(\{\w+="[^"]*"\})? [0-9.e+-]+)$', line), line
    assert 'mdai_requests_total{code="200"} 1' in text
    assert 'mdai_requests_total{code="500"} 1' in text
    assert 'mdai_state{state="ready"} 1' in text
    # Both tell of served requests alone.
    assert "mdai_request_seconds_count 1" in text
    assert float(text.split("mdai_request_seconds_sum ")[1].split()[0]) < 0.3


def test_one_at_a_time_in_the_order_of_arrival(serve: Any, pool: concurrent.futures.ThreadPoolExecutor) -> None:
    server = serve().until_ready()
    first = busy(server, pool)
    jobs = []
    for number in range(10):
        jobs.append(pool.submit(server.outputs, "outputs[0]['note'] += ' %d' % self.count", note=str(number)))
        server.wait(lambda number=number: server.status()["queue_length"] == number + 1)
    assert first.result().status_code == 200
    assert [job.result()[0]["note"] for job in jobs] == [f"{number} {number + 2}" for number in range(10)]


def test_a_full_queue_refuses_with_retry_after(serve: Any, pool: concurrent.futures.ThreadPoolExecutor) -> None:
    server = serve(MDAI_QUEUE_LIMIT="2").until_ready()
    jobs = [busy(server, pool)]
    jobs += [pool.submit(server.post) for _ in range(2)]
    server.wait(lambda: server.status()["queue_length"] == 2)
    refused = server.post()
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    assert "MDAI_QUEUE_LIMIT" in refused.text
    assert [job.result().status_code for job in jobs] == [200] * 3


def test_a_client_that_leaves_is_taken_out_of_the_queue(
    serve: Any, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    server = serve().until_ready()
    running = busy(server, pool)
    with connect(server) as leaving:
        content = body("outputs[0]['note'] = 'seen'; print('WAS RUN')")
        leaving.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(content) + content)
        server.wait(lambda: server.status()["queue_length"] == 1)
    server.wait(lambda: server.status()["queue_length"] == 0, 0.5)
    assert running.result().status_code == 200
    assert server.outputs("outputs[0]['note'] = str(self.count)")[0]["note"] == "2"
    assert not any("WAS RUN" in line for line in server.log)
    assert server.status()["requests"]["disconnected"] == 1


def test_a_client_that_leaves_while_the_model_works_disturbs_nobody(shared: Any) -> None:
    def disconnected() -> int:
        count: int = shared.status()["requests"].get("disconnected", 0)
        return count

    before = disconnected()
    for content in (body("time.sleep(0.3); outputs[0]['note'] = 'x' * 10**6"), body("time.sleep(0.3); 1 / 0")):
        with connect(shared) as leaving:
            leaving.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(content) + content)
            shared.wait(lambda: shared.status()["state"] == "busy")
        assert shared.outputs(note="mine")[0]["note"] == "mine"
    with connect(shared) as leaving:
        leaving.sendall(HEAD + b"content-length: 1000\r\n\r\nonly a part")
    shared.wait(lambda: disconnected() == before + 3)


def test_a_body_beyond_the_limit_is_refused(serve: Any) -> None:
    server = serve(MDAI_MAX_BODY_BYTES="1M").until_ready()
    announced = server.post_body(b"x" * 3_000_000)
    assert announced.status_code == 413
    assert "1048576 bytes (MDAI_MAX_BODY_BYTES," in announced.text
    chunked = server.post_body(iter([b"x" * 100_000] * 30))
    assert chunked.status_code == 413
    with connect(server) as patient:
        patient.sendall(HEAD + b"content-length: 99999999999\r\nexpect: 100-continue\r\n\r\n")
        assert read_answer(patient).startswith(b"HTTP/1.1 413")
    assert server.post_body(body("", note="x" * 1_000_000)).status_code == 200


def test_bodies_that_wait_are_limited_together(serve: Any, pool: concurrent.futures.ThreadPoolExecutor) -> None:
    server = serve(MDAI_MAX_HELD_BYTES="1M").until_ready()
    assert server.post_body(body("", note="x" * 3_000_000)).status_code == 200  # alone, it fits
    running = busy(server, pool)
    held = pool.submit(server.post_body, body("", note="x" * 900_000))
    server.wait(lambda: server.status()["queue_length"] == 1)
    refused = server.post_body(body("", note="x" * 900_000))
    assert refused.status_code == 503
    assert "MDAI_MAX_HELD_BYTES" in refused.text
    assert [running.result().status_code, held.result().status_code] == [200, 200]


def test_of_bodies_that_arrive_together_those_that_fit_are_served(serve: Any) -> None:
    server = serve(MDAI_MAX_HELD_BYTES="1M").until_ready()
    content = body("", note="x" * 400_000)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(4)]
        for part in (HEAD + b"content-length: %d\r\n\r\n" % len(content), content[:300_000], content[300_000:]):
            for client in clients:
                client.sendall(part)
        codes = [read_answer(client).split()[1] for client in clients]
    assert sorted(codes)[:2] == [b"200", b"200"]
    assert server.post_body(content).status_code == 200


def test_a_client_that_stalls_is_given_up(serve: Any) -> None:
    server = serve(MDAI_BODY_TIMEOUT="0.3").until_ready()
    with connect(server) as stalled:
        stalled.sendall(HEAD + b"content-length: 1000\r\n\r\nonly a part")
        assert read_answer(stalled).startswith(b"HTTP/1.1 408")
    with connect(server) as stalled:
        content = body("outputs[0]['note'] = 'x' * 50_000_000")
        stalled.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(content) + content)
        server.wait_for_line("the answer was not sent")
        assert server.post().status_code == 200


def test_requests_share_a_connection(shared: Any) -> None:
    with connect(shared) as connection:
        for number in range(3):
            content = body(note=str(number))
            connection.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(content) + content)
            assert b"note\xa1%d" % number in read_answer(connection)


def test_a_request_keeps_its_id(serve: Any) -> None:
    server = serve(MDAI_LOG_FORMAT="json").until_ready()
    assert server.post_body(body(), **{"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    own = server.post_body(body(), **{"x-request-id": "x y"}).headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{12}", own)
    server.post("print('a \"line\"')")
    server.wait_for_line(own)
    server.wait_for_line("line")
    lines = [json.loads(line) for line in server.log]
    request = next(line for line in lines if line.get("request") == "mine-1")
    assert (request["source"], request["status"], request["received"] > 0) == ("server", "200", True)
    printed = next(line for line in lines if line["source"] == "model")
    assert (printed["message"], printed["stream"]) == ('a "line"', "stdout")


def test_healthz_answers_at_once_while_the_model_holds_the_gil(
    shared: Any, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    hold = "import ctypes; ctypes.PyDLL(None).usleep(900000)"
    running = pool.submit(shared.post, hold)
    shared.wait(lambda: shared.status()["state"] == "busy")
    took = []
    while not running.done():
        for path in ("/healthz", "/ready"):
            started = time.monotonic()
            assert shared.get(path).status_code == 200
            took.append(time.monotonic() - started)
    assert len(took) > 20
    assert sorted(took)[len(took) // 2] < 0.05


# ---- shutdown ----


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sigterm_finishes_what_was_accepted(
    number: int, serve: Any, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    server = serve().until_ready()
    jobs = [busy(server, pool), pool.submit(server.outputs, note="waited")]
    server.wait(lambda: server.status()["queue_length"] == 1)
    server.process.send_signal(number)
    server.wait(lambda: server.status()["state"] == "draining")
    refused = server.post()
    assert refused.status_code == 503
    assert "shutting down" in refused.text
    assert server.get("/ready").status_code == 503
    assert server.get("/healthz").status_code == 200
    assert jobs[0].result().status_code == 200
    assert jobs[1].result()[0]["note"] == "waited"
    assert server.process.wait(10) == 0


def test_sigterm_ends_within_the_grace_period(serve: Any, pool: concurrent.futures.ThreadPoolExecutor) -> None:
    server = serve(MDAI_GRACE_PERIOD="0.5").until_ready()
    jobs = [busy(server, pool, 60), pool.submit(server.post)]
    server.wait(lambda: server.status()["queue_length"] == 1)
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 5
    for job in jobs:
        assert job.result().status_code == 503
        assert "MDAI_GRACE_PERIOD" in job.result().text


def test_sigterm_while_the_model_loads(serve: Any) -> None:
    server = serve("import time\ntime.sleep(60)")
    assert server.get("/ready").status_code == 503
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 5


def test_an_idle_connection_does_not_keep_the_server(serve: Any) -> None:
    server = serve().until_ready()
    with connect(server), connect(server) as used:
        used.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        read_answer(used)
        assert server.stop() == 0


# ---- what is set ----


def test_wrong_settings_are_all_told(serve: Any, python_of: Any, tmp_path: Path) -> None:
    main = Path(__file__).parents[2] / "mdai_build" / "runtime" / "__main__.py"
    ended = subprocess.run(
        [python_of("3.7"), "-I", "-S", str(main)],
        env={"MDAI_PORT": "x", "MDAI_PREDICT_TIMEOUT": "soon", "MDAI_LOG_FORMAT": "xml"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 3


def test_a_port_in_use_is_told(serve: Any) -> None:
    first = serve().until_ready()
    second = serve(MDAI_PORT=str(first.port))
    assert second.process.wait(20) == 1
    second.wait_for_line("cannot listen on 127.0.0.1")


def test_folders_for_caches_are_made(serve: Any, tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    serve(HOME=str(home), MPLCONFIGDIR=str(home / "mpl")).until_ready()
    assert (home / "mpl").is_dir()


def test_the_health_check(serve: Any) -> None:
    server = serve()
    check = Path(__file__).parents[2] / "mdai_build" / "runtime" / "healthcheck.py"

    def ask(port: int) -> int:
        environment = {"MDAI_PORT": str(port)}
        return subprocess.run([sys.executable, "-I", "-S", str(check)], env=environment, check=False).returncode

    assert ask(server.port) == 0
    server.close()
    assert ask(server.port) == 1
