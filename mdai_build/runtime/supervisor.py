"""Keeps a worker with a loaded model at hand and gives it one request at a time, first come first served."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import time
from typing import Any, NamedTuple

from .channel import Message
from .cuda import Meter
from .log import Log
from .memory import close_file, size_of, text_of
from .process import WorkerLost, WorkerProcess
from .processes import Reaper
from .settings import Settings

STARTING, READY, BUSY, FAILED = "starting", "ready", "busy", "failed"
STEPS = ("decode", "predict", "check", "encode")
MEASURES = ("peak", "gpu")
"""Of memory, in bytes, by step; told of a request that asked to be measured."""
# What the worker may say of a request: it is done, or which step failed.
_OUTCOMES = ("done", "request", "outputs", *STEPS)
_IDLE_DEATHS = 3
# An idle worker may run its exit handlers; one that leaves by itself, after its answer, may take longer.
_GOODBYE_SECONDS = 0.5
_SHORTAGES = 5
_SHORTAGE_SECONDS = 1.0
_LEAVE_SECONDS = 2.0


class Answer(NamedTuple):
    """What became of a request: ``step`` is ``done``, or the step that failed with ``text`` telling why.

    A done answer lies in the file ``fd``, which the receiver closes. ``seconds`` is by step; ``measured`` by measure
    and step.
    """

    step: str
    text: str
    fd: int | None
    size: int
    seconds: dict[str, float]
    measured: dict[str, dict[str, int]]


class Job:
    """A request that waits for its turn: its body in a memory file, and where the answer will be."""

    def __init__(self, identity: str, body: int, measure: bool = False) -> None:
        self.identity = identity
        self.measure = measure
        self.body: int | None = body
        self.created = time.monotonic()
        self.started: float | None = None
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def close_body(self) -> None:
        if self.body is not None:
            close_file(self.body)
            self.body = None

    def finish(self, answer: Answer) -> None:
        """Hands the answer over, or drops it when the client has left."""
        self.close_body()
        if not self.answer.done():
            self.answer.set_result(answer)
        elif answer.fd is not None:
            close_file(answer.fd)


class Supervisor:
    """The worker's life and the queue before it."""

    def __init__(self, settings: Settings, reaper: Reaper, log: Log) -> None:
        self._settings = settings
        self._reaper = reaper
        self._log = log
        self._jobs: collections.deque[Job] = collections.deque()
        self._wake = asyncio.Event()
        self._reload = False
        self._current: Job | None = None
        self._worker: WorkerProcess | None = None
        self._idle_deaths = 0
        self._shortages = 0
        self.state = STARTING
        self.reason = "the model is being loaded"
        self.load_seconds: float | None = None
        self.restarts = -1
        self.peak_bytes = 0
        self.meter = Meter()
        self.gpu: Any = None
        """What the worker told last of its use of GPUs; None where there are none."""

    @property
    def waiting(self) -> int:
        return len(self._jobs)

    @property
    def worker_pid(self) -> int | None:
        return self._worker.pid if self._worker is not None and self._worker.alive else None

    def submit(self, job: Job) -> None:
        """Puts a job at the queue's end."""
        self._jobs.append(job)
        self._wake.set()

    def withdraw(self, job: Job) -> None:
        """Takes a job whose client has left out of the queue; one that runs is finished for nobody."""
        job.answer.cancel()
        with contextlib.suppress(ValueError):
            self._jobs.remove(job)
            job.close_body()

    def reload(self) -> None:
        """Starts the worker anew once it is idle, or at once if it still loads: what it loads is out of date."""
        self._reload = True
        self._wake.set()
        if self.state == STARTING and self._worker is not None:
            self._worker.stop()

    async def run(self) -> None:
        """Serves until cancelled."""
        while True:
            try:
                await self._one_life()
            except (OSError, EOFError) as error:
                await self._recover(error)
            finally:
                if self._worker is not None:
                    idle = self.state == READY
                    await asyncio.shield(self._worker.leave(_GOODBYE_SECONDS) if idle else self._worker.kill())
                    self._reaper.kill_children()

    def refuse_all(self, step: str, text: str) -> None:
        """Answers everything that waits or runs with this failure."""
        for job in [self._current, *self._jobs]:
            if job is not None:
                job.finish(_failure(step, text))
        self._jobs.clear()

    async def _recover(self, error: Exception) -> None:
        """The machine could not give what a worker needs (processes, open files, memory): tries again, for a while."""
        self._shortages += 1
        reason = f"A worker process cannot be started or spoken to: {error}."
        self._log.write(reason)
        if self._current is not None:
            self._current.finish(_failure("worker", reason + "\n"))
            self._current = None
        if self._shortages >= _SHORTAGES:
            await self._stay_failed(reason)
        self.state, self.reason = STARTING, reason
        await asyncio.sleep(_SHORTAGE_SECONDS)

    # ---- one worker's life ----

    async def _one_life(self) -> None:
        self._reload = False
        self.restarts += 1
        self.state = STARTING
        started = time.monotonic()
        self._worker = worker = WorkerProcess(self._reaper, self._log)
        reason = await self._load(worker)
        if self._reload:
            self._log.write("the model is loaded anew, as asked by SIGHUP while it was being loaded")
            return
        if reason is not None:
            await self._stay_failed(reason)
            return
        self._shortages = 0
        self.load_seconds = time.monotonic() - started
        self._log.write(f"the model is loaded after {self.load_seconds:.2f} s", worker=worker.pid)
        self.state, self.reason = READY, ""
        while not self._reload:
            job = await self._next_job(worker)
            if job is None:
                return
            self.state, self._current = BUSY, job
            job.started = time.monotonic()
            self.meter.begin()
            try:
                survives = await self._serve(worker, job)
            finally:
                self.meter.end()
            self._current = None
            if not survives:
                return
            self.state = READY
        self._log.write("the model is loaded anew, as asked by SIGHUP")
        self.reason = "the model is being loaded anew"

    async def _load(self, worker: WorkerProcess) -> str | None:
        """Waits until the model is loaded; returns why it is not."""
        limit = self._settings.load_timeout
        try:
            message = await worker.receive(limit)
        except WorkerLost as lost:
            return await self._with_output(f"While it loaded the model, the worker process {lost}.", worker)
        except asyncio.TimeoutError:
            await worker.abort()
            return await self._with_output(f"The model did not load within {limit:g} s (MDAI_LOAD_TIMEOUT).", worker)
        if message.content.get("event") == "loaded":
            self.gpu = message.content.get("gpu")
            message.close()
            return None
        if message.fd is None:
            return "The worker process said what it should not."
        try:
            return text_of(message.fd)
        finally:
            message.close()

    async def _stay_failed(self, reason: str) -> None:
        """A model that does not load is not tried again: the next attempt would fail as well."""
        self.state, self.reason = FAILED, reason
        self._log.write("the model is not loaded; the server stays up and says why on /ready")
        self._log.write(reason)
        if self._worker is not None:
            await self._worker.leave(_LEAVE_SECONDS)
            self._reaper.kill_children()
        while not self._reload:
            self.refuse_all("load", reason)
            await self._woken()

    async def _next_job(self, worker: WorkerProcess) -> Job | None:
        """The next in the queue; None when the worker has ended or is to be loaded anew."""
        end = asyncio.ensure_future(worker.ended())
        try:
            while worker.alive and not self._reload:
                if self._jobs:
                    return self._jobs.popleft()
                wake = asyncio.ensure_future(self._woken())
                await asyncio.wait({wake, end}, return_when=asyncio.FIRST_COMPLETED)
                wake.cancel()
        finally:
            end.cancel()
        if not worker.alive:
            await self._died_idle(await worker.ended())
        return None

    async def _woken(self) -> None:
        await self._wake.wait()
        self._wake.clear()

    async def _died_idle(self, how: str) -> None:
        self._idle_deaths += 1
        self.reason = f"between two requests the worker process {how}; the model is being loaded again"
        self.state = STARTING
        self._log.write(self.reason)
        if self._idle_deaths >= _IDLE_DEATHS:
            await self._stay_failed(
                f"{self._idle_deaths} times in a row, without a request in between, the worker process {how}."
            )

    async def _serve(self, worker: WorkerProcess, job: Job) -> bool:
        """One request through the worker; returns whether the worker can take another."""
        assert job.body is not None
        limit = self._settings.predict_timeout
        worker.forget_output()
        try:
            worker.send({"id": job.identity, "measure": job.measure}, job.body)
        except WorkerLost as lost:
            # The worker has not seen this request, so the next one may.
            self._jobs.appendleft(job)
            self._current = None
            await worker.kill()
            await self._died_idle(str(lost))
            return False
        # The worker has the body now; what it has decoded need not stay in memory for us.
        job.close_body()
        try:
            message = await worker.receive(limit)
        except WorkerLost as lost:
            what = f"During this request the worker process {lost}."
        except asyncio.TimeoutError:
            await worker.abort()
            what = f"The model took longer than {limit:g} s (MDAI_PREDICT_TIMEOUT) and was stopped."
        else:
            self._idle_deaths = 0
            return await self._take(worker, job, message)
        await worker.kill()
        self._idle_deaths = 0
        text = await self._with_output(what, worker)
        self._log.write(what, request=job.identity)
        self.state, self.reason = STARTING, what + " The model is being loaded again."
        job.finish(_failure("worker", text))
        return False

    async def _take(self, worker: WorkerProcess, job: Job, message: Message) -> bool:
        content = message.content
        step, seconds = content.get("step"), content.get("seconds")
        if content.get("id") != job.identity or step not in _OUTCOMES or message.fd is None:
            message.close()
            await worker.kill()
            job.finish(_failure("worker", "The worker process answered something else than it was asked.\n"))
            return False
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            self.peak_bytes = max(self.peak_bytes, int(content.get("peak_bytes", 0)))
        self.gpu = content.get("gpu")
        times, measured = _times(seconds), _measured(content.get("measured"))
        if step == "done":
            job.finish(Answer(step, "", message.fd, size_of(message.fd), times, measured))
            return True
        try:
            text = text_of(message.fd)
        finally:  # it may be no file that can be read
            message.close()
        job.finish(Answer(step, text, None, 0, times, measured))
        if content.get("leaves"):
            self.state, self.reason = STARTING, "the model ended its process; it is being loaded again"
            await worker.leave(_LEAVE_SECONDS)
            return False
        return True

    async def _with_output(self, what: str, worker: WorkerProcess) -> str:
        tail = await worker.output_tail()
        return f"{what}\n\nLast lines that it printed:\n{tail}\n" if tail else what + "\n"


def _failure(step: str, text: str) -> Answer:
    return Answer(step, text, None, 0, {}, {})


def _times(said: Any) -> dict[str, float]:
    """The seconds by step that a worker told, as far as they are such."""
    if not isinstance(said, dict):
        return {}
    return {step: said[step] for step in STEPS if isinstance(said.get(step), float)}


def _measured(said: Any) -> dict[str, dict[str, int]]:
    """The bytes by measure and step that a worker told, as far as they are such."""
    if not isinstance(said, dict):
        return {}
    found = {name: said[name] for name in MEASURES if isinstance(said.get(name), dict)}
    return {
        name: {step: steps[step] for step in STEPS if isinstance(steps.get(step), int)} for name, steps in found.items()
    }
