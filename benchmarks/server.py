"""Measures the server in the image against two baselines, and writes the table into results.md.

usage: server.py [--python 3.8] [--rounds 50]

The baselines: unpack, predict and pack called directly in one process ("bare"), and a minimal FastAPI server that
does all of it in its event loop. The model does as little as a mask needs, so that the server's share shows.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from results import write_section
from server_harness import (
    HERE,
    MODEL,
    ROOT,
    RUNTIME,
    Client,
    event_loop_server,
    find_python,
    free_port,
    memory,
    our_server,
    request,
    server_packages,
    wait_until_ready,
)

HEAD = ("what", "floor", "ours", "bare", "FastAPI in its event loop")
Row = tuple[str, str, str, str, str]

VALIDATION = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from runtime.contract import check_outputs
best = []
ints, floats = [n % 2 for n in range(512)], [n / 512 for n in range(512)]
mixed = [n if n % 3 else n / 512 for n in range(512)]
for row in (ints, floats, [n > 0.5 for n in floats], mixed):
    mask = [list(row) for _ in range(512)]
    outputs = [{"type": "ANNOTATION", "study_uid": "1", "class_index": 0, "data": {"mask": mask}}]
    times = []
    for _ in range(30):
        started = time.perf_counter()
        assert not check_outputs(outputs)
        times.append(time.perf_counter() - started)
    best.append(sorted(times)[len(times) // 2])
print(json.dumps(best))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="3.8", help="the Python to serve with")
    parser.add_argument("--rounds", type=int, default=100, help="requests with one slice")
    options = parser.parse_args()
    version: str = options.python
    python = find_python(version)
    rows = [
        *latency(
            python, version, "one 512x512 slice, a mask out", request(1), options.rounds, "at most 3 ms over bare"
        ),
        *latency(python, version, "300 slices: 150 MiB in, 75 MiB out", request(300), 5, "at most 20 % over bare"),
        *validation(python),
        *health(python, version),
        *large_body(python, version),
        *start(python, version),
    ]
    for row in rows:
        print(" | ".join(row))
    write_section("The server, Python " + version, HEAD, rows)


def latency(python: str, version: str, what: str, body: bytes, rounds: int, floor: str) -> list[Row]:
    """The median seconds of a request: ours, bare, and in an event loop; in turns, so that all meet the same noise."""
    with ExitStack() as stack:
        file = stack.enter_context(tempfile.NamedTemporaryFile())
        Path(file.name).write_bytes(body)
        bare = stack.enter_context(bare_process(python, version, file.name))
        ours = Client(stack.enter_context(our_server(python, version))[0])
        theirs = Client(stack.enter_context(event_loop_server(python))[0])
        rows = []
        for _ in range(rounds + 1):
            rows.append((seconds(lambda: check(ours.post(body))), bare(), seconds(lambda: check(theirs.post(body)))))
    our_time, bare_time, their_time = (statistics.median(column) for column in zip(*rows[1:], strict=True))
    over = f"{milliseconds(our_time - bare_time)}, {100 * (our_time / bare_time - 1):+.0f} %"
    return [(what, floor, f"{milliseconds(our_time)} ({over})", milliseconds(bare_time), milliseconds(their_time))]


@contextmanager
def bare_process(python: str, version: str, body: str) -> Iterator[Callable[[], float]]:
    """A process that does one round on demand: the function gives its seconds."""
    script = [python, str(HERE / "server_bare.py"), str(server_packages(python, version))]
    with subprocess.Popen(
        [*script, str(MODEL / "lib" / ".mdai"), body], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        ask, answer = process.stdin, process.stdout

        def once() -> float:
            print(file=ask, flush=True)
            return float(answer.readline())

        yield once


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def check(answer: tuple[int, bytes]) -> None:
    if answer[0] != 200:
        raise RuntimeError(answer[1].decode())


def validation(python: str) -> list[Row]:
    times = json.loads(subprocess.check_output([python, "-c", VALIDATION, str(ROOT / "mdai_build")]))
    ints, floats, bools, mixed = map(milliseconds, times)
    return [
        ("full validation of a 512x512 mask of ints", "at most 4 ms", ints, "", ""),
        ("the same of floats", "at most 12 ms", floats, "", ""),
        ("the same of bools, and of ints and floats mixed", "", f"{bools}, {mixed}", "", ""),
    ]


def health(python: str, version: str) -> list[Row]:
    """How long ``/healthz`` and ``/ready`` take while a prediction holds the GIL for 5 s: the 99th percentile."""

    def ask(port: int) -> str:
        worker = threading.Thread(target=Client(port).post, args=(request(do="hold", seconds="5"),))
        worker.start()
        time.sleep(0.2)
        took = []
        client = Client(port)
        while worker.is_alive():
            for path in ("/healthz", "/ready"):
                started = time.perf_counter()
                check(client.get(path))
                took.append(time.perf_counter() - started)
            time.sleep(0.002)
        worker.join()
        took.sort()
        return f"{milliseconds(took[math.ceil(0.99 * len(took)) - 1])} of {len(took)}"

    with our_server(python, version) as (port, _):
        ours = ask(port)
    with event_loop_server(python) as (port, _):
        theirs = ask(port)
    return [("/healthz and /ready in a 5 s prediction, p99", "at most 20 ms", ours, "", theirs)]


def large_body(python: str, version: str) -> list[Row]:
    """By how much the server process grows at its peak while 1 GiB passes through it."""
    body = request(0, do="nothing", padding="x" * (1 << 30))
    grew = []
    for server in (our_server(python, version), event_loop_server(python)):
        with server as (port, pid):
            before = memory(pid, "VmRSS")
            check(Client(port).post(body))
            grew.append(f"{(memory(pid, 'VmHWM') - before) / 2**20:.0f} MiB")
    return [("server's peak memory over idle while 1 GiB passes", "at most 64 MiB", grew[0], "", grew[1])]


def start(python: str, version: str) -> list[Row]:
    """Seconds from the start of the process to ``/ready``."""

    def once() -> None:
        port = free_port()
        environment = {
            **os.environ,
            "MDAI_MODEL_ROOT": str(MODEL / "lib"),
            "MDAI_SERVER_PACKAGES": str(server_packages(python, version)),
            "MDAI_HOST": "127.0.0.1",
            "MDAI_PORT": str(port),
        }
        process = subprocess.Popen(
            [python, "-I", "-S", str(RUNTIME)], env=environment, cwd=MODEL, stdout=subprocess.DEVNULL
        )
        wait_until_ready(port, process)
        process.kill()
        process.wait()

    return [("start of the process to /ready", "(container: 1.2 s)", milliseconds(median(once, 7)), "", "")]


def median(action: Callable[[], object], rounds: int) -> float:
    """The median seconds of an action, after one round that does not count."""
    action()
    return statistics.median(seconds(action) for _ in range(rounds))


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


if __name__ == "__main__":
    main()
