"""What uv writes, as values."""

from __future__ import annotations

from packaging.version import Version

from mdai_build.requirements import Requirement, Requirements, ResolvedPackage, parse_resolved, resolved_file

WRITTEN = """\
# a header
--extra-index-url https://download.pytorch.org/whl/cpu
./.mdai/lab_seg-0.3.0-py3-none-any.whl
numpy==1.23.3 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via -r _install.txt
PyYAML[x]==6.0 ; python_version < "3.12"
own @ https://host.example/own-1.0-py3-none-any.whl
sources @ git+https://host.example/sources.git
torch==1.7.1+cu101
"""


def test_what_uv_writes() -> None:
    assert parse_resolved(WRITTEN).packages == (
        ResolvedPackage("lab-seg", "0.3.0", "./.mdai/lab_seg-0.3.0-py3-none-any.whl"),
        ResolvedPackage("numpy", "1.23.3", None, ("sha256:aa", "sha256:bb")),
        ResolvedPackage("own", "1.0", "https://host.example/own-1.0-py3-none-any.whl"),
        ResolvedPackage("pyyaml", "6.0"),
        ResolvedPackage("sources", None, "git+https://host.example/sources.git"),
        ResolvedPackage("torch", "1.7.1+cu101"),
    )


def test_names_are_those_of_the_index() -> None:
    resolved = parse_resolved(WRITTEN)
    assert resolved.version("pyyaml") == Version("6.0")
    assert "Lab.Seg" in resolved
    assert resolved.version("sources") is None
    assert "scipy" not in resolved


def resolved_text(requirements: Requirements, written: str) -> str:
    return resolved_file(requirements, parse_resolved(written), "3.10")


def test_the_file_for_an_installer_that_looks_up_no_dependencies() -> None:
    options = ("--extra-index-url https://host.example/simple", "--find-links ./wheels", "--pre")
    written = "numpy==1.23.3\nmsgpack==9.9\n./.mdai/lab_seg-0.3.0-py3-none-any.whl\nown @ https://host.example/own-1.0-py3-none-any.whl\n"
    # What is preinstalled in that version is there; `--pre` is a word of the command line.
    assert resolved_text(Requirements(options=options), written) == (
        "--extra-index-url https://host.example/simple\n--find-links ./wheels\n"
        "./.mdai/lab_seg-0.3.0-py3-none-any.whl\nmsgpack==9.9\nown @ https://host.example/own-1.0-py3-none-any.whl\n"
    )


def test_an_installer_reads_the_requirements_itself_where_they_say_more_than_versions() -> None:
    hashes = ("sha256:" + "a" * 64,)
    line = Requirement("index", "six==1.16.0", "six", "==1.16.0", (), None, hashes, ".mdai/requirements.txt", 1)
    assert resolved_text(Requirements(), "six==1.16.0\n") == "six==1.16.0\n"
    assert resolved_text(Requirements(lines=(line,)), "six==1.16.0\n") == ""
    assert resolved_text(Requirements(options=("--require-hashes",)), "six==1.16.0\n") == ""
    assert resolved_text(Requirements(), "six==1.16.0\nown @ git+https://host.example/own.git\n") == ""
