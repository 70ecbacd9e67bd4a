"""Private indexes, certificates, proxies, git and a registry with a password, no network at all: on loopback, and where
secrets go."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import re
import shlex
import shutil
import ssl
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path

import docker
import docker.errors
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, PublicFormat
from harness.loopback import git_server
from harness.packing import write_wheel
from harness.private import Account, private_files, private_git, private_proxy
from harness.runner import Run, run_command
from harness.secrets import in_builder, in_bytes, in_cache_mounts, in_folder, in_image, shapes

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
EXTRA = Account("second", "extra-secret-Wm81tB")
REGISTRY = Account("pusher", "registry-secret-Rq47Lw")
REGISTRY_HASH = "$2b$04$oU4Hr8uILL3c1ZSNWzu/L.1.peeXfy1gehE6Cq/zrGqoa6oK2J8Um"
"""bcrypt of its password."""
KEY = Account("signer", "key-secret-Vn52hC")


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
    engine: docker.DockerClient,
    image: str,
    run: Run,
    cache: Path,
    place: Path,
    accounts: list[Account],
    others: tuple[bytes, ...] = (),
) -> None:
    """No secret, nor a file that would carry one, is in the image, in what was printed, on disk or in a cache mount."""
    secrets = (*others, *(shape for account in accounts for shape in shapes(account.user, account.password)))
    found, paths = in_image(engine, image, secrets)
    assert found == []
    assert paths and not {path for path in paths if path.endswith((".netrc", "ca-bundle.crt", "mdai/proxies"))}
    assert not in_bytes(str(run).encode(), secrets)
    assert in_folder(cache, secrets) == []
    assert in_folder(place / "tmp", secrets) == []
    assert {"report.html", "junit.xml"} <= {file.name for file in (place / "told").iterdir()}
    assert in_folder(place / "told", secrets) == []
    assert in_builder(engine, secrets) == []
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


def signing_key(public: Path) -> tuple[str, tuple[bytes, ...]]:
    """A private key as text, and what of it would betray it. Its public half is written."""
    key = Ed25519PrivateKey.generate()
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    encryption = BestAvailableEncryption(KEY.password.encode())
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()
    return text, tuple(line.encode() for line in text.splitlines() if len(line) > 40)


@pytest.fixture
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The `host:port` of a registry with a login, and where its files are."""
    from registry import serving

    data = tmp_path_factory.mktemp("private-registry")
    with serving(load_settings().engine_folder, data, htpasswd=f"{REGISTRY.user}:{REGISTRY_HASH}\n") as address:
        yield address, data


def logged_in(place: Path, address: str) -> dict[str, str]:
    """What leads to the same engine with a login for that registry, as `docker login` leaves it."""
    found = connect(load_settings().engine_folder)
    found.client.close()
    folder = place / "docker"
    if known := found.environment.values.get("DOCKER_CONFIG"):
        shutil.copytree(known, folder, symlinks=True)
    folder.mkdir(exist_ok=True)
    login = base64.b64encode(f"{REGISTRY.user}:{REGISTRY.password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {address: {"auth": login}}}))
    return {"DOCKER_HOST": found.host, "PATH": found.environment.values["PATH"], "DOCKER_CONFIG": str(folder)}


def test_no_secret_is_in_anything_that_is_written(
    engine: docker.DockerClient,
    packages: Path,
    own_cache: Path,
    private_registry: tuple[str, Path],
    tmp_path: Path,
) -> None:
    """A login in an index's address, one in a netrc file, of a proxy and of a registry; a signing key and its password.

    In no layer, history, record of the builder, cache, log, page, JUnit, SARIF, JSON, statement, bill of materials,
    plan, Dockerfile or bake file.
    """
    address, data = private_registry
    extra = tmp_path / "extra"
    extra.mkdir()
    write_wheel(extra / "mdai_extra_probe-1.0-py3-none-any.whl", "mdai_extra_probe", "ORIGIN = 'extra'\n")
    model = make_model(
        tmp_path / "private",
        "mdai-private-probe\nmdai-extra-probe\n",
        "import mdai_extra_probe, mdai_private_probe",
    )
    netrc = tmp_path / "logins"
    netrc.write_text(f"machine extra.test login {EXTRA.user} password {EXTRA.password}\n")
    key, lines = signing_key(tmp_path / "key.pub")
    tag = f"{address}/models/private:1.0"
    with (
        private_files(packages, INDEX) as index,
        private_files(extra, EXTRA) as second,
        private_proxy(PROXY) as proxy,
    ):
        settings = {
            **logged_in(tmp_path, address),
            "MDAI_BUILD_CACHE_FOLDER": str(own_cache),
            "MDAI_BUILD_PARENT": PARENT,
            "MDAI_BUILD_CONDA_CHANNELS": CHANNEL,
            "MDAI_BUILD_INDEX_URL": index.url_with(INDEX).replace("127.0.0.1", "index.test") + "/simple",
            "MDAI_BUILD_EXTRA_INDEX_URLS": f"http://extra.test:{second.port}/simple",
            "MDAI_BUILD_NETRC": str(netrc),
            "MDAI_BUILD_SIGNING_KEY": key,
            "MDAI_BUILD_SIGNING_KEY_PASSWORD": KEY.password,
            "http_proxy": proxy.url_with(PROXY),
            "https_proxy": proxy.url_with(PROXY),
        }
        told = tmp_path / "told"
        words = ("--tag", tag, "--push", "--provenance", str(told / "statement.json"))
        try:
            run = build(model, tmp_path, own_cache, settings, "--network", "host", *words)
            assert run.exit_code == 0, str(run)
            assert any("extra.test" in path for path in proxy.answered)
            assert any("mdai_private_probe" in path for path in index.answered)
            for number, more in enumerate(
                (
                    ("check", str(model), "--json", "--sarif", str(told / "check.sarif")),
                    ("render", str(model), "--output", str(told / "rendered")),
                    ("render", str(model), "--plan"),
                    ("bake", str(model), "--print"),
                    ("inspect", tag, "--json", "--key", str(tmp_path / "key.pub")),
                    ("inspect", tag, "--sbom"),
                )
            ):
                (tmp_path / f"more-{number}").mkdir()
                done = run_command(("-v", *more), tmp_path / f"more-{number}", settings, timeout=120)
                assert done.exit_code == 0 and len(done.stdout + done.stderr) > 100, str(done)
                (told / f"{number}.txt").write_text(str(done))
            everything = [INDEX, EXTRA, PROXY, REGISTRY, KEY]
            assert_nowhere(engine, tag, run, own_cache, tmp_path, everything, lines)
            manifests = [file for file in data.rglob("data") if b"application/vnd.dsse.envelope" in file.read_bytes()]
            assert manifests, "no statement is beside the image"
            registry_secrets = (*lines, *(shape for account in everything for shape in shapes(*astuple(account))))
            assert in_folder(data / "docker", registry_secrets) == []
        finally:
            with contextlib.suppress(docker.errors.ImageNotFound):
                for reference in engine.images.get(tag).attrs["RepoTags"]:
                    engine.images.remove(reference, force=True)


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
