"""Bundles that attack the build: through their texts, and through the packages that they have installed."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import time
import zipfile
from pathlib import Path

import docker
from harness.runner import Run, run_command

PARENT = "mdai-build/parent:local-cpu"
PYTHON = "/opt/conda/envs/mdai-env/bin/python"
SITE = "/opt/conda/envs/mdai-env/lib/python3.10/site-packages"
DEPLOY = """
class MDAIModel:
    def predict(self, data):
        return []
"""
# What code of a package sees while it is installed or built; told by a module that is installed with it.
LOOK = """
import os
def found(path):
    return os.path.isdir(path) and bool(os.listdir(path))
seen = [path for path in ("/var/cache/uv", "/root/.cache/pip", "/root/.cache/uv", "/run/mdai/wheels") if found(path)]
seen += [path for path in ("/root/.netrc", "/run/mdai/proxies") if os.path.exists(path)]
"""
# A path file is run by every Python of the environment that starts, also by one that an installer starts to compile.
PATH_FILE = f"""import os; os.access({SITE!r}, os.W_OK) and open({SITE!r} + "/ran", "a").close()
import os; os.path.isdir("/var/cache/uv") and os.listdir("/var/cache/uv") and open({SITE!r} + "/poisoned", "a").close()
import os; os.path.isdir("/root/.cache/pip") and open({SITE!r} + "/poisoned", "a").close()
import os; os.path.exists("/root/.netrc") and open({SITE!r} + "/poisoned", "a").close()
"""
ENVIRONMENT = {
    "DOLLAR": "$HOME ${PATH} $(id) `id`",
    "BACKSLASH": "a\\nb\\ \\\\ \\",
    "QUOTES": '"double" \'single\' "',
    "HASH": "a # b",
    "DIRECTIVE": "# syntax=docker/dockerfile:1",
    "HEREDOC": "<<EOF",
    "INSTRUCTION": "x USER root",
    "TEMPLATE": "{{ plan.labels }} {% include 'x' %} {# #}",
    "UNICODE": "é 日本 😀",
    "EMPTY": "",
    "SPACES": "  both ends  ",
    "TAB": "a\tb",
}
FILES = (
    *("$HOME.bin", "`id`", "a b.txt", "#file", "-rf", "--chown=root", "'quote'", '"double"', "{{ x }}", "<<EOF"),
    *("é.txt", "😀", "!important", ".dockerignore", "Dockerfile", "Dockerfile.dockerignore", "%s", "a=b", "a&b;c|d"),
    *("[a]", "*.py", "?x", "_mdai/x", "_mdai/Dockerfile", "~", "a;b", "c,d"),
)


def build(model: Path, tag: str, place: Path, cache_folder: Path, *words: str) -> Run:
    environment = {"MDAI_BUILD_CACHE_FOLDER": str(cache_folder), "MDAI_BUILD_PARENT": "local"}
    place.mkdir()
    return run_command(["build", str(model), "--tag", tag, "--json", *words], place, environment, 300)


def write_wheel_with_path_file(path: Path) -> None:
    files = {
        "evil.pth": PATH_FILE,
        "evil.py": "",
        "evil-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n",
        "evil-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as wheel:
        rows = []
        for name, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
            rows.append(f"{name},sha256={digest},{len(text.encode())}\n")
            wheel.writestr(name, text)
        wheel.writestr("evil-1.0.dist-info/RECORD", "".join(rows) + "evil-1.0.dist-info/RECORD,,\n")


def test_texts_arrive_as_they_were_written_and_are_nothing_else(
    engine: docker.DockerClient, tmp_path: Path, cache_folder: Path
) -> None:
    """Environment variables, names of files; and a wheel whose path file runs while it is installed finds nothing."""
    model, tag = tmp_path / "texts", "mdai-build-test/texts:latest"
    (model / ".mdai").mkdir(parents=True)
    env = "".join(f"  {name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in ENVIRONMENT.items())
    (model / ".mdai/config.yaml").write_text(f"base_image: py310\nenv:\n{env}", encoding="utf-8")
    (model / ".mdai/mdai_deploy.py").write_text(DEPLOY)
    (model / ".mdai/requirements.txt").write_text("./evil-1.0-py3-none-any.whl\n")
    write_wheel_with_path_file(model / ".mdai/evil-1.0-py3-none-any.whl")
    for name in FILES:
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_text(f"content of {name}", encoding="utf-8")
    (model / "large$(id) #.bin").write_bytes(b"w" * 2**20)
    (model / ".dockerignore").write_bytes(b"*\n" * 2**19)  # as large as weights, which are a context of their own
    run = build(model, tag, tmp_path / "run", cache_folder)
    try:
        assert run.exit_code == 0, run
        image = engine.api.inspect_image(tag)
        assert image["Config"]["User"] == "1000:1000"
        inside = dict(entry.split("=", 1) for entry in image["Config"]["Env"])
        assert {name: inside.get(name) for name in ENVIRONMENT} == ENVIRONMENT
        assert image["Config"]["Labels"]["org.opencontainers.image.title"] == "texts"
        program = (  # what is in it, by path
            "import hashlib, json, pathlib; top = pathlib.Path('/src/lib'); print(json.dumps({str(p.relative_to(top)):"
            " hashlib.sha256(p.read_bytes()).hexdigest() for p in top.rglob('*') if p.is_file()}))"
        )
        entry = [PYTHON, "-I", "-c", program]
        there = json.loads(engine.containers.run(tag, entrypoint=entry, remove=True, network_mode="none"))
        wanted = {
            path.relative_to(model).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in model.rglob("*")
            if path.is_file()
        }
        assert there == wanted
        marks = engine.containers.run(tag, entrypoint=["ls", SITE], remove=True, network_mode="none").decode().split()
        assert "ran" in marks, "the path file never ran: the test would find nothing"
        assert "poisoned" not in marks
    finally:
        if run.exit_code == 0:
            engine.images.remove(tag, force=True)


def test_the_build_of_a_package_sees_no_shared_cache(
    engine: docker.DockerClient, tmp_path: Path, cache_folder: Path
) -> None:
    """What setup.py could write there, the next bundle would install. It does see the login (docs/security.md)."""
    model, tag = tmp_path / "sources", "mdai-build-test/sources:latest"
    (model / ".mdai").mkdir(parents=True)
    (model / ".mdai/config.yaml").write_text("base_image: py310\n")
    (model / ".mdai/mdai_deploy.py").write_text(DEPLOY)
    (model / ".mdai/requirements.txt").write_text("./evil_sources-1.0.tar.gz\n")
    setup = f"{LOOK}\nopen('evil_sources.py', 'w').write(f'SEEN = {{seen!r}}')\n"
    setup += "from setuptools import setup\nsetup(name='evil-sources', version='1.0', py_modules=['evil_sources'])\n"
    with tarfile.open(model / ".mdai/evil_sources-1.0.tar.gz", "w:gz") as archive:
        for name, text in {
            "setup.py": setup,
            "PKG-INFO": "Metadata-Version: 1.0\nName: evil-sources\nVersion: 1.0\n",
        }.items():
            info = tarfile.TarInfo(f"evil_sources-1.0/{name}")
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    (tmp_path / "logins").write_text("machine nowhere.example login robot password none\n")
    run = build(model, tag, tmp_path / "run", cache_folder, "--no-test", "--netrc", str(tmp_path / "logins"))
    try:
        assert run.exit_code == 0, run
        entry = [PYTHON, "-c", "import evil_sources; print(evil_sources.SEEN)"]
        seen = engine.containers.run(tag, entrypoint=entry, remove=True, network_mode="none").decode().strip()
        assert seen == "['/root/.netrc']"
    finally:
        if run.exit_code == 0:
            engine.images.remove(tag, force=True)


def test_the_caches_of_an_author_s_dockerfile_are_his_own(
    engine: docker.DockerClient, tmp_path: Path, cache_folder: Path
) -> None:
    """Two bundles mount a cache of the same name: each sees what it wrote itself, and not what the other wrote."""
    # An engine outlives a test's folder, whose name may come again: the cache has one of its own.
    cache = f"RUN --mount=type=cache,id=mdai-uv-{time.time_ns()},target=/cache"
    look = cache + " echo found $(ls /cache) && touch /cache/{name} && false"
    seen = {}
    for name, number in (("first", 1), ("second", 1), ("first", 2)):
        model = tmp_path / name
        (model / ".mdai").mkdir(parents=True, exist_ok=True)
        (model / ".mdai/config.yaml").write_text("base_image: custom\n")
        (model / ".mdai/mdai_deploy.py").write_text(DEPLOY)
        dockerfile = f"FROM {PARENT}\nRUN echo {tmp_path} {number}\n{look.format(name=name)}\n"
        (model / ".mdai/Dockerfile").write_text(dockerfile)
        run = build(model, "mdai-build-test/never:latest", tmp_path / f"{name}{number}", cache_folder)
        assert run.exit_code == 6, run
        details = json.loads(run.stdout)["problems"][0]["details"]
        seen[name, number] = details.splitlines()[0]
    assert seen == {("first", 1): "found", ("second", 1): "found", ("first", 2): "found first"}
