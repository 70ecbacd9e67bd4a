"""What the server counts, and how it tells it: ``/status`` for machines that read JSON, ``/metrics`` for Prometheus."""

from __future__ import annotations

import collections
import json
import platform
import time
from typing import Any, Iterator

from .contract import API_VERSION
from .supervisor import BUSY, FAILED, READY, STARTING, STEPS, Supervisor

DRAINING = "draining"
STATES = (STARTING, READY, BUSY, FAILED, DRAINING)
_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


class Status:
    """Counts requests and times, and knows the server's state."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._created = time.monotonic()
        self._codes: collections.Counter[str] = collections.Counter()
        self._seconds: collections.defaultdict[str, float] = collections.defaultdict(float)
        self._buckets: collections.Counter[float] = collections.Counter()
        self._served_seconds = 0.0
        self._received = self._sent = 0
        self._last_error: dict[str, str] | None = None
        self.draining = False

    @property
    def state(self) -> str:
        return DRAINING if self.draining else self._supervisor.state

    @property
    def reason(self) -> str:
        """Why the server is not ready; empty when it is."""
        if self.draining:
            return "the server is shutting down"
        return self._supervisor.reason

    def count(self, code: str, received: int, sent: int, seconds: dict[str, float]) -> None:
        """Counts one inference request by its status code, or ``disconnected``; times are by step."""
        self._codes[code] += 1
        self._received += received
        self._sent += sent
        for step, value in seconds.items():
            self._seconds[step] += value
        if code == "200":
            total = sum(seconds.values())
            self._served_seconds += total
            self._buckets[next((bound for bound in _BUCKETS if total <= bound), float("inf"))] += 1

    def note_error(self, identity: str, text: str) -> None:
        """Remembers the last failure for ``/status``."""
        self._last_error = {"request": identity, "message": text[:4096]}

    def as_json(self) -> bytes:
        supervisor = self._supervisor
        content: dict[str, Any] = {
            "state": self.state,
            "reason": self.reason,
            "load_seconds": supervisor.load_seconds,
            "uptime_seconds": time.monotonic() - self._created,
            "requests_served": self._codes["200"],
            "requests_failed": self._codes["500"],
            "requests": dict(self._codes),
            "queue_length": supervisor.waiting,
            "last_error": self._last_error,
            "worker_pid": supervisor.worker_pid,
            "worker_restarts": max(0, supervisor.restarts),
            "worker_peak_bytes": supervisor.peak_bytes,
            "gpu": self._gpu(),
            "python_version": platform.python_version(),
            "api_version": API_VERSION,
        }
        return json.dumps(content, indent=2).encode("ascii") + b"\n"

    def _gpu(self) -> dict[str, Any] | None:
        """What is known of the GPUs: in use before and while predicting, all devices and processes; of the model alone,
        whether it computes there, and with what. None where there are none.
        """
        told, meter = self._supervisor.gpu, self._supervisor.meter
        if not isinstance(told, dict):
            return None
        return {
            **told,
            "bytes_before": meter.before.used_bytes if meter.before else None,
            "peak_bytes": meter.peak.used_bytes if meter.peak else None,
            "peak_utilisation": meter.peak.utilisation if meter.peak else None,
        }

    def as_metrics(self) -> bytes:
        return "\n".join([*self._metrics(), ""]).encode("ascii")

    def _metrics(self) -> Iterator[str]:
        supervisor = self._supervisor
        yield from _family("mdai_state", "gauge", "1 for the state that the server is in")
        for state in STATES:
            yield f'mdai_state{{state="{state}"}} {int(state == self.state)}'
        yield from _family("mdai_requests_total", "counter", "inference requests by status code")
        for code in sorted(self._codes):
            yield f'mdai_requests_total{{code="{code}"}} {self._codes[code]}'
        yield from _family("mdai_step_seconds_total", "counter", "time that the worker spent, by step")
        for step in STEPS:
            yield f'mdai_step_seconds_total{{step="{step}"}} {self._seconds[step]}'
        yield from _family("mdai_request_seconds", "histogram", "worker's time a served request")
        count = 0
        for bound in _BUCKETS:
            count += self._buckets[bound]
            yield f'mdai_request_seconds_bucket{{le="{bound}"}} {count}'
        yield f'mdai_request_seconds_bucket{{le="+Inf"}} {self._codes["200"]}'
        yield f"mdai_request_seconds_sum {self._served_seconds}"
        yield f"mdai_request_seconds_count {self._codes['200']}"
        for name, kind, text, value in (
            ("mdai_received_bytes_total", "counter", "bytes of request bodies", self._received),
            ("mdai_sent_bytes_total", "counter", "bytes of answers", self._sent),
            ("mdai_queue_length", "gauge", "requests that wait for their turn", supervisor.waiting),
            ("mdai_worker_restarts_total", "counter", "times the worker was started anew", max(0, supervisor.restarts)),
            ("mdai_worker_peak_bytes", "gauge", "largest resident size of a worker", supervisor.peak_bytes),
            ("mdai_load_seconds", "gauge", "time that the model took to load", supervisor.load_seconds or 0),
        ):
            yield from _family(name, kind, text)
            yield f"{name} {value}"
        if supervisor.meter.peak is not None:
            yield from _family("mdai_gpu_peak_bytes", "gauge", "most GPU memory in use while the model predicted")
            yield f"mdai_gpu_peak_bytes {supervisor.meter.peak.used_bytes}"


def _family(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
