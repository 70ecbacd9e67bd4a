"""A place where runs of `mdai-build` go wrong on purpose, and where what they leave behind is found.

It has a model that changes from run to run, a cache, a folder for temporary files and a home of its own. Every process
that a run starts inherits a mark, so that none of them is lost from sight.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker

from mdai_build.error_pages import page_of

OWNER_LABEL = "io.mdai-build.owner"
TITLE_LABEL = "org.opencontainers.image.title"
MARK = "MDAI_FAULTS_WORLD"
TRACEBACK = "Traceback (most recent call last)"
MODEL = """
from io import BytesIO

import pydicom


class MDAIModel:
    def __init__(self):
        self.number = {number}

    def predict(self, data):
        files = [file for file in data["files"] if file["content_type"] == "application/dicom"]
        read = [pydicom.dcmread(BytesIO(file["content"]), stop_before_pixels=True) for file in files]
        return [{{"type": "NONE", "study_uid": str(each.StudyInstanceUID), "note": "seen"}} for each in read]
"""
_PATIENCE = 120.0


@dataclass(frozen=True)
class Run:
    """A command that has ended."""

    exit_code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def document(self) -> dict[str, Any]:
        """Its JSON report; empty where there is none."""
        try:
            return dict(json.loads(self.stdout))
        except ValueError:
            return {}

    @property
    def code(self) -> str:
        """The kind of its first message, such as `engine.lost`; empty for none."""
        if self._problem:
            return str(self._problem["code"])
        number = re.search(r"error\[(MB\d+)\]", self.stderr)
        page = page_of(number[1]) if number else None
        return page.name if page else ""

    @property
    def what(self) -> str:
        """The words of its first message."""
        return str(self._problem.get("what", ""))

    @property
    def _problem(self) -> dict[str, Any]:
        checks = (self.document.get("smoke") or {}).get("checks") or []
        failed = [check for check in checks if not check["passed"]]
        problems = self.document.get("problems") or [problem for check in failed for problem in check["problems"]]
        return dict(problems[0]) if problems else {}

    def __str__(self) -> str:
        return f"exit code {self.exit_code} after {self.seconds:.1f} s\n{self.stdout[-3000:]}{self.stderr[-3000:]}"


class Running:
    """A command that goes on, and what it has said so far on standard error."""

    def __init__(
        self, words: Sequence[str], folder: Path, environment: Mapping[str, str], through: Sequence[str] = ()
    ) -> None:
        """`through` is a command that starts the run, with fewer rights perhaps."""
        self._begun = time.monotonic()
        self.process = subprocess.Popen(
            [*through, sys.executable, "-m", "mdai_build.cli", *words],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        self.lines: list[str] = []
        self._stdout = ""
        self._news = threading.Condition()
        self._over = False
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read, self._read_stdout)]
        for reader in self._readers:
            reader.start()

    def _read(self) -> None:
        for line in self.process.stderr or ():
            with self._news:
                self.lines.append(line)
                self._news.notify_all()
        with self._news:
            self._over = True
            self._news.notify_all()

    def _read_stdout(self) -> None:
        self._stdout = self.process.stdout.read() if self.process.stdout else ""

    def says(self, pattern: str, seconds: float = _PATIENCE) -> bool:
        """Waits for a line in which the pattern is found; False where the run ends without."""
        wanted, deadline, seen = re.compile(pattern), time.monotonic() + seconds, 0
        with self._news:
            while True:
                for line in self.lines[seen:]:
                    if wanted.search(line):
                        return True
                seen = len(self.lines)
                if self._over:
                    return False
                if not self._news.wait(deadline - time.monotonic()):
                    raise TimeoutError(f"never said {pattern!r}:\n{''.join(self.lines[-20:])}")

    def end(self, number: signal.Signals) -> None:
        """Sends it a signal, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def finish(self, seconds: float = _PATIENCE) -> Run:
        """Waits for its end. What is left of it may still hold its pipes; that is not waited for."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            self.lines.append(f"(killed: it had not ended after {seconds:g} s)\n")
        for reader in self._readers:
            reader.join(1)
        for reader, pipe in zip(self._readers, (self.process.stderr, self.process.stdout), strict=True):
            if pipe is not None and not reader.is_alive():
                pipe.close()
        return Run(self.process.returncode, self._stdout, "".join(self.lines), time.monotonic() - self._begun)


@dataclass
class World:
    """One model and all that its runs may leave behind."""

    place: Path
    engine: Mapping[str, str]
    """Environment variables that lead to the engine."""
    name: str = "faulty"
    megabytes: int = 1
    """Of weights, new with every change."""
    requirements: str = ""
    revive: Callable[[], None] = lambda: None
    """Sees to it that the engine runs again."""
    in_cache: Path | None = None
    """The cache of another model, to be shared."""
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    processes: set[int] = field(default_factory=set)
    _number: int = 0

    def __post_init__(self) -> None:
        for folder in (self.work, self.temporary, self.home, self.cache):
            folder.mkdir(parents=True, exist_ok=folder == self.in_cache)
        self.client = docker.DockerClient(self.engine["DOCKER_HOST"], timeout=30)
        self.networks = self._networks()

    @property
    def work(self) -> Path:
        return self.place / "work"

    @property
    def temporary(self) -> Path:
        return self.place / "tmp"

    @property
    def home(self) -> Path:
        return self.place / "home"

    @property
    def cache(self) -> Path:
        return self.in_cache or self.place / "cache"

    @property
    def model(self) -> Path:
        return self.place / f"{self.name}.zip"

    @property
    def tag(self) -> str:
        return f"mdai-build-faults/{self.name}:latest"

    def change(self) -> None:
        """Makes the model another one, so that nothing of the last one's image serves."""
        self._number += 1
        half = self.model.with_suffix(".half")
        with zipfile.ZipFile(half, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(".mdai/config.yaml", "base_image: py38\n")
            archive.writestr(".mdai/requirements.txt", self.requirements.replace("@NUMBER@", str(self._number)))
            archive.writestr(".mdai/mdai_deploy.py", MODEL.format(number=f"{self._number}, {self.mark!r}"))
            archive.writestr("weights.bin", os.urandom(self.megabytes * 2**20))
        half.replace(self.model)

    def environment(self, **variables: str) -> dict[str, str]:
        """Of a run; a variable that is set to nothing is left out."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("MDAI_", "XDG_"))}
        own.pop("PYTHONDONTWRITEBYTECODE", None)  # without bytecode each run takes a quarter of a second longer
        every = {
            **own,
            **self.engine,
            "TMPDIR": str(self.temporary),
            "HOME": str(self.home),
            "MDAI_BUILD_CACHE_FOLDER": str(self.cache),
            "COLUMNS": "200",
            "NO_COLOR": "1",
            MARK: self.mark,
            **variables,
        }
        return {name: value for name, value in every.items() if value}

    def start(self, *words: str, through: Sequence[str] = (), **variables: str) -> Running:
        """A command that goes on."""
        running = Running(words, self.work, self.environment(**variables), through)
        self.processes.add(running.process.pid)
        return running

    def build_words(self, *more: str) -> list[str]:
        words = ["-v", "build", str(self.model), "--parent", "local", "--network", "host", "--tag", self.tag, "--json"]
        return [*words, *more]

    def start_build(self, *more: str, **variables: str) -> Running:
        """A build of the model that goes on."""
        return self.start(*self.build_words(*more), **variables)

    def build(self, *more: str, **variables: str) -> Run:
        """A build of the model, to its end."""
        return self.start_build(*more, **variables).finish()

    # ---- what is left ----

    def image(self) -> str | None:
        """The id of the image that has the tag."""
        try:
            return str(self.client.images.get(self.tag).id)
        except docker.errors.ImageNotFound:
            return None

    def leftovers(self) -> list[str]:
        """What no run that has ended should have left; what the cache keeps on purpose does not count."""
        found = [f"process {pid} {name}" for pid, name in self.alive()]
        found += [f"file {path.relative_to(self.place)}" for path in self.temporary.iterdir()]
        found += [f"file {path.relative_to(self.place)}" for path in self.work.iterdir()]
        found += [f"file {os.path.relpath(path, self.place)}" for path in self.half_written()]
        found += [f"lock {os.path.relpath(path, self.place)}" for path in self._held_locks()]
        with contextlib.suppress(docker.errors.DockerException, OSError):
            found += self._left_in_engine()
        return found

    def _left_in_engine(self) -> Iterator[str]:
        for container in self.client.api.containers(all=True):
            machine, _, pid = str((container.get("Labels") or {}).get(OWNER_LABEL, "")).rpartition(":")
            if machine == socket.gethostname() and pid.isdigit() and int(pid) in self.processes:
                yield f"container {container['Id'][:12]}"
        for image in self.client.api.images(all=True, filters={"label": f"{TITLE_LABEL}={self.name}"}):
            tags = [tag for tag in image.get("RepoTags") or () if tag != "<none>:<none>"]
            if tags != [self.tag]:
                yield f"image {image['Id'][7:19]} {' '.join(tags)}"
        yield from (f"network {name}" for name in self._networks() - self.networks)

    def _networks(self) -> set[str]:
        try:
            return {str(network["Name"]) for network in self.client.api.networks()}
        except (docker.errors.DockerException, OSError):
            return set()

    def alive(self) -> list[tuple[int, str]]:
        """The processes that runs of this world started, and the runs themselves."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"{MARK}={self.mark}".encode() in (entry / "environ").read_bytes():
                    words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                    found.append((int(entry.name), " ".join(words)[:120]))
        return found

    def half_written(self) -> Iterator[Path]:
        """Files of the cache that are not what they should be."""
        yield from self.cache.glob("**/temporary/*")
        yield from self.cache.glob("**/*mdai-build-run-*")
        yield from self.cache.glob("unfinished/*.json")
        for record in (*self.cache.glob("bundles/*/*.json"), *self.cache.glob("preflight/*.json")):
            try:
                json.loads(record.read_bytes())
            except ValueError:
                yield record

    def _held_locks(self) -> Iterator[Path]:
        import fcntl

        for path in (*self.cache.glob("bundles/locks/*"), *self.cache.glob("*/*.lock")):
            with contextlib.suppress(FileNotFoundError), path.open("a") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    yield path


def until(true: Callable[[], object], seconds: float = 20.0) -> bool:
    """Waits until something is so; False where it never is."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
