"""The Python API gives what the command line gives, and costs nothing until it is used."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import FrozenInstanceError
from inspect import signature
from pathlib import Path

import pytest
from click.testing import CliRunner

import mdai_build
from mdai_build import BundleError, MdaiBuildError, UsageError, as_json, build, check
from mdai_build.cli.main import cli

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples/classification"


def test_check_gives_what_the_command_prints() -> None:
    checked = check(EXAMPLE, offline=True)
    printed = CliRunner().invoke(cli, ["check", str(EXAMPLE), "--offline", "--json"])
    assert printed.exit_code == 0
    assert json.loads(printed.stdout) == json.loads(json.dumps(as_json(checked)))
    assert checked.config.base_image == "py38"
    with pytest.raises(FrozenInstanceError):
        checked.warnings = ()  # type: ignore[misc]


def test_a_failure_is_an_exception_with_its_code_and_its_messages(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(EXAMPLE, model)
    (model / ".mdai/config.yaml").write_text("base_image: py3x\n")
    with pytest.raises(BundleError) as caught:
        check(str(model), offline=True)
    failure = caught.value
    assert isinstance(failure, MdaiBuildError)
    assert failure.exit_code == 3
    assert [problem.code for problem in failure.problems] == ["config.wrong-value"]
    assert failure.problems[0].where is not None and failure.problems[0].where.line == 1
    with pytest.raises(MdaiBuildError) as printed:
        CliRunner().invoke(cli, ["check", str(model), "--offline"], standalone_mode=False, catch_exceptions=False)
    assert as_json(printed.value) == as_json(failure)
    with pytest.raises(BundleError):
        build(model, offline=True)  # before any engine is asked


def test_settings_go_by_their_names() -> None:
    assert check(EXAMPLE, offline=True, parent="local").parent.kind == "local"
    with pytest.raises(UsageError, match="no setting ofline") as caught:
        check(EXAMPLE, ofline=True)
    assert caught.value.exit_code == 2
    assert caught.value.problems[0].next_step == "did you mean `offline`?"


def test_all_that_is_promised_is_there() -> None:
    for name in mdai_build.__all__:
        assert getattr(mdai_build, name) is not None
    assert set(mdai_build.__all__) <= set(dir(mdai_build))
    with pytest.raises(AttributeError, match="no attribute 'bild'"):
        _ = mdai_build.bild  # type: ignore[attr-defined]
    # pytest collects what is called `test`.
    assert mdai_build.test.__test__ is False  # type: ignore[attr-defined]
    assert (ROOT / "mdai_build/py.typed").is_file()


def test_the_page_names_what_there_is() -> None:
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    for name in mdai_build.__all__:
        assert name in page or name in ("Location", "Problem", "__version__"), name
    parameters = {
        name: signature(getattr(mdai_build, name)).parameters for name in ("check", "build", "test", "predict")
    }
    for name, arguments in re.findall(r"\| `(\w+)\(([^)]*)\)`", page):
        words = [word.strip("* ") for word in arguments.split(",") if word.strip() not in ("*", "…")]
        assert set(words) <= set(parameters.get(name, words)), name


@pytest.mark.process  # only a new interpreter has nothing imported
def test_nothing_is_imported_before_it_is_asked_for() -> None:
    script = (
        "import sys, mdai_build; assert 'pydantic' not in sys.modules and 'click' not in sys.modules;"
        "from mdai_build import check; check; assert not {'docker', 'pydicom', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, timeout=60)
