"""What a base image is named by: all that goes into it, and nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from mdai_build import context
from mdai_build.bases import base_name, base_plan, has_base, repository, server_name
from mdai_build.config import ModelConfig
from mdai_build.dockerfile import render_base_dockerfile, render_dockerfile
from mdai_build.parents import Parent, choose_parent
from mdai_build.plan import BuildPlan
from mdai_build.settings import Settings

PARENT = "sha256:" + "ab" * 32


def plan(settings: Settings | None = None, **config: Any) -> BuildPlan:
    parsed = ModelConfig.model_validate({"base_image": "py38", **config})
    chosen = settings or Settings()
    return base_plan(parsed, choose_parent(parsed, chosen), chosen)


def names(of: BuildPlan) -> tuple[str, str]:
    return base_name(of).newest, server_name(of).newest


def test_the_tags_tell_the_combination_the_recipe_and_the_parent() -> None:
    name = base_name(plan(device_type="gpu", cuda_version="11.8"))
    assert name.newest == f"py38-cu118-{name.recipe.removeprefix('sha256:')[:12]}"
    assert name.exact(PARENT) == f"{name.newest}.abababababab"
    assert base_name(plan()).newest.startswith("py38-cpu-")
    assert server_name(plan()).newest.startswith("py38-cpu-server-")


def test_a_models_plan_has_the_name_of_the_base_image_that_was_made_without_it() -> None:
    settings = Settings()
    model = dataclasses.replace(
        plan(settings),
        name="lungs",
        env=(("A", "1"),),
        weights=("w.npz",),
        requirements_text="pillow\n",
        builds_from_source=True,
        labels=(("a", "b"),),
        base="something",
    )
    assert names(model) == names(plan(settings))


def test_from_where_packages_come_makes_no_difference(tmp_path: Path) -> None:
    settings = Settings(
        index_url="https://mirror.example/simple",
        extra_index_urls=("https://more.example/simple",),
        netrc=tmp_path / "netrc",
        ca_bundle=tmp_path / "ca.pem",
        proxies={"https_proxy": "http://me:word@proxy.example"},
    )
    assert names(plan(settings)) == names(plan())


@pytest.mark.parametrize(
    "changed",
    [
        {"parent": Parent("gcp", "mirror.example/base-cpu", None, ("conda-forge",), "")},
        {"parent": Parent("gcp", "gcr.io/deeplearning-platform-release/base-cpu", None, ("other",), "")},
        {"python": "3.9"},
    ],
)
def test_what_goes_into_it_does(changed: dict[str, Any]) -> None:
    before, after = plan(), dataclasses.replace(plan(), **changed)
    assert names(after)[0] != names(before)[0] and names(after)[1] != names(before)[1]


def changed_files(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """From now on this file of every build context has another content."""
    real = context.generated_files

    def changed(of: BuildPlan) -> Any:
        for name, content in real(of):
            yield name, content + b"# another\n" if name == f"_mdai/{path}" else content

    assert any(name == f"_mdai/{path}" for name, _ in real(plan()))
    monkeypatch.setattr("mdai_build.bases.generated_files", changed)


@pytest.mark.parametrize(
    ("path", "large", "server"),
    [
        ("pins/uv.txt", True, True),
        ("pins/preinstalled/py38.txt", True, True),
        ("pins/server/py38.txt", False, True),
        ("runtime/mdai_runtime/server.py", False, True),
        ("runtime/mdai_runtime/bytecode.py", True, True),
        ("requirements/_install.txt", False, False),
    ],
)
def test_each_is_named_anew_by_the_files_that_its_steps_read(
    path: str, large: bool, server: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = names(plan())
    changed_files(monkeypatch, path)
    after = names(plan())
    assert (after[0] != before[0], after[1] != before[1]) == (large, server)


def test_its_stages_have_the_text_of_a_models_own() -> None:
    own = set(render_dockerfile(plan()).splitlines())
    made = [line for line in render_base_dockerfile(plan()).splitlines() if line and not line.startswith("#")]
    others = [line for line in made if line not in own]
    assert others == [
        "FROM scratch AS mdai-base-server",
        "COPY --from=server /opt/mdai/ /opt/mdai/",
        "COPY --from=installer /opt/uv/ /opt/uv/",
        "FROM packages AS mdai-base",
    ]


def test_a_parent_of_the_bundles_own_is_shared_with_nobody() -> None:
    assert has_base(plan())
    assert not has_base(dataclasses.replace(plan(), parent=Parent("custom", "mdai-parent", None, (), "")))


def test_where_they_are_kept() -> None:
    assert repository(Settings()) is None
    assert repository(Settings(base_registry="registry.example:5000/team/")) == "registry.example:5000/team/base"
