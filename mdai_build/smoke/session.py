"""One served model that is being tried: waits until it is ready, sees when it is gone, tells what was tried."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mdai_build.engine.target import Target
from mdai_build.errors import Problem
from mdai_build.smoke import failures
from mdai_build.smoke.client import Client, NoReplyError, Reply, TooLargeError, TooSlowError
from mdai_build.smoke.plan import SmokePlan
from mdai_build.smoke.result import Check, Outcome

_POLL_SECONDS = (0.02, 0.5)
_POLL_SHARE = 0.1  # of the time waited so far: what loads fast is seen at once, what loads long is not disturbed
_EXIT_NOTICE_SECONDS = 3.0
_LARGEST_FIGURE = 1e15


class StopError(Exception):
    """The target cannot be asked further; the check that says why has been told."""


@dataclass
class Session:
    """A target, how it is spoken to, and what was tried of it so far."""

    target: Target
    plan: SmokePlan
    client: Client
    on_check: Callable[[Check], None]
    checks: list[Check] = field(default_factory=list)
    load_seconds: float | None = None

    def tell(
        self, name: str, outcome: Outcome, seconds: float, message: str, problems: tuple[Problem, ...] = ()
    ) -> None:
        """Notes a check and tells it to whoever listens."""
        check = Check(name, outcome, seconds, message, problems)
        self.checks.append(check)
        self.on_check(check)

    def fail(self, name: str, seconds: float, *problems: Problem) -> None:
        """Tells a check that failed, by the first of its problems."""
        self.tell(name, "failed", seconds, problems[0].what, problems)

    def wait_until_ready(self) -> None:
        """Follows the target until the model has loaded; stops at once when it cannot load any more."""
        begin = time.monotonic()
        shortest, longest = _POLL_SECONDS
        last = "nothing answered"
        while True:
            problem = None
            try:
                reply = self.client.get("/ready")
                last = f"GET /ready answered {reply.status}"
                if reply.status == 200:
                    break
                problem = self._load_failure(reply)
            except NoReplyError:
                pass
            except (TooSlowError, TooLargeError) as error:
                last = f"GET /ready: {error}"
            waited = time.monotonic() - begin
            state = self.target.state()
            if not state.running:
                problem = failures.exited(self.target, state, "while the model was loaded")
            elif problem is None and waited > self.plan.ready_seconds:
                problem = failures.not_ready(self.plan.ready_seconds, self.target, last)
            if problem is not None:
                self.fail("model loads", waited, problem)
                raise StopError
            time.sleep(min(max(shortest, waited * _POLL_SHARE), longest))
        told = _figure(self.status().get("load_seconds"))
        # The server's own figure, since a container may have been loading before we began to wait.
        self.load_seconds = time.monotonic() - begin if told is None else told
        self.tell("model loads", "passed", self.load_seconds, f"ready after {self.load_seconds:.1f} s")

    def status(self) -> dict[str, Any]:
        """What the server tells of itself; nothing where an image of other make has no /status."""
        try:
            status = json.loads(self.client.get("/status").body)
        except (NoReplyError, TooSlowError, TooLargeError, ValueError, RecursionError):
            return {}
        return status if isinstance(status, dict) else {}

    def _load_failure(self, reply: Reply) -> Problem | None:
        """Why the model will never be ready, as far as the server says so."""
        if reply.status != 503:
            return None
        if self.status().get("state") != "failed":
            return None
        # Asked again, since it may have failed between the two answers.
        reason = self.client.get("/ready").text
        return failures.load_failed(reason, failures.log_tail(self.target))

    def stop_if_gone(self, name: str, begin: float, while_doing: str) -> None:
        """Ends the test when the target has exited; its end may show a moment after its connections broke."""
        deadline = time.monotonic() + _EXIT_NOTICE_SECONDS
        while time.monotonic() < deadline:
            state = self.target.state()
            if not state.running:
                self.fail(name, time.monotonic() - begin, failures.exited(self.target, state, while_doing))
                raise StopError
            time.sleep(0.1)

    def peak_memory(self) -> int | None:
        """The target's own figure or the worker's, whichever saw more: engines tell samples, not the peak."""
        worker = _figure(self.status().get("worker_peak_bytes"))
        seen = [self.target.peak_memory(), int(worker) if worker else None]
        return max((value for value in seen if value), default=None)


def _figure(told: Any) -> float | None:
    """A number of seconds or bytes that a server tells of itself; None for what cannot be one."""
    return float(told) if type(told) in (int, float) and 0 <= told < _LARGEST_FIGURE else None
