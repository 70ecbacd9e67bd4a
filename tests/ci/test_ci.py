"""The action, the GitLab jobs and the pre-commit hook: their shell runs here, as a runner would run it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator
from schema_checks import check_report

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples/classification"
_INPUT = re.compile(r"\$\{\{ inputs\.([\w-]+) \}\}")

pytestmark = pytest.mark.process  # what is tested is shell


def read(file: str) -> Any:
    return yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))


def run(script: str, folder: Path, environment: Mapping[str, str], options: str) -> subprocess.CompletedProcess[str]:
    """A step of a job; `options` are those that the runner starts bash with."""
    file = folder.parent / "step.sh"
    file.write_text(script)
    return subprocess.run(
        ["bash", "--noprofile", "--norc", *shlex.split(options), str(file)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is installed: a wheel in place of the checkout that it is built from, and this `python3` beside it."""
    if find_spec("ensurepip") is None:
        pytest.skip("this Python has no ensurepip, which `python3 -m venv` needs")
    folder = tmp_path_factory.mktemp("runner")
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT], check=True)
    (folder / "python3").symlink_to(sys.executable)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A checked out repository with two models, one of which is wrong."""
    for name in ("good model", "wrong"):
        shutil.copytree(EXAMPLE, tmp_path / "repository" / name)
    (tmp_path / "repository/wrong/.mdai/config.yaml").write_text("base_image: py3x\n")
    return tmp_path / "repository"


def runner(package: Path, **more: str) -> dict[str, str]:
    """A runner's environment, in which pip installs the package alone: what it needs is taken from this one."""
    return {
        "PATH": f"{package.parent}:{os.environ['PATH']}",
        "HOME": str(package.parent),
        "PIP_NO_DEPS": "1",
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "MDAI_BUILD_OFFLINE": "true",
        **more,
    }


class Action:
    """action.yml on a runner."""

    def __init__(self, repository: Path, package: Path) -> None:
        self.action = read("action.yml")
        self.repository = repository
        temporary = repository.parent / "temp"
        temporary.mkdir()
        for name in ("path", "output"):
            (temporary / name).touch()
        self.environment = runner(
            package,
            GITHUB_ACTIONS="true",
            GITHUB_WORKSPACE=str(repository),
            GITHUB_ACTION_PATH=str(package),
            GITHUB_PATH=str(temporary / "path"),
            GITHUB_OUTPUT=str(temporary / "output"),
            RUNNER_TEMP=str(temporary),
        )

    def step(self, number: int, **inputs: str) -> subprocess.CompletedProcess[str]:
        step = self.action["runs"]["steps"][number]
        values = {name: str(entry.get("default", "")) for name, entry in self.action["inputs"].items()} | inputs
        own = {name: _INPUT.sub(lambda found: values[found[1]], text) for name, text in step.get("env", {}).items()}
        assert "${{" not in step["run"], "an input in a script is part of it"
        return run(step["run"], self.repository, {**self.environment, **own}, "-eo pipefail")

    def added_to_path(self) -> None:
        added = Path(self.environment["GITHUB_PATH"]).read_text().split("\n")[:-1]
        self.environment["PATH"] = ":".join([*reversed(added), self.environment["PATH"]])

    def outputs(self) -> dict[str, str]:
        lines = Path(self.environment["GITHUB_OUTPUT"]).read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)


def test_the_action(repository: Path, package: Path) -> None:
    action = Action(repository, package)
    installed = action.step(0)
    assert installed.returncode == 0, installed.stderr
    action.added_to_path()

    good = action.step(1, model="good model", arguments="--strict --parent 'local'", sarif="out put.sarif")
    assert good.returncode == 0, good.stdout + good.stderr
    report = json.loads(Path(action.outputs()["report"]).read_text())
    check_report("check", report)
    assert action.outputs()["exit-code"] == "0"
    assert (report["bundle"], report["parent"]["kind"]) == ("good-model", "local")
    assert json.loads((repository / "out put.sarif").read_text())["runs"][0]["results"] == []

    wrong = action.step(1, model="wrong")
    assert wrong.returncode == 3
    assert action.outputs()["exit-code"] == "3"
    check_report("check", json.loads(Path(action.outputs()["report"]).read_text()))
    assert "::error file=wrong/.mdai/config.yaml,line=1,col=13,title=MB305::" in wrong.stderr

    hostile = action.step(1, model='"; touch broken; echo "', arguments="$(touch broken) `touch broken`")
    assert hostile.returncode == 2
    assert action.step(1, model="wrong", command="check; touch broken").returncode == 2
    assert not (repository / "broken").exists()


def test_the_jobs_of_gitlab(repository: Path, package: Path) -> None:
    jobs = read("ci/gitlab.yml")
    environment = runner(package, CI="true", CI_PROJECT_DIR=str(repository))
    environment |= {name: str(value) for name, value in jobs["variables"].items()}
    environment |= {"MDAI_MODEL": "good model", "MDAI_BUILD": str(package), "MDAI_ARGUMENTS": "--strict --parent local"}

    def script(name: str, installed: bool = False) -> str:
        job = jobs[name]
        before = jobs[job["extends"]]["before_script"]
        return "\n".join([*(line for line in before if not installed or line.startswith("export")), *job["script"]])

    done = run(script("mdai-check"), repository, environment, "-eo pipefail")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing is wrong" in done.stdout
    for artifact in jobs["mdai-check"]["artifacts"]["paths"]:
        assert (repository / artifact).is_file()
    # The image's job comes as far as to its engine, where there is none.
    nowhere = {**environment, "DOCKER_HOST": "unix:///nowhere", "MDAI_BUILD_ENGINE_FOLDER": str(repository)}
    built = run(script(".mdai-image", installed=True), repository, {**nowhere, "MDAI_ARGUMENTS": ""}, "-eo pipefail")
    assert built.returncode == 5, built.stdout + built.stderr


def test_the_hook(repository: Path, tmp_path: Path) -> None:
    (hook,) = read(".pre-commit-hooks.yaml")
    assert set(hook) <= {"id", "name", "description", "entry", "args", "language", "pass_filenames"}
    assert (hook["language"], hook["pass_filenames"]) == ("python", False)
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin/mdai-build"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m mdai_build.cli "$@"\n')
    command.chmod(0o755)

    def commit(folder: str, args: list[str]) -> subprocess.CompletedProcess[str]:
        # As pre-commit does: the entry's words, then the arguments, at the top of the repository.
        return subprocess.run(
            [*shlex.split(hook["entry"]), *args],
            cwd=repository / folder,
            env={**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    subprocess.run(["git", "init", "--quiet", "."], cwd=repository / "good model", check=True)
    assert commit("good model", hook["args"]).returncode == 0
    assert commit(".", ["good model"]).returncode == 0
    refused = commit("wrong", hook["args"])
    assert refused.returncode == 3 and "error[MB305]" in refused.stderr


@pytest.mark.parametrize(("file", "kind"), [("action.yml", "github-actions"), ("ci/gitlab.yml", "gitlab-ci")])
def test_they_keep_the_schemas_that_their_readers_publish(file: str, kind: str) -> None:
    schema = json.loads((files("check_jsonschema") / f"builtin_schemas/vendor/{kind}.json").read_text(encoding="utf-8"))
    faults = [fault.message for fault in Draft7Validator(schema).iter_errors(read(file))]
    assert not faults
