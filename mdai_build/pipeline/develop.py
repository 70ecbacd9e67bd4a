"""The loop of `dev`: a folder is served where it lies; after each save the model is loaded anew and tried."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol

from mdai_build.bundle import SMOKE_FILE
from mdai_build.errors import Location, MdaiBuildError, Problem, UnavailableError, UsageError
from mdai_build.pipeline.build import BuildOptions, ensure_image, prepare, unfinished
from mdai_build.pipeline.check import CheckedModel, check_model
from mdai_build.pipeline.folder import model_root, reader, stamps
from mdai_build.pipeline.planning import plan_model
from mdai_build.pipeline.reload import Served
from mdai_build.pipeline.serve import Trial, local_model
from mdai_build.pipeline.store import unpack
from mdai_build.pipeline.tags import TAG_PREFIX, normalise_tag
from mdai_build.report.values import Verdict
from mdai_build.settings import Settings

if TYPE_CHECKING:
    from mdai_build.engine import FolderWatch, Reloadable
    from mdai_build.engine.watch import Saved
    from mdai_build.smoke import Check, SmokePlan, SmokeResult

_MODEL_ROOT = "/src/lib"
_FIRST_WORD_SECONDS = 0.5
"""After a save, by when it is told how the samples fared that were tried by then."""
_NEXT_WORD_SECONDS = 2.0
_REPEATS = 1
_STRIKES = 2
_LATE_SECONDS = 0.5
_GUARD_SECONDS = 0.1
_PATIENCE_SECONDS = 2.0
"""How long, after a save, what was saved before may still load or predict."""
_REQUIREMENTS = {".mdai/requirements.txt", ".mdai/requirements.lock"}


class Listener(Protocol):
    """Who is told what happens."""

    def tell(self, text: str) -> None:
        """Something began."""

    def serving(self, url: str) -> None:
        """The model is served there from now on, for the user's own requests too."""

    def verdict(self, verdict: Verdict) -> None:
        """What is known after a change; one that is not complete is followed by another."""


@dataclass(frozen=True)
class DevelopOptions:
    """What one `dev` was asked for."""

    python: str | None = None
    """A Python of this machine with the model's packages; None: a container."""
    port: int = 0
    """On loopback; 0 takes a free one, and keeps it."""
    trial: Trial = field(default_factory=Trial)


class _SupersededError(Exception):
    """Files were saved while the model was tried."""


def develop(folder: Path, settings: Settings, options: DevelopOptions, listener: Listener) -> NoReturn:
    """Serves a model folder and tries the model after each save, until interrupted.

    The container sees the folder itself, read-only; the image is built anew when what it is made from changes. A
    mistake in the model is told and ends nothing.

    Raises:
        UsageError: it is no folder.
        UnavailableError: there is nothing to serve it with.
        BundleError: it holds no model at all.
    """
    from mdai_build.engine import watched

    if not folder.is_dir():
        raise UsageError(
            Problem(
                "usage.no-folder",
                "`dev` follows the files of a folder",
                Location(str(folder)),
                "the model folder, which holds .mdai",
                "unpack the archive, and name the folder",
            )
        )
    root = model_root(folder)
    with watched(root) as watch, ExitStack() as stack:
        session = _Session(folder, root, settings, options, listener, watch, stack.enter_context(ExitStack()))
        if options.python is None:
            from mdai_build.engine import connect, require_local

            require_local(connect(settings.engine_folder))
        session.run()


class _Session:
    def __init__(
        self,
        folder: Path,
        root: Path,
        settings: Settings,
        options: DevelopOptions,
        listener: Listener,
        watch: FolderWatch,
        running: ExitStack,
    ) -> None:
        self._folder = folder
        self._root = root
        self._settings = settings
        self._options = options
        self._listener = listener
        self._watch = watch
        self._running = running
        self._served: Served | None = None
        self._port = options.port
        self._plan: tuple[object, SmokePlan] | None = None
        self._last: dict[str, Check] = {}
        self._noticed = time.monotonic()
        self._notes: tuple[Problem, ...] = ()
        self._strikes = 0
        self._model_writes = False

    def run(self) -> NoReturn:
        first = True
        while True:
            try:
                self._round()
            except _SupersededError:
                self._listener.tell("saved again: once more")
            except MdaiBuildError as failure:
                if first and isinstance(failure, UnavailableError | UsageError):
                    raise
                # Half of a save may look like a mistake; the other half is there by now.
                if not self._outdated():
                    self._tell_failure(failure)
            first = False
            saved = self._next(time.monotonic())
            self._noticed = saved.noticed
            self._listener.tell(f"saved: {_named(saved.paths)}")
            if self._options.python is not None and _REQUIREMENTS & saved.paths:
                self._listener.tell(f"what is new in it is yours to install for {self._options.python}")

    def _next(self, ended: float) -> Saved:
        """What the user saves next; `ended` is when the last round did.

        A model that writes beside its code while it is tried would have itself tried for ever: files that are no code
        and change during the test, time after time, are its own.
        """
        while True:
            saved = self._watch.wait()
            assert saved is not None
            if self._model_writes and not _has_code(saved.paths):
                continue
            own = saved.noticed < ended + _LATE_SECONDS and not _has_code(saved.paths)
            self._strikes = self._strikes + 1 if own else 0
            if self._strikes <= _STRIKES:
                return saved
            self._model_writes = True
            what = f"the model itself writes {_named(saved.paths)} when it is tried: only code is followed from now on"
            self._listener.tell(what)

    def _round(self) -> None:
        """One look at the files as they are now, up to the verdict."""
        if self._served is not None:
            # The model loads while the bundle is checked.
            self._served.reload()
        checked = check_model(self._folder, self._settings)
        served = self._up_to_date(checked)
        smoke, plan = self._try(checked, served)
        served.stuck = any(problem.code == "smoke.predict-timeout" for problem in smoke.problems)
        verdict = self._verdict(tuple(smoke.checks), plan, complete=True)
        verdict = replace(
            verdict,
            problems=smoke.problems,
            warnings=(*checked.warnings, *self._notes, *_as_mounted(smoke), *smoke.warnings),
        )
        self._listener.verdict(replace(verdict, pictures=self._pictures(smoke)))

    def _up_to_date(self, checked: CheckedModel) -> Served:
        """The model as it is now, being loaded: by the server that runs, or by a new one where it has to be."""
        environment = self._environment(checked)
        if self._served is not None:
            changed = environment != self._served.environment
            if not changed and self._served.reloaded(self._settings.predict_timeout):
                return self._served
            self._listener.tell(self._why_anew() if changed else "the server is started anew")
            self._served = None
            self._running.close()
        if self._options.python is None:
            # Whether new requirements can be met is worth asking before a build.
            checked = check_model(self._folder, self._settings, look_up=True)
            target = self._running.enter_context(self._container(checked))
        else:
            unpacked = unpack(checked.bundle, self._settings)
            server = local_model(
                checked, unpacked, self._options.python, self._settings, self._listener.tell, self._port
            )
            target = self._running.enter_context(server)
        self._port = int(target.url.rpartition(":")[2])
        self._served = Served(target, environment)
        self._listener.serving(target.url)
        return self._served

    def _why_anew(self) -> str:
        if self._options.python is not None:
            return "the variables of config.yaml have changed: the server is started anew"
        return "what the image is made from has changed: it is built anew"

    def _environment(self, checked: CheckedModel) -> object:
        """What the image, or the process, is made from beside the files that it sees where they lie."""
        if self._options.python is not None:
            return dict(checked.config.env)
        inputs = list(checked.requirements.files)
        if checked.config.base_image in ("custom", "nvidia"):
            # An author's Dockerfile may copy any file but the code; NVIDIA's has a folder of its own.
            inputs += [m.path for m in checked.bundle.members if not m.path.endswith(".py")]
        inputs_now = stamps(self._root, inputs)
        return checked.config, checked.requirements, checked.parent, inputs_now, reader(self._root)

    @contextmanager
    def _container(self, checked: CheckedModel) -> Iterator[Reloadable]:
        from mdai_build.engine import RunOptions, connect, gpu_request, running_container

        engine = connect(self._settings.engine_folder)
        unpacked, plan = plan_model(checked, self._settings, self._listener.tell)
        tag = normalise_tag(f"{TAG_PREFIX}{checked.bundle.name}")
        model = prepare(engine, checked, unpacked, plan, tag, self._settings, BuildOptions(), self._listener.tell)
        options = RunOptions(
            memory=self._settings.memory,
            port=self._port or None,
            mounts=((self._root, _MODEL_ROOT),),
            user=reader(self._root),
            gpus=gpu_request(self._settings.gpus, plan.device_type == "gpu"),
        )
        with unfinished(engine, self._settings, [model]):
            built, self._notes = ensure_image(engine, model, self._settings, False, self._listener.tell)
            self._listener.tell("starting the container")
            with running_container(engine, built.image_id, options) as container:
                if plan.device_type == "gpu" and container.gpu_refused is not None:
                    self._listener.tell(f"the model runs without a GPU: {container.gpu_refused}")
                yield container

    # ---- the test ----

    def _try(self, checked: CheckedModel, served: Served) -> tuple[SmokeResult, SmokePlan]:
        from mdai_build.smoke import run_smoke_test

        plan = self._samples(checked)
        checks: list[Check] = []
        names = {request.name for request in plan.requests}
        told_at = self._noticed + _FIRST_WORD_SECONDS - _NEXT_WORD_SECONDS

        def on_check(check: Check) -> None:
            nonlocal told_at
            if self._outdated():
                raise _SupersededError
            checks.append(check)
            if check.name not in names:
                return
            self._last[check.name] = check
            now = time.monotonic()
            if check.outcome == "failed" or now - told_at > _NEXT_WORD_SECONDS:
                told_at = now
                verdict = self._verdict(tuple(checks), plan, complete=False)
                answered = any(each.outcome == "passed" and each.name in names for each in checks)
                if verdict.tried < verdict.samples and (answered or not verdict.passed):
                    self._listener.verdict(verdict)

        with self._impatient(served):
            return run_smoke_test(served.target, plan, on_check), plan

    def _outdated(self) -> bool:
        saved = self._watch.pending
        return bool(saved) and (_has_code(saved) or not self._model_writes)

    @contextmanager
    def _impatient(self, served: Served) -> Iterator[None]:
        """Ends a server that still loads or predicts a while after the next save: it may do so for ever."""
        over = threading.Event()

        def guard() -> None:
            since = time.monotonic()
            while not over.wait(_GUARD_SECONDS):
                if not self._outdated():
                    since = time.monotonic()
                elif time.monotonic() - since > _PATIENCE_SECONDS:
                    served.target.end()
                    return

        guarding = threading.Thread(target=guard, daemon=True)
        guarding.start()
        try:
            yield
        finally:
            over.set()
            guarding.join()

    def _samples(self, checked: CheckedModel) -> SmokePlan:
        """The plan, made once. What failed last comes first, then what was answered soonest, then what was refused."""
        from mdai_build.smoke import make_smoke_plan

        key = self._samples_key(checked)
        if self._plan is None or self._plan[0] != key:
            unpacked = unpack(checked.bundle, self._settings)
            trial = self._options.trial
            plan = make_smoke_plan(self._settings, samples=trial.samples, unpacked=unpacked, scope=trial.scope)
            self._plan = key, replace(plan, repeats=_REPEATS)
        plan = self._plan[1]

        def soonest(name: str) -> tuple[int, float]:
            last = self._last.get(name)
            return (("failed", "passed", "warning").index(last.outcome), last.seconds) if last else (1, 0.0)

        return replace(plan, requests=tuple(sorted(plan.requests, key=lambda request: soonest(request.name))))

    def _samples_key(self, checked: CheckedModel) -> object:
        """What the samples are made from, as far as it is in the bundle."""
        from mdai_build.smoke.smoke_file import bundled_samples, parse_smoke_file

        if not checked.bundle.has(SMOKE_FILE):
            return None
        text = checked.bundle.read_text(SMOKE_FILE)
        samples = bundled_samples(parse_smoke_file(text), (member.path for member in checked.bundle.members))
        return text, stamps(self._root, samples)

    def _verdict(self, checks: tuple[Check, ...], plan: SmokePlan, complete: bool) -> Verdict:
        names = {request.name for request in plan.requests}
        return Verdict(
            passed=all(check.passed for check in checks),
            complete=complete,
            seconds=time.monotonic() - self._noticed,
            tried=len([check for check in checks if check.name in names]),
            samples=len(names),
            problems=tuple(problem for check in checks if not check.passed for problem in check.problems),
        )

    def _tell_failure(self, failure: MdaiBuildError) -> None:
        seconds = time.monotonic() - self._noticed
        self._listener.verdict(
            Verdict(False, True, seconds, problems=failure.problems, warnings=tuple(failure.warnings))
        )

    def _pictures(self, smoke: SmokeResult) -> tuple[Path, ...]:
        if self._options.trial.out is None:
            return ()
        from mdai_build.report.pictures import draw_pictures

        return draw_pictures(smoke, self._options.trial.out)


def _as_mounted(smoke: SmokeResult) -> tuple[Problem, ...]:
    """What differs from a test of the image for a model that writes beside its code."""
    from mdai_build.smoke import writes_refused

    if writes_refused(smoke) is None:
        return ()
    return (
        Problem(
            "dev.read-only",
            "in `dev` the model's folder is mounted read-only, so that a model cannot change it",
            next_step="write to tempfile.gettempdir(); an image whose model writes beside its code is only warned of",
        ),
    )


def _has_code(paths: frozenset[str]) -> bool:
    return any(path.endswith(".py") or path.startswith(".mdai/") for path in paths)


def _named(paths: frozenset[str]) -> str:
    first, *others = sorted(paths)
    return f"{first} and {len(others)} more" if others else first
