"""`dev --local`: a folder, saved again and again, in a Python of this machine."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import requests
from harness.developing import Session, developing

pytestmark = pytest.mark.process  # the thing under test is a process that starts others

GOOD = "class MDAIModel:\n    def predict(self, data):\n        return []\n"
LOCAL = ("--local", "--python", sys.executable, "--scope", "STUDY")


@pytest.fixture
def deploy(tmp_path: Path) -> Path:
    """The mdai_deploy.py of a model that works."""
    folder = tmp_path / "model" / ".mdai"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("base_image: py310\n")
    (folder / "requirements.txt").write_text("")
    (folder / "mdai_deploy.py").write_text(GOOD)
    return folder / "mdai_deploy.py"


def save(deploy: Path, body: str) -> None:
    """As careful editors do."""
    new = deploy.with_name("mdai_deploy.py.new")
    new.write_text(body)
    new.replace(deploy)


def answers(url: str) -> str:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"{url}/version", timeout=20).text


def url_of(session: Session) -> str:
    return session.wait_for(lambda line: line.startswith("serving at")).split()[2].rstrip(";")


def test_each_save_has_its_verdict(deploy: Path, tmp_path: Path) -> None:
    with developing(deploy.parents[1], tmp_path, *LOCAL) as session:
        url = url_of(session)
        assert session.verdict() == "ok"
        assert answers(url) == "0.3"

        save(deploy, GOOD + "def broken(:\n")
        assert session.verdict() == "FAILED"
        session.wait_for(lambda line: ".mdai/mdai_deploy.py:4" in line)

        save(deploy, GOOD)
        assert session.verdict() == "ok"

        save(deploy, GOOD.replace("return []", "return data['nothing']"))
        assert session.verdict() == "FAILED"
        session.wait_for(lambda line: line.startswith("error[") and "KeyError" in line)
        session.wait_for(lambda line: "--> .mdai/mdai_deploy.py:3" in line)

        (deploy.parent / "config.yaml").write_text("base_image: py310\nenv:\n  GREETING: hello\n")
        assert session.verdict() == "FAILED"
        save(deploy, GOOD.replace("return []", "import os; assert os.environ['GREETING'] == 'hello'; return []"))
        assert session.verdict() == "ok"

        assert answers(url) == "0.3"  # the address stays
        assert session.interrupt() == 0
        assert session.output[-1] == "stopped\n"
        assert session.left() == []
        with pytest.raises(requests.ConnectionError):
            answers(url)


def test_a_model_that_hangs_is_not_waited_for_once_it_is_mended(deploy: Path, tmp_path: Path) -> None:
    save(deploy, GOOD.replace("return []", "import time; time.sleep(600)"))
    with developing(deploy.parents[1], tmp_path, *LOCAL) as session:
        url = url_of(session)
        for body in (GOOD.replace("class", "import time; time.sleep(600)\nclass"), GOOD):
            time.sleep(2)
            save(deploy, body)
        assert session.verdict(30) == "ok"
        assert answers(url) == "0.3"


def test_a_model_that_writes_beside_its_code_is_not_tried_for_ever(deploy: Path, tmp_path: Path) -> None:
    writes = "open('lib/last.txt', 'w').write(str(__import__('time').time())); return []"
    save(deploy, GOOD.replace("return []", writes))
    with developing(tmp_path / "model", tmp_path, *LOCAL) as session:
        session.wait_for(lambda line: "the model itself writes last.txt" in line)
        save(deploy, GOOD.replace("return []", writes.replace("return []", "return {}")))
        assert session.verdict() == "FAILED"
        save(deploy, GOOD)
        assert session.verdict() == "ok"


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with developing(tmp_path / "empty", tmp_path, *LOCAL) as session:
        assert session.process.wait(60) == 3
    (tmp_path / "file.zip").write_bytes(b"PK\3\4")
    (tmp_path / "again").mkdir()
    with developing(tmp_path / "file.zip", tmp_path / "again", *LOCAL) as session:
        assert session.process.wait(60) == 2
