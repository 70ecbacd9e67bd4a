"""What uv is asked, as files and a command line."""

from __future__ import annotations

from pathlib import Path

import tomli

from mdai_build.requirements import preflight_command, preflight_file, preflight_files, read_requirements


def test_nothing_that_would_run_code_of_the_bundle_is_resolved(bundle_of) -> None:
    bundle = bundle_of(
        "numpy\n../lib/pkg\n./a-1.0.tar.gz\ngit+https://host.example/p.git\nhttps://host.example/b-1.0.zip\n",
        {"lib/pkg/setup.py": "", ".mdai/a-1.0.tar.gz": b""},
    )
    requirements = read_requirements(bundle, "3.8")
    assert preflight_file(requirements) == "numpy\n"
    assert "--no-build" in preflight_command(requirements, "3.8", Path("uv"), Path("python3"))


def test_source_packages_alone_leave_nothing_to_look_up(bundle_of) -> None:
    assert (
        preflight_file(read_requirements(bundle_of("-f https://a.example\ngit+https://host.example/p.git\n"), "3.8"))
        == ""
    )


def test_a_package_to_be_built_is_looked_up_by_its_wheel(bundle_of) -> None:
    requirements = read_requirements(bundle_of("--no-binary numpy\n--only-binary scipy\nnumpy\n"), "3.8")
    assert preflight_file(requirements) == "--only-binary scipy\nnumpy\n"


def test_a_wheel_that_one_parent_may_take_is_looked_around(bundle_of) -> None:
    names = ("old-1.0-cp38-cp38-manylinux_2_17_x86_64.whl", "new-1.0-cp38-cp38-manylinux_2_35_x86_64.whl")
    bundle = bundle_of("".join(f"./{name}\n" for name in names), {f".mdai/{name}": b"" for name in names})
    assert preflight_file(read_requirements(bundle, "3.8"), "3.8") == f"./.mdai/{names[0]}\n"


def test_preinstalled_versions_come_first(bundle_of) -> None:
    files = preflight_files(read_requirements(bundle_of("numpy\n"), "3.8"), "3.8")
    assert "numpy==1.23.3\n" in files["_resolved.txt"]
    assert "pydicom==2.3.0\n" in files["_resolved.txt"]


def test_indexes_are_those_of_the_settings_unless_the_bundle_names_its_own(bundle_of) -> None:
    def indexes(text: str, *settings) -> list[tuple[str, bool]]:
        config = preflight_files(read_requirements(bundle_of(text), "3.8"), "3.8", (), (), *settings)["_uv.toml"]
        return [(index["url"], index["default"]) for index in tomli.loads(config).get("index", [])]

    assert indexes("numpy\n") == []
    assert indexes("numpy\n", None, (), "https://d.example/s") == [("https://d.example/s", True)]
    assert indexes("-i https://c.example/s\nnumpy\n", None, (), "https://d.example/s") == []
    assert indexes("numpy\n", "https://a.example/s", (), "https://d.example/s") == [("https://a.example/s", True)]
    assert indexes("numpy\n", "https://a.example/s", ("https://b.example/s",)) == [
        ("https://b.example/s", False),
        ("https://a.example/s", True),
    ]
    assert indexes("-i https://c.example/s\nnumpy\n") == []
