"""Keeps a server busy for long, and looks whether its memory or its open files grow.

usage: soak.py [--python 3.8] [--minutes 20] [--clients 4] [--rate 30] [--seed 1]

A day's eight hours at a request a second are 28,800 requests: at 30 a second they fit in 20 minutes. Requests of up to
eight slices, those that fail in the model, those that are not msgpack, and clients that leave. None ends the worker
(server_faults.py does that), so that its memory is seen to the end. Exits 1 when an answer is wrong, or memory of the
server or of its worker grew from the second fifth of the time on by more than `GROWTH_LIMIT`.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import threading
import time
from pathlib import Path

from results import write_section
from server_faults import ask, open_files
from server_harness import Client, find_python, memory, our_server, request

DAY_REQUESTS = 8 * 60 * 60
GROWTH_LIMIT = 2 * 2**20
_PARTS = 4
KINDS = {"fine": 900, "raise": 40, "numpy-like": 20, "garbage": 20, "disconnect": 20}


class Load:
    """Clients that ask until they are told to stop."""

    def __init__(self, port: int, pause: float) -> None:
        self.over = threading.Event()
        self.answered = 0
        self.bytes_sent = 0
        self.problems: list[str] = []
        self._port = port
        self._pause = pause
        self._lock = threading.Lock()
        # Made once: random bytes would take more time than the server.
        self._slices = [request(slices=count, do="nothing", note="slices") for count in (1, 2, 4, 8)]

    def ask(self, chance: random.Random) -> None:
        client = Client(self._port, timeout=60)
        while not self.over.wait(chance.expovariate(1 / self._pause)):
            name = chance.choices(list(KINDS), list(KINDS.values()))[0]
            note = f"{threading.get_ident()}-{chance.random()}"
            body = request(do="nothing" if name == "fine" else name, note=note, padding="x" * chance.randrange(200_000))
            if name == "fine" and chance.random() < 0.5:
                body, note = chance.choice(self._slices), "slices"
            client, problem = ask(self._port, client, name, note, body, chance)
            with self._lock:
                self.answered += 1
                self.bytes_sent += len(body)
                if problem:
                    self.problems.append(f"{name}: {problem}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="3.8")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--rate", type=float, default=30, help="requests a second, of all clients together")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with our_server(find_python(options.python), options.python) as (port, pid):
        load = Load(port, options.clients / options.rate)
        clients = [
            threading.Thread(target=load.ask, args=(random.Random(options.seed + number),))
            for number in range(options.clients)
        ]
        for client in clients:
            client.start()
        seen = watch(pid, load, 60 * options.minutes)
        load.over.set()
        for client in clients:
            client.join()
        restarts = Client(port).status()["worker_restarts"]
    rows, grown = judged(seen)
    rows.append(
        ("requests", f"{load.answered:,}, {load.bytes_sent / 2**30:.0f} GiB", f"{len(load.problems)} wrong", "")
    )
    rows.append(("restarts of the worker", str(restarts), "", ""))
    for row in rows:
        print(" | ".join(row))
    for problem in load.problems[:20]:
        print("WRONG:", problem)
    if load.answered >= DAY_REQUESTS:
        title = f"A server kept busy for {options.minutes:.0f} minutes, Python {options.python}"
        head = (
            "what",
            "after warming up, at the end",
            "growth, by a line through all samples",
            "in each quarter of that",
        )
        write_section(title, head, rows)
    return 1 if load.problems or restarts or grown > GROWTH_LIMIT else 0


def watch(pid: int, load: Load, seconds: float) -> list[tuple[float, int, int, int]]:
    """Time in seconds, memory of the server and of its worker in bytes, and open files, each few seconds."""
    begun = time.monotonic()
    seen = []
    while time.monotonic() - begun < seconds or load.answered < DAY_REQUESTS:
        time.sleep(2)
        worker = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        now = time.monotonic() - begun
        seen.append((now, memory(pid, "VmRSS"), memory(worker, "VmRSS"), open_files(pid)))
    return seen


def judged(seen: list[tuple[float, int, int, int]]) -> tuple[list[tuple[str, ...]], float]:
    """Rows for the server, its worker and its files; and the most bytes that a line through the samples rises."""
    kept = seen[len(seen) // 5 :]
    times = [sample[0] for sample in kept]
    rows: list[tuple[str, ...]] = []
    most = 0.0
    for name, place in (("memory of the server", 1), ("memory of its worker", 2)):
        values = [sample[place] for sample in kept]
        rise = _rise(times, values)
        most = max(most, rise)
        span = f"{values[0] / 2**20:.1f} MiB, {values[-1] / 2**20:.1f} MiB"
        # What levels off is not a leak: then the last of the quarters rises by nothing.
        cuts = [len(values) * number // _PARTS for number in range(_PARTS + 1)]
        parts = [_rise(times[start:end], values[start:end]) for start, end in itertools.pairwise(cuts)]
        told = ", ".join(f"{part / 2**20:+.2f}" for part in parts)
        rows.append((name, span, f"{rise / 2**20:+.2f} MiB in {(times[-1] - times[0]) / 60:.0f} minutes", told))
    files = [sample[3] for sample in kept]
    rows.append(("open files", f"{files[0]}, {files[-1]}", f"at most {max(files)}", ""))
    return rows, most


def _rise(times: list[float], values: list[int]) -> float:
    """How far a line through the samples rises over their time."""
    return statistics.linear_regression(times, values).slope * (times[-1] - times[0])


if __name__ == "__main__":
    raise SystemExit(main())
