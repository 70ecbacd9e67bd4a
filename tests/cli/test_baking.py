"""`bake` as a user meets it, without an engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mdai_build.cli.main import cli
from mdai_build.errors import UsageError
from mdai_build.pipeline.bake import PRINTED
from mdai_build.pipeline.build import CONTEXTS

GOOD = "class MDAIModel:\n    def __init__(self):\n        pass\n\n    def predict(self, data):\n        return []\n"


def model(folder: Path, config: str = "base_image: py38\n") -> Path:
    (folder / ".mdai").mkdir(parents=True)
    (folder / ".mdai" / "config.yaml").write_text(config)
    (folder / ".mdai" / "mdai_deploy.py").write_text(GOOD)
    (folder / ".mdai" / "requirements.txt").write_text("")
    return folder


def bake(cache: Path, *words: str | Path) -> Result:
    return CliRunner().invoke(cli, ["bake", *map(str, words), "--parent", "local", "--cache-folder", str(cache)])


def test_print_gives_the_bake_file_of_the_good_and_tells_the_others(tmp_path: Path) -> None:
    models = [model(tmp_path / "lungs"), model(tmp_path / "a.b"), model(tmp_path / "knee", "base_image: py99\n")]
    done = bake(tmp_path / "cache", *models, "--print", "--cache-from", "host:5000/cache:{name}")
    assert done.exit_code == 3
    assert "knee" in done.stderr and "py99" in done.stderr
    targets = json.loads(done.stdout)["target"]
    assert list(targets) == ["2-a-b", "1-lungs"]
    lungs = targets["1-lungs"]
    assert lungs["cache-from"] == ["type=registry,ref=host:5000/cache:lungs"]
    assert "mdai_deploy.py" in [path.name for path in Path(lungs["context"]).rglob("*")]


def test_what_was_printed_has_contexts_that_no_build_changes(tmp_path: Path) -> None:
    done = bake(tmp_path / "cache", model(tmp_path / "lungs"), "--print")
    context = Path(json.loads(done.stdout)["target"]["1-lungs"]["context"])
    assert context.parent == tmp_path / "cache" / PRINTED != tmp_path / "cache" / CONTEXTS


@pytest.mark.parametrize("names", [("x/lungs", "y/lungs"), ("lungs", "lungs")])
def test_two_models_for_one_image_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in set(names):
        model(tmp_path / name)
    done = bake(tmp_path / "cache", *(tmp_path / name for name in names), "--print")
    assert isinstance(done.exception, UsageError)
    assert done.exception.problems[0].code == "usage.one-image-twice"


def test_models_do_not_write_one_cache(tmp_path: Path) -> None:
    models = [model(tmp_path / "lungs"), model(tmp_path / "knee")]
    done = bake(tmp_path / "cache", *models, "--print", "--cache-to", "host:5000/cache")
    assert isinstance(done.exception, UsageError)
    assert "{name}" in str(done.exception.problems[0].expected)
    assert bake(tmp_path / "cache", *models, "--print", "--cache-to", "host:5000/cache:{name}").exit_code == 0
