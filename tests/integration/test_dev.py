"""`dev` with a container: the folder is mounted, and the image is built anew only for what it is made from."""

from __future__ import annotations

from pathlib import Path

import docker
from harness.developing import developing
from harness.leftovers import engine_state

NAME = "developed"
DEPLOY = """
import os


class MDAIModel:
    def __init__(self):
        with open("./lib/weights.txt") as file:
            assert file.read() == "{weights}"
        assert os.environ.get("GREETING", "") == "{greeting}"

    def predict(self, data):
        return []
"""


def test_a_save_is_a_verdict(engine: docker.DockerClient, tmp_path: Path, cache_folder: Path) -> None:
    model = tmp_path / NAME
    (model / ".mdai").mkdir(parents=True)
    config, deploy = model / ".mdai" / "config.yaml", model / ".mdai" / "mdai_deploy.py"
    config.write_text("base_image: py38\n")
    (model / ".mdai" / "requirements.txt").write_text("")
    (model / "weights.txt").write_text("old")
    deploy.write_text(DEPLOY.format(weights="old", greeting=""))
    for path in (model, model / "weights.txt"):  # as a careful user's are: nobody else reads them
        path.chmod(0o700 if path.is_dir() else 0o600)
    before = engine_state(engine)
    words = ("--parent", "local", "--cache-folder", str(cache_folder), "--scope", "STUDY")
    with developing(model, tmp_path, *words) as session:
        assert session.verdict() == "ok"
        container = next(
            each
            for each in engine.containers.list()
            if each.labels.get("io.mdai-build.owner", "").endswith(f":{session.process.pid}")
        )
        assert container.exec_run(["touch", "/src/lib/mark"]).exit_code != 0

        (model / "weights.txt").write_text("new")
        assert session.verdict() == "FAILED"
        session.wait_for(lambda line: ".mdai/mdai_deploy.py:8" in line)
        deploy.write_text(DEPLOY.format(weights="new", greeting=""))
        assert session.verdict() == "ok"
        container.reload()
        assert container.status == "running"  # the same one all the while

        config.write_text("base_image: py38\nenv:\n  GREETING: hello\n")
        session.wait_for(lambda line: "it is built anew" in line)
        assert session.verdict() == "FAILED"
        deploy.write_text(DEPLOY.format(weights="new", greeting="hello"))
        assert session.verdict() == "ok"

        assert session.interrupt() == 0
        assert session.left() == []
    assert engine_state(engine).leftovers(before, NAME, session.process.pid) == []
    assert sorted(path.name for path in model.iterdir()) == [".mdai", "weights.txt"]
