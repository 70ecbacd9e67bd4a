"""Services that a build reaches on loopback: a page of links to wheels, and a git server."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from harness.packing import write_wheel


@contextlib.contextmanager
def serving(handler: type[BaseHTTPRequestHandler] | functools.partial[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serves on a free port of loopback; gives the URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def links_page(folder: Path) -> Iterator[str]:
    """A page that links to the wheel of `mdai_links_probe` 1.5, as `--find-links` reads it."""
    wheel = folder / "mdai_links_probe-1.5-py3-none-any.whl"
    write_wheel(wheel, "mdai_links_probe", 'ORIGIN = "links page"\n')
    (folder / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>\n')
    with serving(functools.partial(_Quiet, directory=str(folder))) as url:
        yield f"{url}/index.html"


class _Git(BaseHTTPRequestHandler):
    """Git's smart protocol over HTTP, by git's own CGI program."""

    root: Path

    def _answer(self) -> None:
        path, _, query = self.path.partition("?")
        length = int(self.headers.get("Content-Length") or 0)
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(length),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        answer = subprocess.run(
            ["git", "http-backend"], input=self.rfile.read(length), env=environment, stdout=subprocess.PIPE, check=True
        ).stdout
        head, _, body = answer.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def git_server(folder: Path) -> Iterator[str]:
    """A server with one repository, probe.git: the package `mdai_git_probe`, 2.0 at the tag v2 and 3.0 after it."""
    source = folder / "source"
    source.mkdir()

    def git(*words: str) -> None:
        identity = ("-c", "user.name=harness", "-c", "user.email=harness@localhost")
        subprocess.run(["git", *identity, *words], cwd=source, check=True, capture_output=True)

    def commit(version: str) -> None:
        (source / "setup.py").write_text(
            "from setuptools import setup\n"
            f'setup(name="mdai-git-probe", version="{version}", py_modules=["mdai_git_probe"])\n'
        )
        (source / "mdai_git_probe.py").write_text(f'ORIGIN = "git {version}"\n')
        git("add", ".")
        git("commit", "--quiet", "--message", version)

    git("init", "--quiet", "--initial-branch", "main")
    commit("2.0")
    git("tag", "v2")
    commit("3.0")
    git("clone", "--quiet", "--bare", ".", str(folder / "probe.git"))
    with serving(type("_GitOf", (_Git,), {"root": folder})) as url:
        yield f"{url}/probe.git"
