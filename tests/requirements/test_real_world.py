"""Requirements files as public models have them: the verdict on each is the right one, and no false alarm is raised."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from pip._internal.models.index import PyPI

from mdai_build.errors import MdaiBuildError, Problem
from mdai_build.pipeline.check import check_model
from mdai_build.settings import Settings, load_settings

HERE = Path(__file__).parent / "real_world"
CASES: list[dict[str, Any]] = yaml.safe_load((HERE / "manifest.yaml").read_text(encoding="utf-8"))
AT_ONCE = 8
PUBLIC_INDEX = (b"@PUBLIC_INDEX@", PyPI.simple_url.encode())
MODEL = "class MDAIModel:\n    def __init__(self): ...\n    def predict(self, data):\n        return []\n"


@dataclasses.dataclass(frozen=True)
class Verdict:
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]

    def unanswered(self, hosts: list[str]) -> bool:
        """Whether one of these hosts did not answer, so that nothing could be looked up."""
        told = [warning.what for warning in self.warnings if warning.code == "requirements.not-looked-up"]
        return any(host in what for host in hosts for what in told)


@pytest.fixture(scope="session")
def judged(wheel: Callable[..., bytes]) -> Callable[..., Verdict]:
    """What a check says of a case."""
    return functools.partial(_judged, wheel)


def _judged(
    wheel: Callable[..., bytes], case: dict[str, Any], folder: Path, settings: Settings, *, look_up: bool
) -> Verdict:
    gpu = f"device_type: gpu\ncuda_version: '{case['cuda_version']}'\n" if "cuda_version" in case else ""
    files = {
        ".mdai/config.yaml": f"base_image: {case['base_image']}\n{gpu}".encode(),
        ".mdai/mdai_deploy.py": MODEL.encode(),
        ".mdai/requirements.txt": (HERE / "files" / f"{case['name']}.txt").read_bytes().replace(*PUBLIC_INDEX),
    }
    for path, content in case.get("members", {}).items():
        files[path] = content.encode() if isinstance(content, str) else wheel(Path(path).name, content)
    for path, data in files.items():
        (folder / case["name"] / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / case["name"] / path).write_bytes(data)
    try:
        return Verdict((), check_model(folder / case["name"], settings, look_up=look_up).warnings)
    except MdaiBuildError as failure:
        assert failure.exit_code == 4, failure
        return Verdict(failure.problems, failure.warnings)


def told(problems: tuple[Problem, ...]) -> list[str]:
    """Codes with their lines, as the manifest has them."""
    return sorted(
        f"{problem.code.removeprefix('requirements.')} {(problem.where and problem.where.line) or ''}".strip()
        for problem in problems
        if problem.code.startswith("requirements.")
    )


def without_index(case: dict[str, Any]) -> bool:
    return case.get("index") is False


def test_there_are_enough_and_each_has_its_file() -> None:
    names = [case["name"] for case in CASES]
    assert len(names) == len(set(names)) >= 60
    assert {file.stem for file in (HERE / "files").iterdir()} == set(names)


@pytest.mark.parametrize("case", [case for case in CASES if without_index(case)], ids=lambda case: case["name"])
def test_what_is_known_without_an_index(case: dict[str, Any], judged: Callable[..., Verdict], tmp_path: Path) -> None:
    verdict = judged(case, tmp_path, load_settings({"parent": "local"}), look_up=False)
    assert (told(verdict.problems), told(verdict.warnings)) == (sorted(case["problems"]), sorted(case["warnings"]))


@pytest.fixture(scope="module")
def verdicts(judged: Callable[..., Verdict], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    """All at once, since most of the time goes into waiting for the index."""
    folder = tmp_path_factory.mktemp("real_world")
    settings = load_settings({"parent": "local", "cache_folder": folder / "cache"})
    probe = {"name": "windows-bom", "base_image": "py38"}
    if any(
        warning.code.endswith("not-looked-up") for warning in judged(probe, folder, settings, look_up=True).warnings
    ):
        pytest.skip("the package index does not answer")
    cases = [case for case in CASES if not without_index(case)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(lambda case: judged(case, folder, settings, look_up=True), cases)
        return {case["name"]: verdict for case, verdict in zip(cases, found, strict=True)}


@pytest.mark.process
@pytest.mark.parametrize("case", [case for case in CASES if not without_index(case)], ids=lambda case: case["name"])
def test_what_the_index_tells(case: dict[str, Any], verdicts: dict[str, Verdict]) -> None:
    """Starts uv, which asks the package index."""
    verdict = verdicts[case["name"]]
    expected = sorted(case["warnings"])
    if verdict.unanswered(case.get("hosts", [])):
        expected = sorted([*case["warnings"], "not-looked-up"])
    assert (told(verdict.problems), told(verdict.warnings)) == (sorted(case["problems"]), expected)
