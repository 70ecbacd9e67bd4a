"""Runs a smoke test: waits for the model, tries every endpoint, sends every request, measures."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

from mdai_build.engine.target import GpuTarget, Target
from mdai_build.errors import Location, Problem, UnavailableError
from mdai_build.smoke import failures, gpu
from mdai_build.smoke.answers import check_answer
from mdai_build.smoke.client import MAX_ANSWER_BYTES, Client, NoReplyError, Reply, TooLargeError, TooSlowError
from mdai_build.smoke.decode import NotDecodableError, decode_answer
from mdai_build.smoke.failures import RAISED
from mdai_build.smoke.gpu import GpuResult, Report
from mdai_build.smoke.plan import SmokePlan
from mdai_build.smoke.request import Demand, RequestBody, SmokeRequest
from mdai_build.smoke.result import Answer, Check, Outcome, SmokeResult, mistake
from mdai_build.smoke.session import Session, StopError

MSGPACK = "application/msgpack"
_REPEAT_BUDGET_SECONDS = 10.0
_ENDPOINT_SECONDS = 10.0
# Answers are kept until the test is over, for its report.
_MOST_KEPT_BYTES = 2 * MAX_ANSWER_BYTES
_LARGE_BYTES = 16 * 1024**2
_FEWER = "send fewer samples at once, if they are yours and the answers are as they should be"
# What goes wrong when a model takes frames or colours for rows or columns.
_SHAPE_CODES = {"smoke.invalid-output", "smoke.mask-size", "smoke.outside-image", "smoke.frame-number", "smoke.more"}


_OWN_SAMPLES = (
    "outputs for at least one of the synthetic CT, CR, DX, ultrasound, JPEG and PNG samples; for a model of other "
    "images bring your own with `--samples DIR` or .mdai/smoke.yaml"
)


_MAY_REFUSE = "outputs if the model is meant for such images; if it is not, nothing needs to be done"


def _nobody(answer: Answer) -> None:
    """Whom answers are told to where nobody asked."""


def run_smoke_test(
    target: Target,
    plan: SmokePlan,
    on_check: Callable[[Check], None],
    on_answer: Callable[[Answer], None] = _nobody,
) -> SmokeResult:
    """Tries a served model; every check is told to `on_check` as soon as it is decided, every answer to `on_answer`.

    A model fails when it does not load, ends its process, answers wrongly, leaves a required request unanswered, or
    answers none of the synthetic ones. What it refuses besides is a warning: not every model eats every image.
    """
    with Client(target.url) as client:
        run = Run(target, plan, client, on_check, on_answer=on_answer)
        try:
            run.wait_until_ready()
            run.try_endpoints()
            run.tell_left_out()
            for request in plan.requests:
                if request.required or run.affords(request):
                    run.send(request)
            run.judge()
            run.measure()
        except StopError:
            pass
        if plan.gpu:
            run.try_gpu()
        return run.result()


@dataclass
class Run(Session):
    """The state of one smoke test."""

    on_answer: Callable[[Answer], None] = _nobody
    answers: list[Answer] = field(default_factory=list)
    refusals: list[tuple[SmokeRequest, tuple[Problem, ...]]] = field(default_factory=list)
    first_seconds: float | None = None
    later_seconds: float | None = None
    api_version: str | None = None
    gpu: GpuResult | None = None
    kept_bytes: int = 0

    def result(self) -> SmokeResult:
        return SmokeResult(
            checks=tuple(self.checks),
            answers=tuple(self.answers),
            load_seconds=self.load_seconds,
            first_seconds=self.first_seconds,
            later_seconds=self.later_seconds,
            peak_memory=self.peak_memory(),
            api_version=self.api_version,
            gpu=self.gpu,
        )

    # ---- endpoints ----

    def try_endpoints(self) -> None:
        """The small endpoints, and the two requests that are not requests."""
        reply = self._endpoint("GET /healthz", 200, lambda: self.client.get("/healthz", _ENDPOINT_SECONDS))
        reply = self._endpoint("GET /version", 200, lambda: self.client.get("/version", _ENDPOINT_SECONDS))
        if reply is not None:
            self.api_version = re.sub(r"[^\w.+-]", "", reply.text)[:32]
        self._endpoint("refuses another content type", 400, lambda: self._post(b"{}", "application/json"))
        self._endpoint("refuses what is not msgpack", 500, lambda: self._post(b"\xc1", MSGPACK))

    def _post(self, body: bytes, content_type: str) -> Reply:
        return self.client.post("/inference", body, content_type, _ENDPOINT_SECONDS)

    def _endpoint(self, name: str, status: int, ask: Callable[[], Reply]) -> Reply | None:
        begin = time.monotonic()
        try:
            reply = ask()
            seen = f"answered {reply.status}"
        except (TooSlowError, TooLargeError) as error:
            reply, seen = None, str(error)
        except NoReplyError:
            self.stop_if_gone(name, begin, f"during {name}")
            reply, seen = None, "the connection broke"
        seconds = time.monotonic() - begin
        if reply is not None and reply.status == status:
            self.tell(name, "passed", seconds, seen)
            return reply
        problem = Problem(
            code="smoke.endpoint",
            what=f"{name}: {seen}",
            expected=f"status {status}",
            next_step="the image's server is not one that keeps the interface; build the image anew with mdai-build",
            details=reply.text[:2000] if reply else failures.log_tail(self.target),
        )
        self.fail(name, seconds, problem)
        return None

    # ---- requests ----

    def tell_left_out(self) -> None:
        """The plan's own warnings: samples that cannot be sent."""
        if self.plan.warnings:
            count = len(self.plan.warnings)
            what = f"{count} sample{'s are' if count > 1 else ' is'} left out"
            self.tell("samples", "warning", 0.0, what, self.plan.warnings)

    def affords(self, request: SmokeRequest) -> bool:
        """Whether a request that nobody asked for fits into the time, going by the answers so far."""
        rates = [answer.seconds / _images(answer.request) for answer in self.answers if answer.outputs]
        if not rates:
            return True
        estimate = min(rates) * _images(request)
        spent = sum(answer.seconds for answer in self.answers)
        if estimate <= self.plan.predict_seconds and spent + estimate <= self.plan.total_seconds:
            return True
        problem = Problem(
            code="smoke.not-tried",
            what=f"not tried: {_images(request)} images would take about {estimate:.0f} s",
            where=Location(file=f"sample {request.name}"),
            next_step="to try it all the same, bring your own samples or allow more with `--predict-timeout`",
        )
        self.tell(request.name, "warning", 0.0, problem.what, (problem,))
        return False

    def post(self, request: SmokeRequest, measure: bool = False) -> Reply:
        """The answer to one request; raises what `Client.post` does."""
        return self.client.post("/inference", RequestBody(request), MSGPACK, self.plan.predict_seconds, measure)

    def post_again(self, request: SmokeRequest, spent: float = 0.0, measure: bool = False) -> Reply:
        """The answer to a request that was answered once; `spent` are the seconds of the answers since.

        Raises:
            StopError: this time it is not answered.
        """
        try:
            reply = self.post(request, measure)
            if reply.status == 200:
                return reply
            seen, details = f"answered {reply.status}", reply.text[:20_000]
        except (NoReplyError, TooSlowError, TooLargeError) as error:
            seen, details = str(error), failures.log_tail(self.target)
        problem = Problem(
            code="smoke.not-repeatable",
            what=f"the same request again: {seen}",
            where=Location(file=f"sample {request.name}"),
            expected="200, as the first time",
            next_step="look for state that `predict` leaves behind in the model",
            details=details,
        )
        self.fail("answers again", spent, problem)
        raise StopError

    def send(self, request: SmokeRequest, on_reply: Callable[[Reply], None] | None = None) -> None:
        """Sends one request and judges the answer, as far as it can be judged by itself.

        With `on_reply`, which is told the answer as it came, the server is asked what memory it took.
        """
        name = request.name
        begin = time.monotonic()
        try:
            reply = self.post(request, measure=on_reply is not None)
            if on_reply is not None:
                on_reply(reply)
        except TooSlowError:
            problem = failures.too_slow(name, self.plan.predict_seconds, self.target)
            self.fail(name, time.monotonic() - begin, problem)
            raise StopError from None  # it is busy with this one for who knows how long
        except TooLargeError as error:
            self.fail(name, time.monotonic() - begin, _bad_answer(name, f"the answer is too large: {error}"))
            return
        except NoReplyError as error:
            self.stop_if_gone(name, begin, f"while it predicted sample {name}")
            self.fail(name, time.monotonic() - begin, _bad_answer(name, f"the connection broke: {error}"))
            return
        if reply.status == 500:
            self._failed(request, reply)
        elif reply.status != 200 or reply.content_type not in (MSGPACK, "application/x-msgpack"):
            what = f"answered {reply.status} with content type {reply.content_type or '(none)'}"
            self.fail(name, reply.seconds, _bad_answer(name, what, reply.text[:2000]))
        else:
            self._answered(request, reply)

    def _failed(self, request: SmokeRequest, reply: Reply) -> None:
        kind = failures.kind_of(reply.failure, reply.text)
        if kind == "died":
            self.fail(request.name, reply.seconds, failures.worker_died(request.name, reply.text))
            raise StopError
        if kind == "request":
            self.fail(request.name, reply.seconds, failures.bad_request(request.name, reply.text))
        elif kind == "invalid":
            self._invalid(request, reply.seconds, (failures.invalid(request.name, reply.text),))
        else:
            self._refused(request, reply.seconds, (failures.refused(request.name, reply.text),))

    def _answered(self, request: SmokeRequest, reply: Reply) -> None:
        size = len(reply.body)
        self.kept_bytes += size
        if self.kept_bytes > _MOST_KEPT_BYTES:
            what = f"the answers are larger than {_MOST_KEPT_BYTES} bytes, taken together"
            self.fail(request.name, reply.seconds, replace(_bad_answer(request.name, what), next_step=_FEWER))
            raise StopError
        try:
            outputs = decode_answer(reply.body)
        except NotDecodableError as error:
            self.fail(request.name, reply.seconds, _bad_answer(request.name, str(error)))
            return
        findings = check_answer(request, outputs)
        is_list = isinstance(outputs, list)
        valid = not findings.problems
        # What is not valid may take more memory than the same bytes of masks do.
        keeps = is_list and (valid or size < _LARGE_BYTES)
        answer = Answer(request, tuple(outputs) if keeps else (), reply.seconds, valid)
        self.answers.append(answer)
        self.on_answer(answer)
        if findings.problems:
            self._invalid(request, reply.seconds, findings.problems)
            return
        outcome: Outcome = "warning" if findings.warnings else "passed"
        self.tell(request.name, outcome, reply.seconds, _summary(outputs), findings.warnings)

    def _invalid(self, request: SmokeRequest, seconds: float, problems: tuple[Problem, ...]) -> None:
        if request.demand is Demand.UNUSUAL and all(problem.code in _SHAPE_CODES for problem in problems):
            self._refused(request, seconds, problems)
        else:
            self.fail(request.name, seconds, *problems)

    def _refused(self, request: SmokeRequest, seconds: float, problems: tuple[Problem, ...]) -> None:
        """A request that the model may do without, unless it does without all."""
        if request.demand is Demand.REQUIRED:
            self.fail(request.name, seconds, *problems)
            return
        # A mistake that fails other samples too has nothing to do with what this one holds.
        failed = {mistake(problem) for check in self.checks if not check.passed for problem in check.problems}
        if same := [problem for problem in problems if mistake(problem) in failed]:
            self.fail(request.name, seconds, *same)
            return
        self.refusals.append((request, problems))
        told = tuple(replace(problem, expected=_MAY_REFUSE) for problem in problems)
        # As long as nothing else worked, nobody knows whether it is this image or the model.
        message = f"not supported by this model: {problems[0].what}" if self._useful() else problems[0].what
        self.tell(request.name, "warning", seconds, message, told)

    # ---- the whole ----

    def _useful(self) -> list[Answer]:
        """The right answers that hold something."""
        return [answer for answer in self.answers if answer.valid and answer.outputs]

    def judge(self) -> None:
        """Whether what the model answered makes up for what it refused."""
        useful = self._useful()
        sent = len(self.plan.requests)
        if useful:
            self.tell("answers", "passed", 0.0, f"{len(useful)} of {sent} requests have outputs")
            return
        if any(not check.passed for check in self.checks):
            return  # it is told already
        usual = [(request, found) for request, found in self.refusals if request.demand is Demand.EXPECTED]
        if usual:
            raised = not self.answers and all(found[0].code in RAISED for _, found in self.refusals)
            self.tell(
                "answers",
                "failed",
                0.0,
                f"`predict` failed on every one of {len(self.refusals)} samples"
                if raised
                else f"the model gave no outputs for any of {sent} requests",
                tuple(replace(problem, expected=_OWN_SAMPLES) for _, found in usual for problem in found),
            )
            return
        problem = Problem(
            code="smoke.no-outputs",
            what=f"the model gave an empty list for all of {sent - len(self.refusals)} requests that it answered",
            expected="outputs for at least one sample",
            next_step="if that is right for synthetic images, bring your own: `--samples DIR` or .mdai/smoke.yaml",
        )
        self.tell("answers", "warning", 0.0, problem.what, (problem,))

    def measure(self) -> None:
        """Sends the first request with outputs again, for the time of later answers."""
        useful = self._useful()
        if not useful and all(check.passed for check in self.checks):
            useful = self.answers
        if not useful:
            return
        first = useful[0]
        self.first_seconds = first.seconds
        times: list[float] = []
        while len(times) < self.plan.repeats and sum(times) + first.seconds < _REPEAT_BUDGET_SECONDS:
            times.append(self.post_again(first.request, sum(times)).seconds)
        if times:
            self.later_seconds = statistics.median(times)
            self.tell("answers again", "passed", sum(times), f"{self.later_seconds:.3f} s each")

    # ---- the GPU ----

    def try_gpu(self) -> None:
        """Whether the model computed on a GPU; where there is none, that this was not tested."""
        target = cast("GpuTarget", self.target)
        begin = time.monotonic()
        usage = gpu.read_usage(self.status().get("gpu"))
        try:
            report = gpu.read_report(target.ask_gpu(tuple(usage["frameworks"]) if usage else ()))
        except UnavailableError as failure:  # what ended it was told
            self._untested(f"it could not be looked at: {failure.problems[0].what}", begin)
            return
        if too_old := gpu.too_old_for_image(target.gpu_refused or ""):
            self.gpu, _ = gpu.untested(target.gpu_refused or "", report)
            self.fail("GPU", time.monotonic() - begin, too_old)
            return
        if target.gpu_refused is not None or report is None:
            reason = target.gpu_refused or "the image has no way to look at it: build it anew with mdai-build"
            self._untested(reason, begin, report)
            return
        self.gpu, problems = gpu.judge(report, usage)
        seconds = time.monotonic() - begin
        if not self.answers:  # a model that does not come to compute is not one that chose the CPU
            problems = tuple(problem for problem in problems if problem.code != "smoke.gpu-unused")
            if not problems:
                self._untested("the model answered nothing", begin, report)
                return
        if problems:
            self.fail("GPU", seconds, *problems)
            return
        if self.gpu.used is None:
            problem = Problem("smoke.gpu-not-known", "the GPU computes; whether the model used it is not known")
            self.tell("GPU", "warning", seconds, problem.what, (problem,))
            return
        self.tell("GPU", "passed", seconds, f"computed on {', '.join(self.gpu.devices)}")

    def _untested(self, reason: str, begin: float, report: Report | None = None) -> None:
        self.gpu, more = gpu.untested(reason, report)
        problem = Problem(
            code="smoke.gpu-not-tested",
            what=f"the GPU part was not tested: {reason}",
            where=Location(".mdai/config.yaml", key="device_type"),
            next_step="run `mdai-build test IMAGE` on a machine with a GPU",
        )
        self.tell("GPU", "warning", time.monotonic() - begin, problem.what, (problem, *more))


def _bad_answer(name: str, what: str, details: str | None = None) -> Problem:
    return Problem(
        code="smoke.bad-answer",
        what=f"POST /inference: {what}",
        where=Location(file=f"sample {name}"),
        expected=f"200 with {MSGPACK}, or 500 with a text that says why",
        next_step="the image's server is not one that keeps the interface; build the image anew with mdai-build",
        details=details,
    )


def _images(request: SmokeRequest) -> int:
    return sum(file.frames for file in request.files)


def _summary(outputs: list[Any]) -> str:
    kinds: dict[str, int] = {}
    for output in outputs:
        kinds[output["type"]] = kinds.get(output["type"], 0) + 1
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "no outputs"
