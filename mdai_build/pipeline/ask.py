"""Asks a served model: `predict` sends a user's files, `profile` sends them again and again. smoke -> report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from mdai_build.bundle import SMOKE_FILE
from mdai_build.errors import Location, MdaiBuildError, Problem, UsageError
from mdai_build.logins import hide_login
from mdai_build.pipeline.pages import PAGE
from mdai_build.pipeline.serve import OnCheck, Tell, check_and_unpack, local_model, wants_gpu
from mdai_build.settings import Settings

if TYPE_CHECKING:
    from mdai_build.engine.target import Target
    from mdai_build.smoke.asked import Asked
    from mdai_build.smoke.plan import SmokePlan
    from mdai_build.smoke.profile import ProfileResult
    from mdai_build.smoke.request import SmokeRequest
    from mdai_build.smoke.result import Answer, Check, SmokeResult
    from mdai_build.smoke.smoke_file import SmokeFile

OnAnswer = Callable[["SmokeRequest", "Answer | None", "Check | None"], None]
_MODEL_ROOT = "/src/lib"
_MOST_SMOKE_FILE_BYTES = 2**20


@dataclass(frozen=True)
class Place:
    """Where the model is: an image, the address of a server, or with `python` a bundle."""

    target: str
    python: str | None = None
    """The Python of this machine that serves the bundle `target`."""

    @property
    def title(self) -> str:
        """A short name for it."""
        return Path(self.target).resolve().name if self.python else hide_login(self.target)

    def facts(self, asked: Asked, scope: str) -> tuple[tuple[str, str], ...]:
        """What a page says of where the model is, and what it was asked."""
        rows = [("model", f"{self.target}, served by {self.python}" if self.python else hide_login(self.target))]
        rows += [("files", ", ".join(asked.files) or "synthetic"), ("scope", scope)]
        if asked.args:
            rows.append(("arguments", ", ".join(f"{name}={value}" for name, value in asked.args.items())))
        return tuple(rows)


@dataclass(frozen=True)
class Prediction:
    """What came of a user's files."""

    smoke: SmokeResult
    """Its checks; the answers were told as they came."""
    requests: int
    scope: str
    files: tuple[Path, ...] = ()
    """Outputs as JSON and msgpack, and the page, where they were asked for."""
    pictures: tuple[Path, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 when every request was answered, and rightly."""
        return 0 if self.smoke.passed else 7


@dataclass(frozen=True)
class _Served:
    target: Target
    smoke_file: SmokeFile | None
    warnings: tuple[Problem, ...] = ()
    samples: Mapping[str, Path] = field(default_factory=dict)
    """Those of the bundle, where it brings its own."""


def predict(
    place: Place,
    asked: Asked,
    settings: Settings,
    out: Path | None,
    page: Path | None,
    stream: IO[str] | None,
    tell: Tell,
    on_check: OnCheck,
    on_answer: OnAnswer,
) -> Prediction:
    """Sends files to a model, and tells, writes and draws what it answers, one answer at a time.

    Args:
        place: where the model is.
        asked: the files, and what goes with them.
        settings: in force.
        out: folder that gets the outputs as JSON and msgpack, pictures, and the page.
        page: file that gets the page, where there is no `out`.
        stream: gets the outputs as JSON.
        tell: is told what goes on.
        on_check: is told each check.
        on_answer: is told each answer.

    Raises:
        UsageError: the files, or what goes with them, are wrong.
        MdaiBuildError: the model cannot be served.
    """
    from mdai_build.report.frames import Budget
    from mdai_build.report.outputs import OutputsWriter
    from mdai_build.report.page import page_of_prediction, write_page
    from mdai_build.report.pictures import Drawer
    from mdai_build.report.views import SampleView, sample_view
    from mdai_build.smoke import ask
    from mdai_build.smoke.gather import gathered

    page = page or (out / PAGE if out else None)
    with gathered(asked.files) as files, _served(place, settings, tell) as served:
        plan = _plan(settings, files, asked, served)
        views: list[SampleView] = []
        budget = Budget()
        drawer = Drawer(out) if out else None
        left = list(plan.requests)

        with OutputsWriter(hide_login(place.target), len(plan.requests), out, stream) as writer:

            def answered(request: SmokeRequest, answer: Answer | None, check: Check | None) -> None:
                left.remove(request)
                writer.write(request, answer, check)
                if drawer and answer:
                    drawer.draw(answer)
                if page:
                    views.append(sample_view(request, answer, check, budget))
                on_answer(request, answer, check)
                tell(f"{len(plan.requests) - len(left)} of {len(plan.requests)} requests answered")

            tell(f"sending {len(plan.requests)} requests of scope {plan.requests[0].scope}")
            smoke = ask(served.target, plan, on_check, answered)
            for request in tuple(left):
                answered(request, None, None)
            written = writer.finish(0 if smoke.passed else 7)
        pictures = drawer.finish() if drawer else ()
        warnings = (*served.warnings, *plan.warnings)
        if page:
            facts = place.facts(asked, plan.requests[0].scope)
            write_page(page_of_prediction(place.title, facts, smoke, views, warnings), page)
            written = (*written, page)
    return Prediction(smoke, len(plan.requests), plan.requests[0].scope, written, pictures, warnings)


def profile(
    place: Place,
    asked: Asked,
    settings: Settings,
    count: int,
    page: Path | None,
    tell: Tell,
    on_check: OnCheck,
) -> tuple[ProfileResult, tuple[Problem, ...]]:
    """Sends requests again and again, and measures; and what is dubious about the model or the files.

    Without files, synthetic samples are tried until the model answers one.

    Raises:
        UsageError: the files, or what goes with them, are wrong.
        MdaiBuildError: the model cannot be served.
    """
    from mdai_build.report.charts import profile_view
    from mdai_build.report.page import page_of_profile, write_page
    from mdai_build.smoke.gather import gathered
    from mdai_build.smoke.profile import run_profile

    with gathered(asked.files) as files, _served(place, settings, tell) as served:
        plan = _plan(settings, files, asked, served)
        measured = run_profile(
            served.target, plan, count, on_check, lambda number: tell(f"{number} of {count} requests answered")
        )
    warnings = (*served.warnings, *plan.warnings)
    if page:
        scope_of = {request.name: request.scope for request in plan.requests}
        scopes = dict.fromkeys(scope_of[found.request] for found in measured.later)
        facts = place.facts(asked, ", ".join(scopes) or "none was answered")
        write_page(page_of_profile(place.title, facts, profile_view(measured), measured, warnings), page)
    return measured, warnings


def _plan(settings: Settings, files: Mapping[str, Path], asked: Asked, served: _Served) -> SmokePlan:
    """The user's files before those of the bundle, these before synthetic ones."""
    from mdai_build.smoke.asked import make_request_plan, make_synthetic_plan

    if asked.files or served.samples:
        return make_request_plan(settings, files or served.samples, asked, served.smoke_file)
    return make_synthetic_plan(settings, asked, served.smoke_file)


@contextmanager
def _served(place: Place, settings: Settings, tell: Tell) -> Iterator[_Served]:
    """The model, served for as long as the block lasts; a server elsewhere is only spoken to."""
    from mdai_build.smoke.elsewhere import is_url, server_at

    if is_url(place.target):
        if place.python is not None:
            raise UsageError(Problem("usage.url", "an address is of a model that is served already: leave out --local"))
        yield _Served(server_at(place.target), None)
        return
    with ExitStack() as stack:
        yield _local(place, settings, tell, stack) if place.python else _image(place, settings, tell, stack)


def _local(place: Place, settings: Settings, tell: Tell, stack: ExitStack) -> _Served:
    from mdai_build.smoke.smoke_file import bundled_samples, parse_smoke_file

    checked, unpacked = check_and_unpack(Path(place.target), settings, tell)
    tell("starting the model")
    server = stack.enter_context(local_model(checked, unpacked, place.python or "python3", settings, tell))
    if not checked.bundle.has(SMOKE_FILE):
        return _Served(server, None, checked.warnings)
    smoke_file = parse_smoke_file(checked.bundle.read_text(SMOKE_FILE))
    sources = {file.path: file.source for file in unpacked.files}
    samples = {path: sources[path] for path in bundled_samples(smoke_file, sources)}
    return _Served(server, smoke_file, checked.warnings, samples)


def _image(place: Place, settings: Settings, tell: Tell, stack: ExitStack) -> _Served:
    from mdai_build.engine import RunOptions, connect, file_of_image, gpu_request, require_image, running_container
    from mdai_build.smoke.smoke_file import parse_smoke_file

    engine = connect(settings.engine_folder)
    if engine.image(place.target) is None and Path(place.target).exists():
        raise UsageError(
            Problem(
                code="predict.bundle",
                what="this is a bundle, not an image",
                where=Location(place.target),
                expected="the name of an image, or the address of a server",
                next_step="build it first; or add --local to serve it from a Python of this machine",
            )
        )
    facts = require_image(engine, place.target)
    tell("starting the image")
    # A strict platform's read-only file system is what the smoke test tries; here outputs are wanted.
    asks_for_gpu = wants_gpu(facts)
    gpus = gpu_request(settings.gpus, asks_for_gpu)
    options = RunOptions(memory=settings.memory, read_only=False, gpus=gpus)
    container = stack.enter_context(running_container(engine, facts.id, options))
    if asks_for_gpu and container.gpu_refused is not None:
        tell(f"the model runs without a GPU: {container.gpu_refused}")
    content = file_of_image(engine, facts.id, f"{_MODEL_ROOT}/{SMOKE_FILE}", _MOST_SMOKE_FILE_BYTES)
    if content is None:
        return _Served(container, None)
    try:
        return _Served(container, parse_smoke_file(content.decode("utf-8", "replace")))
    except MdaiBuildError as error:
        return _Served(container, None, (_ignored(error),))


def _ignored(error: MdaiBuildError) -> Problem:
    return Problem(
        code="predict.smoke-yaml",
        what=f"the image's {SMOKE_FILE} is not heeded: {error.problems[0].what}",
        where=Location(f"{_MODEL_ROOT}/{SMOKE_FILE}"),
        next_step="correct it in the bundle, and build the image anew",
    )
