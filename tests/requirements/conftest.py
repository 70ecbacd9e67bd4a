"""Bundles made from texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mdai_build.bundle import Bundle, read_bundle

BundleOf = Callable[..., Bundle]


@pytest.fixture
def bundle_of(tmp_path: Path) -> BundleOf:
    """Makes a bundle whose requirements.txt has this text, with other files by their paths."""

    def make(requirements: str | bytes | None, files: Mapping[str, str | bytes] | None = None) -> Bundle:
        root = tmp_path / "model"
        contents: dict[str, str | bytes] = {
            ".mdai/config.yaml": "base_image: py38\n",
            ".mdai/mdai_deploy.py": "class MDAIModel: ...\n",
            **(files or {}),
        }
        if requirements is not None:
            contents[".mdai/requirements.txt"] = requirements
        for path, content in contents.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_bundle(root)

    return make
