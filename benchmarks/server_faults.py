"""Sends thousands of requests with faults among them, and holds every single answer against what was asked.

usage: server_faults.py [--python 3.8] [--requests 10000] [--clients 8] [--seed 1]

Exits 1 when an answer is lost, mixed up or of the wrong kind, a process or file is left over, or memory grows.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import socket
import threading
import time
from pathlib import Path

import msgpack
from server_harness import Client, find_python, memory, our_server, request

# What is asked, how often of a thousand, and the failure that has to come back ("" for an answer).
FAULTS = {
    "fine": (880, ""),
    "raise": (30, "predict"),
    "numpy-like": (20, "outputs"),
    "garbage": (20, "decode"),
    "disconnect": (20, "-"),
    "crash": (10, "worker"),
    "exit": (10, "worker"),
    "close": (5, "worker"),
    "hang": (5, "worker"),
}
GROWTH_LIMIT = 16 * 2**20


class Tally:
    """What came back, by what was asked; and what should not have."""

    def __init__(self) -> None:
        self.answers: collections.Counter[str] = collections.Counter()
        self.problems: list[str] = []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="3.8")
    parser.add_argument("--requests", type=int, default=10000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    tally = Tally()
    started = time.monotonic()
    with our_server(find_python(options.python), options.python, MDAI_PREDICT_TIMEOUT="0.3") as (port, pid):
        warm_up(port)
        before, files = memory(pid, "VmRSS"), open_files(pid)
        each = options.requests // options.clients
        clients = [
            threading.Thread(target=send, args=(port, each, random.Random(options.seed + number), tally))
            for number in range(options.clients)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        status = Client(port).status()
        grown = memory(pid, "VmRSS") - before
        if grown > GROWTH_LIMIT:
            tally.problems.append(f"the server grew by {grown} bytes")
        wait_for_quiet(pid, files, tally)
    print(f"{sum(tally.answers.values())} requests in {time.monotonic() - started:.0f} s")
    for name, count in sorted(tally.answers.items()):
        print(f"  {name}: {count}")
    print(f"  worker restarts: {status['worker_restarts']}; the server's memory grew by {grown / 2**20:.1f} MiB")
    for problem in tally.problems[:20]:
        print("WRONG:", problem)
    return 1 if tally.problems or sum(tally.answers.values()) != each * options.clients else 0


def warm_up(port: int) -> None:
    client = Client(port)
    for _ in range(200):
        client.post(request(do="nothing"))


def send(port: int, count: int, chance: random.Random, tally: Tally) -> None:
    """One client's share of the requests, one after the other."""
    names, weights = list(FAULTS), [weight for weight, _ in FAULTS.values()]
    client = Client(port, timeout=60)
    for number in range(count):
        name = chance.choices(names, weights)[0]
        note = f"{threading.get_ident()}-{number}"
        body = request(do="nothing" if name == "fine" else name, note=note, padding="x" * chance.randrange(200_000))
        client, problem = ask(port, client, name, note, body, chance)
        tally.answers[name] += 1
        if problem:
            tally.problems.append(f"{name}: {problem}")


def ask(port: int, client: Client, name: str, note: str, body: bytes, chance: random.Random) -> tuple[Client, str]:
    """Sends one request, whole or with its fault: whom to ask next, and what is wrong with what came back."""
    try:
        if name == "disconnect":
            leave(port, body, chance)
            return client, ""
        status, answer = client.post(chance.randbytes(99) if name == "garbage" else body)
        return client, what_is_wrong(name, note, status, answer)
    except OSError as error:
        return Client(port, timeout=60), f"no answer: {error!r}"


def what_is_wrong(name: str, note: str, status: int, answer: bytes) -> str:
    expected = FAULTS[name][1]
    if expected:
        said = {
            "predict": b"predict failed",
            "outputs": b"outputs are not valid",
            "decode": b"The request",
            "worker": b"worker process",
        }[expected]
        hung = name == "hang" and b"MDAI_PREDICT_TIMEOUT" in answer
        return "" if status == 500 and (said in answer or hung) else f"{status} {answer[:200]!r}"
    if status != 200:
        return f"{status} {answer[:200]!r}"
    return "" if msgpack.unpackb(answer)[0]["note"] == note else f"another's answer: {answer[:200]!r}"


def leave(port: int, body: bytes, chance: random.Random) -> None:
    """Sends a part of a request, or all of it, and does not wait for an answer."""
    head = f"POST /inference HTTP/1.1\r\ncontent-type: application/msgpack\r\ncontent-length: {len(body)}\r\n\r\n"
    whole = head.encode() + body
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(whole[: chance.randrange(len(whole) + 1)])
        time.sleep(chance.random() / 100)


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208


def wait_for_quiet(pid: int, files: int, tally: Tally) -> None:
    """Checks that what was opened and started is closed and gone, soon after the last answer."""
    deadline = time.monotonic() + 5
    while True:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        now = open_files(pid)
        if len(children) == 1 and now <= files + 1:
            return
        if time.monotonic() > deadline:
            tally.problems.append(f"{len(children)} children, {now} open files where there were {files}")
            return
        time.sleep(0.05)


if __name__ == "__main__":
    raise SystemExit(main())
