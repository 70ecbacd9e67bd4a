"""Build contexts on disk: what is in them, what is shared, what is taken away, what is never touched."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
import tomli
from factories import build_plan

from mdai_build.bundle import UnpackedBundle, read_bundle, unpack_bundle
from mdai_build.context import write_context
from mdai_build.errors import BundleError, Location, UsageError
from mdai_build.plan import BuildPlan


@pytest.fixture
def unpacked(tmp_path: Path) -> UnpackedBundle:
    root = tmp_path / "model"
    (root / ".mdai").mkdir(parents=True)
    (root / ".mdai" / "config.yaml").write_text("base_image: py38\n")
    (root / ".mdai" / "mdai_deploy.py").write_text(
        "class MDAIModel:\n    def predict(self, data):\n        return []\n"
    )
    (root / ".mdai" / "requirements.txt").write_text("./tool.whl\n")
    (root / ".mdai" / "tool.whl").write_bytes(b"wheel")
    (root / "weights.bin").write_bytes(b"w" * 2_000_000)
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    return unpack_bundle(read_bundle(root), tmp_path / "store")


def plan_for(unpacked: UnpackedBundle) -> BuildPlan:
    return build_plan(
        weights=("weights.bin",),
        code=tuple(file.path for file in unpacked.files if file.path != "weights.bin"),
        requirements_text="./.mdai/tool.whl\n",
        builds_from_source=True,
        requirement_files=(".mdai/tool.whl",),
    )


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_everything_that_the_dockerfile_copies_is_there(unpacked: UnpackedBundle, tmp_path: Path) -> None:
    write_context(plan_for(unpacked), unpacked, tmp_path / "context")
    files = content(tmp_path / "context")
    assert files["_mdai/code/.mdai/config.yaml"] == b"base_image: py38\n"
    assert len(files["_mdai/weights/weights.bin"]) == 2_000_000
    assert files["_mdai/requirements/_install.txt"] == b"./.mdai/tool.whl\n"
    assert files["_mdai/requirements/.mdai/tool.whl"] == b"wheel"
    assert b"numpy" in files["_mdai/pins/preinstalled/py38.txt"]
    assert "_mdai/pins/preinstalled/py37.txt" not in files
    assert "_mdai/runtime/mdai_runtime/contract.py" in files
    assert files["Dockerfile"].startswith(b"# Made by mdai-build")


def test_build_needs_that_packages_do_not_tell_are_there_for_uv(unpacked: UnpackedBundle, tmp_path: Path) -> None:
    needs = (("old-tool", "numpy==1.23.3"), ("other", "Cython"), ("old-tool", "Cython"))
    write_context(dataclasses.replace(plan_for(unpacked), build_requirements=needs), unpacked, tmp_path / "context")
    settings = tomli.loads((tmp_path / "context/_mdai/requirements/_uv.toml").read_text())
    assert settings == {
        "extra-build-dependencies": {"old-tool": ["numpy==1.23.3", "Cython"], "other": ["Cython"]},
    }


def test_bytes_are_shared_and_execute_bits_kept(unpacked: UnpackedBundle, tmp_path: Path) -> None:
    context = tmp_path / "context"
    write_context(plan_for(unpacked), unpacked, context)
    sources = {file.path: file.source for file in unpacked.files}
    assert (context / "_mdai/weights/weights.bin").samefile(sources["weights.bin"])
    assert (context / "_mdai/code/run.sh").stat().st_mode & 0o111


def test_small_files_of_a_users_folder_are_copies_as_editors_write_into_them(
    unpacked: UnpackedBundle, tmp_path: Path
) -> None:
    script = tmp_path / "context/_mdai/code/run.sh"
    write_context(plan_for(unpacked), unpacked, tmp_path / "context")
    script.unlink()
    os.link(tmp_path / "model/run.sh", script)  # as an earlier version laid it out

    write_context(plan_for(unpacked), unpacked, tmp_path / "context")
    (tmp_path / "model/run.sh").write_text("#!/bin/false\n")

    assert script.read_text() == "#!/bin/sh\n"


@pytest.mark.parametrize("name", ["run.sh", "weights.bin"])
def test_a_file_that_changed_since_it_was_read_is_told(unpacked: UnpackedBundle, tmp_path: Path, name: str) -> None:
    file = tmp_path / "model" / name
    file.write_bytes(file.read_bytes().swapcase())

    with pytest.raises(BundleError, match="changed while it was read") as failure:
        write_context(plan_for(unpacked), unpacked, tmp_path / "context")

    assert failure.value.problems[0].where == Location(str(file))


def test_a_file_that_is_gone_has_changed(unpacked: UnpackedBundle, tmp_path: Path) -> None:
    (tmp_path / "model/weights.bin").unlink()

    with pytest.raises(BundleError, match="changed while it was read"):
        unpacked.bundle.source.check_unchanged(1_000_000)


def test_of_shared_files_the_large_ones_alone_are_looked_at_again(unpacked: UnpackedBundle, tmp_path: Path) -> None:
    (tmp_path / "model/run.sh").write_text("#!/bin/false\n")

    unpacked.bundle.source.check_unchanged(1_000_000)

    with pytest.raises(BundleError):
        unpacked.bundle.source.check_unchanged(0)


def test_a_folder_for_its_user_shares_nothing(unpacked: UnpackedBundle, tmp_path: Path) -> None:
    context = tmp_path / "context"
    write_context(plan_for(unpacked), unpacked, context, share=False)
    for file in (context / "_mdai/code").rglob("*"):
        if file.is_file():
            assert file.stat().st_nlink == 1


def test_laid_out_again_only_what_changed_is_touched(unpacked: UnpackedBundle, tmp_path: Path) -> None:
    context = tmp_path / "context"
    plan = plan_for(unpacked)
    write_context(plan, unpacked, context)
    before = {path: path.stat() for path in context.rglob("*") if path.is_file()}
    write_context(dataclasses.replace(plan, labels=(("a", "c"),)), unpacked, context)
    changed = {
        path.relative_to(context).as_posix()
        for path, stat in before.items()
        if (path.stat().st_ino, path.stat().st_mtime_ns) != (stat.st_ino, stat.st_mtime_ns)
    }
    assert changed <= {"Dockerfile", ".mdai-build-context"}
    assert b'a="c"' in (context / "Dockerfile").read_bytes()


def test_what_no_longer_belongs_goes_and_the_sources_stay(unpacked: UnpackedBundle, tmp_path: Path) -> None:
    context = tmp_path / "context"
    plan = plan_for(unpacked)
    write_context(plan, unpacked, context)
    (context / "_mdai/code/stray.py").write_text("old")
    sources = {file.source: file.source.read_bytes() for file in unpacked.files}
    write_context(dataclasses.replace(plan, weights=(), code=(".mdai/config.yaml",)), unpacked, context)
    files = content(context)
    assert not any(name.startswith(("_mdai/weights", "_mdai/code/stray")) for name in files)
    assert not (context / "_mdai/weights").exists()
    assert {source: source.read_bytes() for source in sources} == sources


def test_a_file_where_a_folder_was_and_the_other_way_round(unpacked: UnpackedBundle, tmp_path: Path) -> None:
    context = tmp_path / "context"
    plan = plan_for(unpacked)
    write_context(plan, unpacked, context)
    code = context / "_mdai/code"
    (code / "run.sh").unlink()
    (code / "run.sh" / "inner").mkdir(parents=True)
    write_context(plan, unpacked, context)
    assert (code / "run.sh").is_file()


def test_empty_folders_of_the_bundle_are_there_until_they_go(unpacked: UnpackedBundle, tmp_path: Path) -> None:
    (tmp_path / "model/results/today").mkdir(parents=True)
    with_it = unpack_bundle(read_bundle(tmp_path / "model"), tmp_path / "store")
    write_context(plan_for(with_it), with_it, tmp_path / "context")
    assert (tmp_path / "context/_mdai/code/results/today").is_dir()
    write_context(plan_for(unpacked), unpacked, tmp_path / "context")
    assert not (tmp_path / "context/_mdai/code/results").exists()


def test_a_folder_with_other_things_in_it_is_left_alone(unpacked: UnpackedBundle, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("precious")
    with pytest.raises(UsageError, match="files that are not ours"):
        write_context(plan_for(unpacked), unpacked, mine)
    assert content(mine) == {"thesis.txt": b"precious"}


def test_certificates_are_a_file_of_the_context_when_the_plan_says_so(unpacked: UnpackedBundle, tmp_path: Path) -> None:
    certificates = tmp_path / "ca.pem"
    certificates.write_text("PEM")
    plan = dataclasses.replace(plan_for(unpacked), ca_bundle="file")
    write_context(plan, unpacked, tmp_path / "context", ca_bundle=certificates)
    assert (tmp_path / "context/_mdai/ca-bundle.crt").read_text() == "PEM"


def test_pins_carry_hashes_unless_a_folder_of_wheels_serves(unpacked: UnpackedBundle, tmp_path: Path) -> None:
    plan = plan_for(unpacked)
    for wheels in (False, True):
        write_context(dataclasses.replace(plan, wheels=wheels), unpacked, tmp_path / str(wheels))
        for name in ("uv", "preinstalled/py38", "server/py38"):
            lines = (tmp_path / str(wheels) / "_mdai/pins" / f"{name}.txt").read_text().splitlines()
            assert lines and all(("--hash=sha256:" in line) != wheels for line in lines)


def test_what_is_generated_can_be_read_by_all_under_any_umask(unpacked: UnpackedBundle, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_context(plan_for(unpacked), unpacked, tmp_path / "context")
    finally:
        os.umask(before)
    runtime = tmp_path / "context/_mdai/runtime/mdai_runtime"
    assert {path.stat().st_mode & 0o777 for path in runtime.glob("*.py")} == {0o644}
    assert runtime.stat().st_mode & 0o777 == 0o755
