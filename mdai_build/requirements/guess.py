"""Which packages code needs, guessed from what it imports: a first requirements.txt for a folder that has none."""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Specification
from packaging.utils import canonicalize_name

from mdai_build.requirements.modules import package_of
from mdai_build.requirements.preinstalled import preinstalled

# What is imported while one trains or looks, and never while a model predicts.
_NOT_NEEDED = frozenset(
    {"IPython", "jupyter", "notebook", "pytest", "tensorboard", "wandb", "mlflow", "setuptools", "pip"}
)


@dataclass(frozen=True)
class Guess:
    """What code imports of others."""

    modules: tuple[str, ...]
    """Top-level modules that are neither Python's nor the folder's own."""
    lines: tuple[str, ...]
    """Of a requirements.txt, sorted; without what is preinstalled unless its version is known."""


def guess_requirements(sources: Mapping[str, str], python: str, known: str = "") -> Guess:
    """The packages that these files import.

    Args:
        sources: texts of Python files, by their paths below the folder.
        python: such as `3.10`.
        known: text of a requirements file of the folder; its versions are taken over.
    """
    own = {part.removesuffix(".py") for path in sources for part in path.split("/")}
    modules = sorted(
        {name for text in sources.values() for name in _imported(text)} - own - sys.stdlib_module_names - _NOT_NEEDED,
        key=str.lower,
    )
    versions = dict(_named(known.splitlines()))
    there = {canonicalize_name(pin.name) for pin in preinstalled(python)}
    lines = []
    for module in modules:
        names = [name for name in (package_of(module), *_ALIKE.get(module, ())) if canonicalize_name(name) in versions]
        package = canonicalize_name(names[0] if names else package_of(module))
        if names:
            lines.append(versions[package])
        elif package not in there:
            lines.append(package_of(module))
    return Guess(tuple(modules), tuple(dict.fromkeys(sorted(lines, key=str.lower))))


# Other packages that hold the same module.
_ALIKE: Mapping[str, tuple[str, ...]] = {
    "cv2": ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "onnxruntime": ("onnxruntime-gpu",),
    "tensorflow": ("tensorflow-cpu", "tensorflow-gpu"),
}


def _named(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        text = line.split(" #")[0].strip()
        try:
            yield canonicalize_name(Specification(text).name), text
        except InvalidRequirement:
            continue


def _imported(text: str) -> Iterator[str]:
    """Every top-level module that a file may import, also inside functions and `try`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
