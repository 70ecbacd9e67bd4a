"""Files that live in memory, in which bodies pass between server and worker without becoming Python objects."""

from __future__ import annotations

import ctypes
import os
import platform
import tempfile
import threading
from typing import Iterator, Union

_MFD_CLOEXEC = 1
_SYSCALL_NUMBERS = {"x86_64": 319, "aarch64": 279}
_CHUNK_BYTES = 256 * 1024
_TEXT_BYTES = 1024 * 1024
_LARGE_BYTES = 16 * 1024 * 1024

Buffer = Union[bytes, bytearray, memoryview]


def memory_file(name: str) -> int:
    """A new file without a path, open for reading and writing, as a file descriptor that the caller closes.

    It is an anonymous memory file (memfd_create(2)): neither ``/dev/shm``, which Docker limits to 64 MiB, nor a
    read-only root stands in its way. Where the kernel has none, an unlinked temporary file serves.
    """
    try:
        return _memfd(name)
    except OSError:
        folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.dup(file.fileno())


def _memfd(name: str) -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    # Python 3.7 lacks the call, and so does a Python that was built against an older C library.
    number = _SYSCALL_NUMBERS.get(platform.machine())
    if number is None:
        raise OSError("no memfd_create")
    fd = ctypes.CDLL(None, use_errno=True).syscall(number, name.encode(), _MFD_CLOEXEC)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "memfd_create")
    return int(fd)


def write_all(fd: int, data: Buffer) -> None:
    """Writes all of the data, in as many steps as it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def close_file(fd: int) -> None:
    """Closes a memory file; a large one in a thread, since the kernel takes tenths of a second to free a gigabyte."""
    if size_of(fd) < _LARGE_BYTES:
        os.close(fd)
    else:
        threading.Thread(target=os.close, args=(fd,), name="close", daemon=True).start()


def size_of(fd: int) -> int:
    """The file's size in bytes."""
    return os.fstat(fd).st_size


def chunks(fd: int, size: int) -> Iterator[bytes]:
    """The file's first ``size`` bytes in pieces; raises EOFError when it is shorter."""
    offset = 0
    while offset < size:
        chunk = os.pread(fd, min(_CHUNK_BYTES, size - offset), offset)
        if not chunk:
            raise EOFError(f"{size} bytes announced, {offset} found")
        offset += len(chunk)
        yield chunk


def text_of(fd: int) -> str:
    """The file's content as text, of a huge one the begin."""
    return b"".join(chunks(fd, min(size_of(fd), _TEXT_BYTES))).decode("utf-8", "replace")
