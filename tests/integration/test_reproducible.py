"""One bundle comes to one digest on both image stores, and says what it was built from; a change is told by file."""

from __future__ import annotations

import json
import os
import subprocess
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

import docker
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from harness.runner import Run, run_command

DEPLOY = "class MDAIModel:\n    def predict(self, data):\n        return []\n"


def run(place: Path, environment: Mapping[str, str], *words: str | Path, exit_code: int = 0) -> Run:
    place.mkdir()
    done = run_command([*map(str, words)], place, environment, 300)
    assert (done.exit_code, done.left) == (exit_code, ()), done
    return done


def write_model(folder: Path, code: str) -> Path:
    (folder / ".mdai").mkdir(parents=True)
    (folder / ".mdai/config.yaml").write_text("base_image: py38\n")
    (folder / ".mdai/requirements.txt").write_text("tqdm==4.66.2\n")
    (folder / ".mdai/mdai_deploy.py").write_text(code)
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 4096)
    return folder


def write_key(folder: Path, name: str) -> tuple[Path, Path]:
    key = generate_private_key(SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def test_one_digest_on_both_image_stores(
    engine: docker.DockerClient,
    other_engine: Mapping[str, str],
    registry: str,
    cache_folder: Path,
    tmp_path: Path,
) -> None:
    code = f"{DEPLOY}# {time.time_ns()}\n"  # an unchanged model is not built
    folder = write_model(tmp_path / "here" / "lungs", code)
    (folder / "weights.bin").chmod(0o600)
    archive = tmp_path / "lungs.zip"
    with zipfile.ZipFile(archive, "w") as packing:
        for path in sorted(write_model(tmp_path / "there" / "lungs", code).rglob("*"), reverse=True):
            packing.write(path, path.relative_to(tmp_path / "there"))
    private, public = write_key(tmp_path, "ours")
    _, strangers = write_key(tmp_path, "strangers")
    tag = f"{registry}/models/lungs:1.0"
    fixed = ("--parent", "local", "--network", "host", "--cache-folder", cache_folder, "--json")
    build = ("--reproducible", "--tag", tag, *fixed, "--offline")

    # Here it is tested too: what was compiled still runs in its normal form.
    signing = {"MDAI_BUILD_SIGNING_KEY": private.read_text(), "MDAI_BUILD_BUILDER_ID": "https://ci.example/runner"}
    place = tmp_path / "statement.json"
    try:
        first = run(tmp_path / "1", signing, "build", folder, *build, "--push", "--provenance", place)
        second = run(tmp_path / "2", other_engine, "build", archive, *build, "--tag-untested")
        told = json.loads(first.stdout)
        digest = told["image"]["digest"]
        assert digest == json.loads(second.stdout)["image"]["digest"]
        assert "PRIVATE KEY" not in first.stdout + first.stderr + place.read_text()

        again = run(tmp_path / "3", {}, "build", folder, *build, "--tag-untested")
        assert json.loads(again.stdout)["stages"] == [] and json.loads(again.stdout)["image"]["id"] == digest

        # From the registry, and from the file.
        for number, words in enumerate((["--key", public], ["--key", public, "--provenance", place])):
            shown = run(tmp_path / f"4{number}", {}, "inspect", tag, *words, "--json")
            stated = json.loads(shown.stdout)["provenance"]
            assert stated["signed_by"].startswith("sha256:") and stated["builder"] == "https://ci.example/runner"
            assert told["pushed"]["reference"].partition("@")[2] in stated["subjects"] and digest in stated["subjects"]
            assert stated["packages"] > 10
        refused = run(tmp_path / "5", {}, "inspect", tag, "--key", strangers, "--json", exit_code=6)
        assert json.loads(refused.stdout)["problems"][0]["code"] == "provenance.not-verified"
        parent = "mdai-build/parent:local-cpu"
        other = run(tmp_path / "6", {}, "inspect", parent, "--provenance", place, exit_code=6)
        assert "speaks of another image" in other.stderr

        # Everything is built anew: that nothing else differs says that the rest is the same.
        (folder / ".mdai/mdai_deploy.py").write_text(f"{code}# changed\n")
        verified = run(tmp_path / "7", {}, "verify", tag, folder, *fixed, exit_code=6)
        found = json.loads(verified.stdout)
        assert [difference["path"] for difference in found["differences"]] == [
            "label io.mdai-build.bundle.digest",
            "src/lib/.mdai/mdai_deploy.py",
        ], found
        assert not found["same"] and found["files"] > 1000
    finally:
        for environment in ({}, other_engine):
            remove(engine if not environment else None, environment, tag)


def remove(engine: docker.DockerClient | None, environment: Mapping[str, str], tag: str) -> None:
    if engine is not None:
        for reference in engine.images.get(tag).attrs["RepoTags"]:
            engine.images.remove(reference, force=True)
        return
    subprocess.run(
        ["docker", "rmi", "--force", tag], env={**os.environ, **environment}, check=False, stdout=subprocess.DEVNULL
    )


def test_a_key_that_cannot_be_used_is_told_before_the_work(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", DEPLOY)
    refused = run(
        tmp_path / "1", {"MDAI_BUILD_SIGNING_KEY": str(tmp_path / "none.pem")}, "build", model, "--push", exit_code=2
    )
    assert "none.pem" in refused.stderr and refused.seconds < 5


@pytest.mark.parametrize("reference", ["mdai-build/parent:local-cpu"])
def test_an_image_of_someone_else_is_not_verified(engine: docker.DockerClient, reference: str, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", DEPLOY)
    refused = run(tmp_path / "1", {}, "verify", reference, model, exit_code=2)
    assert "mdai-build did not build the image" in refused.stderr
