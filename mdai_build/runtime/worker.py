"""The worker process: loads the model in the model's own environment and predicts, one request at a time."""

from __future__ import annotations

import faulthandler
import importlib
import mmap
import os
import resource
import socket
import sys
import time
from types import ModuleType
from typing import Any, NoReturn

from . import contract, gpu, model, processes
from .channel import Channel, ChannelError
from .encode import encode
from .measure import MeasuredSteps, Steps
from .memory import memory_file, size_of, write_all
from .settings import Settings, read_settings
from .values import SmallRows

_TEXT_LENGTH = 128 * 1024


class _Failure(Exception):
    """One request cannot be answered: which step failed, and the text for the client."""

    def __init__(self, step: str, text: str) -> None:
        super().__init__(step)
        self.step = step
        self.text = text


def main(channel_fd: int) -> None:
    """Serves the channel on this file descriptor until the server closes it."""
    parent = os.getppid()
    processes.die_with_parent(parent)
    processes.be_first_to_go()
    os.set_inheritable(channel_fd, False)
    channel = Channel(socket.socket(fileno=channel_fd))
    faulthandler.enable()
    for stream in (sys.stdout, sys.stderr):
        # As it is printed, line by line; and printing never fails for a character.
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    settings = read_settings(os.environ)
    msgpack = private_msgpack(settings.server_packages)
    _Worker(channel, msgpack).run(settings)


def private_msgpack(folder: str) -> ModuleType:
    """The server's own msgpack, of which nothing stays behind in ``sys.path`` or ``sys.modules``.

    The model's ``import msgpack`` finds the version of its own environment, or none.
    """
    before = {name: module for name, module in sys.modules.items() if _is_msgpack(name)}
    for name in before:
        del sys.modules[name]
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("msgpack")
    finally:
        sys.path.remove(folder)
        sys.path_importer_cache.pop(folder, None)
        for name in [name for name in sys.modules if _is_msgpack(name)]:
            del sys.modules[name]
        sys.modules.update(before)


def _is_msgpack(name: str) -> bool:
    return name == "msgpack" or name.startswith("msgpack.")


class _Worker:
    def __init__(self, channel: Channel, msgpack: ModuleType) -> None:
        self._channel = channel
        self._msgpack = msgpack
        self._pid = os.getpid()

    def run(self, settings: Settings) -> None:
        started = time.perf_counter()
        try:
            predict = model.load(settings.model_root, settings.mdai_path)
        except BaseException as error:
            self._leave_if_forked()
            self._send({"event": "failed"}, _text_file(model.explain("The model failed to load", error)))
            return
        self._leave_if_forked()
        self._send({"event": "loaded", "seconds": time.perf_counter() - started, "gpu": gpu.usage()})
        while True:
            message = self._channel.receive()
            if message is None:
                return
            assert message.fd is not None
            steps = MeasuredSteps() if message.content.get("measure") else Steps()
            self._answer(message.content["id"], message.fd, predict, steps)

    def _answer(self, identity: str, body: int, predict: Any, steps: Steps) -> None:
        leave: SystemExit | None = None
        try:
            answer = self._predict(body, predict, steps)
            reply: dict[str, Any] = {"event": "answer", "id": identity, "step": "done"}
        except _Failure as failure:
            leave = failure.__cause__ if isinstance(failure.__cause__, SystemExit) else None
            answer = _text_file(failure.text)
            reply = {"event": "answer", "id": identity, "step": failure.step}
        self._leave_if_forked()
        reply["leaves"] = leave is not None
        reply["seconds"] = steps.seconds
        reply["gpu"] = gpu.usage()
        reply["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if isinstance(steps, MeasuredSteps):
            reply["measured"] = {"peak": steps.peak_bytes, "gpu": steps.gpu_bytes}
            reply["peak_bytes"] = max([reply["peak_bytes"], *steps.peak_bytes.values()])
        self._send(reply, answer)
        if leave is not None:
            # The model asked for the process to end; it is taken at its word once the client has its answer.
            sys.exit(leave.code)

    def _predict(self, body: int, predict: Any, steps: Steps) -> int:
        """The answer in a memory file; raises _Failure."""
        data = steps.run("decode", self._decode, body)
        outputs = steps.run("predict", self._run_model, predict, data)
        del data
        small_rows = steps.run("check", self._check, outputs)
        answer = steps.run("encode", self._encode, outputs, small_rows)
        return int(answer)

    def _decode(self, body: int) -> Any:
        try:
            if size_of(body) == 0:
                raise ValueError("it is empty")
            # unpackb sets its limits on strings, lists and maps from the body's size.
            with mmap.mmap(body, 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
                data = self._msgpack.unpackb(view, raw=False)
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise _Failure("decode", f"The request body is not msgpack that decodes: {reason}\n") from None
        finally:
            os.close(body)
        violations = contract.check_request(data)
        if violations:
            raise _Failure("request", f"The request is not valid:\n{contract.describe(violations)}\n")
        return data

    def _run_model(self, predict: Any, data: Any) -> Any:
        try:
            return predict(data)
        except BaseException as error:
            raise _Failure("predict", model.explain("The model's predict failed", error)) from error

    def _check(self, outputs: Any) -> SmallRows:
        small_rows: SmallRows = {}
        try:
            violations = contract.check_outputs(outputs, small_rows=small_rows)
        except BaseException as error:
            raise _Failure("outputs", model.explain("The model's outputs cannot be checked", error)) from error
        if violations:
            raise _Failure("outputs", f"The model's outputs are not valid:\n{contract.describe(violations)}\n")

        return small_rows

    def _encode(self, outputs: Any, small_rows: SmallRows) -> int:
        packer = self._msgpack.Packer()
        answer = memory_file("answer")
        try:
            for piece in encode(outputs, packer, small_rows):
                write_all(answer, piece)
        except BaseException as error:
            os.close(answer)
            raise _Failure("encode", model.explain("The model's outputs cannot be serialised", error)) from error
        return answer

    def _leave_if_forked(self) -> None:
        """Model code may fork, and the child return here too: it must not answer in its parent's name."""
        if os.getpid() != self._pid:
            os._exit(0)

    def _send(self, content: dict[str, Any], fd: int | None = None) -> None:
        """Sends a message, with a file that is closed here."""
        try:
            self._channel.send(content, fd)
        except (ChannelError, OSError) as error:
            _give_up(f"the worker cannot answer: {error}; did model code close file descriptors?")
        finally:
            if fd is not None:
                os.close(fd)


def _text_file(text: str) -> int:
    """The text in a memory file; of a very long one its begin and its end."""
    if len(text) > _TEXT_LENGTH:
        text = f"{text[: _TEXT_LENGTH // 2]}\n[...]\n{text[-_TEXT_LENGTH // 2 :]}"
    fd = memory_file("text")
    write_all(fd, text.encode("utf-8", "replace"))
    return fd


def _give_up(reason: str) -> NoReturn:
    try:
        os.write(2, (reason + "\n").encode())
    finally:
        os._exit(70)
