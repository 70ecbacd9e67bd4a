"""From a bundle and settings to what the install steps see, without an engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdai_build.errors import RequirementsError, UsageError
from mdai_build.pipeline.check import check_model, overrides, summary
from mdai_build.pipeline.planning import plan_model, render_model
from mdai_build.plan import WEIGHTS_FROM_BYTES, BuildPlan, weights_cost_more
from mdai_build.settings import Settings, load_settings

DEPLOY = "class MDAIModel:\n    def predict(self, data):\n        return []\n"
NAMED, UNNAMED = "named-1.0-py3-none-any.whl", "unnamed-1.0-py3-none-any.whl"


def bundle(folder: Path, requirements: str, **wheels: bytes) -> Path:
    (folder / ".mdai").mkdir(parents=True, exist_ok=True)
    (folder / ".mdai/config.yaml").write_text("base_image: py38\n")
    (folder / ".mdai/mdai_deploy.py").write_text(DEPLOY)
    (folder / ".mdai/requirements.txt").write_text(requirements)
    for name, content in wheels.items():
        (folder / f".mdai/{name}-1.0-py3-none-any.whl").write_bytes(content)
    return folder


def settings_for(place: Path, **values: object) -> Settings:
    return load_settings({"parent": "local", "cache_folder": place / "cache", **values}, {}, place)


def plan(model: Path, settings: Settings) -> BuildPlan:
    return plan_model(check_model(model, settings), settings, lambda text: None)[1]


def installed_from(model: Path, place: Path) -> dict[str, bytes]:
    """What the install steps mount, and the Dockerfile up to the code, by path."""
    settings = settings_for(place.parent)
    render_model(check_model(model, settings), settings, place, lambda text: None)
    mounted = {
        str(file.relative_to(place)): file.read_bytes()
        for name in ("requirements", "pins")
        for file in (place / "_mdai" / name).rglob("*")
        if file.is_file()
    }
    return {**mounted, "Dockerfile": (place / "Dockerfile").read_bytes().partition(b"LABEL")[0]}


def test_a_wheel_that_no_line_names_changes_nothing_that_is_installed(tmp_path: Path) -> None:
    requirements = f"./{NAMED}\n"
    before = installed_from(bundle(tmp_path / "m", requirements, named=b"one", unnamed=b"one"), tmp_path / "1")
    after = installed_from(bundle(tmp_path / "m", requirements, unnamed=b"two"), tmp_path / "2")
    assert after == before and any(path.endswith(NAMED) for path in before)
    assert not any(path.endswith(UNNAMED) for path in before)
    changed = installed_from(bundle(tmp_path / "m", requirements, named=b"two"), tmp_path / "3")
    assert {path for path in before if changed[path] != before[path]} == {f"_mdai/requirements/.mdai/{NAMED}"}


def test_a_large_file_that_a_builder_would_obey_is_no_weights(tmp_path: Path) -> None:
    model = bundle(tmp_path / "m", "")
    for name in (".dockerignore", "sub/.dockerignore", "net.bin"):
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).write_bytes(b"*\n" * 2**19)
    found = plan(model, settings_for(tmp_path))
    assert sorted(found.weights) == ["net.bin", "sub/.dockerignore"] and ".dockerignore" in found.code


def test_each_change_of_a_preinstalled_package_is_shown(tmp_path: Path) -> None:
    model = bundle(tmp_path / "m", "pillow\nnumpy==1.19.2\npydicom>=2\n")
    checked = check_model(model, settings_for(tmp_path))
    assert overrides(checked) == ("numpy 1.23.3 -> ==1.19.2 (.mdai/requirements.txt:2)",)
    assert summary(checked)["overrides"] == list(overrides(checked))


def test_without_a_network_addresses_are_left_aside(tmp_path: Path) -> None:
    lines = [
        "--index-url https://index.test/simple",
        "--extra-index-url https://more.test/simple",
        "-f https://links.test/page.html",
        "--no-binary pillow",
        "pillow==9.0",
        "tool[fast] @ git+https://git.test/tool.git@v1 ; python_version >= '3'",
        "https://files.test/other-2.0-py3-none-any.whl",
    ]
    (tmp_path / "wheels").mkdir()
    made = plan(bundle(tmp_path / "m", "\n".join(lines) + "\n"), settings_for(tmp_path, wheels=tmp_path / "wheels"))
    assert "://" not in made.requirements_text and made.vcs_requirements == ()
    assert made.wheels and not made.netrc
    written = made.requirements_text.splitlines()
    assert written[:2] == ["--no-binary pillow", "pillow==9.0"]
    assert written[2].startswith("tool[fast] ;") and written[3] == "other"


def test_without_a_network_a_line_needs_a_name(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    model = bundle(tmp_path / "m", "pillow\ngit+https://git.test/tool.git\n")
    with pytest.raises(RequirementsError, match=r"requirements\.txt:2"):
        plan(model, settings_for(tmp_path, wheels=tmp_path / "wheels"))


def test_a_login_is_in_no_part_of_a_plan(tmp_path: Path) -> None:
    settings = settings_for(
        tmp_path,
        index_url="https://user:s3cret@index.test/simple",
        conda_channels=("https://user:s3cret@conda.test/channel",),
        parent="debian:12",
        proxies={"https_proxy": "http://user:s3cret@proxy.test"},
    )
    made = plan(bundle(tmp_path / "m", "pillow\n"), settings)
    assert made.netrc and made.index_url == "https://index.test/simple"
    assert "s3cret" not in made.as_json() and "user" not in made.as_json().replace("USER", "")


def test_a_token_in_a_channels_path_is_refused_and_not_shown(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, conda_channels=("https://conda.test/t/to-12345678/channel",), parent="debian:12")
    with pytest.raises(UsageError) as caught:
        plan(bundle(tmp_path / "m", "pillow\n"), settings)
    assert "to-12345678" not in str(caught.value)


def test_which_of_weights_and_requirements_costs_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdai_build.plan.WEIGHTS_FIRST_FROM_BYTES", first := 2 * WEIGHTS_FROM_BYTES)

    def cost_more(requirements: str, weights: int) -> bool:
        model = bundle(tmp_path / "m", requirements)
        with (model / "weights.bin").open("wb") as file:
            file.truncate(weights)
        settings = settings_for(tmp_path)
        checked = check_model(model, settings)
        return weights_cost_more(plan_model(checked, settings, lambda text: None)[0], checked.requirements)

    assert cost_more("pillow\n", first)
    assert not cost_more("pillow\n", first - 1)
    assert not cost_more("torch==1.13.1\n", first)
