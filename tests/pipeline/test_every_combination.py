"""Every combination of the support matrix comes to a Dockerfile, over each parent that it can have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mdai_build.dockerfile import render_dockerfile
from mdai_build.errors import BundleError
from mdai_build.matrix import support_matrix
from mdai_build.pipeline.check import check_model
from mdai_build.pipeline.planning import plan_model
from mdai_build.settings import load_settings

MATRIX = support_matrix()
DEPLOY = "class MDAIModel:\n    def predict(self, data):\n        return []\n"
BASE_IMAGES = [f"py{python.replace('.', '')}" for python in MATRIX.pythons]


def rendered(folder: Path, config: str, **options: object) -> str:
    (folder / "m/.mdai").mkdir(parents=True)
    (folder / "m/.mdai/config.yaml").write_text(config)
    (folder / "m/.mdai/mdai_deploy.py").write_text(DEPLOY)
    (folder / "m/.mdai/requirements.txt").write_text("pillow\n")
    (folder / "m/.mdai/Dockerfile").write_text("FROM python:3.10-slim\n")
    settings = load_settings({"cache_folder": folder / "cache", "ca_bundle": None, **options}, {}, folder)
    return render_dockerfile(plan_model(check_model(folder / "m", settings), settings, lambda text: None)[1])


@pytest.mark.parametrize("parent", ["gcp", "slim", "local"])
@pytest.mark.parametrize("cuda", [None, *MATRIX.gpu])
@pytest.mark.parametrize("base_image", BASE_IMAGES)
def test_every_combination_renders(base_image: str, cuda: str | None, parent: str, tmp_path: Path) -> None:
    config = f"base_image: {base_image}\n" + (f"device_type: gpu\ncuda_version: '{cuda}'\n" if cuda else "")
    if parent == "slim" and cuda and MATRIX.gpu[cuda].slim is None:
        with pytest.raises(BundleError, match="no slim parent"):
            rendered(tmp_path, config, parent=parent)
        return
    text = rendered(tmp_path, config, parent=parent)
    row = MATRIX.gpu[cuda] if cuda else MATRIX.cpu
    local = MATRIX.local.gpu if cuda else MATRIX.local.cpu
    expected = {
        "gcp": f"gcr.io/deeplearning-platform-release/{row.google.image}",
        "slim": row.slim.image if row.slim else "",
        "local": local.image,
    }
    assert f"\nFROM {expected[parent]} AS mdai-parent\n" in text
    assert f" python={base_image[2]}.{base_image[3:]} pip" in text
    assert ("AS micromamba" in text) is (parent == "slim")


@pytest.mark.parametrize("parent", ["gcp", "slim", "local"])
@pytest.mark.parametrize("base_image", ["custom", "nvidia"])
def test_a_bundle_with_its_own_parent_renders(base_image: str, parent: str, tmp_path: Path) -> None:
    text = rendered(tmp_path, f"base_image: {base_image}\n", parent=parent)
    own = {"custom": "python:3.10-slim", "nvidia": MATRIX.clara["4.1.0"].image}
    assert f"\nFROM {own[base_image]} AS mdai-parent\n" in text
    assert re.search(r"^SHELL \[\"/bin/sh\", \"-c\"\]$", text, re.M)


def test_another_platform_has_installers_and_caches_of_its_own(tmp_path: Path) -> None:
    text = rendered(tmp_path / "1", "base_image: py310\n", parent="slim", platform="linux/arm64")
    assert "mdai-uv-debian-12-slim-linux-arm64" in text
    assert "linux-arm64" not in rendered(tmp_path / "2", "base_image: py310\n", parent="slim")
