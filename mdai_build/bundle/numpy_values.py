"""Which expressions of a syntax tree surely give a value of numpy, and which a BytesIO."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

Nodes = Sequence[ast.AST]
"""All nodes of a module."""

_LIBRARIES = ("numpy", "torch", "tensorflow")
# What never gives a plain value of Python, whatever it is given.
_FUNCTIONS = frozenset(
    {
        *("array", "asarray", "zeros", "ones", "full", "zeros_like", "ones_like", "full_like", "stack", "concatenate"),
        *("argmax", "argmin", "where", "argwhere", "squeeze", "transpose", "expand_dims", "flip", "rot90", "clip"),
        *("max", "min", "mean", "sum", "std", "median", "round", "abs", "exp", "sigmoid", "softmax"),
        *("float16", "float32", "float64", "uint8", "uint16", "int8", "int16", "int32", "int64", "bool_"),
    }
)
# Of an object that is not known, these give numpy's values; of an array of numpy, the others do too.
_METHODS = frozenset({"astype", "argmax", "argmin"})
_METHODS_OF_ARRAYS = frozenset(
    {"max", "min", "mean", "sum", "std", "round", "clip", "copy", "squeeze", "transpose", "reshape", "ravel", "flatten"}
)


class NumpyValues:
    """The expressions of a module that give a value of numpy; in doubt an expression does not."""

    def __init__(self, nodes: Nodes) -> None:
        self._modules = set(_imported_as(nodes, _LIBRARIES))
        self._others = {
            (alias.asname or alias.name).partition(".")[0]
            for node in nodes
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        } - self._modules
        self._bound = bindings(nodes)
        self._known: dict[str, bool] = {}

    def holds(self, node: ast.expr) -> bool:
        """Whether the value is surely numpy's (or a tensor)."""
        try:
            return self._holds(node)
        except RecursionError:
            return False

    def _holds(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Name):
            return self._name(node.id)
        if isinstance(node, ast.Attribute):
            return node.attr == "pixel_array" or (node.attr == "T" and self._holds(node.value))
        if isinstance(node, ast.Subscript):
            return self._holds(node.value)
        if isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.Not):
            return self._holds(node.operand)
        if isinstance(node, ast.BinOp):
            return self._holds(node.left) or self._holds(node.right)
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE):
            return self._holds(node.left) or self._holds(node.comparators[0])
        return isinstance(node, ast.Call) and self._call(node)

    def _call(self, call: ast.Call) -> bool:
        function = call.func
        if not isinstance(function, ast.Attribute):
            return False
        owner = function.value
        if isinstance(owner, ast.Name) and owner.id in self._modules:
            return function.attr in _FUNCTIONS
        if isinstance(owner, ast.Name) and owner.id in self._others:
            return False
        return function.attr in _METHODS or (function.attr in _METHODS_OF_ARRAYS and self._holds(owner))

    def _name(self, name: str) -> bool:
        """Whether all that is ever bound to the name is numpy's."""
        values = self._bound.get(name)
        if name not in self._known:
            # While it is being asked for, a name that is bound to itself counts as not known.
            self._known[name] = False
            self._known[name] = bool(values) and all(value is not None and self._holds(value) for value in values or ())
        return self._known[name]


class Buffers:
    """The names that a BytesIO is bound to somewhere in the module."""

    def __init__(self, nodes: Nodes) -> None:
        self._names = {
            name
            for name, values in bindings(nodes).items()
            if any(value is not None and _makes_buffer(value) for value in values)
        }

    def is_buffer(self, node: ast.expr) -> bool:
        """Whether the expression is a BytesIO itself."""
        return _makes_buffer(node) or (isinstance(node, ast.Name) and node.id in self._names)


def _makes_buffer(node: ast.expr) -> bool:
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)
    return name == "BytesIO"


def _imported_as(nodes: Nodes, libraries: tuple[str, ...]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] in libraries:
                    yield (alias.asname or alias.name).partition(".")[0]


def bindings(nodes: Nodes) -> dict[str, list[ast.expr | None]]:
    """Every value that a name is bound to anywhere in the module; None for one that is not written out."""
    bound: dict[str, list[ast.expr | None]] = {}
    known: set[int] = set()
    for node in nodes:
        pairs: list[tuple[ast.expr | None, ast.expr | None]] = []
        if isinstance(node, ast.Assign):
            pairs = [(target, node.value) for target in node.targets]
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
            pairs = [(node.target, node.value)]
        elif isinstance(node, ast.withitem):
            pairs = [(node.optional_vars, node.context_expr)]
        elif isinstance(node, ast.arg):
            bound.setdefault(node.arg, []).append(None)
        for target, value in pairs:
            if isinstance(target, ast.Name):
                known.add(id(target))
                bound.setdefault(target.id, []).append(value)
    for node in nodes:
        # Of a loop, an unpacking, an augmented assignment: what it is bound to is not written out.
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in known:
            bound.setdefault(node.id, []).append(None)
    return bound
