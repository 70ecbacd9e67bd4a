"""What a rebuild is held to: the parent and the versions that an image names."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdai_build.errors import UsageError
from mdai_build.pipeline.check import check_model
from mdai_build.pipeline.planning import plan_model
from mdai_build.pipeline.reproduce import without_settings
from mdai_build.pipeline.verify import _with_parent, _with_versions
from mdai_build.settings import Settings

LABELS = {"io.mdai-build.parent.kind": "local", "org.opencontainers.image.base.name": "mdai-build/parent:local-cpu"}
COMPONENTS = [
    {
        "name": "tqdm",
        "version": "4.66.2",
        "properties": [{"name": "mdai-build:group", "value": "model"}],
    },
    {
        "name": "python",
        "version": "3.8.18",
        "purl": "pkg:conda/python@3.8.18?build=h0_cpython",
        "properties": [{"name": "mdai-build:group", "value": "conda"}],
    },
]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / ".mdai").mkdir(parents=True)
    (folder / ".mdai/config.yaml").write_text("base_image: py38\n")
    (folder / ".mdai/requirements.txt").write_text("tqdm\n")
    (folder / ".mdai/mdai_deploy.py").write_text("class MDAIModel:\n    def predict(self, data):\n        return []\n")
    return folder


def test_the_parent_is_the_one_that_the_image_names_unless_another_is_asked_for() -> None:
    assert _with_parent(Settings(), LABELS).parent == "local"
    assert _with_parent(Settings(parent="registry.example/own"), LABELS).parent == "registry.example/own"
    assert _with_parent(Settings(), {**LABELS, "io.mdai-build.parent.kind": "slim"}).parent == "slim"


@pytest.mark.parametrize("kind", ["reference", "mdai-build/parent:local-cpu", ""])
def test_a_parent_of_a_strangers_choice_is_not_built_on_unless_it_is_named(kind: str) -> None:
    """A build gives its parent the logins of package indexes."""
    other = {"io.mdai-build.parent.kind": kind, "org.opencontainers.image.base.name": "evil.example/x:\x1b[2J1"}
    with pytest.raises(UsageError, match="only the image itself says") as refusal:
        _with_parent(Settings(), other)
    assert refusal.value.problems[0].next_step == "if you trust it, --parent evil.example/x:\\x1b[2J1"
    assert _with_parent(Settings(parent="own.example/x:1"), other).parent == "own.example/x:1"


def test_versions_are_those_of_the_image(model: Path, tmp_path: Path) -> None:
    settings = Settings(parent="local", cache_folder=tmp_path / "cache")
    checked = check_model(model, settings)
    _, plan = plan_model(checked, settings, lambda text: None)
    held = _with_versions(plan, checked, COMPONENTS)
    assert held.conda_packages == ("python=3.8.18=h0_cpython",)
    assert held.requirements_text.startswith("-c _constraints.txt\n") and "tqdm==4.66.2\n" in held.constraints_text
    assert _with_versions(plan, checked, []).constraints_text == plan.constraints_text


def test_how_packages_are_reached_is_no_part_of_a_reproducible_image(model: Path, tmp_path: Path) -> None:
    plans = []
    for more in ({}, {"index_url": "https://mirror.example/simple", "ca_bundle": model}):
        settings = Settings(parent="local", cache_folder=tmp_path / "cache", **more)
        checked = check_model(model, settings)
        plans.append(plan_model(checked, settings, lambda text: None)[1])
    assert plans[0] != plans[1]
    assert without_settings(plans[0]) == without_settings(plans[1])
