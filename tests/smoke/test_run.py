"""The ways in which a target can misbehave that our own server never would: a scripted HTTP server plays them."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgpack
import pytest

from mdai_build.engine.gpus import refusal
from mdai_build.engine.target import TargetState
from mdai_build.errors import Problem
from mdai_build.report.document import smoke_as_json
from mdai_build.smoke import Check, Demand, InputFile, SmokePlan, SmokeRequest, SmokeResult, run_smoke_test

MSGPACK = "application/msgpack"
UP = TargetState(running=True)
FILE = InputFile("x.dcm", b"DICM", "application/dicom", "1.2", "1.2.1", "1.2.1.1", 10, 10)
OUTPUT = {"type": "NONE", "study_uid": "1.2"}


@dataclass
class Scripted:
    """A target whose every answer is written down: path -> (status, content type, body), or a function of the body."""

    replies: dict[str, Any] = field(default_factory=dict)
    states: list[TargetState] = field(default_factory=list)
    seen: list[tuple[str, bytes]] = field(default_factory=list)
    url: str = ""
    gpu_refused: str | None = None
    gpu_report: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def ask_gpu(self, frameworks: tuple[str, ...]) -> str:
        self.asked.append(frameworks)
        return json.dumps(self.gpu_report)

    def logs(self) -> str:
        return "first line\nlast line\n"

    def state(self) -> TargetState:
        return self.states.pop(0) if len(self.states) > 1 else (self.states[0] if self.states else UP)

    def peak_memory(self) -> int | None:
        return 7_000_000


GOOD: dict[str, Any] = {
    "/ready": (200, "text/plain", b""),
    "/healthz": (200, "text/plain", b""),
    "/version": (200, "text/plain", b"0.3"),
}


def good_inference(kind: str, body: bytes) -> tuple[int, str, bytes]:
    if kind != MSGPACK:
        return 400, "text/plain", b"no"
    if body == b"\xc1":
        return 500, "text/plain", b"no msgpack"
    return 200, MSGPACK, msgpack.packb([OUTPUT])


@pytest.fixture
def target() -> Iterator[Scripted]:
    scripted = Scripted(replies={**GOOD, "/inference": good_inference})

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            scripted.seen.append((self.path, body))
            reply = scripted.replies.get(self.path, (404, "text/plain", b""))
            if callable(reply):
                reply = reply(self.headers.get("content-type", ""), body)
            if reply is None:  # hang up
                self.close_connection = True
                return
            status, kind, content, *headers = reply
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(content)))
            for name, value in headers:
                self.send_header(name, value)
            with contextlib.suppress(ConnectionError):  # the client may have lost its patience
                self.end_headers()
                self.wfile.write(content)

        do_GET = do_POST = answer

        def log_message(self, *args: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        scripted.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield scripted
        server.shutdown()
        thread.join()


def plan(*requests: SmokeRequest, **more: Any) -> SmokePlan:
    settings = {"ready_seconds": 0.5, "predict_seconds": 1.0, **more}
    return SmokePlan(requests or (a_request("one"), a_request("two")), **settings)


def a_request(name: str, demand: Demand = Demand.EXPECTED) -> SmokeRequest:
    return SmokeRequest(name, "INSTANCE", (FILE,), demand)


def run(target: Scripted, the_plan: SmokePlan | None = None) -> SmokeResult:
    told: list[Check] = []
    result = run_smoke_test(target, the_plan or plan(), told.append)
    assert tuple(told) == result.checks
    return result


def failed_with(result: SmokeResult) -> list[str]:
    assert not result.passed
    assert result.problems
    return [problem.code.removeprefix("smoke.") for problem in result.problems]


def answering(reply: Any) -> Callable[[str, bytes], Any]:
    """Right about what is no request, and this reply to every real one."""

    def inference(kind: str, body: bytes) -> Any:
        usual = good_inference(kind, body)
        return usual if usual[0] != 200 else reply

    return inference


def raised(text: str) -> tuple[int, str, bytes, tuple[str, str]]:
    return 500, "text/plain", f"The model's predict failed: {text}\n".encode(), ("mdai-failure", "predict")


def test_a_good_target_passes_and_is_measured(target: Scripted) -> None:
    result = run(target)
    assert result.passed and result.problems == () and result.warnings == ()
    names = [check.name for check in result.checks]
    assert names[:5] == [
        "model loads",
        "GET /healthz",
        "GET /version",
        "refuses another content type",
        "refuses what is not msgpack",
    ]
    assert names[5:] == ["one", "two", "answers", "answers again"]
    assert result.api_version == "0.3"
    assert result.peak_memory == 7_000_000
    assert None not in (result.load_seconds, result.first_seconds, result.later_seconds)
    assert [answer.outputs for answer in result.answers] == [(OUTPUT,), (OUTPUT,)]


@pytest.mark.parametrize("figure", [b"NaN", b"Infinity", b"-5", b"true", b"1" + b"0" * 400, b'"3"', b"[]"])
def test_figures_that_a_server_makes_up_are_none(target: Scripted, figure: bytes) -> None:
    content = b'{"load_seconds": %s, "worker_peak_bytes": %s}' % (figure, figure)
    target.replies["/status"] = (200, "application/json", content)
    result = run(target)
    assert result.passed
    assert result.load_seconds is not None
    assert 0 <= result.load_seconds < 60
    assert result.peak_memory == 7_000_000
    json.dumps(smoke_as_json("x", result, ()), allow_nan=False)


def test_answers_that_would_fill_the_memory_together(target: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may be as large as an answer may be; all of them are kept for the report."""
    monkeypatch.setattr("mdai_build.smoke.run._MOST_KEPT_BYTES", 2_500_000)
    monkeypatch.setattr("mdai_build.smoke.run._LARGE_BYTES", 500_000)
    mib = msgpack.packb([OUTPUT, "x" * 1_000_000])
    target.replies["/inference"] = answering((200, MSGPACK, mib))
    result = run(target, plan(*(a_request(str(number)) for number in range(9))))
    assert failed_with(result)[-1] == "bad-answer"
    assert "larger than 2500000 bytes, taken together" in result.problems[-1].what
    assert [answer.outputs for answer in result.answers] == [(), ()]


def test_a_failure_told_at_length_is_cut(target: Scripted) -> None:
    target.replies["/inference"] = answering(raised("x" * 30_000_000))
    (problem, *_) = run(target).problems
    assert len(problem.what) < 5_000
    assert len(problem.details or "") < 5_000


def test_it_waits_until_the_target_is_ready(target: Scripted) -> None:
    countdown = [503, 503, 200]
    target.replies["/ready"] = lambda kind, body: (countdown.pop(0) if len(countdown) > 1 else 200, "text/plain", b"")
    assert run(target).passed


def test_never_ready(target: Scripted) -> None:
    target.replies["/ready"] = (503, "text/plain", b"starting: the model is being loaded")
    result = run(target)
    assert failed_with(result) == ["not-ready"]
    assert "0.5 s" in result.problems[0].what
    assert "last line" in (result.problems[0].details or "")
    assert [check.name for check in result.checks] == ["model loads"]


def test_a_failed_load_is_told_at_once(target: Scripted) -> None:
    text = b"failed: The model failed to load: ValueError: bad\n\nTraceback (most recent call last):\nValueError: bad\n"
    target.replies["/ready"] = (503, "text/plain", text)
    target.replies["/status"] = (200, "application/json", b'{"state": "failed"}')
    result = run(target, plan(ready_seconds=60))
    assert failed_with(result) == ["load-failed"]
    assert result.problems[0].what == "the model did not load: ValueError: bad"
    assert "Traceback" in (result.problems[0].details or "")


@pytest.mark.parametrize("status", [b"[]", b"no json", b'{"state": 3}', b"[" * 100_000])
def test_a_status_that_is_none_of_ours_is_no_failure(target: Scripted, status: bytes) -> None:
    target.replies["/ready"] = (503, "text/plain", b"wait")
    target.replies["/status"] = (200, "application/json", status)
    assert failed_with(run(target, plan(ready_seconds=0.1))) == ["not-ready"]


@pytest.mark.parametrize(
    ("state", "code", "words"),
    [
        (TargetState(running=False, exit_code=1), "exited", "exit code 1"),
        (TargetState(running=False, exit_code=139), "exited", "SIGSEGV"),
        (TargetState(running=False, exit_code=-9), "exited", "SIGKILL"),
        (TargetState(running=False, exit_code=137, oom_killed=True), "out-of-memory", "memory"),
        (TargetState(running=False, exit_code=127, error="no such file"), "exited", "no such file"),
    ],
)
def test_a_target_that_exits_while_it_loads(target: Scripted, state: TargetState, code: str, words: str) -> None:
    target.replies["/ready"] = (503, "text/plain", b"")
    target.states = [UP, state]
    result = run(target, plan(ready_seconds=60))
    assert failed_with(result) == [code]
    assert words in result.problems[0].what
    assert "last line" in (result.problems[0].details or "")


def test_a_target_that_never_listens() -> None:
    target = Scripted(states=[UP, TargetState(running=False, exit_code=3)], url="http://127.0.0.1:9")
    assert failed_with(run(target)) == ["exited"]


def test_a_target_that_exits_during_a_request(target: Scripted) -> None:
    target.replies["/inference"] = answering(None)
    target.states = [UP, TargetState(running=False, exit_code=137, oom_killed=True)]
    result = run(target)
    assert failed_with(result) == ["out-of-memory"]
    assert "while it predicted sample one" in result.problems[0].what


def test_too_slow(target: Scripted) -> None:
    done = threading.Event()

    def inference(kind: str, body: bytes) -> Any:
        usual = good_inference(kind, body)
        if usual[0] == 200:
            done.wait(10)
        return usual

    target.replies["/inference"] = inference
    result = run(target, plan(predict_seconds=0.2))
    done.set()
    assert failed_with(result) == ["predict-timeout"]
    assert [check.name for check in result.checks][-1] == "one"  # the second one is not tried


@pytest.mark.parametrize("path", ["/healthz", "/version"])
def test_a_broken_endpoint(target: Scripted, path: str) -> None:
    target.replies[path] = (503, "text/plain", b"no")
    result = run(target)
    assert failed_with(result) == ["endpoint"]
    assert path in result.problems[0].what


def test_a_server_that_swallows_everything(target: Scripted) -> None:
    target.replies["/inference"] = (200, MSGPACK, msgpack.packb([OUTPUT]))
    assert failed_with(run(target)) == ["endpoint", "endpoint"]


@pytest.mark.parametrize(
    "reply",
    [
        (200, "application/json", b"[]"),
        (200, MSGPACK, b"\xc1"),
        (200, MSGPACK, b""),
        (200, MSGPACK, b"\x91" * 5000),
        (404, "text/plain", b"nothing here"),
        (503, "text/plain", b"busy"),
    ],
)
def test_an_answer_that_is_none(target: Scripted, reply: Any) -> None:
    target.replies["/inference"] = answering(reply)
    assert set(failed_with(run(target))) == {"bad-answer"}


def test_an_invalid_answer_fails(target: Scripted) -> None:
    target.replies["/inference"] = answering((200, MSGPACK, msgpack.packb([{"type": "NONE"}])))
    assert failed_with(run(target)) == ["invalid-output"]


def test_an_invalid_answer_to_an_unusual_image_is_forgiven_when_others_are_right(target: Scripted) -> None:
    requests = (a_request("usual"), a_request("unusual", Demand.UNUSUAL))
    answers = [[OUTPUT], [{"type": "NONE"}]]
    target.replies["/inference"] = lambda kind, body: (
        good_inference(kind, body)
        if good_inference(kind, body)[0] != 200
        else (200, MSGPACK, msgpack.packb(answers.pop(0) if answers else [OUTPUT]))
    )
    result = run(target, plan(*requests))
    assert result.passed
    assert [problem.code for problem in result.warnings] == ["smoke.invalid-output"]


def test_a_mistake_that_fails_usual_images_is_no_want_of_support_for_unusual_ones(target: Scripted) -> None:
    requests = (a_request("usual"), a_request("unusual", Demand.UNUSUAL), a_request("colour", Demand.UNUSUAL))
    no_uid, no_class = {"type": "NONE"}, {"type": "ANNOTATION", "study_uid": "1.2"}
    answers = [[no_uid], [OUTPUT, no_uid], [no_class]]
    target.replies["/inference"] = lambda kind, body: (
        good_inference(kind, body)
        if good_inference(kind, body)[0] != 200
        else (200, MSGPACK, msgpack.packb(answers.pop(0) if answers else [OUTPUT]))
    )
    result = run(target, plan(*requests))
    told = {check.name: (check.outcome, check.message) for check in result.checks}
    assert told["usual"][0] == told["unusual"][0] == "failed"
    # It stands at another place in the outputs, and is the same mistake.
    assert told["unusual"][1] == told["usual"][1].replace("[0]", "[1]")
    assert told["colour"][0] == "warning"
    # Nothing worked, so that nobody can say that it is the image.
    assert "not supported" not in told["colour"][1]
    assert [problem.code for problem in result.problems] == ["smoke.invalid-output"]
    assert "the same with unusual" in result.problems[0].what


def test_a_wrong_uid_is_never_forgiven(target: Scripted) -> None:
    wrong = (200, MSGPACK, msgpack.packb([{"type": "NONE", "study_uid": "9.9"}]))
    target.replies["/inference"] = answering(wrong)
    assert failed_with(run(target, plan(a_request("unusual", Demand.UNUSUAL)))) == ["wrong-uid"]


def test_raising_on_everything_fails_with_the_traceback(target: Scripted) -> None:
    text = "ValueError: boom\n\nTraceback (most recent call last):\n  File x\nValueError: boom"
    target.replies["/inference"] = answering(raised(text))
    result = run(target)
    assert failed_with(result) == ["predict-raised"]
    assert "ValueError: boom" in result.problems[0].what
    assert text in (result.problems[0].details or "")
    assert result.warnings == ()  # the same words are not told twice
    assert not any("not supported" in check.message for check in result.checks)
    assert result.checks[-1].message == "`predict` failed on every one of 2 samples"


def test_raising_on_some_is_a_warning(target: Scripted) -> None:
    replies = [raised("ValueError: not mine")]
    target.replies["/inference"] = lambda kind, body: (
        replies.pop(0) if replies and good_inference(kind, body)[0] == 200 else good_inference(kind, body)
    )
    result = run(target)
    assert result.passed
    assert [problem.code for problem in result.warnings] == ["smoke.predict-raised"]


def test_raising_on_a_required_sample_fails(target: Scripted) -> None:
    replies = [raised("ValueError: not mine")]
    target.replies["/inference"] = lambda kind, body: (
        replies.pop(0) if replies and good_inference(kind, body)[0] == 200 else good_inference(kind, body)
    )
    requests = (a_request("mine", Demand.REQUIRED), a_request("other"))
    assert failed_with(run(target, plan(*requests))) == ["predict-raised"]


def test_raising_and_else_nothing_fails(target: Scripted) -> None:
    """A model that skips what is no DICOM and raises on all that is."""
    replies = [raised("ValueError: boom")]
    target.replies["/inference"] = lambda kind, body: (
        replies.pop(0)
        if replies and good_inference(kind, body)[0] == 200
        else answering((200, MSGPACK, msgpack.packb([])))(kind, body)
    )
    assert failed_with(run(target)) == ["predict-raised"]


def test_empty_lists_for_everything_are_a_warning(target: Scripted) -> None:
    target.replies["/inference"] = answering((200, MSGPACK, msgpack.packb([])))
    result = run(target)
    assert result.passed
    assert [problem.code for problem in result.warnings] == ["smoke.no-outputs"]


def test_a_worker_that_dies_fails_even_on_an_unusual_image(target: Scripted) -> None:
    text = b"During this request the worker process was ended by SIGSEGV: a segmentation fault in native code.\n"
    target.replies["/inference"] = answering((500, "text/plain", text, ("mdai-failure", "worker")))
    result = run(target, plan(a_request("unusual", Demand.UNUSUAL)))
    assert failed_with(result) == ["worker-died"]
    assert "SIGSEGV" in result.problems[0].what


def test_a_worker_that_is_killed_for_memory(target: Scripted) -> None:
    text = b"During this request the worker process was killed by the kernel: out of memory, the limit of 512 MiB\n"
    target.replies["/inference"] = answering((500, "text/plain", text, ("mdai-failure", "worker")))
    result = run(target)
    assert failed_with(result) == ["out-of-memory"]
    assert "512 MiB" in (result.problems[0].details or "")


def test_an_answer_that_cannot_be_repeated(target: Scripted) -> None:
    replies = [good_inference(MSGPACK, b"x")] * 2 + [raised("ValueError: second time")]
    target.replies["/inference"] = lambda kind, body: (
        replies.pop(0) if replies and good_inference(kind, body)[0] == 200 else good_inference(kind, body)
    )
    result = run(target)
    assert failed_with(result) == ["not-repeatable"]
    assert "second time" in (result.problems[0].details or "")


def test_proxies_of_the_environment_are_not_used(target: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert run(target).passed


def test_the_same_mistake_is_told_once(target: Scripted) -> None:
    target.replies["/inference"] = answering((200, MSGPACK, msgpack.packb([{"type": "NONE", "study_uid": "9"}] * 3)))
    result = run(target, plan(*(a_request(name) for name in "abcdef")))
    assert failed_with(result) == ["wrong-uid"]
    assert "the same with b, c, d and 2 more" in result.problems[0].what
    assert sum(len(check.problems) for check in result.checks) == 18


def test_a_slow_model_is_spared_what_nobody_asked_for(target: Scripted) -> None:
    def inference(kind: str, body: bytes) -> Any:
        usual = good_inference(kind, body)
        if usual[0] == 200:
            time.sleep(0.1)
        return usual

    target.replies["/inference"] = inference
    series = (FILE,) * 40
    requests = (
        a_request("one"),
        SmokeRequest("series", "SERIES", series, Demand.EXPECTED),
        SmokeRequest("own series", "SERIES", series, Demand.REQUIRED),
    )
    result = run(target, plan(*requests, predict_seconds=3.0))
    assert result.passed
    assert [problem.code for problem in result.warnings] == ["smoke.not-tried"]
    assert [answer.request.name for answer in result.answers] == ["one", "own series"]


def test_samples_that_were_left_out_are_told(target: Scripted) -> None:
    left_out = Problem("smoke.sample-left-out", "sample `x` is left out: it is no image")
    result = run(target, plan(warnings=(left_out,)))
    assert result.passed
    assert result.warnings == (left_out,)


def a_gpu_report(**more: Any) -> dict[str, Any]:
    """Of a machine with a GPU, on which torch computes unless it is said otherwise."""
    device = {"name": "Tesla T4", "capability": "7.5", "bytes": 16 * 2**30}
    torch = {"name": "torch", "distribution": "torch", "version": "2.1.2", "built_for": "12.1", "error": None, **more}
    driver = {"found": True, "error": "", "cuda": "12.2", "devices": [device]}
    return {"driver": driver, "driver_version": "535.86.05", "frameworks": [torch]}


def status(**gpu: Any) -> tuple[int, str, bytes]:
    return 200, "application/json", json.dumps({"state": "ready", "gpu": gpu or None}).encode()


def test_a_gpu_that_was_used_is_told_with_its_figures(target: Scripted) -> None:
    target.gpu_report = a_gpu_report()
    target.replies["/status"] = status(context=True, frameworks={"torch": 9}, bytes_before=1, peak_bytes=2**30)
    result = run(target, plan(gpu=True))
    assert result.passed and result.gpu is not None and result.gpu.tested
    assert result.checks[-1].message == "computed on Tesla T4 (7.5)" and target.asked == [("torch",)]


def test_a_model_that_fell_back_to_the_cpu_fails_with_the_reason(target: Scripted) -> None:
    target.gpu_report = a_gpu_report(error="RuntimeError: CUDA error: no kernel image is available for execution")
    target.replies["/status"] = status(context=True, frameworks={"torch": 0})
    result = run(target, plan(gpu=True))
    assert failed_with(result) == ["gpu-no-kernel"] and "Tesla T4 (7.5)" in result.problems[0].what


def test_without_a_gpu_it_is_said_that_nothing_was_tested(target: Scripted) -> None:
    target.gpu_refused = "the engine gives none: it has no GPU to give"
    target.gpu_report = {**a_gpu_report(), "driver": {"found": False, "error": "no library", "devices": []}}
    result = run(target, plan(gpu=True))
    assert result.passed and result.gpu is not None and not result.gpu.tested
    (warning,) = result.warnings
    assert warning.code == "smoke.gpu-not-tested" and "no GPU to give" in result.checks[-1].message
    assert "\n" not in result.checks[-1].message


def test_a_driver_that_is_too_old_for_the_image_is_no_want_of_a_gpu(target: Scripted) -> None:
    said = refusal(
        "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=11.8, please update your driver"
    )
    target.gpu_refused = f"the engine gives none: {said}"
    target.gpu_report = {**a_gpu_report(), "driver": {"found": False, "error": "no library", "devices": []}}
    result = run(target, plan(gpu=True))
    assert failed_with(result) == ["gpu-driver-too-old"] and "cuda>=11.8" in result.problems[0].what
    assert result.gpu is not None and not result.gpu.tested


def test_a_model_that_does_not_load_is_told_why_the_gpu_is_of_no_use(target: Scripted) -> None:
    target.replies["/ready"] = (503, "text/plain", b"failed: RuntimeError: CUDA error")
    target.replies["/status"] = (200, "application/json", b'{"state": "failed", "gpu": null}')
    target.gpu_report = a_gpu_report(error="cudaErrorInsufficientDriver: CUDA driver version is insufficient")
    assert failed_with(run(target, plan(gpu=True))) == ["load-failed", "gpu-driver-too-old"]


def test_a_model_for_a_cpu_is_asked_nothing(target: Scripted) -> None:
    assert run(target).gpu is None and target.asked == []
