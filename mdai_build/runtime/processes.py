"""Processes as Linux sees them: reaping, how one ended in plain words, and those that a dead worker left behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import time
from typing import Callable, Iterator

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_OOM_COUNTERS = (
    "/sys/fs/cgroup/memory.events",
    "/sys/fs/cgroup/memory/memory.oom_control",
)
_MEMORY_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)
_NO_LIMIT_BYTES = 1 << 50
# A killed process needs a moment to end, and its children only then become ours.
_KILL_ROUNDS = 20


class Reaper:
    """Collects every child that ends: those that were watched, and orphans that became ours."""

    def __init__(self) -> None:
        self._watched: dict[int, Callable[[int], None]] = {}

    def watch(self, pid: int, ended: Callable[[int], None]) -> None:
        """Calls ``ended`` with the status that wait(2) gives, once the child has ended and been reaped.

        The child has to lead a process group; whatever is left of that group is killed.
        """
        self._watched[pid] = ended

    def reap(self) -> None:
        """Collects all that have ended by now; to be called on SIGCHLD."""
        for pid in _ended_children():
            ended = self._watched.pop(pid, None)
            if ended is not None:
                # Until it is reaped, nobody else can get this number, so the group is still the right one.
                kill_group(pid)
            _, status = os.waitpid(pid, 0)
            if ended is not None:
                ended(status)

    def kill_children(self) -> None:
        """Kills every child of this process: what a dead worker had started and is now ours, and its children."""
        for _ in range(_KILL_ROUNDS):
            children = _children()
            if not children:
                return
            for pid in children:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            self.reap()
            time.sleep(0.001)


def _ended_children() -> Iterator[int]:
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None:
            return
        yield found.si_pid


def kill_group(pid: int) -> None:
    """Kills a process and all others of its group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _children() -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError, ValueError):
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/children") as file:
                found.extend(int(pid) for pid in file.read().split())
    return found


def become_subreaper() -> None:
    """Makes orphaned descendants our children, as they are for PID 1 anyway (PR_SET_CHILD_SUBREAPER)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def keep_to_oneself() -> None:
    """Keeps other processes of the same user, the worker among them, from this one's memory, files and environment.

    They can neither trace it nor read them in /proc (PR_SET_DUMPABLE). A program that is started from here is not kept
    so.
    """
    _prctl(_PR_SET_DUMPABLE, 0)


def die_with_parent(parent: int) -> None:
    """Has the kernel kill this process when the parent ends (PR_SET_PDEATHSIG); at once if it has ended already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def be_first_to_go() -> None:
    """Has the kernel take this process first when memory runs out, and write no core file of it."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def oom_kills() -> int:
    """How many processes of this container the kernel has killed for memory; 0 where that cannot be read."""
    for path in _OOM_COUNTERS:
        with contextlib.suppress(OSError, ValueError), open(path) as file:
            for line in file:
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
    return 0


def memory_limit() -> int | None:
    """The container's memory limit in bytes, or None."""
    for path in _MEMORY_LIMITS:
        with contextlib.suppress(OSError, ValueError), open(path) as file:
            limit = int(file.read())
            return limit if limit < _NO_LIMIT_BYTES else None
    return None


def describe_end(status: int, killed_for_memory: bool = False) -> str:
    """How a process ended, from its wait(2) status, as the end of a sentence that begins with "the process"."""
    if os.WIFEXITED(status):
        return f"ended with exit code {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if killed_for_memory and number == signal.SIGKILL:
        limit = memory_limit()
        size = f" of {limit / 2**20:.0f} MiB" if limit else ""
        return f"was killed by the kernel: out of memory, the container's limit{size} was reached"
    if number == signal.SIGKILL:
        return "was killed (SIGKILL): out of memory, perhaps"
    meanings: dict[int, str] = {signal.SIGSEGV: ": a segmentation fault in native code", signal.SIGABRT: ": it aborted"}
    return f"was ended by {name}{meanings.get(number, '')}"
