"""Pins from the bill of materials of an image."""

from __future__ import annotations

import re
from typing import Any

import pytest

from mdai_build.requirements import exact_conda_package, exact_package


def component(name: object, version: object, group: str, purl: str = "", **properties: str) -> dict[str, Any]:
    entries = {"group": group, **properties}
    listed = [{"name": f"mdai-build:{key}", "value": value} for key, value in entries.items()]
    return {"name": name, "version": version, "purl": purl, "properties": listed}


def test_packages_of_the_model_from_an_index() -> None:
    assert exact_package(component("Pillow", "9.5.0", "model")) == "Pillow==9.5.0"
    assert exact_package(component("torch", "1.13.1+cu117", "model")) == "torch==1.13.1+cu117"
    assert exact_package(component("uvicorn", "0.33.0", "server")) is None
    assert exact_package(component("own", "1.0", "model", source=".mdai/own-1.0-py3-none-any.whl")) is None


def test_conda_packages() -> None:
    python = component("python", "3.8.18", "conda", "pkg:conda/python@3.8.18?build=h955ad1f_0_cpython&subdir=linux-64")
    assert exact_conda_package(python) == "python=3.8.18=h955ad1f_0_cpython"
    libgcc = component("_libgcc_mutex", "0.1", "conda", "pkg:conda/_libgcc_mutex@0.1?build=conda_forge")
    assert exact_conda_package(libgcc) == "_libgcc_mutex=0.1=conda_forge"
    assert exact_conda_package(component("numpy", "1.0", "model", "pkg:conda/numpy@1.0?build=x")) is None


def test_an_address_that_is_none_is_no_package() -> None:
    assert exact_conda_package(component("x", "1", "conda", "pkg://[")) is None


@pytest.mark.parametrize("name", ["a\n--index-url http://evil", "-r x", "a b", "", None, 1.5, "a;b"])
@pytest.mark.parametrize("version", ["1\n--pre", "1 ; x", "", None, "$(x)"])
def test_a_strangers_list_brings_in_no_option(name: object, version: object) -> None:
    for one, other in ((name, "1.0"), ("a", version)):
        pin = exact_package(component(one, other, "model"))
        assert pin is None or re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", pin)
        made = exact_conda_package(component(one, other, "conda", f"pkg:conda/{one}@{other}?build={version}"))
        assert made is None or not set(made) & set(" \n;$()")


def test_what_is_no_component() -> None:
    for broken in ({}, {"properties": None}, {"properties": [None, 1]}, {"properties": {"name": "x"}}):
        assert exact_package(broken) is None and exact_conda_package(broken) is None
