"""A headless browser for the tests of the HTML report: Debian's, unpacked into a folder of ours once.

It is spoken to through the DevTools protocol over two pipes (`--remote-debugging-pipe`): no port, no driver program.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import debian

PACKAGES = ["chromium-headless-shell", "fonts-dejavu-core"]
ANSWER_SECONDS = 60


def install(folder: Path) -> Path:
    """The program, unpacked below `folder` once.

    Raises:
        debian.Unavailable: not root, not Debian, or no package to be had.
    """
    root = folder / "browser"
    program = root / "usr/lib/chromium/chromium-headless-shell"
    finished = root / "installed"
    if not finished.exists():
        shutil.rmtree(root, ignore_errors=True)
        debian.unpack(PACKAGES, suite=debian.codename(), into=root, work=folder / "apt-browser", dependencies=True)
        finished.touch()
    return program


class Browser:
    """A running browser with one page."""

    def __init__(self, process: subprocess.Popen[bytes], to_browser: int, from_browser: int) -> None:
        self._process = process
        self._to, self._from = to_browser, from_browser
        self._rest = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        """What the page told since it was opened: requests, log entries, exceptions."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log", "DOM", "Accessibility"):
            self.call(f"{domain}.enable")

    def open(self, url: str) -> None:
        """Opens a page, and waits until all of it is there."""
        self.events.clear()
        self.call("Page.navigate", url=url)
        deadline = time.monotonic() + ANSWER_SECONDS
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._receive(deadline)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, and its result.

        Raises:
            RuntimeError: the browser refuses it, or does not answer.
        """
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        content = json.dumps(message).encode() + b"\0"
        while content:
            content = content[os.write(self._to, content) :]
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page.

        Raises:
            RuntimeError: it throws.
        """
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Presses and lets go of a key, such as `("ArrowRight", 39)`: its name, and its Windows key code."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """Sets the size of the window, in CSS pixels, and whether the reader prefers dark pages."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        scheme = "dark" if dark else "light"
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, *, whole: bool = True) -> bytes:
        """The page as PNG; not `whole`: what the window shows."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(answer["data"])

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(self._from, 1 << 20) if ready else b""
            if not part:
                raise RuntimeError("the browser does not answer")
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        if "method" in message:
            self.events.append(message)
        return message


@contextlib.contextmanager
def running(programs: Path) -> Iterator[Browser]:
    """A browser for as long as the block lasts; it leaves nothing behind.

    Raises:
        debian.Unavailable: it cannot be had here.
    """
    program = install(programs)
    libraries = next(iter((programs / "browser").glob("usr/lib/*-linux-gnu")))
    theirs, to_browser = os.pipe()
    from_browser, ours = os.pipe()
    with tempfile.TemporaryDirectory(prefix="mdai-browser-") as folder:
        # The protocol's pipes have to be file descriptors 3 and 4 there.
        process = subprocess.Popen(
            [
                *("bash", "-c", f'exec 3<&{theirs} 4>&{ours} "$0" "$@"', str(program)),
                *("--no-sandbox", "--remote-debugging-pipe", f"--user-data-dir={folder}"),
                *("--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage", "--no-first-run"),
            ],
            env={
                **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
                "HOME": folder,
                "XDG_CACHE_HOME": folder,
                "LD_LIBRARY_PATH": f"{libraries}:{libraries / 'pulseaudio'}",
            },
            pass_fds=(theirs, ours),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(ours)
        try:
            yield Browser(process, to_browser, from_browser)
        finally:
            os.close(to_browser)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()
            os.close(from_browser)
