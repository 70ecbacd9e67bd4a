"""Turns what went wrong with a target into problems: what happened, what was expected, what to do."""

from __future__ import annotations

import re
import signal
from dataclasses import replace
from typing import Literal

from mdai_build.engine.target import Target, TargetState
from mdai_build.errors import Location, Problem
from mdai_build.smoke.hints import ROOT, headline, hint
from mdai_build.smoke.result import Check, SmokeResult

LOG_LINES = 40
_OWN_CODE = re.compile(
    rf'File "{ROOT}(?P<file>[^"\n]+)", line (?P<line>\d+)(?:, in [^\n]*)?(?:\n +(?P<source>[^\n]*))?'
)
_READ_ONLY = "smoke.read-only"
RAISED = ("smoke.predict-raised", _READ_ONLY)
"""The codes of `refused`: an error that `predict` raised."""
_READ_ONLY_WORDS = "Read-only file system"
_OUT_OF_MEMORY = (
    "the model needs more memory than the limit: raise it with `--memory`, or load less at once "
    "(smaller batches, weights in half precision)"
)


def log_tail(target: Target, lines: int = LOG_LINES) -> str:
    """The last lines that the target wrote, or why they cannot be had."""
    try:
        text = target.logs()
    except Exception as error:  # noqa: BLE001  # a lost log must not hide the failure that it would explain
        return f"(its log cannot be read: {error})"
    # At nothing else: what follows a form feed in a model's line would look like a line of the server's.
    kept = text.rstrip("\n").split("\n")[-lines:]
    return "\n".join(kept) if text else "(it wrote nothing to its log)"


def exited(target: Target, state: TargetState, while_doing: str) -> Problem:
    """The target's main process is gone."""
    log = log_tail(target)
    if state.oom_killed:
        return out_of_memory(while_doing, log)
    if state.overstepped:
        return Problem(
            code="smoke.ended",
            what=f"the container was ended {while_doing}: {state.overstepped}",
            expected="a model that keeps what it writes small, and in tempfile.gettempdir()",
            next_step="write less; a limit is that of `--memory`, for files too",
            details=log,
        )
    code = state.exit_code
    how = f"with exit code {code}" if code is not None else "without an exit code"
    number = -code if code is not None and code < 0 else (code or 0) - 128
    if code is not None and (code < 0 or 128 < code < 128 + 65):
        try:
            how = f"killed by {signal.Signals(number).name}"
        except ValueError:
            how = f"killed by signal {number}"
    if state.error:
        how += f" ({state.error})"
    next_step = hint(log) or "read the log below; `mdai-build run IMAGE` starts it in the foreground"
    if how == "killed by SIGKILL":
        next_step = f"usually the kernel does that when memory runs out: {_OUT_OF_MEMORY}"
    return Problem(
        code="smoke.exited",
        what=f"the server exited {while_doing}, {how}",
        expected="a server that stays up until it is stopped, whatever the model does",
        next_step=next_step,
        details=log,
    )


def out_of_memory(while_doing: str, details: str, where: Location | None = None) -> Problem:
    """The kernel killed it for memory."""
    limit = re.search(r"limit of [\d.]+ \w+", details)
    return Problem(
        code="smoke.out-of-memory",
        what=f"killed for want of memory {while_doing}" + (f" (the {limit.group()} was reached)" if limit else ""),
        where=where,
        expected="a model that fits into the container's memory limit",
        next_step=_OUT_OF_MEMORY,
        details=details,
    )


def load_failed(text: str, log: str) -> Problem:
    """The server says that the model did not load; `text` is what it answers on /ready."""
    text = text.removeprefix("failed: ")
    if is_out_of_memory(text):
        return out_of_memory("while the model was loaded", text)
    error = headline(text)
    return Problem(
        code=_READ_ONLY if _READ_ONLY_WORDS in error else "smoke.load-failed",
        what=f"the model did not load: {error}" if error else "the model did not load",
        where=_line_of_code(text),
        expected="`import mdai_deploy` and `MDAIModel()` come to an end without an error",
        next_step=hint(text)
        or (
            "correct the code that the last lines of the traceback name"
            if "Traceback" in text
            else "correct what the error names in mdai_deploy.py"
            if re.match(r"\w+Error: ", error)
            else "look for exit(), os._exit(), a crash in native code, or too little memory"
        ),
        details=text.strip() or log,
    )


def not_ready(seconds: float, target: Target, last: str) -> Problem:
    """The time for loading is over."""
    return Problem(
        code="smoke.not-ready",
        what=f"the model was not ready after {seconds:g} s ({last})",
        expected="GET /ready answers 200 once `MDAIModel()` has returned",
        next_step="if loading takes that long, allow more with `--ready-timeout`; else look where `__init__` waits",
        details=log_tail(target),
    )


def has_network() -> Check:
    """A warning where the container had to have a network: nothing in the image could reach its server without one."""
    problem = Problem(
        code="smoke.network",
        what="the container had the engine's network: this image's server is not started by a Python",
        expected="an image that mdai-build made, which is tested without a network",
        next_step="`--test-network default` says that it may have one",
    )
    return Check("network", "warning", 0.0, problem.what, (problem,))


def writes_refused(result: SmokeResult) -> Check | None:
    """A warning where a model failed because it writes beside its code; None where it did not.

    A strict platform starts images with a read-only file system; most do not, and there such a model works.
    """
    found = tuple(
        replace(
            problem,
            expected="files written to tempfile.gettempdir() alone: a strict platform starts the image read-only",
        )
        for problem in result.problems
        if problem.code == _READ_ONLY
    )
    if not found:
        return None
    message = "the model writes beside its code: tried again with a file system that it may write to"
    return Check("read-only file system", "warning", 0.0, message, found)


def refused(name: str, text: str) -> Problem:
    """`predict` raised, or the worker said no: a 500 whose reason lies in the model's code."""
    error = headline(text)
    sample = f"sample {name}"
    line = _line_of_code(text)
    return Problem(
        code=_READ_ONLY if _READ_ONLY_WORDS in error else "smoke.predict-raised",
        what="`predict` failed" + (f" on {sample}" if line else "") + f": {error}" * bool(error),
        where=replace(line, key=sample) if line else Location(file=sample),
        expected="a list of outputs",
        next_step=hint(text) or "correct the code that the last lines of the traceback name",
        details=text.strip(),
    )


def invalid(name: str, text: str) -> Problem:
    """The server says that the outputs do not keep the contract, or cannot be serialised."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    places = [line for line in lines if line.startswith("outputs")]
    first = places[0] if places else (lines[0] if lines else "the outputs are not valid")
    more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
    return Problem(
        code="smoke.invalid-output",
        what=first + more,
        where=Location(file=f"sample {name}", key=first.partition(":")[0] if places else None),
        expected="outputs as the interface's document lists them: plain Python values, every key of its type",
        next_step=output_hint(first) or "correct what `predict` returns in mdai_deploy.py",
        # Of one place everything is told above.
        details=text.strip() if len(places) != 1 else None,
    )


def worker_died(name: str, text: str) -> Problem:
    """The process that runs the model ended during a request."""
    while_doing = f"while it predicted sample {name}"
    where = Location(file=f"sample {name}")
    if is_out_of_memory(text):
        return out_of_memory(while_doing, text, where)
    return Problem(
        code="smoke.worker-died",
        what=f"the model's process ended {while_doing}: {headline(text)}",
        where=where,
        expected="`predict` returns or raises; it never ends the process",
        next_step=hint(text) or "look for exit(), os._exit(), a crash in native code, or too little memory",
        details=text.strip(),
    )


def bad_request(name: str, text: str) -> Problem:
    """The server says that what we sent is not a request: something in the user's smoke.yaml."""
    return Problem(
        code="smoke.bad-request",
        what=f"the request was refused: {headline(text)}",
        where=Location(file=f"sample {name}"),
        expected="annotations, label_classes and args as the interface's document lists them",
        next_step="correct .mdai/smoke.yaml, or what was given with --args, --annotations or --label-classes",
        details=text.strip(),
    )


def too_slow(name: str, seconds: float, target: Target) -> Problem:
    """No answer in time."""
    return Problem(
        code="smoke.predict-timeout",
        what=f"no answer to sample {name} after {seconds:g} s",
        where=Location(file=f"sample {name}"),
        expected="an answer within the limit",
        next_step="if predicting takes that long, allow more with `--predict-timeout`; else look where `predict` waits",
        details=log_tail(target),
    )


Kind = Literal["invalid", "died", "raised", "request"]

_KINDS: dict[str, Kind] = {
    "decode": "request",
    "request": "request",
    "outputs": "invalid",
    "encode": "invalid",
    "worker": "died",
    "load": "died",
}
_INVALID = re.compile(r"outputs (are not valid|cannot be)", re.IGNORECASE)
_EXITS = re.compile(r"failed: (SystemExit|KeyboardInterrupt)\b")


def kind_of(step: str, text: str) -> Kind:
    """What a 500 is about: the request, outputs that are not valid, a worker that ended, or an error that was raised.

    `step` is what our server says has failed; of other servers the text has to do.
    """
    first = next((line for line in text.splitlines() if line.strip()), "")
    if _EXITS.search(first):
        return "died"
    if step:
        return _KINDS.get(step, "raised")
    return "invalid" if _INVALID.search(first) else "raised"


def is_out_of_memory(text: str) -> bool:
    """Whether the server's words mean that the kernel killed the model's process for memory."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    return bool(re.search(r"was killed.*(out of memory|SIGKILL)", first))


def _line_of_code(text: str) -> Location | None:
    """The last line of the bundle's own code in a traceback; None where there is none."""
    *_, last = [None, *_OWN_CODE.finditer(text[-20_000:])]
    if last is None:
        return None
    return Location(last["file"], int(last["line"]), source=(last["source"] or "").strip() or None)


_OUTPUT_HINTS: tuple[tuple[str, str], ...] = (
    (
        r"\.(?:images\[\d+\]|content): expected bytes.*found '",
        "return the bytes of the file, buffer.getvalue(): no path to it, and no base64",
    ),
    (
        r"\.(?:images\[\d+\]|content): must not be empty",
        "a buffer that was just written stands at its end, and read() gives nothing: take buffer.getvalue()",
    ),
    (
        r"\.(?:images\[\d+\]|content): expected bytes",
        'save it as a file in memory: Image.fromarray(array).save(buffer, format="PNG"), then buffer.getvalue()',
    ),
    (
        r"^outputs\[\d+\]: expected a dict.*found (?:a )?list",
        "return the outputs in one list: outputs.extend(...) in place of append",
    ),
    (r"^outputs\[\d+\]: expected a dict.*found '", "extend() takes a dict apart into its keys: outputs.append(output)"),
    (r"^outputs: expected a list.*found '", "return the list itself, without json.dumps(): the server writes it out"),
    (
        r"^outputs: expected a list.*found None",
        "end every way through `predict` with `return outputs`; sort() and append() themselves return None",
    ),
    (r"^outputs: expected a list", "put the output into a list: return [output]"),
    (r"found a value of type pydicom\.", "write str(...) around the element's value, such as str(ds.StudyInstanceUID)"),
    (r"the key `study_uid` is missing", 'add it from the input: "study_uid": str(ds.StudyInstanceUID)'),
    (
        r"\.class_index: expected an int.*found '",
        "return the number that the model's card gives to the label, such as names.index(name)",
    ),
    (r"\.data: expected a dict", 'a box is {"x": left, "y": top, "width": width, "height": height}, in whole pixels'),
    (r"\.mask: expected a list of rows.*found '", "return the pixels, mask.tolist(), not a file that holds them"),
    (r"\.vertices\[\d+\]: expected \[x, y\](?!:)", "write contour.reshape(-1, 2).tolist(), one outline an output"),
    (
        r"\.probability\[\d+\]: expected \{",
        'write [{"class_index": i, "probability": float(p)} for i, p in enumerate(probabilities)]',
    ),
    (r"probability.*found nan", "look for a division by zero, and for nan in the input; skip what has no probability"),
    (
        r"probability.*expected a probability from 0 to 1",
        "scores of a network become probabilities by a softmax or a sigmoid; percentages are divided by 100",
    ),
    (
        r"numpy|ndarray|Tensor",
        "cast to plain Python: .tolist() for arrays and masks, int(...), float(...), str(...) for single values",
    ),
)


def output_hint(violation: str) -> str | None:
    """What mends an output that is not as it should be, by the server's words; None where nothing is known."""
    return next((advice for pattern, advice in _OUTPUT_HINTS if re.search(pattern, violation)), None)
