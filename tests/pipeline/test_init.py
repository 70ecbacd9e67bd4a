"""A folder that `init` made passes: check reads what it writes, and its outputs are held against the interface."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import msgpack
import pytest

from mdai_build.bundle import read_bundle
from mdai_build.errors import UsageError
from mdai_build.pipeline.check import check_model
from mdai_build.pipeline.init import TASKS, Task, init_model
from mdai_build.pipeline.store import unpack
from mdai_build.settings import Settings
from mdai_build.smoke.answers import check_answer
from mdai_build.smoke.plan import make_smoke_plan

FILES = (".mdai/config.yaml", ".mdai/mdai_deploy.py", ".mdai/requirements.txt", ".mdai/smoke.yaml")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(parent="local", cache_folder=tmp_path / "cache", offline=True)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("python", ["3.7", "3.13"])
def test_check_finds_nothing_wrong(task: Task, python: str, tmp_path: Path, settings: Settings) -> None:
    report = init_model(tmp_path / "model", task, python)
    assert report.written == FILES and report.kept == ()
    checked = check_model(tmp_path / "model", settings, look_up=True)
    assert checked.warnings == ()
    assert checked.config.python == python


@pytest.mark.parametrize("task", TASKS)
def test_the_model_answers_every_request_of_its_smoke_test(task: Task, tmp_path: Path, settings: Settings) -> None:

    init_model(tmp_path / "model", task)
    spec = importlib.util.spec_from_file_location(f"made_{task}", tmp_path / "model/.mdai/mdai_deploy.py")
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.MDAIModel()
    requests = make_smoke_plan(settings, unpacked=unpack(read_bundle(tmp_path / "model"), settings)).requests
    outputs = 0
    for request in requests:
        try:
            answer = model.predict(msgpack.unpackb(request.body(), raw=False))
        except RuntimeError as error:  # the codecs that images have are not installed here
            assert "Unable to decompress" in str(error) and "jpeg" in request.name
            continue
        findings = check_answer(request, answer)
        assert findings.problems == () and findings.warnings == ()
        outputs += len(answer)
    assert requests and outputs >= len(requests) / 2


def test_nothing_that_is_there_is_written_over(tmp_path: Path) -> None:
    mdai = tmp_path / ".mdai"
    mdai.mkdir()
    (mdai / "mdai_deploy.py").write_text("mine")
    (mdai / "config.yml").write_text("base_image: py38\n")
    (mdai / "requirements.txt").symlink_to("nowhere")
    report = init_model(tmp_path)
    assert report.written == (".mdai/smoke.yaml",)
    assert (mdai / "mdai_deploy.py").read_text() == "mine"
    assert not (mdai / "config.yaml").exists()
    assert init_model(tmp_path).written == ()


def test_a_model_that_is_there_is_looked_at(tmp_path: Path, settings: Settings) -> None:
    files = {
        "predict.py": "import torch, cv2, numpy\nfrom nets.unet import UNet\nfrom sklearn import metrics\n",
        "nets/unet.py": "import monai\ntry:\n    import wandb\nexcept ImportError:\n    pass\n",
        "venv/lib/x.py": "import flask\n",
        "requirements.txt": "torch==1.13.1  # as trained\nopencv-python>=4.5\nflask\nnumpy==1.23.3\n",
        "checkpoints/last.pth": "x" * 100,
        "checkpoints/best.pth": "x" * 200,
        ".python-version": "3.9.18\n",
    }
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    report = init_model(tmp_path, "segmentation")
    assert (report.python, report.framework, report.weights) == ("3.9", "torch", "checkpoints/best.pth")
    assert report.requirements == ("monai", "numpy==1.23.3", "opencv-python>=4.5", "scikit-learn", "torch==1.13.1")
    deploy = (tmp_path / ".mdai/mdai_deploy.py").read_text()
    assert 'WEIGHTS = os.path.join(ROOT, "checkpoints/best.pth")' in deploy
    assert "# self.model.load_state_dict(torch.load(WEIGHTS, map_location=self.device))" in deploy
    assert (tmp_path / ".mdai/requirements.txt").read_text().endswith("scikit-learn\ntorch==1.13.1\n")
    checked = check_model(tmp_path, settings)
    assert not [warning for warning in checked.warnings if not warning.code.startswith("requirements.")]


def test_weights_of_odd_names_stay_one_text(tmp_path: Path) -> None:
    name = 'we"igh\\ts\n{{x}}.onnx'
    (tmp_path / name).write_text("x")
    report = init_model(tmp_path)
    assert report.weights == name
    compile((tmp_path / ".mdai/mdai_deploy.py").read_text(), "mdai_deploy.py", "exec")
    values: dict[str, Any] = {"__file__": str(tmp_path / ".mdai/mdai_deploy.py")}
    line = next(li for li in (tmp_path / ".mdai/mdai_deploy.py").read_text().splitlines() if li.startswith("WEIGHTS"))
    exec(f"import os\nROOT = {str(tmp_path)!r}\n{line}", values)
    assert Path(values["WEIGHTS"]).is_file()


def test_a_folder_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError) as caught:
        init_model(tmp_path / "file")
    assert caught.value.problems[0].code == "init.cannot-write"
