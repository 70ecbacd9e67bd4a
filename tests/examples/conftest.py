"""Loads an example the way an image does: every folder of it, and its wheels, on sys.path."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

EXAMPLES = Path(__file__).parents[2] / "examples"


def import_file(path: Path) -> ModuleType:
    """The module of that file, under the file's own name."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def example_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], ModuleType]]:
    """Imports a file of an example; what it brought in is forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def load(name: str, file: str) -> ModuleType:
        root = EXAMPLES / name
        folders = [root, root / ".mdai", *sorted(path for path in root.rglob("*") if path.is_dir())]
        for path in [*reversed(folders), *root.rglob("*.whl")]:
            monkeypatch.syspath_prepend(str(path))
        return import_file(root / file)

    yield load
    for module in set(sys.modules) - before:
        if str(EXAMPLES) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]


@pytest.fixture
def load_model(
    example_module: Callable[[str, str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Any]:
    """Makes the MDAIModel of an example, in the environment that its config.yaml asks for."""

    def load(name: str) -> Any:
        config = yaml.safe_load((EXAMPLES / name / ".mdai" / "config.yaml").read_text())
        for key, value in config.get("env", {}).items():
            monkeypatch.setenv(key, value)
        return example_module(name, ".mdai/mdai_deploy.py").MDAIModel()

    return load
