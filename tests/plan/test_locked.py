"""The plan of a bundle that carries a lock: what each installer is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdai_build.bundle import UnpackedBundle, read_bundle, unpack_bundle
from mdai_build.config import parse_config
from mdai_build.errors import RequirementsError
from mdai_build.parents import choose_parent
from mdai_build.pipeline.install import Attempt, next_attempt
from mdai_build.plan import SBOM_FILE, BuildPlan, make_plan
from mdai_build.requirements import LOCK_FILE, Requirements, lock_text, read_requirements
from mdai_build.settings import Settings

HASHED = f"pillow==10.0.0 --hash=sha256:{'a' * 64}\n"
BUILT = f"tool @ git+https://host.example/tool.git@{'c' * 40}\n"
DAMAGED = "error: The wheel is invalid: no RECORD\n"


def locked(folder: Path, resolved: str) -> tuple[UnpackedBundle, Requirements]:
    mdai = folder / "model" / ".mdai"
    mdai.mkdir(parents=True)
    (mdai / "config.yaml").write_text("base_image: py38\n")
    (mdai / "mdai_deploy.py").write_text("class MDAIModel: ...\n")
    (mdai / "requirements.txt").write_text("pillow\ngit+https://host.example/tool.git\n")
    bundle = read_bundle(folder / "model")
    (folder / "model" / LOCK_FILE).write_text(lock_text(resolved, bundle, read_requirements(bundle, "3.8"), "3.8"))
    unpacked = unpack_bundle(read_bundle(folder / "model"), folder / "store")
    return unpacked, read_requirements(unpacked.bundle, "3.8")


def plan_of(folder: Path, resolved: str, installer: str) -> BuildPlan:
    unpacked, requirements = locked(folder, resolved)
    config = parse_config("base_image: py38\n", ".mdai/config.yaml").config
    settings = Settings(ca_bundle=None)
    parent = choose_parent(config, settings)
    return make_plan(unpacked, config, requirements, parent, settings, installer=installer)  # type: ignore[arg-type]


def test_uv_installs_any_lock_and_looks_for_nothing_else(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, HASHED + BUILT, "uv")
    assert plan.requirements_text == HASHED
    assert plan.vcs_requirements == (BUILT.strip(),)
    assert "--no-deps" in plan.installer_arguments
    assert dict(plan.labels)["io.mdai-build.sbom"] == SBOM_FILE


def test_pip_installs_a_lock_in_which_everything_has_a_hash(tmp_path: Path) -> None:
    assert plan_of(tmp_path, HASHED, "pip").requirements_text == f"--require-hashes\n{HASHED}"
    with pytest.raises(RequirementsError) as caught:
        plan_of(tmp_path / "other", HASHED + BUILT, "pip")
    (problem,) = caught.value.problems
    assert (problem.code, problem.where.line) == ("plan.pip-and-lock", 7)


def test_pip_does_not_take_over_where_it_could_not(tmp_path: Path) -> None:
    hashed, built = (locked(tmp_path / name, text)[1] for name, text in (("1", HASHED), ("2", HASHED + BUILT)))
    following = next_attempt(Attempt("uv"), DAMAGED, hashed, "3.8", Settings())
    assert following is not None and following[0].installer == "pip"
    assert next_attempt(Attempt("uv"), DAMAGED, built, "3.8", Settings()) is None
