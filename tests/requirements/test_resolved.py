"""What uv writes, as values."""

from __future__ import annotations

from packaging.version import Version

from mdai_build.requirements import ResolvedPackage, parse_resolved

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
