"""Asking before a build, for real: uv is started, the packages are wheels of the bundle or of a loopback index."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mdai_build.engine import Resolver
from mdai_build.errors import MdaiBuildError, Problem, RequirementsError
from mdai_build.pipeline.check import check_model
from mdai_build.settings import Settings

pytestmark = pytest.mark.process
CODE = "class MDAIModel:\n    def __init__(self): ...\n    def predict(self, data):\n        return []\n"
LOCAL = "--no-index\n-f wheels\n"
Bundle = Callable[..., Path]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(parent="local", cache_folder=tmp_path / "cache")


@pytest.fixture
def model(tmp_path: Path, wheel: Callable[..., bytes]) -> Bundle:
    """Makes a model folder with a requirements.txt, and wheels in `.mdai/wheels` by name and what they require."""

    def make(requirements: str, wheels: dict[str, list[str]] | None = None, python: str = "py38") -> Path:
        folder = tmp_path / "model" / ".mdai"
        (folder / "wheels").mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(f"base_image: {python}\n")
        (folder / "mdai_deploy.py").write_text(CODE)
        (folder / "requirements.txt").write_text(requirements)
        for name, requires in (wheels or {}).items():
            (folder / "wheels" / name).write_bytes(wheel(name, requires))
        return folder.parent

    return make


def checked(folder: Path, settings: Settings) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    try:
        return (), check_model(folder, settings, look_up=True).warnings
    except MdaiBuildError as failure:
        assert isinstance(failure, RequirementsError)
        return failure.problems, failure.warnings


OLD = {"lab_old-1.0-cp37-cp37m-linux_x86_64.whl": [], "lab_old-1.0-cp38-cp38-linux_x86_64.whl": []}


@pytest.mark.parametrize(
    ("line", "python", "code", "words"),
    [
        ("lab_old==1.0", "py310", "no-wheel", "lab-old 1.0 has wheels for Python 3.7 and 3.8"),
        ("lab_old==2.0", "py38", "no-version", "no package index has lab-old==2.0"),
        ("lab_gone", "py38", "no-package", "`lab-gone`"),
        ("lab_old>=1\nlab_old<1", "py38", "conflict", "`lab_old<1`"),
    ],
)
def test_what_cannot_be_met(model: Bundle, settings: Settings, line: str, python: str, code: str, words: str) -> None:
    (problem,) = checked(model(f"{LOCAL}{line}\n", OLD, python), settings)[0]
    assert problem.code == f"requirements.{code}"
    assert words in problem.what
    assert problem.where and problem.where.line == 2 + len(line.split("\n"))
    assert not (settings.cache_folder / "preflight").exists()


def test_everything_that_cannot_be_met_is_told_at_once(model: Bundle, settings: Settings) -> None:
    folder = model(f"{LOCAL}lab_old==2.0\nlab_gone\nlab_old_too==1.0\n", OLD)
    told = [(problem.code, problem.where and problem.where.line) for problem in checked(folder, settings)[0]]
    assert told == [("requirements.no-version", 3), ("requirements.no-package", 4), ("requirements.no-package", 5)]


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_what_a_wheel_of_the_bundle_needs_is_looked_up(
    model: Bundle, settings: Settings, tmp_path: Path, packed: bool
) -> None:
    names = {"lab_seg-1.0-py3-none-any.whl": ["lab-base>=2"], "lab_base-1.0-py3-none-any.whl": []}
    folder = model(f"{LOCAL}wheels/lab_seg-1.0-py3-none-any.whl\n", names)
    if packed:
        with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
            for file in folder.rglob("*"):
                archive.write(file, file.relative_to(folder))
        folder = tmp_path / "model.zip"
    (problem,) = checked(folder, settings)[0]
    assert problem.where and problem.where.line == 3
    assert problem.what == "lab-seg 1.0 needs lab-base>=2, which no package index has"
    assert problem.next_step == "take a version that the package index has: lab-base==1.0"


def test_preinstalled_packages_count_as_installed(model: Bundle, settings: Settings) -> None:
    """numpy 1.23.3 is in the image, so that this numpy 2 is not what an installer would take."""
    wheels = {f"numpy-{version}-py3-none-any.whl": [] for version in ("1.23.3", "2.0.0")}
    folder = model(f"{LOCAL}numpy\nlab_seg\n", {**wheels, "lab_seg-1.0-py3-none-any.whl": ["numpy"]})
    assert checked(folder, settings) == ((), ())
    (memory,) = (settings.cache_folder / "preflight").iterdir()
    assert "numpy==1.23.3" in memory.read_text()


def test_a_good_answer_is_remembered_until_anything_changes(
    model: Bundle, settings: Settings, wheel: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "lab_seg-1.0-py3-none-any.whl"
    folder = model(f"{LOCAL}lab_seg\nlab_base\n", {name: [], "lab_base-1.0-py3-none-any.whl": []})
    assert checked(folder, settings) == ((), ())
    with monkeypatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", lambda *args, **kwargs: pytest.fail("it was asked again"))
        assert checked(folder, settings) == ((), ())
    (folder / ".mdai" / "wheels" / name).write_bytes(wheel(name, ["lab-base>=2"]))
    assert len(checked(folder, settings)[0]) == 1


def test_an_answer_of_yesterday_is_asked_for_again(model: Bundle, settings: Settings) -> None:
    folder = model(f"{LOCAL}lab_seg\n", {"lab_seg-1.0-py3-none-any.whl": []})
    checked(folder, settings)
    (memory,) = (settings.cache_folder / "preflight").iterdir()
    os.utime(memory, (1, 1))
    assert checked(folder, settings) == ((), ())
    assert time.time() - memory.stat().st_mtime < 3600


def test_a_damaged_memory_is_not_believed(model: Bundle, settings: Settings) -> None:
    folder = model(f"{LOCAL}lab_seg\n", {"lab_seg-1.0-py3-none-any.whl": []})
    checked(folder, settings)
    (memory,) = (settings.cache_folder / "preflight").iterdir()
    memory.write_text('{"text": 7')
    assert checked(folder, settings) == ((), ())


def test_no_index_answers(model: Bundle, settings: Settings) -> None:
    """Nothing listens on that port."""
    begun = time.monotonic()
    problems, (warning,) = checked(model("-i http://127.0.0.1:9/simple\nnumpy\n"), settings)
    assert problems == ()
    assert warning.code == "requirements.not-looked-up"
    assert "127.0.0.1:9" in warning.what
    assert time.monotonic() - begun < 10
    assert not (settings.cache_folder / "preflight").exists()


def test_offline_does_not_look(model: Bundle, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess.Popen, "__init__", lambda *args, **kwargs: pytest.fail("it looked"))
    assert checked(model("lab_gone\n"), settings.model_copy(update={"offline": True})) == ((), ())


class Index(http.server.BaseHTTPRequestHandler):
    """Answers with one status; with none, never."""

    status: int | None = None
    asked: threading.Event

    def do_GET(self) -> None:
        type(self).asked.set()
        if self.status is None:
            time.sleep(30)
        self.send_response(self.status or 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing of it is printed."""


@pytest.fixture
def index() -> Iterator[Callable[[int | None], str]]:
    """Starts a package index on loopback that answers everything with this status."""
    servers = []

    def start(status: int | None) -> str:
        handler = type("Answering", (Index,), {"status": status, "asked": threading.Event()})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        start.asked = handler.asked  # type: ignore[attr-defined]
        return f"http://127.0.0.1:{server.server_port}/simple"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("status", [401, 403, 503])
def test_an_index_that_refuses_us_is_no_problem_of_the_bundle(
    model: Bundle, settings: Settings, index: Callable[[int | None], str], status: int
) -> None:
    problems, (warning,) = checked(model(f"-i {index(status)}\nnumpy\n"), settings)
    assert problems == ()
    assert warning.code == "requirements.not-looked-up"
    assert str(status) in warning.what


def test_the_settings_index_is_asked(model: Bundle, settings: Settings, index: Callable[[int | None], str]) -> None:
    there = settings.model_copy(update={"index_url": index(404)})
    (problem,) = checked(model("numpy\n"), there)[0]
    assert problem.code == "requirements.no-package"
    assert index.asked.is_set()  # type: ignore[attr-defined]


def still_running(group: int) -> list[str]:
    """Processes of a group that have not ended, after a moment's patience; Linux."""
    for _ in range(50):
        stats = [file.read_text() for file in Path("/proc").glob("[0-9]*/stat") if file.exists()]
        fields = [(stat, stat.rpartition(")")[2].split()) for stat in stats]
        running = [stat for stat, (state, _, its_group, *_) in fields if int(its_group) == group and state != "Z"]
        if not running:
            break
        time.sleep(0.1)
    return running


def test_interrupted_it_leaves_nothing_behind(
    model: Bundle, tmp_path: Path, index: Callable[[int | None], str]
) -> None:
    """The index takes the request and never answers; Ctrl-C comes meanwhile."""
    folder = model(f"-i {index(None)}\nnumpy\n")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    inherited = {**os.environ, "TMPDIR": str(scratch), "MDAI_BUILD_CACHE_FOLDER": str(tmp_path / "cache")}
    process = subprocess.Popen(
        [sys.executable, "-m", "mdai_build.cli", "check", str(folder)],
        env=inherited,
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert index.asked.wait(30)  # type: ignore[attr-defined]
    assert list(scratch.iterdir())
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted" in printed
    assert list(scratch.iterdir()) == []
    assert still_running(process.pid) == []


def test_a_build_asks_before_it_needs_an_engine(model: Bundle, tmp_path: Path) -> None:
    folder = model(f"{LOCAL}lab_gone\n", OLD)
    inherited = {**os.environ, "DOCKER_HOST": "unix:///nonexistent", "MDAI_BUILD_CACHE_FOLDER": str(tmp_path / "cache")}
    words = [sys.executable, "-m", "mdai_build.cli", "build", "--parent", "local", str(folder)]
    done = subprocess.run(words, env=inherited, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert ".mdai/requirements.txt:3" in done.stderr
    assert "lab_gone" in done.stderr


def test_a_check_needs_no_engine_library(model: Bundle, tmp_path: Path) -> None:
    folder = model(f"{LOCAL}lab_seg\n", {"lab_seg-1.0-py3-none-any.whl": []})
    code = (
        "import sys; from pathlib import Path; from mdai_build.pipeline.check import check_model; "
        "from mdai_build.settings import Settings; "
        f"check_model(Path({str(folder)!r}), Settings(cache_folder={str(tmp_path / 'cache')!r}), look_up=True); "
        "print([name for name in ('docker', 'requests') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_folder_is_left_in_the_temporary_place(model: Bundle, settings: Settings) -> None:
    before = set(Path(tempfile.gettempdir()).glob("mdai-build-*"))
    assert checked(model(f"{LOCAL}lab_gone\n", OLD), settings)[0]
    assert set(Path(tempfile.gettempdir()).glob("mdai-build-*")) <= before


def test_it_is_known_whether_wheels_suffice(model: Bundle, settings: Settings) -> None:
    wheels = {"lab-1.0-py3-none-any.whl": []}
    bundle = model(LOCAL + "lab\n", wheels)
    assert not check_model(bundle, settings).wheels_suffice  # nobody looked
    assert check_model(bundle, settings, look_up=True).wheels_suffice
    assert check_model(bundle, settings, look_up=True).wheels_suffice  # as it is remembered
    assert not check_model(model(LOCAL + "--no-binary lab\nlab\n", wheels), settings, look_up=True).wheels_suffice


def test_that_wheels_suffice_is_still_known_when_the_index_no_longer_answers(
    model: Bundle, settings: Settings, tmp_path: Path, wheel: Callable[..., bytes]
) -> None:
    """A build's steps, and so its cache, do not depend on whether an index answers today."""
    name = "lab-1.0-py3-none-any.whl"
    page = tmp_path / "simple" / "lab"
    page.mkdir(parents=True)
    (page / name).write_bytes(wheel(name, []))
    (page / "index.html").write_text(f'<a href="{name}">{name}</a>')
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    of_index = settings.model_copy(update={"index_url": f"http://127.0.0.1:{server.server_port}/simple"})
    bundle = model("lab\n")
    try:
        assert check_model(bundle, of_index, look_up=True).wheels_suffice
    finally:
        server.shutdown()
        server.server_close()
    (memory,) = (settings.cache_folder / "preflight").iterdir()
    os.utime(memory, (0, time.time() - 2 * 24 * 3600))
    for other in settings.cache_folder.iterdir():
        if other.name != "preflight":
            shutil.rmtree(other)
    found = check_model(bundle, of_index, look_up=True)
    assert [problem.code for problem in found.warnings] == ["requirements.not-looked-up"]
    assert found.wheels_suffice


def test_uv_tells_which_index_it_asks_where_nobody_names_one(settings: Settings) -> None:
    resolver = Resolver.find(settings)
    assert resolver is not None
    assert (resolver.default_index() or "").startswith("https://")
