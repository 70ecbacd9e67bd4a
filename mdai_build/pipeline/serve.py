"""Tries and serves models: in a container, or in a Python of this machine."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mdai_build.bundle import UnpackedBundle
from mdai_build.errors import BundleError, Location, Problem
from mdai_build.pipeline.check import CheckedModel, check_model
from mdai_build.pipeline.store import unpack
from mdai_build.pipeline.untested import note_tested
from mdai_build.plan import LABEL_PREFIX
from mdai_build.resources import resource, runtime_folder
from mdai_build.settings import Settings

if TYPE_CHECKING:
    from mdai_build.engine import Engine, LocalServer
    from mdai_build.engine.connection import ImageFacts
    from mdai_build.engine.container import RunningContainer
    from mdai_build.report.pictures import DrawerBeside
    from mdai_build.smoke import Check, Scope, SmokePlan, SmokeResult

Tell = Callable[[str], None]
OnCheck = Callable[["Check"], None]
PlanMaker = Callable[[], "SmokePlan"]


@dataclass(frozen=True)
class Trial:
    """With what a smoke test tries a model."""

    samples: Path | None = None
    """The user's own files; default: those of the bundle's smoke.yaml, else synthetic ones."""
    scope: Scope | None = None
    out: Path | None = None
    """Where pictures go; default: a folder in the cache."""


@dataclass(frozen=True)
class Outcome:
    """What a smoke test found, and where the pictures of it are."""

    smoke: SmokeResult
    pictures: tuple[Path, ...]
    warnings: tuple[Problem, ...] = ()
    """What is dubious about the bundle, where it was read for the test."""
    target: str = ""
    """What was tried: an image or a bundle; empty for one that was just built."""

    @property
    def exit_code(self) -> int:
        """0 when the smoke test passed, else 7."""
        return 0 if self.smoke.passed else 7


def plan_ahead(settings: Settings, trial: Trial, unpacked: UnpackedBundle) -> PlanMaker:
    """Makes the plan of a smoke test beside what follows: samples take time, and a build waits for its engine.

    What is returned gives the plan when it is there, or raises what its making raised.
    """
    from mdai_build.smoke import make_smoke_plan

    future: Future[SmokePlan] = Future()

    def make() -> None:
        try:
            future.set_result(make_smoke_plan(settings, trial.samples, unpacked, trial.scope))
        except BaseException as error:  # noqa: BLE001  whoever asks for the plan is told
            future.set_exception(error)

    # Nobody waits for it where the build fails.
    threading.Thread(target=make, daemon=True).start()
    return future.result


def smoke_test(
    engine: Engine,
    image: str,
    settings: Settings,
    trial: Trial,
    unpacked: UnpackedBundle | None,
    name: str,
    on_check: OnCheck,
    planned: PlanMaker | None = None,
) -> Outcome:
    """Starts an image as a strict platform would, tries it, and draws what it answered.

    `planned` gives the plan where it was made ahead.

    A model that writes beside its code is tried again with a file system that lets it, and warned of.
    """
    from mdai_build.engine import RunOptions, can_do_without_network, gpu_request, running_container
    from mdai_build.smoke import has_network, make_smoke_plan, run_smoke_test, writes_refused

    wants_none = settings.test_network == "none"
    network = not (wants_none and can_do_without_network(engine, image))
    told = (has_network(),) if network and wants_none else ()
    for check in told:
        on_check(check)

    asks_for_gpu = wants_gpu(engine.image(image))
    gpus = gpu_request(settings.gpus, asks_for_gpu)

    def tried(read_only: bool) -> tuple[SmokeResult, tuple[Path, ...]]:
        options = RunOptions(
            settings.memory,
            settings.cpus,
            read_only=read_only,
            network=network,
            writable_bytes=settings.memory,
            gpus=gpus,
        )
        # Reading samples takes time, as the drawer's libraries do: the model loads meanwhile.
        with running_container(engine, image, options) as container, _drawer(settings, trial, name) as drawer:
            plan = planned() if planned else make_smoke_plan(settings, trial.samples, unpacked, trial.scope)
            plan = replace(plan, gpu=asks_for_gpu or gpus is not None)
            return run_smoke_test(container, plan, on_check, drawer.draw), drawer.finish()

    smoke, pictures = tried(read_only=True)
    if warning := writes_refused(smoke):
        on_check(warning)
        smoke, pictures = tried(read_only=False)
        smoke = replace(smoke, checks=(warning, *smoke.checks))
    return Outcome(replace(smoke, checks=(*told, *smoke.checks)), pictures)


def wants_gpu(facts: ImageFacts | None) -> bool:
    """Whether an image is of a model with `device_type: gpu`."""
    return facts is not None and facts.labels.get(f"{LABEL_PREFIX}device-type") == "gpu"


def test_image(image: str, settings: Settings, trial: Trial, on_check: OnCheck) -> Outcome:
    """The smoke test of an image that exists.

    Raises:
        UnavailableError: no engine answers, or it holds no such image.
    """
    from mdai_build.engine import connect, require_image

    engine = connect(settings.engine_folder)
    facts = require_image(engine, image)
    name = image.replace("/", "-").replace(":", "-")
    outcome = smoke_test(engine, facts.id, settings, trial, None, name, on_check)
    if outcome.smoke.passed:
        note_tested(settings, facts.id)
    return replace(outcome, target=image)


def test_local(path: Path, python: str, settings: Settings, trial: Trial, tell: Tell, on_check: OnCheck) -> Outcome:
    """The smoke test of a model in a Python of this machine, without an engine.

    Raises:
        MdaiBuildError: the bundle is wrong, or the server cannot be started in that Python.
    """
    from mdai_build.smoke import make_smoke_plan, run_smoke_test

    checked, unpacked = check_and_unpack(path, settings, tell)
    tell("starting the model")
    with local_model(checked, unpacked, python, settings, tell) as server:
        plan = make_smoke_plan(settings, samples=trial.samples, unpacked=unpacked, scope=trial.scope)
        tries_gpu = checked.config.device_type == "gpu" or settings.gpus not in ("auto", "none")
        with _drawer(settings, trial, checked.bundle.name) as drawer:
            smoke = run_smoke_test(server, replace(plan, gpu=tries_gpu), on_check, drawer.draw)
            pictures = drawer.finish()
    return Outcome(smoke, pictures, checked.warnings, str(path))


@contextmanager
def serve_image(image: str, settings: Settings, port: int, tell: Tell) -> Iterator[RunningContainer]:
    """A container that serves an image on a port of loopback, with the limits of the smoke test.

    A model that wants a GPU runs without one where there is none, which is told.

    Raises:
        UnavailableError: no engine answers, it holds no such image, or the port is taken.
    """
    from mdai_build.engine import RunOptions, connect, gpu_request, require_image, running_container

    engine = connect(settings.engine_folder)
    facts = require_image(engine, image)
    asks_for_gpu = wants_gpu(facts)
    options = RunOptions(memory=settings.memory, port=port, gpus=gpu_request(settings.gpus, asks_for_gpu))
    with running_container(engine, facts.id, options) as container:
        if asks_for_gpu and container.gpu_refused is not None:
            tell(f"the model runs without a GPU: {container.gpu_refused}")
        yield container


@contextmanager
def serve_local(
    path: Path, python: str, settings: Settings, port: int, tell: Tell, echo: Callable[[str], None]
) -> Iterator[LocalServer]:
    """A server with a model in a Python of this machine; `echo` is told each line that it prints.

    Raises:
        MdaiBuildError: the bundle is wrong, or the server cannot be started in that Python.
    """
    checked, unpacked = check_and_unpack(path, settings, tell)
    with local_model(checked, unpacked, python, settings, tell, port, echo) as server:
        yield server


def check_and_unpack(path: Path, settings: Settings, tell: Tell) -> tuple[CheckedModel, UnpackedBundle]:
    """A checked bundle, and where its files are.

    Raises:
        MdaiBuildError: the bundle is wrong.
    """
    tell("checking the bundle")
    checked = check_model(path, settings)
    return checked, unpack(checked.bundle, settings)


@contextmanager
def local_model(
    checked: CheckedModel,
    unpacked: UnpackedBundle,
    command: str,
    settings: Settings,
    tell: Tell,
    port: int = 0,
    echo: Callable[[str], None] | None = None,
) -> Iterator[LocalServer]:
    """A server with a checked model in the Python that `command` names; a folder's files are used where they lie.

    Raises:
        MdaiBuildError: the server cannot be started in that Python.
    """
    from mdai_build.engine import find_python, gpu_request, install_server_packages, local_server

    python = find_python(command)
    pins = resource("base_images", "server", f"py{python.version.replace('.', '')}.txt")
    if not pins.is_file():
        raise BundleError(
            Problem(
                code="serve.python-too-new",
                what=f"the server has no packages for Python {python.version} yet",
                where=Location(python.path),
                expected="one of " + ", ".join(sorted(file.stem for file in pins.parent.glob("py*.txt"))),
            )
        )
    if checked.config.python not in (None, python.version):
        tell(f"the bundle asks for Python {checked.config.python}, this is {python.version}")
    packages = install_server_packages(python, pins, settings.cache_folder / "server-packages")

    def lay_out(folder: Path) -> None:
        _lay_out(unpacked, folder / "lib")

    gpus = gpu_request(settings.gpus, checked.config.device_type == "gpu")
    with local_server(python, packages, runtime_folder(), lay_out, checked.config.env, port, echo, gpus) as server:
        yield server


def _lay_out(unpacked: UnpackedBundle, root: Path) -> None:
    """Puts a model root at a path: a folder's own, so that an edit shows after a reload, else a copy."""
    if unpacked.bundle.kind == "folder":
        config = next(file.source for file in unpacked.files if file.path == unpacked.bundle.config_path)
        root.symlink_to(config.parent.parent.resolve(), target_is_directory=True)
        return
    for file in unpacked.files:
        target = root / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file.source, target)
        target.chmod(0o755 if file.executable else 0o644)
    for folder in unpacked.bundle.empty_folders:
        (root / folder).mkdir(parents=True)


def _drawer(settings: Settings, trial: Trial, name: str) -> DrawerBeside:
    from mdai_build.report.pictures import DrawerBeside

    return DrawerBeside(trial.out or settings.cache_folder / "reports" / name)
