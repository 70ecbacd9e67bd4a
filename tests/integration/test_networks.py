"""Private indexes, certificates, proxies, git with a password, no network at all: on loopback, and where secrets go."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import ssl
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker
import docker.errors
import pytest
import trustme
from harness.loopback import git_server
from harness.packing import write_wheel
from harness.private import Account, private_files, private_git, private_proxy
from harness.runner import Run, run_command
from harness.secrets import in_bytes, in_cache_mounts, in_folder, in_image, shapes

from mdai_build.engine import connect
from mdai_build.settings import load_settings

PARENT = "mdai-build/parent:local-cpu"
LEAN = "mdai-build-test/lean-parent:latest"
CHANNEL = "file:///opt/conda/channel"
# The same parent without compilers and git.
LEAN_RECIPE = f"""
FROM {PARENT}
RUN apt-get purge --yes --autoremove gcc g++ make git cpp libc6-dev libstdc++-12-dev libgcc-12-dev binutils
LABEL org.opencontainers.image.title=lean-parent
"""
DEPLOY = """
import os
import shutil

{checks}

class MDAIModel:
    def predict(self, data):
        return []
"""
NATIVE_SETUP = """
from setuptools import Extension, setup
setup(
    name="mdai-native-probe",
    version="1.0",
    ext_modules=[Extension("mdai_native_probe", ["probe.c"]), Extension("mdai_native_probe_cpp", ["probe.cpp"])],
)
"""
NATIVE_SOURCE = """
#include <Python.h>
{first}
static PyObject *answer(PyObject *self, PyObject *none) {{ {second} return PyLong_FromLong(42); }}
static PyMethodDef methods[] = {{ {{ "answer", answer, METH_NOARGS, NULL }}, {{ NULL, NULL, 0, NULL }} }};
static struct PyModuleDef module = {{ PyModuleDef_HEAD_INIT, "{name}", NULL, -1, methods }};
PyMODINIT_FUNC PyInit_{name}(void) {{ return PyModule_Create(&module); }}
"""
# Different hosts, since a netrc file knows no ports: 127.0.0.1 and localhost here, names of the proxy's below.
INDEX = Account("robot", "index/secret:7Qz@3%")
GIT = Account("committer", "git-secret-Xk29fQ")
PROXY = Account("passer", "proxy-secret-Jd63kP")


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of these tests' own, to be searched for secrets."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def no_image_stays(engine: docker.DockerClient) -> Iterator[None]:
    """Takes the tags of these tests away, whatever became of them."""
    yield
    for name in ("private", "proxied", "offline"):
        with contextlib.suppress(docker.errors.ImageNotFound):
            engine.images.remove(f"mdai-build-test/{name}:latest", force=True)


@pytest.fixture(scope="module")
def lean_parent(engine: docker.DockerClient) -> Iterator[str]:
    """A parent image without compilers and git."""
    engine.images.build(fileobj=io.BytesIO(LEAN_RECIPE.encode()), tag=LEAN, rm=True, forcerm=True)
    yield LEAN
    engine.images.remove(LEAN, force=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that needs nothing yet."""
    return make_model(tmp_path_factory.mktemp("empty") / "empty", "", "")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory, model: Path, own_cache: Path) -> Path:
    """All that a build installs, fetched by the commands that an offline build itself tells, and two packages more."""
    folder = tmp_path_factory.mktemp("packages")
    run = build(model, tmp_path_factory.mktemp("asking"), own_cache, {}, "--wheels", str(folder), "--network", "none")
    assert run.exit_code == 5, str(run)
    problems = json.loads(run.stdout)["problems"]
    told = " ".join(problem["what"] for problem in problems)
    assert "uv==" in told and "numpy==1.23.3" in told and "httptools==" in told
    for problem in problems:
        command = problem["next_step"].partition(": ")[2].partition(" (or ")[0]
        words = shlex.split(command)
        assert words[:2] == ["pip", "download"]
        subprocess.run([sys.executable, "-m", *words, "--quiet"], check=True, timeout=300)
    # What setuptools needs to build the sdist below.
    words = ["pip", "download", "--quiet", "--no-deps", "--dest", str(folder), "wheel==0.45.1"]
    subprocess.run([sys.executable, "-m", *words], check=True, timeout=300)
    write_wheel(folder / "mdai_private_probe-1.5-py3-none-any.whl", "mdai_private_probe", "ORIGIN = 'private'\n")
    write_native_sdist(folder / "mdai_native_probe-1.0.tar.gz")
    return folder


def company(place: Path) -> tuple[ssl.SSLContext, Path]:
    """The TLS side of a server with a certificate of an authority of its own, and that authority's certificate."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost", "index.test").configure_cert(server)
    authority.cert_pem.write_to_path(place / "company.pem")
    return server, place / "company.pem"


def write_native_sdist(path: Path) -> None:
    members = {
        "setup.py": NATIVE_SETUP,
        "PKG-INFO": "Metadata-Version: 1.0\nName: mdai-native-probe\nVersion: 1.0\n",
        "probe.c": NATIVE_SOURCE.format(name="mdai_native_probe", first="", second=""),
        "probe.cpp": NATIVE_SOURCE.format(
            name="mdai_native_probe_cpp", first="#include <vector>", second="std::vector<int> some(3);"
        ),
    }
    with tarfile.open(path, "w:gz") as archive:
        for name, text in members.items():
            entry = tarfile.TarInfo(f"mdai_native_probe-1.0/{name}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))


def make_model(folder: Path, requirements: str, checks: str) -> Path:
    (folder / ".mdai").mkdir(parents=True)
    (folder / ".mdai/config.yaml").write_text("base_image: py38\n")
    (folder / ".mdai/requirements.txt").write_text(requirements)
    (folder / ".mdai/mdai_deploy.py").write_text(DEPLOY.format(checks=checks))
    return folder


def build(model: Path, place: Path, cache: Path, environment: dict[str, str], *words: str) -> Run:
    command = ["-v", "build", str(model), "--json", "--tag", f"mdai-build-test/{model.name}:latest", *words]
    command += ["--report", str(place / "told" / "report.html"), "--junit", str(place / "told" / "junit.xml")]
    (place / "told").mkdir(exist_ok=True)
    given = {"MDAI_BUILD_CACHE_FOLDER": str(cache), "MDAI_BUILD_PARENT": PARENT, "MDAI_BUILD_CONDA_CHANNELS": CHANNEL}
    return run_command(command, place, {**given, **environment}, timeout=300)


def assert_nowhere(
    engine: docker.DockerClient, image: str, run: Run, cache: Path, place: Path, accounts: list[Account]
) -> None:
    """No secret, nor a file that would carry one, is in the image, in what was printed, on disk or in a cache mount."""
    secrets = tuple(shape for account in accounts for shape in shapes(account.user, account.password))
    found, paths = in_image(engine, image, secrets)
    assert found == []
    assert paths and not {path for path in paths if path.endswith((".netrc", "ca-bundle.crt", "mdai/proxies"))}
    assert not in_bytes(str(run).encode(), secrets)
    assert in_folder(cache, secrets) == []
    assert in_folder(place / "tmp", secrets) == []
    assert len(list((place / "told").iterdir())) == 2 and in_folder(place / "told", secrets) == []
    dockerfiles = [file.read_text() for file in cache.glob("contexts/*/Dockerfile")]
    mounts = {name for text in dockerfiles for name in re.findall(r"--mount=type=cache,id=([\w.-]+)", text)}
    assert mounts
    found = connect(load_settings().engine_folder)
    with contextlib.closing(found.client):

        def run_there(*words: str) -> None:
            subprocess.run(words, env=dict(found.environment.values), check=True, capture_output=True)

        assert in_cache_mounts(run_there, PARENT, sorted(mounts), secrets) == []
    assert run.left == ()


def test_a_private_index_and_git_behind_tls_and_passwords(
    engine: docker.DockerClient,
    lean_parent: str,
    packages: Path,
    own_cache: Path,
    tmp_path: Path,
) -> None:
    """With a certificate of the company's own. The parent has no compilers and no git; nor has the image."""
    server, certificates = company(tmp_path)
    netrc = tmp_path / "logins"
    netrc.write_text(f"machine localhost login {GIT.user} password {GIT.password}\n")
    repositories = tmp_path / "git"
    repositories.mkdir()
    tools = ["gcc", "g++", "cc", "make", "git", "ld"]
    checks = f"""
import mdai_git_probe, mdai_native_probe, mdai_native_probe_cpp, mdai_private_probe
assert mdai_native_probe.answer() == mdai_native_probe_cpp.answer() == 42
assert mdai_private_probe.ORIGIN == "private" and mdai_git_probe.ORIGIN == "git 2.0"
assert not [tool for tool in {tools} if shutil.which(tool)]
"""
    with (
        private_files(packages, INDEX, server) as index,
        git_server(repositories),
        private_git(repositories, GIT, server) as git,
    ):
        requirements = f"mdai-native-probe\nmdai-private-probe>=1\ngit+https://localhost:{git.port}/probe.git@v2\n"
        model = make_model(tmp_path / "private", requirements, checks)
        settings = {
            "MDAI_BUILD_INDEX_URL": f"{index.url_with(INDEX)}/simple",
            "MDAI_BUILD_CA_BUNDLE": str(certificates),
            "MDAI_BUILD_NETRC": str(netrc),
            "MDAI_BUILD_PARENT": lean_parent,
        }
        run = build(model, tmp_path, own_cache, settings, "--network", "host")
        assert run.exit_code == 0, str(run)
        assert any("mdai-native-probe" in path for path in index.answered)
        assert any("git-upload-pack" in path for path in git.answered)

        tag = "mdai-build-test/private:latest"
        assert_nowhere(engine, tag, run, own_cache, tmp_path, [INDEX, GIT])

    # On another port, since a login is no part of what the engine's cache goes by.
    with private_files(packages, INDEX, server) as index:
        (tmp_path / "again").mkdir()
        settings["MDAI_BUILD_INDEX_URL"] = f"{index.url_with(Account(INDEX.user, 'wrong'))}/simple"
        run = build(model, tmp_path / "again", own_cache, settings, "--network", "host")
        assert run.exit_code == 5, str(run)
        assert json.loads(run.stdout)["problems"][0]["code"] == "engine.login-refused", str(run)


def test_a_proxy_that_asks_for_a_password(
    engine: docker.DockerClient, packages: Path, own_cache: Path, tmp_path: Path
) -> None:
    """Index and conda channel on hosts that only the proxy can find; the index asks for a login too; pip installs."""
    channel = tmp_path / "channel"
    channel.mkdir()
    container = engine.containers.create(PARENT, labels={"org.opencontainers.image.title": "proxied"})
    try:
        chunks, _ = container.get_archive("/opt/conda/channel")
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            archive.extractall(channel)
    finally:
        container.remove()
    netrc = tmp_path / "logins"
    server, certificates = company(tmp_path)
    netrc.write_text(f"machine index.test\nlogin {INDEX.user}\npassword {INDEX.password}\n")
    checks = 'import mdai_private_probe\nassert not [name for name in os.environ if "proxy" in name.lower()]\n'
    model = make_model(tmp_path / "proxied", "mdai-private-probe\n", checks)
    with (
        private_files(packages, INDEX, server) as index,
        private_files(channel, None) as conda,
        private_proxy(PROXY) as proxy,
    ):
        settings = {
            "MDAI_BUILD_INDEX_URL": f"https://index.test:{index.port}/simple",
            "MDAI_BUILD_CA_BUNDLE": str(certificates),
            "MDAI_BUILD_NETRC": str(netrc),
            "MDAI_BUILD_CONDA_CHANNELS": f"http://conda.test:{conda.port}/channel",
            "MDAI_BUILD_INSTALLER": "pip",
            "http_proxy": proxy.url_with(PROXY),
            "https_proxy": proxy.url_with(PROXY),
        }
        run = build(model, tmp_path, own_cache, settings, "--network", "host")
        assert run.exit_code == 0, str(run)
        assert any("index.test" in path for path in proxy.answered)
        assert any("python-3.8" in path for path in conda.answered)
    tag = "mdai-build-test/proxied:latest"
    assert_nowhere(engine, tag, run, own_cache, tmp_path, [INDEX, PROXY])


def test_the_folder_that_wheels_fills(own_cache: Path, tmp_path: Path) -> None:
    """Another machine builds from it without a network; docopt has no wheel anywhere."""
    model = make_model(tmp_path / "offline", "docopt==0.6.2\n", "import docopt")
    folder, filling = tmp_path / "wheels", tmp_path / "filling"
    filling.mkdir()
    words = ("wheels", str(model), str(folder), "--parent", "local", "--network", "host")
    filled = run_command(words, filling, {"MDAI_BUILD_CACHE_FOLDER": str(own_cache)}, timeout=300)
    assert filled.exit_code == 0, str(filled)
    assert {"docopt-0.6.2-py2.py3-none-any.whl", "numpy"} <= {
        file.name if file.name.startswith("docopt") else file.name.split("-")[0] for file in folder.iterdir()
    }
    run = build(model, tmp_path, own_cache, {}, "--wheels", str(folder), "--network", "none")
    assert run.exit_code == 0, str(run)


def test_no_network_at_all(packages: Path, own_cache: Path, tmp_path: Path) -> None:
    """From a folder of wheels; addresses in the requirements are left aside, and what they name is found by name."""
    requirements = (
        "--extra-index-url http://127.0.0.1:9/simple\n-f http://127.0.0.1:9/page.html\n"
        "mdai-private-probe @ git+https://127.0.0.1:9/probe.git\nmdai-native-probe==1.0\n"
    )
    checks = "import mdai_private_probe, mdai_native_probe\nassert mdai_native_probe.answer() == 42\n"
    model = make_model(tmp_path / "offline", requirements, checks)
    run = build(model, tmp_path, own_cache, {}, "--wheels", str(packages), "--network", "none")
    assert run.exit_code == 0, str(run)
