"""The model's own code: mdai_deploy.py and what it imports of the bundle. Read, never run."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from mdai_build.bundle.layout import ENTRY_POINT
from mdai_build.bundle.model import Bundle
from mdai_build.bundle.names import shown
from mdai_build.errors import BundleError, Location


class SourceFile:
    """A file of Python, and the places of the nodes of its syntax tree."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self.lines = text.split("\n")

    def at(self, line: int | None, column: int | None = None) -> Location:
        """The place of a line, counted from 1, with its text."""
        text = self.lines[line - 1] if line is not None and 0 < line <= len(self.lines) else None
        return Location(self.file, line, column, source=shown(text) if text is not None else None)

    def at_node(self, node: ast.stmt | ast.expr) -> Location:
        """The place of a node, with its line; of a class or function that of its name."""
        # The tree counts columns in bytes, a reader in characters.
        line = self.lines[node.lineno - 1] if node.lineno <= len(self.lines) else ""
        column = len(line.encode()[: node.col_offset].decode(errors="ignore"))
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            column = max(column, line.find(f" {node.name}", column) + 1)
        return self.at(node.lineno, column + 1)


@dataclass(frozen=True)
class OwnModule:
    """A file of the bundle that the model imports."""

    source: SourceFile
    tree: ast.Module

    @cached_property
    def imports(self) -> tuple[tuple[str, int], ...]:
        """The top-level names that it imports whenever it is imported itself, each with its line."""
        return tuple(_imported(self.tree.body))


class OwnCode:
    """What a bundle has of modules."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._files: dict[str, list[str]] = {}
        for member in bundle.members:
            self._files.setdefault(member.path.rpartition("/")[2], []).append(member.path)
        self._folders = {part for member in bundle.members for part in member.path.split("/")[:-1]}

    def has(self, name: str) -> bool:
        """Whether a file or folder of the bundle has the name of that module."""
        return f"{name}.py" in self._files or name in self._folders

    def modules(self) -> Iterator[OwnModule]:
        """mdai_deploy.py, and what it imports, directly or not; what cannot be read is passed over."""
        waiting, seen = [ENTRY_POINT], {ENTRY_POINT}
        while waiting:
            path = waiting.pop()
            try:
                text = self._bundle.read_text(path)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    module = OwnModule(SourceFile(path, text), ast.parse(text))
            except (BundleError, SyntaxError, ValueError, RecursionError, MemoryError):
                continue  # told elsewhere, or never imported
            yield module
            for name, _ in module.imports:
                files = self._files.get(f"{name}.py", [])
                # Of several with one name it is not known here which is meant.
                if len(files) == 1 and files[0] not in seen:
                    seen.add(files[0])
                    waiting.append(files[0])


def _imported(body: list[ast.stmt]) -> Iterator[tuple[str, int]]:
    """The top-level names that these statements import whenever they run: none of `if` and `try`, nor of functions."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0], node.lineno
