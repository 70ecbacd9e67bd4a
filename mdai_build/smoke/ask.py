"""Sends a user's files to a served model: the answers are told as they come."""

from __future__ import annotations

from collections.abc import Callable

from mdai_build.engine.target import Target
from mdai_build.smoke.client import Client
from mdai_build.smoke.plan import SmokePlan
from mdai_build.smoke.request import SmokeRequest
from mdai_build.smoke.result import Answer, Check, SmokeResult
from mdai_build.smoke.run import Run
from mdai_build.smoke.session import StopError


def ask(
    target: Target,
    plan: SmokePlan,
    on_check: Callable[[Check], None],
    on_answer: Callable[[SmokeRequest, Answer | None, Check], None],
) -> SmokeResult:
    """Sends the requests of a plan to a served model, and tries nothing else.

    Each answer is told to `on_answer` with the check of it, and not kept: the result holds the checks alone. None
    stands for an answer that did not come, or holds no outputs.
    """
    with Client(target.url) as client:
        run = Run(target, plan, client, on_check)
        try:
            run.wait_until_ready()
            run.tell_left_out()
            for request in plan.requests:
                try:
                    run.send(request)
                finally:
                    if run.checks[-1].name == request.name:
                        on_answer(request, run.answers.pop() if run.answers else None, run.checks[-1])
        except StopError:
            pass
        return run.result()
