"""A private Docker engine for a machine that has none: `python3 scripts/engine.py start | env | stop`.

Where a usable engine already answers, `start` uses that one and starts nothing. Otherwise it unpacks Debian's packages
into a folder of its own and runs `dockerd` there, with its own data, socket and network bridge; nothing of the system's
configuration changes. Standard library only: it runs before the virtual environment exists.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import ipaddress
import json
import os
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import debian

EXIT_UNAVAILABLE = 5
OLDEST_ENGINE = 23
# The release whose engine runs on the system's release; the key is the system's own.
ENGINE_SUITES = {"bookworm": "trixie", "trixie": "trixie", "forky": "forky"}
ENGINE_PACKAGES = ["docker.io", "docker-cli", "docker-buildx", "containerd", "tini"]
# From the system's own release: these link against its C library.
HOST_PACKAGES = ["runc", "iptables"]
CLIENT_PROGRAMS = ["usr/bin/docker", "usr/libexec/docker/cli-plugins/docker-buildx"]
START_SECONDS = 60
STOP_SECONDS = 30
ANSWER_SECONDS = 10
# <linux/sockios.h>
SIOCBRADDBR, SIOCBRDELBR, SIOCGIFFLAGS, SIOCSIFFLAGS = 0x89A0, 0x89A1, 0x8913, 0x8914
SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFHWADDR = 0x8916, 0x891C, 0x8924
# <linux/if_arp.h>
ARPHRD_ETHER = 1
IFF_UP = 1
# What Docker takes addresses from too, less its own first network. Each engine has one part, its bridge the first half.
NETWORKS = [
    part for second in range(18, 31) for part in ipaddress.IPv4Network(f"172.{second}.0.0/16").subnets(new_prefix=20)
]


@dataclass(frozen=True)
class Engine:
    """The private engine that lives in `folder`."""

    folder: Path
    containerd_store: bool = False

    @property
    def socket(self) -> Path:
        return self.folder / "docker.sock"

    @property
    def programs(self) -> Path:
        """The unpacked packages."""
        return self.folder / "root"

    @property
    def bridge(self) -> str:
        """Name of its network bridge (15 characters at most): with `docker0` it would disturb another engine."""
        return "mdai-" + hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]

    def client_environment(self) -> dict[str, str]:
        """What the shell must set for `docker` to use this engine."""
        return {
            "DOCKER_HOST": f"unix://{self.socket}",
            "DOCKER_CONFIG": str(self.folder / "config"),
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
        }

    def shell_line(self) -> str:
        """`client_environment` as a line for `eval`."""
        host, configuration, programs = f"unix://{self.socket}", self.folder / "config", self.folder / "bin"
        return (
            f"export DOCKER_HOST={shlex.quote(host)} DOCKER_CONFIG={shlex.quote(str(configuration))}"
            f' PATH={shlex.quote(str(programs))}:"$PATH"'
        )

    def answers(self) -> bool:
        return self.socket.exists() and shortcoming({**os.environ, **self.client_environment()}) is None

    def install(self) -> None:
        """Unpack the programs; done once.

        Raises:
            debian.Unavailable: not root, not Debian, or no packages to be had.
        """
        finished = self.folder / "installed"
        if finished.exists():
            return
        release = debian.codename()
        if release not in ENGINE_SUITES:
            raise debian.Unavailable(f"no engine is known to run on Debian's release {release}")
        shutil.rmtree(self.programs, ignore_errors=True)
        work = self.folder / "apt"
        debian.unpack(ENGINE_PACKAGES, suite=ENGINE_SUITES[release], into=self.programs, work=work, dependencies=False)
        debian.unpack(HOST_PACKAGES, suite=release, into=self.programs, work=work, dependencies=True)
        for program in CLIENT_PROGRAMS:
            link(self.folder / "bin" / Path(program).name, self.programs / program)
        link(self.folder / "config" / "cli-plugins" / "docker-buildx", self.programs / CLIENT_PROGRAMS[1])
        # Debian makes these names when it configures the package, which unpacking leaves out.
        if (self.programs / "usr/sbin/iptables-nft").exists():
            try:
                debian.run(["iptables-nft", "-t", "nat", "-S"], environment=self.server_environment())
                flavour = "nft"
            except debian.Unavailable:
                flavour = "legacy"
            for name in ("iptables", "ip6tables"):
                link(self.programs / "usr/sbin" / name, self.programs / f"usr/sbin/{name}-{flavour}")
        finished.touch()

    def server_environment(self) -> dict[str, str]:
        libraries = next(iter(self.programs.glob("usr/lib/*-linux-gnu")), self.programs / "usr/lib")
        own = f"{self.programs / 'usr/sbin'}:{self.programs / 'usr/bin'}"
        path = f"{own}:{os.environ['PATH']}:/usr/sbin:/sbin"
        environment = {**os.environ, "PATH": path, "LD_LIBRARY_PATH": str(libraries)}
        if (libraries / "xtables").exists():
            environment["XTABLES_LIBDIR"] = str(libraries / "xtables")
        return environment

    def start(self) -> None:
        """Start `dockerd` and wait until it answers.

        Raises:
            debian.Unavailable: it cannot be installed, or does not answer.
        """
        if len(str(self.socket)) > 80:
            raise debian.Unavailable(
                f"{self.socket} is too long for a socket: set MDAI_BUILD_ENGINE_FOLDER to a shorter path"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / "lock"):
            if self.answers():
                return
            say(f"starting a private engine in {self.folder}")
            self.install()
            self.end_processes()
            delete_bridge(self.bridge)
            routes = Path("/proc/net/route").read_text()
            bridge, others = free_network(routes, str(self.folder)).subnets(prefixlen_diff=1)
            make_bridge(self.bridge, bridge)
            # dockerd's own note of its networks, which would win over the bridge's address.
            shutil.rmtree(self.folder / "data" / "network", ignore_errors=True)
            configuration = self.folder / "daemon.json"
            settings = {
                "features": {"containerd-snapshotter": self.containerd_store},
                "default-address-pools": [{"base": str(others), "size": 27}],
            }
            configuration.write_text(json.dumps(settings))
            log = self.folder / "dockerd.log"
            with log.open("w") as output:
                process = subprocess.Popen(
                    [
                        *("dockerd", "--host", f"unix://{self.socket}", "--config-file", str(configuration)),
                        *("--data-root", str(self.folder / "data"), "--exec-root", str(self.folder / "run")),
                        *("--pidfile", str(self.folder / "docker.pid"), "--bridge", self.bridge),
                    ],
                    executable=self.programs / "usr/sbin/dockerd",
                    env=self.server_environment(),
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            deadline = time.monotonic() + START_SECONDS
            while not self.answers():
                if process.poll() is not None or time.monotonic() > deadline:
                    self.end_processes()
                    last = log.read_text(errors="replace").splitlines()[-5:]
                    raise debian.Unavailable("\n  ".join([f"dockerd did not start; the end of {log}:", *last]))
                time.sleep(0.2)

    def stop(self) -> None:
        """End the engine and its containers; their data stays."""
        if not self.folder.exists():
            return
        with locked(self.folder / "lock"):
            self.end_processes()
            delete_bridge(self.bridge)

    def end_processes(self) -> None:
        """End what still runs of this engine and forget it.

        dockerd ends its containers and containerd; after a crash of it, they are still there.
        """
        for name in ("dockerd", "containerd"):
            end(self.processes(name))
        shims = self.processes("containerd-shim-runc-v2")
        end(children(shims))
        end(shims)
        for mounted in reversed(self.mount_points()):
            debian.run(["umount", "--lazy", mounted])
        for leftover in (self.socket, self.folder / "docker.pid", self.folder / "run/containerd/containerd.pid"):
            leftover.unlink(missing_ok=True)

    def mount_points(self) -> list[str]:
        """What is mounted inside its folder, as a crash of dockerd leaves it (proc(5), mountinfo), outermost first."""
        points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
        return [point for point in points if point.startswith(f"{self.folder}/")]

    def processes(self, name: str) -> list[int]:
        """Processes of a program of this engine; all of them name the engine's folder on their command line."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if Path(words[0]).name == name and any(f"{self.folder}/" in word for word in words[1:]):
                found.append(int(entry.name))
        return found


def shortcoming(environment: dict[str, str] | None = None) -> str | None:
    """Why the engine that `docker` finds in this environment does not serve, or None where it does."""
    path = (environment or os.environ).get("PATH")
    docker = shutil.which("docker", path=path)
    if docker is None:
        return "no docker command on PATH"
    try:
        version = ask([docker, "version", "--format", "{{.Server.Version}}"], environment)
        if version is None:
            return "no engine answers"
        if not version.split(".")[0].isdigit() or int(version.split(".")[0]) < OLDEST_ENGINE:
            return f"the engine that answers is {version}; {OLDEST_ENGINE} or newer is needed"
        if ask([docker, "buildx", "version"], environment) is None:
            return f"engine {version} answers, but this docker command has no buildx"
    except subprocess.TimeoutExpired:
        return "the engine does not answer in time"
    return None


def ask(command: list[str], environment: dict[str, str] | None) -> str | None:
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=ANSWER_SECONDS,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file, so that two runs at once do not start two engines."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def link(name: Path, target: Path) -> None:
    name.parent.mkdir(parents=True, exist_ok=True)
    name.unlink(missing_ok=True)
    name.symlink_to(target)


def end(processes: list[int]) -> None:
    """Ask processes to end, then make them."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)
        deadline = time.monotonic() + STOP_SECONDS
        while processes and time.monotonic() < deadline:
            processes = [process for process in processes if alive(process)]
            time.sleep(0.05)


def alive(process: int) -> bool:
    return state(process)[0] != "Z"


def children(parents: list[int]) -> list[int]:
    """Processes started by others: of a container's shim, the container's first process, which takes the rest along."""
    processes = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    return [process for process in processes if state(process)[1] in parents]


def state(process: int) -> tuple[str, int]:
    """State letter and parent of a process (proc(5)); one that is gone counts as a zombie."""
    try:
        letter, parent = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return "Z", 0
    return letter, int(parent)


def free_network(routes: str, folder: str) -> ipaddress.IPv4Network:
    """One of `NETWORKS` that no route of this machine leads into; `routes` is the content of /proc/net/route.

    dockerd may choose one that another engine has, and then containers of both have one address and lose each other's
    packets. The search begins where the folder's name tells, since two engines may start at the same moment.

    Raises:
        debian.Unavailable: all are taken.
    """
    taken = []
    for line in routes.splitlines()[1:]:
        words = line.split()
        # Numbers in this machine's byte order, of addresses that lie in the network's.
        address, mask = (int.from_bytes(int(words[column], 16).to_bytes(4, sys.byteorder), "big") for column in (1, 7))
        if mask:
            taken.append(ipaddress.IPv4Network((address, mask.bit_count())))
    begin = int.from_bytes(hashlib.sha256(folder.encode()).digest()[:4], "big") % len(NETWORKS)
    for network in NETWORKS[begin:] + NETWORKS[:begin]:
        if not any(network.overlaps(other) for other in taken):
            return network
    raise debian.Unavailable("this machine's routes leave no network free for a private engine")


def make_bridge(name: str, network: ipaddress.IPv4Network) -> None:
    """Make a network bridge with the first address of its network. Done by ioctl: `ip` may be missing.

    Its hardware address is set, since otherwise it changes with the containers that come and go, and those that
    still know the last one send into the void for up to a minute.
    """
    address, mask = (
        struct.pack("16sHH4s8x", name.encode(), socket.AF_INET, 0, part.packed)
        for part in (network[1], network.netmask)
    )
    # As Docker does it: locally administered, made from the address.
    hardware = struct.pack("16sH6s8x", name.encode(), ARPHRD_ETHER, b"\x02\x42" + network[1].packed)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        fcntl.ioctl(handle, SIOCBRADDBR, name.encode() + b"\0")
        fcntl.ioctl(handle, SIOCSIFHWADDR, hardware)
        fcntl.ioctl(handle, SIOCSIFADDR, address)
        fcntl.ioctl(handle, SIOCSIFNETMASK, mask)
        set_flags(handle, name, up=True)


def delete_bridge(name: str) -> None:
    with socket.socket() as handle, contextlib.suppress(OSError):
        set_flags(handle, name, up=False)
        fcntl.ioctl(handle, SIOCBRDELBR, name.encode() + b"\0")


def set_flags(handle: socket.socket, name: str, *, up: bool) -> None:
    request = struct.pack("16sH14x", name.encode(), 0)
    (flags,) = struct.unpack("16xH14x", fcntl.ioctl(handle, SIOCGIFFLAGS, request))
    flags = flags | IFF_UP if up else flags & ~IFF_UP
    fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack("16sH14x", name.encode(), flags))


def private_engine(*, containerd_store: bool) -> Engine:
    """The private engine of this user; the command line of mdai-build looks for its socket in the same place."""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
    folder = Path(os.environ.get("MDAI_BUILD_ENGINE_FOLDER") or data / "mdai-build" / "engine").absolute()
    if containerd_store:
        folder = folder.with_name(folder.name + "-containerd")
    return Engine(folder, containerd_store)


def say(text: str) -> None:
    print(f"engine: {text}", file=sys.stderr, flush=True)


def start(engine: Engine, *, private: bool) -> None:
    reason = "a private engine was asked for" if private else shortcoming()
    if reason is None:
        say("a Docker engine already answers; using it")
        return
    started = time.monotonic()
    if not engine.answers():
        say(reason)
        engine.start()
    say(f"ready at {engine.socket} ({time.monotonic() - started:.1f} s)")


def print_environment(engine: Engine, *, private: bool) -> None:
    """Print the line for `eval`; a comment where nothing needs to be set."""
    if not private and shortcoming() is None:
        print("# the usual Docker engine answers: nothing to set")
    elif engine.answers():
        print(engine.shell_line())
    else:
        raise debian.Unavailable("no engine answers; start one with `make engine`")


def main() -> int:
    parser = argparse.ArgumentParser(description="The private Docker engine of mdai-build.")
    parser.add_argument("command", choices=["start", "env", "stop"])
    parser.add_argument("--private", action="store_true", help="a private engine even where another one answers")
    parser.add_argument("--containerd-store", action="store_true", help="a second one, on the containerd image store")
    options = parser.parse_args()
    private = options.private or options.containerd_store
    engine = private_engine(containerd_store=options.containerd_store)
    try:
        if options.command == "start":
            start(engine, private=private)
        elif options.command == "env":
            print_environment(engine, private=private)
        else:
            engine.stop()
    except debian.Unavailable as problem:
        advice = f"\n  Next step: install Docker {OLDEST_ENGINE} or newer with buildx, and start it."
        say(f"{problem}{advice if options.command == 'start' else ''}")
        return EXIT_UNAVAILABLE
    return 0


if __name__ == "__main__":
    sys.exit(main())
