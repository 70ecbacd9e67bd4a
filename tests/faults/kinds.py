"""The kinds of faults: what is done to a run, and how it has to end. docs/faults.md is written from this table."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import services
from engine import alive
from world import TRACEBACK, Run, World, until

Inject = Callable[[World], "Run | list[Run]"]


@dataclass(frozen=True)
class Kind:
    """One kind of fault."""

    name: str
    what: str
    """What happens, for the page."""
    exit_code: int
    code: str
    """The kind of message (`mdai_build/error_pages.toml`); empty for none."""
    inject: Inject
    own_engine: bool = False
    """Whether it ends, stops or fills the engine: only for one that nobody else uses."""
    says: str = ""
    """What is to be told of it where there is no message."""
    moves: bool = False
    """Whether the image had passed already, and has its tag."""
    leaves: bool = False
    """Whether the run itself can clear up no more, so that the next one has to."""


def _signalled(number: signal.Signals) -> Inject:
    def inject(world: World) -> Run:
        running = world.start_build()
        running.says("starting the image for the smoke test")
        running.end(number)
        return running.finish()

    return inject


def _no_engine(world: World) -> Run:
    return world.build(DOCKER_HOST=f"unix://{world.place}/none.sock")


def _silent_engine(world: World) -> Run:
    with services.silent_engine(world.place) as host:
        return world.build(DOCKER_HOST=host)


def _old_engine(world: World) -> Run:
    with services.old_engine(world.place) as host:
        return world.build(DOCKER_HOST=host)


def _no_client(world: World) -> Run:
    empty = world.place / "empty"
    empty.mkdir(exist_ok=True)
    return world.build(PATH=str(empty))


def _no_buildx(world: World) -> Run:
    return world.build(DOCKER_CONFIG=str(world.place / "none"))


def _denied(world: World) -> Run:
    """A socket that nobody may open; root may open all, unless that right is taken away."""
    path = world.place / "denied.sock"
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0)
        without = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
        try:
            return world.start(*world.build_words(), through=without, DOCKER_HOST=f"unix://{path}").finish()
        finally:
            path.unlink()


def _daemon(world: World) -> int:
    """The process of the engine."""
    return int(Path(world.engine["DOCKER_HOST"].removeprefix("unix://")).with_name("docker.pid").read_text())


def _engine_dies_at(pattern: str, number: signal.Signals) -> Inject:
    def inject(world: World) -> Run:
        running = world.start_build(MDAI_BUILD_PREDICT_TIMEOUT="5", MDAI_BUILD_READY_TIMEOUT="5")
        running.says(pattern)
        daemon = _daemon(world)
        os.kill(daemon, number)
        try:
            return running.finish(280)
        finally:
            if number == signal.SIGSTOP:
                os.kill(daemon, signal.SIGCONT)

    return inject


def _engine_restarts_at(pattern: str) -> Inject:
    def inject(world: World) -> Run:
        running = world.start_build()
        running.says(pattern)
        daemon = _daemon(world)
        os.kill(daemon, signal.SIGTERM)
        until(lambda: not alive(daemon))
        world.revive()
        return running.finish()

    return inject


def _engine_full(world: World) -> Run:
    """Leaves a few MiB to an engine that lies on a file system in memory."""
    disk = Path(world.engine["DOCKER_HOST"].removeprefix("unix://")).parents[1]
    subprocess.run(["mountpoint", "-q", str(disk)], check=True)
    before, world.megabytes = world.megabytes, 64
    world.change()
    facts = os.statvfs(disk)
    used = (facts.f_blocks - facts.f_bfree) * facts.f_frsize
    try:
        subprocess.run(["mount", "-o", f"remount,size={used + 16 * 2**20}", str(disk)], check=True)
        return world.build()
    finally:
        size = facts.f_blocks * facts.f_frsize
        subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)
        world.megabytes = before
        world.change()


def _container_dies(world: World) -> Run:
    running = world.start_build()
    running.says("starting the image for the smoke test")
    label = f"io.mdai-build.owner={os.uname().nodename}:{running.process.pid}"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and running.process.poll() is None:
        for container in world.client.containers.list(filters={"label": label}):
            with contextlib.suppress(Exception):
                container.kill()
            return running.finish()
    return running.finish()


@contextlib.contextmanager
def small_disk(folder: Path, size: str, read_only: bool = False) -> Iterator[None]:
    """A file system of its own at a folder; for root on Linux alone."""
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={size}{',ro' if read_only else ''}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _cache_full(world: World) -> Run:
    cache = world.place / "small-cache"
    with small_disk(cache, "256k"):
        return world.build(MDAI_BUILD_CACHE_FOLDER=str(cache))


def _temporary_full(world: World) -> Run:
    place = world.place / "small-tmp"
    with small_disk(place, "64k"):
        with contextlib.suppress(OSError):
            (place / "filler").write_bytes(bytes(2**20))
        return world.build(TMPDIR=str(place))


def _output_full(world: World) -> Run:
    place = world.place / "small-output"
    with small_disk(place, "16k"):
        return world.build("--report", str(place / "report.html"))


def _output_fixed(world: World) -> Run:
    place = world.place / "fixed-output"
    with small_disk(place, "16k", read_only=True):
        return world.build("--report", str(place / "report.html"))


def _stdout_full(world: World) -> Run:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mdai_build.cli", "check", str(world.model), "--json", "--offline"],
            cwd=world.work,
            env=world.environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    return Run(done.returncode, "", done.stderr, 0.0)


def _read_only_home(world: World) -> Run:
    home = world.place / "fixed-home"
    with small_disk(home, "64k", read_only=True):
        return world.build(HOME=str(home), MDAI_BUILD_CACHE_FOLDER="")


def _no_home(world: World) -> Run:
    return world.build(HOME="")


def _cache_not_writable(world: World) -> Run:
    return world.build(MDAI_BUILD_CACHE_FOLDER="", XDG_CACHE_HOME="/proc/none")


def _temporary_missing(world: World) -> Run:
    # Python looks on where TMPDIR does not serve.
    return world.build(TMPDIR=str(world.place / "no-such-folder"))


def _cache_damaged(world: World) -> Run:
    world.build()
    for file in world.cache.rglob("*"):
        if file.is_file() and not file.is_symlink() and "uv" not in file.relative_to(world.cache).parts:
            content = file.read_bytes()
            file.chmod(0o644)
            half = file.with_name(file.name + ".half")
            half.write_bytes(content[: len(content) // 2])
            half.replace(file)
    return world.build()


def _clock_jumps(seconds: int) -> Inject:
    def inject(world: World) -> Run:
        world.build()
        for file in world.cache.rglob("*"):
            if "objects" not in file.parts:
                os.utime(file, (seconds, seconds), follow_symlinks=False)
        world.change()
        return world.build()

    return inject


def _index_hangs(world: World) -> Run:
    with services.silent_server() as url:
        world.requirements = f"probe @ {url}/probe-1.0-py3-none-any.whl\n"
        world.change()
        try:
            return world.build(MDAI_BUILD_BUILD_TIMEOUT="20")
        finally:
            world.requirements = ""
            world.change()


def _install_breaks(world: World) -> Run:
    with services.wheel_server(world.place, 400_000, whole=False) as url:
        world.requirements = f"probe @ {url}/@NUMBER@/probe-1.0-py3-none-any.whl\n"
        world.change()
        try:
            return world.build("--offline")
        finally:
            world.requirements = ""
            world.change()


def _registry_hangs(world: World) -> Run:
    with services.silent_server() as url:
        words = world.build_words()
        words[words.index("local")] = f"{url.removeprefix('http://')}/parent:1"
        return world.start(*words).finish(150)


def _pull_breaks(world: World) -> Run:
    with services.breaking_registry() as host:
        words = world.build_words()
        words[words.index("local")] = f"{host}/parent:1"
        return world.start(*words).finish(150)


def _together(count: int, different: bool) -> Inject:
    def inject(world: World) -> list[Run]:
        worlds = [world]
        if different:
            worlds += [
                World(world.place / str(n), world.engine, f"{world.name}{n}", in_cache=world.cache)
                for n in range(1, count)
            ]
            for other in worlds[1:]:
                other.change()
        with ThreadPoolExecutor(count) as pool:
            runs = list(pool.map(lambda n: worlds[n % len(worlds)].start_build().finish(600), range(count)))
        for other in worlds[1:]:
            if left := other.leftovers():
                runs.append(Run(1, "", f"{other.name} left {left}", 0.0))
            if other.image():
                world.client.images.remove(other.tag)
        return runs

    return inject


def _changes_while_read(world: World) -> Run:
    running = world.start_build()
    running.says("checking the bundle")
    while running.process.poll() is None:
        os.utime(world.model)
        time.sleep(0.005)
    return running.finish()


def _folder_changes_while_read(world: World) -> Run:
    folder = world.place / "folder" / world.name
    with zipfile.ZipFile(world.model) as archive:
        archive.extractall(folder)
    words = world.build_words()
    words[words.index(str(world.model))] = str(folder)
    running = world.start(*words)
    running.says("checking the bundle")
    weights = folder / "weights.bin"
    while running.process.poll() is None:
        weights.write_bytes(os.urandom(2**20))
        time.sleep(0.002)
    shutil.rmtree(folder.parent)
    return running.finish()


def _disappears(world: World) -> Run:
    away = world.model.with_name("away")
    running = world.start_build()
    running.says("checking the bundle")
    world.model.replace(away)
    run = running.finish()
    away.replace(world.model)
    return run


KINDS: tuple[Kind, ...] = (
    Kind("killed", "SIGKILL", -9, "", _signalled(signal.SIGKILL), says="none", leaves=True),
    Kind("terminated", "SIGTERM", 130, "", _signalled(signal.SIGTERM), says="interrupted; nothing was left behind"),
    Kind("interrupted", "SIGINT (Ctrl-C)", 130, "", _signalled(signal.SIGINT), says="the same"),
    Kind("hung-up", "SIGHUP: the terminal is closed", 130, "", _signalled(signal.SIGHUP), says="the same"),
    Kind("no-engine", "the engine does not run", 5, "engine.none-answers", _no_engine),
    Kind("silent-engine", "the engine takes the connection and never answers", 5, "engine.silent", _silent_engine),
    Kind("old-engine", "the engine is too old", 5, "engine.too-old", _old_engine),
    Kind("denied", "the socket of the engine is not for this user", 5, "engine.denied", _denied),
    Kind("no-client", "there is no `docker` command", 5, "engine.no-client", _no_client),
    Kind("no-buildx", "the `docker` command has no buildx", 5, "engine.no-buildx", _no_buildx),
    Kind(
        "engine-dies-in-build",
        "the engine is killed in the middle of a build",
        5,
        "engine.lost",
        _engine_dies_at(r"\[model", signal.SIGKILL),
        own_engine=True,
        leaves=True,
    ),
    Kind(
        "engine-dies-in-test",
        "the engine is killed in the middle of the smoke test",
        5,
        "engine.lost",
        _engine_dies_at("smoke test: model loads", signal.SIGKILL),
        own_engine=True,
        leaves=True,
    ),
    Kind(
        "engine-stops-in-build",
        "the engine hangs in the middle of a build",
        5,
        "engine.silent",
        _engine_dies_at(r"\[model", signal.SIGSTOP),
        own_engine=True,
        leaves=True,
    ),
    Kind(
        "engine-stops-in-test",
        "the engine hangs in the middle of the smoke test",
        5,
        "engine.silent",
        _engine_dies_at("smoke test: model loads", signal.SIGSTOP),
        own_engine=True,
        leaves=True,
    ),
    Kind(
        "engine-restarts-in-build",
        "the engine is restarted in the middle of a build",
        5,
        "engine.restarted",
        _engine_restarts_at(r"\[model"),
        own_engine=True,
        leaves=True,
    ),
    Kind(
        "engine-restarts-in-test",
        "the engine is restarted in the middle of the smoke test",
        5,
        "engine.restarted",
        _engine_restarts_at("smoke test: model loads"),
        own_engine=True,
        leaves=True,
    ),
    Kind(
        "engine-full",
        "no room on the disk of the engine",
        5,
        "engine.disk-full",
        _engine_full,
        own_engine=True,
        leaves=True,
    ),
    Kind("container-dies", "the container is killed from outside in its test", 7, "smoke.exited", _container_dies),
    Kind("cache-full", "no room in the cache folder", 5, "bundle.no-room", _cache_full),
    Kind("temporary-full", "no room for temporary files", 0, "", _temporary_full, says="another folder is taken"),
    Kind("output-full", "no room where the report goes", 5, "output.disk-full", _output_full, moves=True),
    Kind("output-fixed", "the folder of the report cannot be written", 2, "output.refused", _output_fixed, moves=True),
    Kind("stdout-full", "standard output takes no more", 5, "output.disk-full", _stdout_full),
    Kind("read-only-home", "the home folder cannot be written", 5, "bundle.store", _read_only_home),
    Kind("no-home", "there is no HOME", 0, "", _no_home, says="none: the user's home of the system counts"),
    Kind("cache-not-writable", "XDG_CACHE_HOME cannot be written", 5, "bundle.store", _cache_not_writable),
    Kind("temporary-missing", "TMPDIR is no folder", 0, "", _temporary_missing, says="none: another folder is taken"),
    Kind(
        "cache-damaged",
        "every file of the cache is half written",
        0,
        "",
        _cache_damaged,
        says="none: what is damaged is made anew",
    ),
    Kind(
        "clock-back", "the clock has gone back: the cache is of the year 2106", 0, "", _clock_jumps(2**32), says="none"
    ),
    Kind("clock-on", "the clock has gone on: the cache is of the year 1970", 0, "", _clock_jumps(0), says="none"),
    Kind("index-hangs", "a server of packages never answers", 6, "engine.too-slow", _index_hangs),
    Kind("install-breaks", "the network drops while packages are fetched", 5, "engine.no-network", _install_breaks),
    Kind("pull-breaks", "the network drops while the parent is pulled", 5, "engine.pull-broken", _pull_breaks),
    Kind("registry-hangs", "the registry of the parent never answers", 5, "engine.no-parent", _registry_hangs),
    Kind(
        "same-twice",
        "two builds of one bundle at once",
        0,
        "",
        _together(2, different=False),
        says="waiting for another build of this bundle",
    ),
    Kind("fifty", "fifty builds of different bundles at once", 0, "", _together(50, different=True), says="none"),
    Kind("changes", "the archive changes while it is read", 3, "bundle.changed", _changes_while_read),
    Kind("folder-changes", "the folder changes while it is read", 3, "bundle.changed", _folder_changes_while_read),
    Kind(
        "disappears",
        "the archive disappears while it is read",
        3,
        "",
        _disappears,
        says="the archive changed while it was read, or does not exist",
    ),
)


def judge(kind: Kind, world: World) -> tuple[list[str], Run]:
    """Lets a fault happen, and the next run after it; gives what was not as it should be, and the run of the fault."""
    world.change()
    before = world.image()
    found = kind.inject(world)
    runs = found if isinstance(found, list) else [found]
    wrong: list[str] = []
    for run in runs:
        if run.exit_code != kind.exit_code:
            wrong.append(f"exit code {run.exit_code}, expected {kind.exit_code}")
        if kind.code and run.code != kind.code:
            wrong.append(f"it says {run.code or 'nothing'}: {run.what[:300]!r}, expected {kind.code}")
        if TRACEBACK in run.stderr and kind.code != "smoke.exited":
            wrong.append(f"a traceback: {run.stderr[-1500:]}")
    if kind.own_engine:
        world.revive()
    elif not kind.leaves and not until(lambda: not world.leftovers(), 5):
        wrong.append(f"left behind: {world.leftovers()}")
    if kind.exit_code != 0 and not kind.moves and world.image() != before:
        wrong.append("the tag moved")
    again = world.build()
    if again.exit_code != 0:
        wrong.append(f"the next run failed: {again}")
    if not until(lambda: not world.leftovers(), 15):
        wrong.append(f"left behind after the next run: {world.leftovers()}")
    return wrong, next((run for run in runs if run.exit_code != kind.exit_code), runs[0])
