"""Serves a model outside any container, from a Python that the user names: for a quick loop, and where no engine is."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from filelock import FileLock

from mdai_build.engine.gpus import GpuRequest, no_gpu_here
from mdai_build.engine.process import Environment, run_quietly, started
from mdai_build.engine.target import TargetState
from mdai_build.errors import Location, Problem, UnavailableError, UsageError
from mdai_build.scratch import scratch_folder

_ADDRESS = re.compile(r"\blistening\b.*?(\d+\.\d+\.\d+\.\d+:\d+)")
_LISTEN_SECONDS = 30
_INSTALL_SECONDS = 300
_LOG_LINES = 5000
_GPU_SECONDS = 600
_ASK_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


@dataclass(frozen=True)
class LocalPython:
    """An interpreter on this machine."""

    path: str
    version: str
    """Such as `3.8`."""


class LocalServer:
    """A server process on loopback. It satisfies `engine.target.Target`."""

    def __init__(
        self,
        process: Popen[str],
        echo: Callable[[str], None] | None,
        command: Sequence[str],
        environment: Environment,
        gpu_refused: str | None = None,
    ) -> None:
        self._process = process
        self._command = command
        self._environment = environment
        self.gpu_refused = gpu_refused
        """Why it has no GPU; None: it was given what was asked for."""
        self._lines: deque[str] = deque(maxlen=_LOG_LINES)
        self._echo = echo
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = ""

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.append(line)
            if not self.url and (found := _ADDRESS.search(line)):
                self.url = f"http://{found.group(1)}"
                self._listening.set()
            if self._echo is not None:
                self._echo(line.rstrip("\n"))
        self._listening.set()

    def wait_for_address(self) -> None:
        """Waits until the server listens.

        Raises:
            UnavailableError: it ended, or does not listen in time.
        """
        self._listening.wait(_LISTEN_SECONDS)
        if not self.url:
            raise UnavailableError(
                Problem(
                    code="engine.local-server",
                    what="the server did not start in the Python that was named",
                    next_step="the log below says why; the port may be in use",
                    details=self.logs() or None,
                )
            )

    def wait(self) -> int:
        """Waits until the server ends; its exit status."""
        return self._process.wait()

    def reload(self) -> None:
        """Has the server load the model anew, once it has answered what it works on.

        Raises:
            UnavailableError: it has ended.
        """
        if self._process.poll() is not None:
            raise UnavailableError(Problem("engine.local-server", "the server has ended", details=self.logs() or None))
        self._process.send_signal(signal.SIGHUP)

    def end(self) -> None:
        """Ends it at once, whatever it does; its worker goes with it."""
        self._process.kill()

    def finish(self) -> None:
        """Reads what a server that ended printed last."""
        self._reader.join(_LISTEN_SECONDS)

    def ask_gpu(self, frameworks: Sequence[str]) -> str:
        """What the runtime prints of the GPUs that it sees, trying these frameworks, or all that there are."""
        interpreter, program = self._command[0], self._command[-1]
        words = [interpreter, program, "gpu", *frameworks]
        return run_quietly(words, self._environment, timeout=_GPU_SECONDS).output

    def logs(self) -> str:
        """What the server and the model have printed, their last lines."""
        return "".join(tuple(self._lines))

    def state(self) -> TargetState:
        """Whether the server runs, and how it ended if it does not."""
        exit_code = self._process.poll()
        return TargetState(running=exit_code is None, exit_code=exit_code)

    def peak_memory(self) -> int | None:
        """The most memory, in bytes, that the server and its worker held resident; None where /proc does not tell."""
        peaks = [_peak(pid) for pid in (self._process.pid, *_children(self._process.pid))]
        return sum(peaks) or None


def find_python(command: str) -> LocalPython:
    """The interpreter that a path or a command names.

    Raises:
        UsageError: there is none, or it is older than what the runtime supports.
    """
    path = shutil.which(command)
    answer = run_quietly([path, "-I", "-c", _ASK_VERSION], Environment(dict(os.environ))) if path else None
    version = answer.output.strip() if answer is not None and answer.exit_code == 0 else ""
    if not path or not re.fullmatch(r"\d+\.\d+", version):
        what, details = f"{command!r} is no Python that can be run", answer.output if answer else None
    elif tuple(map(int, version.split("."))) < (3, 7):
        what, details = f"{command!r} is Python {version}", None
    else:
        return LocalPython(os.path.abspath(path), version)  # noqa: PTH100 - a virtual environment's link must stay
    raise UsageError(
        Problem(
            code="engine.no-python",
            what=what,
            expected="the interpreter of an environment with the model's packages, Python 3.7 or newer",
            next_step="name it with --python, such as --python ~/envs/lungs/bin/python",
            details=details,
        )
    )


def install_server_packages(python: LocalPython, pins: Path, store: Path) -> Path:
    """The folder of the server's own packages for a Python; installed by uv into `store` the first time.

    Raises:
        UnavailableError: they cannot be installed.
    """
    import uv

    key = hashlib.sha256(pins.read_bytes()).hexdigest()[:16]
    folder = store / f"{pins.stem}-{key}"
    store.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if folder.is_dir():
            return folder
        with scratch_folder(store) as scratch:
            half = scratch / folder.name
            answer = run_quietly(
                [
                    *(uv.find_uv_bin(), "pip", "install", "--quiet", "--python", python.path),
                    *("--target", str(half), "--requirement", str(pins)),
                ],
                Environment(dict(os.environ)),
                timeout=_INSTALL_SECONDS,
            )
            if answer.exit_code != 0:
                raise UnavailableError(
                    Problem(
                        code="engine.server-packages",
                        what=f"the server's own packages cannot be installed for Python {python.version}",
                        next_step="check the network and the package index",
                        details=answer.output.strip() or None,
                    )
                )
            half.rename(folder)
    return folder


@contextmanager
def local_server(
    python: LocalPython,
    packages: Path,
    runtime: Path,
    lay_out: Callable[[Path], None],
    environment: Mapping[str, str],
    port: int = 0,
    echo: Callable[[str], None] | None = None,
    gpus: GpuRequest | None = None,
) -> Iterator[LocalServer]:
    """A server with a model, for as long as the block lasts; port 0 takes a free one.

    `lay_out` is given a folder and puts the model root there as `lib`, so that what a model opens relative to its
    working folder is where it is in an image. `echo` is told each line that is printed. Without `gpus` the model is
    shown none.

    Raises:
        UnavailableError: the server does not start, or the machine has none of the GPUs that are required.
    """
    missing = no_gpu_here() if gpus else "none was asked for"
    if gpus and gpus.required and missing:
        raise UnavailableError(_no_gpu(missing))
    visible = "" if gpus is None else gpus.visible_devices
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MDAI_")}
    with scratch_folder() as folder:
        lay_out(folder)
        variables = {
            **inherited,
            **environment,
            "PYTHONUNBUFFERED": "1",
            "MDAI_HOST": "127.0.0.1",
            "MDAI_PORT": str(port),
            "MDAI_MODEL_ROOT": str(folder / "lib"),
            "MDAI_SERVER_PACKAGES": str(packages),
            **({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}),
        }
        command = [python.path, "-I", "-S", str(runtime / "__main__.py")]
        with started(command, Environment(variables), folder) as process:
            server = LocalServer(process, echo, command, Environment(variables), missing)
            try:
                server.wait_for_address()
                yield server
            finally:
                process.terminate()
                with contextlib.suppress(Exception):
                    process.wait(_LISTEN_SECONDS)
                server.finish()


def _no_gpu(reason: str) -> Problem:
    return Problem(
        code="engine.no-gpu",
        what=f"the model can be given no GPU: {reason}",
        where=Location("settings", key="gpus"),
        expected="a machine with an NVIDIA GPU and its driver",
        next_step="leave out --gpus: the smoke test then runs without one, and says so",
    )


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _peak(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
