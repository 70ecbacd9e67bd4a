"""Looks at what builds depend on, all of it at once, each check with a few seconds of its own."""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdai_build.errors import Location, MdaiBuildError, Problem, UsageError
from mdai_build.logins import hide_login
from mdai_build.matrix import is_version, support_matrix
from mdai_build.report.health import Health, HealthCheck, HealthOutcome
from mdai_build.report.text import size
from mdai_build.settings import PREFIX, SETTINGS_FILE, Settings, load_settings, settings_file

if TYPE_CHECKING:
    from mdai_build.engine import Engine
    from mdai_build.engine.probe import Gpu

DEADLINE_SECONDS = 6.0
"""Of one check; they run side by side."""
_NETWORK_SECONDS = 4.0
_LITTLE_DISK, _NO_DISK = 15 * 10**9, 3 * 10**9
"""A parent image and a model's packages take up to the first; nothing fits into the second."""


@dataclass(frozen=True)
class _Found:
    outcome: HealthOutcome
    message: str
    problem: Problem | None = None


_Check = Callable[[], _Found]


def examine(settings: Settings, wrong_settings: MdaiBuildError | None = None) -> Health:
    """Looks at everything. Takes no longer than the slowest check may.

    `wrong_settings` is why the settings could not be read, where that is so: then `settings` are the defaults.
    """
    begun = time.monotonic()
    engine = _Engine(settings)
    checks: dict[str, _Check] = {
        "settings": lambda: _settings(wrong_settings),
        "cache folder": lambda: _cache_folder(settings),
        "engine": engine.engine,
        "buildx": engine.buildx,
        "engine's disk": engine.disk,
        "parent image": engine.parent,
        "package index": lambda: _index(settings),
        "proxies": lambda: _proxies(settings),
        "CA certificates": lambda: _certificates(settings),
        "GPU": engine.gpu,
    }
    running = {name: _Running(check) for name, check in checks.items()}
    results = tuple(each.result(name, begun + DEADLINE_SECONDS) for name, each in running.items())
    return Health(results, time.monotonic() - begun)


def readable_settings(options: Mapping[str, Any]) -> tuple[Settings, UsageError | None]:
    """The settings in force; where some are wrong, the others, and why."""
    try:
        return load_settings(options), None
    except UsageError as failure:
        wrong = {problem.where.key for problem in failure.problems if problem.where and problem.where.key}
        environment = {name: value for name, value in os.environ.items() if name not in _variables(wrong)}
        given = {name: value for name, value in options.items() if name not in wrong}
        for from_file in (True, False):
            with contextlib.suppress(UsageError):
                return load_settings(given, environment, look_for_file=from_file), failure
        return load_settings({}, {}, look_for_file=False), failure


def _variables(names: Iterable[str]) -> set[str]:
    return {f"{PREFIX}{name.upper()}" for name in names}


class _Running:
    """A check in a thread that nobody waits for once its time is over."""

    def __init__(self, check: _Check) -> None:
        self._check = check
        self._begun = time.monotonic()
        self._seconds = 0.0
        self._found: _Found | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._found = self._check()
        except MdaiBuildError as failure:
            problem = failure.problems[0]
            self._found = _Found("missing", problem.what, problem)
        except Exception as error:  # noqa: BLE001 - a bug of ours, raised again where it is seen
            self._error = error
        self._seconds = time.monotonic() - self._begun

    def result(self, name: str, deadline: float) -> HealthCheck:
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._error is not None:
            raise self._error
        if self._found is None:
            problem = Problem(
                "doctor.late",
                f"{name}: no answer after {DEADLINE_SECONDS:g} s",
                next_step="try again; if it stays so, look there first",
            )
            return HealthCheck(name, "warning", "no answer in time", DEADLINE_SECONDS, problem)
        return HealthCheck(name, self._found.outcome, self._found.message, self._seconds, self._found.problem)


class _Engine:
    """The checks that need the engine; it is connected to once, and the others wait for that."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine: Engine | None = None
        self._known = threading.Event()

    def engine(self) -> _Found:
        from mdai_build.engine import connect

        try:
            engine = self._engine = connect(self._settings.engine_folder)
        except MdaiBuildError as failure:
            problem = replace(failure.problems[0], next_step=_mend_engine(failure.problems[0]))
            return _Found("missing", problem.what, problem)
        finally:
            self._known.set()
        capacity = engine.capacity()
        return _Found(
            "ok",
            f"{engine.version} at {hide_login(engine.host)}, {capacity.cores} cores, {size(capacity.memory)} of memory",
        )

    def buildx(self) -> _Found:
        from mdai_build.engine.probe import engine_facts, has_builder

        engine = self._connected()
        if engine is None:
            return _Found("skipped", "no engine")
        builder = self._settings.builder
        if builder is not None and not has_builder(engine, builder):
            problem = Problem(
                "doctor.builder",
                f"buildx knows no builder {builder!r}",
                Location("settings", key="builder"),
                next_step=f"docker buildx create --name {builder}; or leave the setting out",
            )
            return _Found("missing", problem.what, problem)
        facts = engine_facts(engine)
        return _Found("ok", f"{facts.buildx}, image store {facts.store}" + (f", builder {builder}" if builder else ""))

    def disk(self) -> _Found:
        from mdai_build.engine.probe import engine_facts

        engine = self._connected()
        if engine is None:
            return _Found("skipped", "no engine")
        root = engine_facts(engine).root
        if root is None:
            return _Found("skipped", "it is on another machine")
        return _disk(root, "see `docker system df`, then: docker builder prune; docker image prune")

    def parent(self) -> _Found:
        """Whether the parent images can be had: from their registry, or the one that was made here."""
        from mdai_build.engine.probe import answer_of

        engine = self._connected()
        local = support_matrix().local.cpu.image
        made = engine is not None and engine.image(local) is not None
        settings = self._settings
        if settings.parent == "local":
            if made or engine is None:
                return _Found("ok" if made else "skipped", f"{local} is on the engine" if made else "no engine")
            problem = Problem(
                "engine.no-local-parent",
                f"the local parent image {local} has not been made on this engine",
                next_step="run `make parent` in a checkout of mdai-build",
            )
            return _Found("missing", problem.what, problem)
        if settings.parent == "slim":
            return _Found("ok", f"slim: maintained images of {_slim_systems()}, pulled when a build needs them")
        if settings.parent != "gcp":
            there = engine is not None and engine.image(settings.parent) is not None
            return _Found("ok", f"{settings.parent}{' is on the engine' if there else ', to be pulled'}")
        host = settings.parent_registry.partition("/")[0]
        status, reason = answer_of(f"https://{host}/v2/", settings, _NETWORK_SECONDS)
        if status in (200, 401, 403):
            return _Found("ok", f"{host} answers{_past_their_end(datetime.date.today())}")
        why = f"answers {status}" if status is not None else reason
        problem = Problem(
            "doctor.no-registry",
            f"the registry {host} cannot be asked: {why}",
            Location("settings", key="parent_registry"),
            "a registry that has Google's images, or a parent of this machine",
            "the local parent is here: build with `--parent local`, or set MDAI_BUILD_PARENT=local"
            if made
            else "run `make parent` in a checkout and build with `--parent local`; or name a mirror: "
            "export MDAI_BUILD_PARENT_REGISTRY=HOST/PATH",
        )
        return _Found("warning" if made else "missing", f"{host}: {why}", problem)

    def gpu(self) -> _Found:
        from mdai_build.engine.probe import engine_facts, gpus

        found = gpus()
        if not found:
            return _Found("ok", "none here: models for a GPU are built, and tested on the CPU")
        engine = self._connected()
        told = "; ".join(dict.fromkeys(_what_it_runs(gpu) for gpu in found))
        if old := _old_driver(found):
            return _Found("warning", told, old)
        if engine is None or engine_facts(engine).gives_gpus:
            return _Found("ok", told)
        problem = Problem(
            "doctor.gpu",
            f"there is a GPU ({told}), and containers cannot use it",
            expected="an engine with NVIDIA's container toolkit",
            next_step="install nvidia-container-toolkit, then: "
            "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker",
        )
        return _Found("warning", problem.what, problem)

    def _connected(self) -> Engine | None:
        self._known.wait(DEADLINE_SECONDS)
        return self._engine


def _slim_systems() -> str:
    matrix = support_matrix()
    images = (matrix.cpu.slim, *(row.slim for row in matrix.gpu.values() if row.slim))
    return ", ".join(dict.fromkeys(image.distribution or image.image for image in images))


def _past_their_end(today: datetime.date) -> str:
    matrix = support_matrix()
    images = (matrix.cpu.google, *(row.google for row in matrix.gpu.values()))
    gone = [image.image for image in images if image.past_availability(today)]
    if not gone:
        return ""
    return f"; {len(gone)} of its {len(images)} parent images are past their announced end: `mdai-build parents list`"


def _what_it_runs(gpu: Gpu) -> str:
    """A GPU and what config.yaml may ask of it: `Tesla T4 (Turing), driver 470.82.01: cuda_version 10.0 to 11.8`."""
    matrix = support_matrix()
    generation = matrix.generation_of(gpu.capability) if gpu.capability else None
    told = f"{gpu.name} ({generation.name})" if generation else gpu.name
    told += f", driver {gpu.driver}"
    if not is_version(gpu.driver):
        return told
    if gpu.capability and not matrix.first_cuda_for(gpu.capability):
        return f"{told}: newer than every cuda_version, so that packages must bring their own CUDA"
    cudas = matrix.cudas_of_host(gpu.driver, gpu.capability)
    return f"{told}: cuda_version {' to '.join(dict.fromkeys((cudas[0], cudas[-1])))}" if cudas else told


def _old_driver(gpus: Iterable[Gpu]) -> Problem | None:
    """A GPU whose driver runs none of the CUDAs that have kernels for it."""
    matrix = support_matrix()
    for gpu in gpus:
        wanted = matrix.first_cuda_for(gpu.capability) if gpu.capability else matrix.defaults.cuda
        if wanted and is_version(gpu.driver) and not matrix.cudas_of_host(gpu.driver, gpu.capability):
            return Problem(
                "doctor.old-driver",
                f"no cuda_version runs on {gpu.name} with driver {gpu.driver}",
                expected=f"driver {matrix.driver_for(wanted)} or newer, which CUDA {wanted} needs",
                next_step="have the driver of this machine updated",
            )
    return None


def _settings(wrong: MdaiBuildError | None) -> _Found:
    if wrong is not None:
        problem = wrong.problems[0]
        place = str(problem.where) if problem.where else ""
        variable = place.removeprefix("environment variable ") if place.startswith("environment variable ") else None
        advice = f"correct it, or: unset {variable}" if variable else f"correct it in {place}"
        return _Found("missing", problem.what, replace(problem, next_step=problem.next_step or advice))
    file = settings_file()
    given = sorted(name for name in os.environ if name.startswith("MDAI_BUILD_"))
    told = [str(file) if file else f"no {SETTINGS_FILE}", *given]
    return _Found("ok", ", ".join(told))


def _cache_folder(settings: Settings) -> _Found:
    folder = settings.cache_folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
    except OSError as error:
        problem = Problem(
            "doctor.cache-folder",
            f"the cache folder cannot be written to: {error.strerror or error}",
            Location(str(folder)),
            next_step="export MDAI_BUILD_CACHE_FOLDER=FOLDER, one that you may write to",
        )
        return _Found("missing", problem.what, problem)
    return _disk(folder, "mdai-build clean; or put it elsewhere: export MDAI_BUILD_CACHE_FOLDER=FOLDER")


def _disk(folder: Path, advice: str) -> _Found:
    free = shutil.disk_usage(folder).free
    message = f"{folder}, {size(free)} free"
    if free >= _LITTLE_DISK:
        return _Found("ok", message)
    problem = Problem(
        "doctor.disk",
        f"{size(free)} are left on the disk of {folder}",
        expected=f"{size(_LITTLE_DISK)}: a parent image and a model's packages take up to that",
        next_step=advice,
    )
    return _Found("missing" if free < _NO_DISK else "warning", message, problem)


def _index(settings: Settings) -> _Found:
    from mdai_build.engine import Resolver
    from mdai_build.engine.probe import answer_of

    if settings.wheels:
        return _Found("skipped", f"everything is installed from {settings.wheels}")
    resolver = Resolver.find(settings)
    index = settings.index_url or (resolver.default_index() if resolver else None)
    if index is None:
        return _Found("skipped", "it is not known which one uv asks")
    status, reason = answer_of(f"{index.rstrip('/')}/pip/", settings, _NETWORK_SECONDS)
    if status is not None and status < 400:
        return _Found("ok", f"{hide_login(index)} answers")
    if status in (401, 407):
        problem = Problem(
            "engine.login-refused",
            f"the package index wants a login, or refused it ({status}): {hide_login(index)}",
            Location("settings", key="index_url"),
            next_step="write `machine HOST login NAME password WORD` into a file, and: export MDAI_BUILD_NETRC=FILE",
        )
        return _Found("missing", f"{hide_login(index)} answers {status}", problem)
    why = f"answers {status} {reason}".strip() if status is not None else reason
    if "certificate" in why:
        advice = "export MDAI_BUILD_CA_BUNDLE=FILE, with your company's CA certificate in it"
    elif "proxy" in why or not settings.proxies:
        advice = "behind a proxy: export https_proxy=http://HOST:PORT; with a mirror: export MDAI_BUILD_INDEX_URL=URL"
    else:
        advice = "with a mirror: export MDAI_BUILD_INDEX_URL=URL; without a network: mdai-build build --wheels FOLDER"
    problem = Problem(
        "doctor.no-index",
        f"the package index cannot be asked: {why}",
        Location("settings", key="index_url"),
        f"an answer of {hide_login(index)}",
        advice,
    )
    return _Found("missing", f"{hide_login(index)}: {why}", problem)


def _proxies(settings: Settings) -> _Found:
    from mdai_build.engine.probe import answers_at

    addresses = {name: value for name, value in sorted(settings.proxies.items()) if name != "no_proxy"}
    if not addresses:
        return _Found("ok", "none set")
    for name, address in addresses.items():
        if reason := answers_at(address, _NETWORK_SECONDS):
            problem = Problem(
                "doctor.proxy",
                f"the proxy {hide_login(address)} cannot be reached: {reason}",
                Location("settings", key=name),
                next_step=f"unset {name} {name.upper()}; or set it to a proxy that is there",
            )
            return _Found("missing", f"{name}: {reason}", problem)
    return _Found("ok", ", ".join(f"{name} {hide_login(address)}" for name, address in addresses.items()))


def _certificates(settings: Settings) -> _Found:
    file = settings.ca_bundle
    if file is None:
        return _Found("ok", "this machine has no bundle of its own: the image's is used")
    try:
        count = len(ssl.create_default_context(cafile=str(file)).get_ca_certs())
        reason = None if count or file.read_bytes().count(b"BEGIN CERTIFICATE") else "there is no certificate in it"
    except (OSError, ssl.SSLError) as error:
        reason, count = (
            (error.strerror if isinstance(error, FileNotFoundError) else "it holds no certificate in PEM"),
            0,
        )
    if reason is None:
        return _Found("ok", f"{file}, {count} certificates")
    problem = Problem(
        "doctor.ca",
        f"the CA certificates cannot be used: {reason}",
        Location(str(file), key="ca_bundle"),
        "a file of certificates in PEM",
        "export MDAI_BUILD_CA_BUNDLE=FILE, or leave the setting out for this machine's own",
    )
    return _Found("missing", f"{file}: {reason}", problem)


def _mend_engine(problem: Problem) -> str | None:
    """The command that mends an engine that does not answer, or lacks a part, on this kind of machine."""
    said = problem.details or ""
    if problem.code == "engine.none-answers" and os.environ.get("DOCKER_HOST"):
        return "DOCKER_HOST names an engine that does not answer: start it, or: unset DOCKER_HOST"
    if problem.code == "engine.none-answers" and "permission denied" in said:
        return "sudo usermod -aG docker $USER, then log in anew; or `make engine` in a checkout of mdai-build"
    if problem.code == "engine.none-answers":
        if sys.platform == "darwin" or os.name == "nt":
            return "start Docker Desktop"
        started = "sudo systemctl start docker" if shutil.which("dockerd") else None
        return (
            f"{started or _install('docker.io docker-buildx', 'docker-ce docker-buildx-plugin')}; or, in a checkout of "
            "mdai-build, `make engine` for a private one"
        )
    if problem.code == "engine.no-buildx":
        return _install("docker-buildx", "docker-buildx-plugin")
    if problem.code == "engine.no-client":
        return _install("docker.io docker-buildx", "docker-ce-cli docker-buildx-plugin")
    return problem.next_step


def _install(debian: str, others: str) -> str:
    if shutil.which("apt-get"):
        return f"sudo apt-get install {debian}"
    if shutil.which("dnf"):
        return f"sudo dnf install {others}"
    return f"install {others}"
