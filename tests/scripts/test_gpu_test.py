"""The GPU test's own parts; what it is for needs a machine with a GPU."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path

import gpu_test
import pytest
import yaml

from mdai_build.engine.gpus import no_gpu_here
from mdai_build.pipeline.check import check_model
from mdai_build.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("cuda", "name"),
    [
        ("10.0", "cupy-cuda100"),
        ("10.1", "cupy-cuda101"),
        ("11.0", "cupy-cuda110"),
        ("11.3", "cupy-cuda11x"),
        ("12.4", "cupy-cuda12x"),
    ],
)
def test_the_package_for_a_cuda(cuda: str, name: str) -> None:
    assert gpu_test.cupy_for(cuda) == name


def test_every_combination_comes_once_the_examples_own_first() -> None:
    (example,) = gpu_test.gpu_examples(EXAMPLES)
    found = list(gpu_test.combinations(example))
    assert found[0] == ("py310", "11.8") and len(found) == len(set(found)) == 7 * 9


def test_one_combination_can_be_named() -> None:
    assert gpu_test.combination("py310:11.8") == ("py310", "11.8")
    for text in ("py310", "py310:11.7", "python3.10:11.8"):
        with pytest.raises(ArgumentTypeError, match=r"such as py310:11\.8"):
            gpu_test.combination(text)


def test_a_variant_of_an_example_is_a_good_bundle(tmp_path: Path) -> None:
    (example,) = gpu_test.gpu_examples(EXAMPLES)
    checked = check_model(gpu_test.variant(example, "py38", "11.0", tmp_path), Settings())
    assert (checked.config.python, checked.config.cuda_version) == ("3.8", "11.0")
    assert [line.name for line in checked.requirements.lines] == ["cupy-cuda110"]
    assert yaml.safe_load((example / ".mdai/config.yaml").read_text())["base_image"] == "py310"


def test_a_row_tells_what_a_run_told() -> None:
    row = gpu_test.Row("gpu", "3.10", "11.8")
    framework = {"name": "cupy", "version": "12.3.0", "computes": True}
    gpu = {"tested": True, "frameworks": [framework], "peak_bytes": 900_000_000, "utilisation": 7}
    gpu_test.judge(row, 0, {"smoke": {"gpu": gpu, "checks": []}})
    assert row.cells()[3:7] == ("ok", "cupy 12.3.0", "900 MB", "7 %") and not row.failed


@pytest.mark.parametrize(
    ("code", "told", "reason"),
    [
        (0, {"smoke": {"gpu": {"tested": False, "reason": "none here"}, "checks": []}}, "none here"),
        (5, {"problems": [{"code": "x", "what": "no parent"}]}, "no parent"),
        (1, {}, "exit code 1"),
        (
            7,
            {"smoke": {"gpu": {"tested": True}, "checks": [{"outcome": "failed", "problems": [{"what": "too old"}]}]}},
            "too old",
        ),
    ],
)
def test_what_was_not_tested_on_a_gpu_is_not_good(code: int, told: dict[str, object], reason: str) -> None:
    row = gpu_test.Row("gpu", "3.10", "11.8")
    gpu_test.judge(row, code, told)
    assert row.failed and reason in row.reason


def test_a_machine_without_a_gpu_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if no_gpu_here() is None:
        pytest.skip("this machine has a GPU")
    monkeypatch.setattr("sys.argv", ["gpu_test.py", "--local"])
    assert gpu_test.main() == gpu_test.EXIT_NO_GPU
    assert "no NVIDIA GPU" in capsys.readouterr().err
