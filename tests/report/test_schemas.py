"""The published schemas are those of the code; files and reports that are right keep them, others do not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from schema_checks import check_report

from mdai_build.cli.main import cli
from mdai_build.config import parse_config
from mdai_build.errors import BundleError, MdaiBuildError
from mdai_build.report.document import failure_as_json
from mdai_build.report.schemas import NAMES, REPORTS, schema, schema_text
from mdai_build.smoke.smoke_file import parse_smoke_file

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(path.parent.parent for path in ROOT.glob("examples/*/.mdai/config.yaml"))


def test_the_published_files_are_current() -> None:
    """`python scripts/schemas.py` writes them."""
    files = {file.stem: file.read_text(encoding="utf-8") for file in (ROOT / "docs/schemas").glob("*.json")}
    assert files == {name: schema_text(name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_schema(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))
    printed = CliRunner().invoke(cli, ["schema", name])
    assert json.loads(printed.stdout) == schema(name)


def test_the_command_lists_them_and_knows_no_other() -> None:
    assert CliRunner().invoke(cli, ["schema"]).stdout.split() == list(NAMES)
    wrong = CliRunner().invoke(cli, ["schema", "chek"])
    assert wrong.exit_code == 2
    assert "Did you mean 'check'?" in wrong.output


def words(name: str, tmp_path: Path) -> Iterator[list[str]]:
    """Command lines whose report has this schema and that need no engine."""
    example = str(ROOT / "examples/classification")
    yield from {
        "check": [["check", example, "--offline"], ["check", str(tmp_path), "--offline"]],
        "explain": [["explain"], ["explain", "MB204"], ["explain", "MB999"]],
        "init": [["init", str(tmp_path / "new")]],
        "parents-list": [["parents", "list"]],
        "lock-check": [["lock", example, "--check"]],
    }.get(name, [])


@pytest.mark.parametrize("name", ["check", "explain", "init", "parents-list", "lock-check"])
def test_what_commands_print_keeps_their_schema(name: str, tmp_path: Path) -> None:
    for line in words(name, tmp_path):
        done = CliRunner().invoke(cli, [*line, "--json"], standalone_mode=False)
        if isinstance(done.exception, MdaiBuildError):  # what `main` prints of it
            check_report(name, failure_as_json(done.exception))
            continue
        assert done.exception is None or isinstance(done.exception, SystemExit)
        check_report(name, json.loads(done.stdout))


def test_a_report_that_says_something_else_is_refused() -> None:
    done = CliRunner().invoke(cli, ["parents", "list", "--json"])
    report = json.loads(done.stdout)
    Draft202012Validator(schema("parents-list")).validate({**report, "new": 1})  # as readers must expect
    for broken in ({**report, "new": 1}, {**report, "format": 2}, {**report, "parents": [{}]}, {"format": 1}):
        with pytest.raises(AssertionError):
            check_report("parents-list", broken)


def test_every_report_names_its_format_and_exit_code() -> None:
    for name in REPORTS:
        made = schema(name)
        for variant in made["anyOf"]:
            required = made["$defs"][variant["$ref"].rpartition("/")[2]]["required"]
            assert {"format", "exit_code"} <= set(required), name


CONFIGS = [
    "base_image: py310",
    "base_image: Py37\ndevice_type: GPU\ncuda_version: 10.1",
    "base_image: py37\ndevice_type: gpu\ncuda_version: 11",
    "base_image: py37\ndevice_type: gpu\ncuda_version: '11'",
    "base_image: py37\ndevice_type: gpu\ncuda_version: '11.3'",
    "base_image: nvidia\nclara_version: 4.1.0",
    "base_image: custom\nenv: {A_B: text, N: 1.5, YES: true}",
]
WRONG_CONFIGS = [
    "device_type: cpu",
    "base_image: py311x",
    "base_image: py310\ndevice_type: tpu",
    "base_image: py37\ndevice_type: gpu\ncuda_version: 9.2",
    "base_image: py37\nenv: [A]",
    "base_image: py37\nenv: {1A: x}",
    "base_image: py37\nenv: {A: [1]}",
    "base_image: nvidia\nclara_version: 4.0",
]
SMOKES = [
    "{}",
    "scope: series\nsamples: one.dcm",
    "samples: [a, b]\nargs: {threshold: '0.5'}\nexpect: {min_outputs: 1, types: [ANNOTATION]}",
    "label_classes: [{class_index: 0, label: {name: nodule, type: local, scope: Instance}}]",
]
WRONG_SMOKES = [
    "scope: patient",
    "sample: a",
    "args: {threshold: 0.5}",
    "expect: {types: [OTHER]}",
    "label_classes: [{class_index: -1, label: {name: x}}]",
    "label_classes: [{class_index: 0, label: {type: LOCAL}}]",
]


def faults(name: str, text: str) -> list[Any]:
    return list(Draft202012Validator(schema(name)).iter_errors(yaml.safe_load(text)))


@pytest.mark.parametrize(
    "text", [*CONFIGS, *((path / ".mdai/config.yaml").read_text(encoding="utf-8") for path in EXAMPLES)]
)
def test_a_config_that_is_right_keeps_the_schema(text: str) -> None:
    parse_config(text)
    assert not faults("config", text)


@pytest.mark.parametrize("text", WRONG_CONFIGS)
def test_a_config_that_is_wrong_does_not(text: str) -> None:
    with pytest.raises(BundleError):
        parse_config(text)
    assert faults("config", text)


@pytest.mark.parametrize("text", SMOKES)
def test_a_smoke_file_that_is_right_keeps_the_schema(text: str) -> None:
    parse_smoke_file(text)
    assert not faults("smoke", text)


@pytest.mark.parametrize("text", WRONG_SMOKES)
def test_a_smoke_file_that_is_wrong_does_not(text: str) -> None:
    with pytest.raises(BundleError):
        parse_smoke_file(text)
    assert faults("smoke", text)
