"""Parents as they age: our stages over images that are made here, each with one fault (parents/Dockerfile)."""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import docker
import pytest
from harness.runner import Run, run_command

HERE = Path(__file__).parent
CHANNEL = "file:///opt/conda/channel"
MINIMAL = HERE / "bundles" / "minimal" / "model"


@pytest.fixture(scope="module")
def faulty(engine: docker.DockerClient) -> Iterator[Callable[[str], str]]:
    """Makes the parent of a stage of parents/Dockerfile, and gives its name."""
    made: set[str] = set()

    def make(stage: str) -> str:
        tag = f"mdai-build-test/parent-{stage}:latest"
        if tag not in made:
            _docker("buildx", "build", "--load", "--quiet", "--target", stage, "--tag", tag, str(HERE / "parents"))
            made.add(tag)
        return tag

    yield make
    for tag in made:
        engine.api.remove_image(tag)


def _docker(*words: str) -> subprocess.CompletedProcess[str]:
    from mdai_build.engine import connect
    from mdai_build.settings import load_settings

    found = connect(load_settings().engine_folder)
    done = subprocess.run(
        found.command(*words), env=found.environment.values, capture_output=True, text=True, check=False
    )
    found.client.close()
    return done


def stage_over(parent: str, stage: str, folder: Path, *words: str, channel: str = CHANNEL) -> str:
    """What BuildKit printed while it built one of our stages over a parent, and how that ended; `words` are its own."""
    context = folder / "context"
    settings = {"MDAI_BUILD_PARENT": parent, "MDAI_BUILD_CONDA_CHANNELS": channel, "MDAI_BUILD_OFFLINE": "true"}
    run = run_command(["render", str(MINIMAL), "-o", str(context)], folder, settings, 60)
    assert run.exit_code == 0, run
    quiet = ("--progress=plain", "--no-cache", "--output=type=cacheonly")
    done = _docker("buildx", "build", *quiet, "--target", stage, *words, str(context))
    return f"{done.stdout}{done.stderr}\nended with {done.returncode}"


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("expired-key", "EXPKEYSIG"),
        ("unreadable-source", "sources could not be read"),
        ("renamed", "Unable to locate package libgl1"),
    ],
)
def test_system_libraries_come_although(fault: str, seen: str, faulty: Callable[[str], str], tmp_path: Path) -> None:
    said = stage_over(faulty(fault), "system", tmp_path)
    assert seen in said, said
    assert "ended with 0" in said, said
    assert "Setting up libgl1" in said, said


class Archive(BaseHTTPRequestHandler):
    """A proxy in front of distributions whose support is over: only the archive knows them still."""

    hosts = ("archive.debian.org", "old-releases.ubuntu.com")
    files: Mapping[str, bytes]
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        parts = urlsplit(self.path)
        content = self.files.get(posixpath.normpath(parts.path)) if parts.hostname in self.hosts else None
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def archive(faulty: Callable[[str], str], engine: docker.DockerClient) -> Iterator[tuple[str, list[str]]]:
    """Where the archive can be asked, and what was: it has libgl1 for one suite, by a Release that has run out."""
    repository = engine.containers.create(faulty("moved-to-the-archive"), ["-"])
    try:
        with tarfile.open(fileobj=io.BytesIO(b"".join(repository.get_archive("/repo")[0]))) as tar:
            made = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
            content = {name.removeprefix("repo/"): stream.read() for name, stream in made.items() if stream}
    finally:
        repository.remove()
    listed = content["Packages"]
    index = "main/binary-amd64/Packages"
    release = (
        "Suite: oldoldstable\nCodename: buster\nArchitectures: amd64\nComponents: main\n"
        "Date: Sat, 15 Jun 2024 09:00:00 UTC\nValid-Until: Sat, 22 Jun 2024 09:00:00 UTC\n"
        f"SHA256:\n {hashlib.sha256(listed).hexdigest()} {len(listed)} {index}\n"
    )
    suite = "/debian/dists/buster"
    files = {
        f"{suite}/Release": release.encode(),
        f"{suite}/{index}": listed,
        "/debian/libgl1.deb": content["libgl1.deb"],
    }
    asked: list[str] = []
    handler = type("Archive", (Archive,), {"files": files, "asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_system_libraries_of_a_distribution_at_its_end_come_from_the_archive(
    faulty: Callable[[str], str], archive: tuple[str, list[str]], tmp_path: Path
) -> None:
    proxy, asked = archive
    words = ("--network=host", "--build-arg", f"http_proxy={proxy}")
    said = stage_over(faulty("moved-to-the-archive"), "system", tmp_path, *words)
    assert "ended with 0" in said and "Setting up libgl1" in said, said
    # Its own hosts first: they have what is new, for as long as they have it.
    assert asked.index("http://deb.debian.org/debian/dists/buster/InRelease") < asked.index(
        "http://archive.debian.org/debian/dists/buster/InRelease"
    )
    wanted = {
        "archive.debian.org/debian/dists/buster-updates",
        "archive.debian.org/debian/dists/stretch",
        "archive.debian.org/debian-security/dists/buster/updates",
        "archive.debian.org/debian-security/dists/buster-security",
        "old-releases.ubuntu.com/ubuntu/dists/cosmic",
        "old-releases.ubuntu.com/ubuntu/dists/cosmic-security",
    }
    assert not {place for place in wanted if f"http://{place}/InRelease" not in asked}, asked


@pytest.mark.parametrize(
    ("parent", "seen"),
    [
        ("asks-for-terms", None),
        ("slow-conda", "made by conda with libmamba"),
        ("slow-conda-and-mamba", "made by mamba"),
        ("all-three", "made by micromamba"),
        ("micromamba-alone", None),
        ("broken-mamba", "no such symbol"),
    ],
)
def test_the_environment_is_made_with_what_the_parent_has(
    parent: str, seen: str | None, faulty: Callable[[str], str], tmp_path: Path
) -> None:
    said = stage_over(faulty(parent), "environment", tmp_path)
    assert "ended with 0" in said, said
    assert "environment location: /opt/conda/envs/mdai-env" in said, said
    assert "Terms of Service" not in said and "the slow solver" not in said
    assert seen is None or seen in said, said


def test_a_parent_without_any_of_them_is_told(faulty: Callable[[str], str], tmp_path: Path, cache_folder: Path) -> None:
    run = build(tmp_path, cache_folder, {"MDAI_BUILD_PARENT": faulty("bare")})
    assert run.exit_code == 6, run
    (problem,) = json.loads(run.stdout)["problems"]
    assert "--parent slim" in problem["next_step"]
    assert "none of conda, mamba, micromamba" in problem["details"]


def test_slim_brings_micromamba_to_an_image_without_conda(
    faulty: Callable[[str], str], tmp_path: Path, cache_folder: Path, engine: docker.DockerClient
) -> None:
    from mdai_build.matrix import support_matrix

    matrix = support_matrix()
    tag = "mdai-build-test/slim:latest"
    settings = {
        "MDAI_BUILD_PARENT": "slim",
        "MDAI_BUILD_PARENT_REPLACEMENTS": f"{matrix.cpu.slim.image}={faulty('bare')} "
        f"{matrix.micromamba.image}={faulty('micromamba')}",
        "MDAI_BUILD_CONDA_CHANNELS": "file:///run/mdai/micromamba/opt/conda/channel",
    }
    run = build(tmp_path, cache_folder, settings, "--tag", tag)
    assert run.exit_code == 0, run
    labels = engine.images.get(tag).labels
    assert labels["io.mdai-build.parent.kind"] == "slim"
    assert labels["io.mdai-build.parent.id"] == engine.images.get(faulty("bare")).id
    look = "command -v conda micromamba; ls /opt/conda /run"
    left = engine.containers.run(tag, entrypoint=["sh", "-c", look], remove=True)
    assert left.decode().split() == ["/opt/conda:", "envs", "/run:", "lock"]
    engine.api.remove_image(tag)


# Each ends on what the model reads below; the second begins with no image, the third is made by the test.
OWN = {
    "custom": "FROM mdai-build/parent:local-cpu AS first\nRUN echo first > /first.txt\n"
    "FROM mdai-build/parent:local-cpu\nCOPY --from=first /first.txt /\nUSER 4711\n",
    "scratch": "FROM scratch\nCOPY --from=mdai-build/parent:local-cpu / /\nENV PATH=/opt/conda/bin:/usr/bin:/bin\n"
    "RUN echo first > /first.txt\n",
    "nvidia": None,
}
OWN_DEPLOY = """
import os, sys

class MDAIModel:
    def __init__(self):
        if {nvidia}:
            import of_the_parent
            assert of_the_parent.KEPT == "of the parent" and sys.version_info[:2] == (3, 8)
            for name in ("parent", "model"):
                assert open("/workspace/%s.txt" % name).read() == "the %s's\\n" % name
        else:
            assert open("/first.txt").read() == "first\\n"
        assert os.getuid() == 1000 and os.getcwd() == "/src"

    def predict(self, data):
        return []
"""


@pytest.mark.parametrize("kind", list(OWN))
def test_what_stands_on_a_parent_of_its_own_is_served_and_built_again_and_says_from_what(
    kind: str, faulty: Callable[[str], str], tmp_path: Path, cache_folder: Path, engine: docker.DockerClient
) -> None:
    dockerfile = OWN[kind]
    tag = f"mdai-build-test/own-{kind}:latest"
    clara = "nvcr.io/nvidia/clara-train-sdk:v4.1"
    settings = {"MDAI_BUILD_PARENT_REPLACEMENTS": f"{clara}={faulty('clara')}"} if dockerfile is None else {}
    model = tmp_path / "own"
    (model / ".mdai").mkdir(parents=True)
    (model / ".mdai/requirements.txt").write_text("colorama==0.4.6\n")
    (model / ".mdai/mdai_deploy.py").write_text(OWN_DEPLOY.format(nvidia=dockerfile is None))
    if dockerfile is None:
        (model / ".mdai/config.yaml").write_text("base_image: nvidia\nclara_version: 4.1.0\n")
        (model / "workspace").mkdir()
        (model / "workspace/model.txt").write_text("the model's\n")
    else:
        (model / ".mdai/config.yaml").write_text("base_image: custom\n")
        (model / ".mdai/Dockerfile").write_text(dockerfile)
    statement = tmp_path / "statement.json"
    words = ("--tag", tag, "--reproducible", "--offline", "--provenance", str(statement))
    run = build(tmp_path, cache_folder, settings, *words, model=model)
    assert run.exit_code == 0, run
    parent = {"custom": "mdai-build/parent:local-cpu", "scratch": None, "nvidia": faulty("clara")}[kind]
    definition = json.loads(statement.read_text())["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["parent"] == parent
    layers = list(engine.images.get(parent).attrs["RootFS"]["Layers"]) if parent else []
    assert definition["internalParameters"]["parentLayers"] == layers
    labels = engine.images.get(tag).labels
    assert labels["io.mdai-build.parent.kind"] == ("nvidia" if kind == "nvidia" else "custom")
    assert labels.get("org.opencontainers.image.base.name") == parent

    place = tmp_path / "verify"
    place.mkdir()
    environment = {"MDAI_BUILD_CACHE_FOLDER": str(cache_folder), "MDAI_BUILD_OFFLINE": "true", **settings}
    verified = run_command(["verify", tag, str(model), "--json"], place, environment, 300)
    assert verified.exit_code == 0 and json.loads(verified.stdout)["same"], verified
    engine.api.remove_image(tag, force=True)


def build(folder: Path, cache_folder: Path, settings: dict[str, str], *words: str, model: Path = MINIMAL) -> Run:
    environment = {"MDAI_BUILD_CACHE_FOLDER": str(cache_folder), **settings}
    work = folder / "run"
    work.mkdir()
    return run_command(["build", str(model), "--json", *words], work, environment, 300)


def test_a_pinned_parent_stays_what_it_is(engine: docker.DockerClient, registry: str, tmp_path: Path) -> None:
    from mdai_build.engine import connect, ensure_parent
    from mdai_build.parents import resolved_reference
    from mdai_build.settings import load_settings

    name = f"{registry}/ours/base:1"

    def push(content: str) -> None:
        (tmp_path / "Dockerfile").write_text(f'FROM scratch\nLABEL content="{content}"\nCOPY Dockerfile /\n')
        for words in (("buildx", "build", "--load", "--tag", name, str(tmp_path)), ("push", name)):
            done = _docker(*words)
            assert done.returncode == 0, done.stderr

    push("first")
    place = tmp_path / "pin"
    place.mkdir()
    run = run_command(["parents", "pin", name, f"{registry}/ours/none:1", "--json"], place, {}, 60)
    assert (run.exit_code, run.left) == (0, ("parents.lock",)), run
    told = json.loads(run.stdout)
    assert list(told["pins"]) == [name] and "ours/none:1" in told["warnings"][0]["what"]

    push("second")
    settings = load_settings({}, {}, place / "work")
    reference = resolved_reference(name, settings)
    assert reference == f"{registry}/ours/base@{told['pins'][name]}"
    engine.api.remove_image(name)
    found = connect(load_settings().engine_folder)
    facts = ensure_parent(found, reference, lambda text: None, "linux/amd64")
    assert (facts.labels["content"], facts.digest, facts.platform) == ("first", told["pins"][name], "linux/amd64")
    found.client.close()
    engine.api.remove_image(facts.id)


def test_a_platform_that_the_engine_has_nothing_of_is_told(tmp_path: Path, cache_folder: Path) -> None:
    settings = {"MDAI_BUILD_PARENT": "mdai-build/parent:local-cpu", "MDAI_BUILD_PLATFORM": "linux/arm64"}
    run = build(tmp_path, cache_folder, settings)
    assert run.exit_code == 5, run
    (problem,) = json.loads(run.stdout)["problems"]
    assert "is for linux/amd64, not for linux/arm64" in problem["what"]
