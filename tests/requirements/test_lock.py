"""Locks: what they are made from, when they hold, and what a bundle that carries one installs."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdai_build.errors import RequirementsError
from mdai_build.requirements import (
    LOCK_FILE,
    explain_failure,
    install_file,
    installer_arguments,
    lock_input,
    lock_text,
    needs_building,
    place_of_archive_lock,
    preferences,
    read_requirements,
    requirements_digest,
)

A, B = "a" * 64, "b" * 64
WHEEL = ".mdai/my_tool-1.0-py3-none-any.whl"
WRITTEN = "--extra-index-url https://more.example/simple\n--pre\npillow\n./my_tool-1.0-py3-none-any.whl\n"
# As uv writes it; the options are those of its own command.
RESOLVED = (
    "--index-url https://me:secret@private.example/simple\n"
    f"pillow==10.0.0 \\\n    --hash=sha256:{A} \\\n    --hash=sha256:{B}\n./{WHEEL} \\\n    --hash=sha256:{B}\n"
)


def locked(bundle_of, written: str = WRITTEN, resolved: str = RESOLVED, python: str = "3.8"):
    """A bundle that carries the lock of its requirements."""
    files = {WHEEL: b"x"}
    bundle = bundle_of(written, files)
    text = lock_text(resolved, bundle, read_requirements(bundle, python, heed_lock=False), python)
    return bundle_of(written, {**files, LOCK_FILE: text}), text


def test_the_text_of_a_lock(bundle_of) -> None:
    _, text = locked(bundle_of)
    _, again = locked(bundle_of)
    assert text == again
    assert "secret" not in text
    lines = text.splitlines()
    assert lines[2:4] == ["# python: 3.8", "# platform: x86_64-manylinux_2_28"]
    assert lines[5:7] == ["--extra-index-url https://more.example/simple", "pillow==10.0.0 \\"]


def test_a_bundle_with_a_lock_installs_exactly_that(bundle_of) -> None:
    bundle, _ = locked(bundle_of)
    requirements = read_requirements(bundle, "3.8")
    assert requirements.lock == LOCK_FILE
    assert install_file(requirements) == (
        "--extra-index-url https://more.example/simple\n--require-hashes\n"
        f"pillow==10.0.0 --hash=sha256:{A} --hash=sha256:{B}\n./{WHEEL} --hash=sha256:{B}\n"
    )
    assert installer_arguments(requirements, "uv") == ("--no-deps", "--index-strategy", "unsafe-best-match")
    assert installer_arguments(requirements, "pip") == ("--no-deps",)
    assert requirements.files == (WHEEL,)
    assert [warning.code for warning in requirements.warnings] == []
    assert read_requirements(bundle, "3.8", heed_lock=False).lock is None


def test_what_is_built_in_the_image_has_no_hash_and_the_rest_keeps_its_own(bundle_of) -> None:
    written = "pillow\ntool @ git+https://host.example/tool.git\n"
    resolved = f"pillow==10.0.0 --hash=sha256:{A}\ntool @ git+https://host.example/tool.git@{'c' * 40}\n"
    bundle, _ = locked(bundle_of, written, resolved)
    requirements = read_requirements(bundle, "3.8")
    assert install_file(requirements) == f"pillow==10.0.0 --hash=sha256:{A}\n"
    assert requirements.lines[1].text == f"tool @ git+https://host.example/tool.git@{'c' * 40}"
    assert "--no-deps" in installer_arguments(requirements, "uv")


@pytest.mark.parametrize("change", ["requirements", "included", "python"])
def test_a_stale_lock_is_refused(bundle_of, change: str) -> None:
    written, files = "-r more.txt\n", {".mdai/more.txt": "pillow\r\n"}
    bundle = bundle_of(written, files)
    text = lock_text(f"pillow==10.0.0 --hash=sha256:{A}\n", bundle, read_requirements(bundle, "3.8"), "3.8")
    # Ends of lines alone make nothing stale.
    files = {".mdai/more.txt": "pillow\n", LOCK_FILE: text.replace("\n", "\r\n")}
    assert read_requirements(bundle_of(written, files), "3.8").lines[0].text.startswith("pillow==10.0.0 ")
    if change == "requirements":
        written += "pydicom\n"
    elif change == "included":
        files[".mdai/more.txt"] = "pillow<11\n"
    with pytest.raises(RequirementsError) as caught:
        read_requirements(bundle_of(written, files), "3.10" if change == "python" else "3.8")
    (problem,) = caught.value.problems
    assert problem.code == "requirements.stale-lock"
    assert "mdai-build lock" in problem.next_step
    if change == "python":
        assert problem.what == "the lock was made for Python 3.8; this bundle asks for py310"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("pillow==10.0.0", "hash"),
        (f"pillow @ https://me:secret@host.example/p-1-py3-none-any.whl --hash=sha256:{A}", "credentials"),
        (f"../../outside-1.0-py3-none-any.whl --hash=sha256:{A}", "outside-bundle"),
        ("-r /etc/passwd", "outside-bundle"),
        (f"tool @ git+file:///tmp/x@{'c' * 40}", "vcs-scheme"),
    ],
)
def test_the_lines_of_a_lock_are_checked_like_any(bundle_of, line: str, code: str) -> None:
    _, text = locked(bundle_of)
    forged = bundle_of(WRITTEN, {LOCK_FILE: f"{text}{line}\n"})
    with pytest.raises(RequirementsError) as caught:
        read_requirements(forged, "3.8")
    assert [problem.code for problem in caught.value.problems] == [f"requirements.{code}"]
    assert caught.value.problems[0].where.file == LOCK_FILE
    assert "secret" not in str(caught.value.problems)


def test_other_bytes_than_the_lock_says_are_told_by_line(bundle_of) -> None:
    bundle, _ = locked(bundle_of)
    requirements = read_requirements(bundle, "3.8")
    # As uv 0.13 wrote it.
    log = (
        "error: Failed to read `my-tool @ file:///requirements/.mdai/my_tool-1.0-py3-none-any.whl`\n  cause: Hash "
        f"mismatch for `my-tool @ file:///requirements/.mdai/my_tool-1.0-py3-none-any.whl`\n\nExpected:\n  sha256:{A}\n"
    )
    (problem,) = explain_failure(log, requirements, "3.8").problems
    assert problem.code == "requirements.hash-mismatch"
    assert (problem.where.file, problem.where.line) == (LOCK_FILE, 10)
    assert problem.where.source == f"./{WHEEL}"
    assert "mdai-build lock" in problem.next_step


def test_the_lock_of_another_tool_is_not_used(bundle_of) -> None:
    requirements = read_requirements(bundle_of("pillow\n", {LOCK_FILE: "# made by rye\npillow==1.0\n"}), "3.8")
    assert [line.text for line in requirements.lines] == ["pillow"]
    assert [warning.code for warning in requirements.warnings] == ["requirements.foreign-lock"]


def test_what_a_folder_of_the_bundle_needs_counts_and_its_code_does_not(bundle_of) -> None:
    project = {"tool/pyproject.toml": "[project]\n", "tool/code.py": "1\n", "tool/other.toml": ""}
    digests = []
    for changed in ({}, {"tool/code.py": "2\n"}, {"tool/pyproject.toml": "[project]\nname='x'\n"}):
        bundle = bundle_of("./tool\n", {**project, **changed})
        digests.append(requirements_digest(bundle, read_requirements(bundle, "3.8")))
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("written", "built"),
    [
        ("pillow\nhttps://host.example/a-1.0-py3-none-any.whl\n", False),
        ("https://host.example/a-1.0.tar.gz\n", True),
        ("git+https://host.example/a.git\n", True),
        ("git+https://host.example/a.git ; sys_platform == 'win32'\npillow\n", False),
        ("--no-binary pillow\npillow\n", True),
    ],
)
def test_what_has_to_be_built_to_know_what_it_needs(bundle_of, written: str, built: bool) -> None:
    assert needs_building(read_requirements(bundle_of(written), "3.8")) is built


def test_what_is_resolved(bundle_of) -> None:
    files = {".mdai/c.txt": "numpy<2\n"}
    written = "-c c.txt\n--pre\ntool @ git+https://host.example/t.git\npillow ; sys_platform == 'win32'\npydicom>=2\n"
    requirements = read_requirements(bundle_of(written, files), "3.8")
    assert lock_input(requirements) == ("-c _constraints.txt\ntool @ git+https://host.example/t.git\npydicom>=2\n")


def test_an_earlier_lock_comes_before_what_is_preinstalled() -> None:
    lock = f"# python: 3.10\nNumPy==1.24.0 \\\n    --hash=sha256:{A}\nscipy==1.9.0 --hash=sha256:{B}\n"
    preferred = preferences("3.10", lock).splitlines()
    assert "numpy==1.24.0" in preferred and "scipy==1.9.0" in preferred and "pydicom==2.3.0" in preferred
    assert "numpy==1.23.3" not in preferred
    assert "hash" not in "".join(preferred)
    assert "numpy==1.23.3" in preferences("3.10", None).splitlines()


def test_the_place_of_an_archives_lock() -> None:
    for name in ("model.zip", "model.tar.gz", "model.TGZ"):
        assert place_of_archive_lock(Path("a", name)) == Path("a", "model.requirements.lock")
