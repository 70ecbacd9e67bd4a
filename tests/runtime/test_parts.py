"""The runtime's parts that need no process: settings, memory files, messages, the import path, explanations."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mdai_build.runtime import memory, model, processes
from mdai_build.runtime.channel import Channel, ChannelError
from mdai_build.runtime.inference import Refusal, Room
from mdai_build.runtime.log import Log
from mdai_build.runtime.settings import VARIABLES, Settings, SettingsError, read_settings, within_memory


def test_the_defaults() -> None:
    settings = read_settings({"MDAI_PORT": ""})
    assert (settings.host, settings.port, settings.model_root, settings.mdai_path) == (
        "0.0.0.0",
        6324,
        "/src/lib",
        ".mdai",
    )
    assert settings.max_body_bytes == 2 * 2**30
    assert {variable.field for variable in VARIABLES} == set(Settings._fields)


def test_values_are_read() -> None:
    settings = read_settings({"MDAI_MAX_BODY_BYTES": " 5m ", "MDAI_PREDICT_TIMEOUT": "1.5", "MDAI_LOG_FORMAT": "json"})
    assert (settings.max_body_bytes, settings.predict_timeout, settings.log_format) == (5 * 2**20, 1.5, "json")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MDAI_PORT", "65536"),
        ("MDAI_PORT", "http"),
        ("MDAI_PREDICT_TIMEOUT", "-1"),
        ("MDAI_PREDICT_TIMEOUT", "nan"),
        ("MDAI_MAX_BODY_BYTES", "0"),
        ("MDAI_MAX_BODY_BYTES", "G"),
        ("MDAI_QUEUE_LIMIT", "0"),
        ("MDAI_LOG_FORMAT", "xml"),
    ],
)
def test_wrong_values_are_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}='{value}': expected"):
        read_settings({name: value})


@pytest.fixture(params=["memfd", "by system call", "temporary file"])
def fd(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    if request.param != "memfd":
        monkeypatch.delattr(os, "memfd_create")
    if request.param == "temporary file":
        monkeypatch.setattr(memory, "_SYSCALL_NUMBERS", {})
    number = memory.memory_file("test")
    yield number
    os.close(number)


def test_memory_files(fd: int) -> None:
    content = bytes(range(256)) * 4096
    memory.write_all(fd, content)
    memory.write_all(fd, memoryview(b"end"))
    assert memory.size_of(fd) == len(content) + 3
    assert b"".join(memory.chunks(fd, memory.size_of(fd))) == content + b"end"
    assert not os.get_inheritable(fd)
    with pytest.raises(EOFError):
        list(memory.chunks(fd, len(content) + 4))


def test_a_large_file_is_closed_by_the_way() -> None:
    """While a gigabyte is freed, the event loop would answer nobody."""
    fd = memory.memory_file("test")
    os.ftruncate(fd, 64 * 2**20)
    memory.close_file(fd)
    deadline = time.monotonic() + 5
    with pytest.raises(OSError, match="Bad file descriptor"):
        while time.monotonic() < deadline:
            os.fstat(fd)


@pytest.fixture
def channels() -> Iterator[tuple[Channel, Channel]]:
    ours, theirs = Channel.pair()
    other = Channel(theirs)
    yield ours, other
    ours.close()
    other.close()


def test_messages_keep_their_boundaries_and_files(channels: tuple[Channel, Channel]) -> None:
    ours, theirs = channels
    fd = memory.memory_file("test")
    memory.write_all(fd, b"body")
    ours.send({"id": "1"}, fd)
    ours.send({"id": "2"})
    os.close(fd)
    first, second = theirs.receive(), theirs.receive()
    assert first is not None
    assert first.fd is not None
    assert second is not None
    assert (first.content, second.content, second.fd) == ({"id": "1"}, {"id": "2"}, None)
    assert memory.text_of(first.fd) == "body"
    os.close(first.fd)
    theirs.set_blocking(False)
    with pytest.raises(BlockingIOError):
        theirs.receive()
    ours.close()
    assert theirs.receive() is None


@pytest.mark.parametrize("garbage", [b"\xff", b"[]", b"{", b"x" * 40000, b"[" * 30000])
def test_garbage_is_no_message(garbage: bytes) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel = Channel(theirs)
    with ours:
        ours.send(garbage)
        with pytest.raises(ChannelError):
            channel.receive()
    channel.close()


def test_a_descriptor_that_became_another_file_is_noticed(channels: tuple[Channel, Channel], tmp_path: Path) -> None:
    ours, _ = channels
    saved = os.dup(ours.fileno())
    with (tmp_path / "file").open("w") as file:
        os.dup2(file.fileno(), ours.fileno())
    with pytest.raises(ChannelError, match="was closed"):
        ours.send({})
    assert (tmp_path / "file").read_bytes() == b""
    os.dup2(saved, ours.fileno())
    os.close(saved)


def test_the_import_path_begins_with_the_bundle_and_ends_with_its_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (".mdai/sub", "b/deep", "a", ".git/objects", "a/__pycache__", "a/.hidden/x"):
        (tmp_path / folder).mkdir(parents=True)
    runtime = str(Path(model.__file__).parent)
    monkeypatch.setattr(sys, "path", [runtime, "/usr/lib/python", str(tmp_path)])
    root = str(tmp_path)
    model.set_import_path(root, root + "/.mdai")
    folders = [f"{root}/{name}" for name in (".mdai/sub", "a", "a/.hidden", "a/.hidden/x", "b", "b/deep")]
    assert sys.path == [root, root + "/.mdai", "/usr/lib/python", *folders]


def test_an_explanation_shows_the_authors_frames_and_the_cause() -> None:
    def predict() -> None:
        try:
            int("x")
        except ValueError as error:
            raise RuntimeError("two\nlines") from error

    try:
        predict()
    except RuntimeError as error:
        text = model.explain("The model's predict failed", error)
    assert text.startswith("The model's predict failed: RuntimeError: two\n\nTraceback")
    assert "in predict" in text
    assert "invalid literal for int()" in text


@pytest.mark.parametrize(
    ("status", "for_memory", "words"),
    [
        (3 << 8, False, "ended with exit code 3"),
        (9, False, "out of memory, perhaps"),
        (9, True, "out of memory, the container's limit"),
        (11, False, "SIGSEGV: a segmentation fault"),
        # One of the worker's children may have been the one that was out of memory.
        (11, True, "SIGSEGV: a segmentation fault"),
        (3 << 8, True, "ended with exit code 3"),
        (15, False, "ended by SIGTERM"),
        (64, False, "SIGRTMAX"),
    ],
)
def test_how_a_process_ended_in_words(status: int, for_memory: bool, words: str) -> None:
    assert words in processes.describe_end(status, for_memory)


def test_bodies_take_at_most_half_of_the_containers_memory() -> None:
    settings = read_settings({"MDAI_MAX_BODY_BYTES": "300M"})
    assert within_memory(settings, None) == settings
    assert within_memory(settings, 2**40) == settings
    small = within_memory(settings, 512 * 2**20)
    assert (small.max_body_bytes, small.max_held_bytes) == (256 * 2**20, 256 * 2**20)


def test_a_log_that_nobody_reads_holds_up_nobody_and_stays_small() -> None:
    read, write = os.pipe()
    log = Log(json_lines=False, fd=write)
    for number in range(30_000):
        log.write(f"line {number}")
    drained = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(read, 65536), b"")])
    drained.start()
    log.close()
    assert log.dropped > 10_000
    os.close(write)
    drained.join()
    os.close(read)


def test_a_body_alone_always_fits_and_two_share_the_room() -> None:
    room = Room(100)
    room.take(80, 0)
    room.take(80, 80)
    with pytest.raises(Refusal):
        room.take(1, 0)
    room.give_back(160)
    room.take(100, 0)
