"""Reads mdai_deploy.py as text and as a syntax tree, never by importing it, and tells what is surely wrong with it.

Interface document, "mdai_deploy.py": a class MDAIModel that is made without arguments and has a method `predict` that
takes the data. What only might be wrong is a warning, or not told at all: the file may be meant for another Python than
the one that reads it, and Python can make a class in many ways.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Sequence

from mdai_build.bundle.layout import ENTRY_POINT, missing_file
from mdai_build.bundle.mistakes import find_mistakes, mistakes_of_helper
from mdai_build.bundle.model import Bundle
from mdai_build.bundle.names import shown
from mdai_build.bundle.numpy_values import bindings
from mdai_build.bundle.own_code import OwnCode, SourceFile
from mdai_build.bundle.start_mistakes import misspelled_init
from mdai_build.bundle.syntax import decode_entry_point, parse_entry_point
from mdai_build.errors import BundleError, Location, Problem

CLASS = "MDAIModel"
METHOD = "predict"
_OTHER_METHODS = ("inference", "infer", "run", "forward", "__call__", "process", "run_inference", "do_inference")
"""What other servers call the method."""
_SKELETON = "class MDAIModel:\n    def __init__(self): ...\n    def predict(self, data): ..."
_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda


def check_entry_point(bundle: Bundle, python: str | None = None, device: str | None = None) -> tuple[Problem, ...]:
    """Warnings about `.mdai/mdai_deploy.py` and the bundle's modules that it imports.

    `python` is the version that will run it, such as `3.8`, and `device` the `device_type`, where they are known.

    Raises:
        BundleError: the file is missing, is no Python, or lacks what the interface asks for.
    """
    if not bundle.has(ENTRY_POINT):
        paths = [member.path for member in bundle.members]
        raise BundleError(missing_file(ENTRY_POINT, paths, "bundle.no-entry-point"))
    source = decode_entry_point(bundle.read_bytes(ENTRY_POINT))
    tree = parse_entry_point(source, python)
    if isinstance(tree, Problem):
        return (tree,)
    check = _Check(source)
    own = OwnCode(bundle)
    check.check_class(tree, tuple(_other_models(own)))
    # Where the parent image is not ours, weights may lie in it.
    files = {member.path for member in bundle.members} if python is not None else None
    check.warnings.extend(find_mistakes(tree, check.at_node, files, check.predict, device))
    for module in own.modules():
        if module.source.file != ENTRY_POINT:
            check.warnings.extend(mistakes_of_helper(module.tree, module.source.at_node, files))
    if check.errors:
        raise BundleError(check.errors, check.warnings)
    return tuple(check.warnings)


def _other_models(own: OwnCode) -> Iterator[tuple[str, str]]:
    """The modules beside mdai_deploy.py that hold a class with a `predict`, and its name."""
    for module in own.modules():
        if module.source.file != ENTRY_POINT:
            for name, model in _Bound(module.tree.body).classes.items():
                if METHOD in _Bound(model.body).functions:
                    yield shown(module.source.file.rpartition("/")[2].removesuffix(".py")), shown(name)


class _Check:
    def __init__(self, source: SourceFile) -> None:
        self.at_node = source.at_node
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self.predict: ast.FunctionDef | None = None
        """The method, once `check_class` has found it."""

    def check_class(self, tree: ast.Module, elsewhere: Sequence[tuple[str, str]] = ()) -> None:
        """There is an MDAIModel, made without arguments, with a `predict` that takes the data.

        `elsewhere` names the modules that are imported, each with a class in it that has a `predict`.
        """
        bound = _Bound(tree.body)
        self._check_is_class(tree, bound)
        model = bound.classes.get(CLASS) if bound.knows(CLASS) else self._missing_class(bound, elsewhere)
        # A decorator, a metaclass or a base may bring the methods from elsewhere.
        if model is None or model.decorator_list or model.keywords or not _has_no_base(model):
            return
        body = _Bound(model.body)
        self._check_init(body.functions.get("__init__"))
        misspelled = misspelled_init(shown(model.name), body.functions, self.at_node)
        if misspelled is not None:
            self.warnings.append(misspelled)
        if METHOD in body.functions:
            function = body.functions[METHOD]
            self.predict = function if isinstance(function, ast.FunctionDef) else None
            self._check_predict(function)
        elif not body.knows(METHOD):
            self._missing_method(model, body, bound)

    def _check_is_class(self, tree: ast.Module, bound: _Bound) -> None:
        """`MDAIModel = Net()` makes an object, which the server cannot make another of."""
        for node in tree.body:
            if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
                continue
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            made = node.value.func
            if CLASS in names and isinstance(made, ast.Name) and made.id in bound.classes:
                name = shown(made.id)
                self.errors.append(
                    Problem(
                        "bundle.no-model-class",
                        f"{CLASS} is an object of the class `{name}`, and no class",
                        self.at_node(node),
                        f"a class {CLASS}, of which the server makes an object itself",
                        f"write `{CLASS} = {name}`, without the brackets, or rename `{name}`",
                    )
                )

    def _missing_class(self, bound: _Bound, elsewhere: Sequence[tuple[str, str]]) -> ast.ClassDef | None:
        """Tells that there is no MDAIModel; gives the class that may have been meant."""
        near = difflib.get_close_matches(CLASS.lower(), [name.lower() for name in bound.classes], n=1, cutoff=0.5)
        meant = next((model for name, model in bound.classes.items() if name.lower() in near), None)
        if meant is None and len(bound.classes) == 1:
            (only,) = bound.classes.values()
            meant = only if METHOD in _Bound(only.body).functions else None
        name = shown(meant.name) if meant else None
        advice = f"rename `{name}` to `{CLASS}`" if name else f"add one:\n{_SKELETON}"
        if meant is None and len(elsewhere) == 1:
            ((module, other),) = elsewhere
            advice = f"if it is `{other}` of {module}.py, write `from {module} import {other} as {CLASS}`"
        self.errors.append(
            Problem(
                "bundle.no-model-class",
                f"there is no class {CLASS}" + (f", but `{name}`" if name else ""),
                self.at_node(meant) if meant else Location(ENTRY_POINT),
                f"a class {CLASS} with the methods __init__ and {METHOD}",
                advice,
            )
        )
        return meant

    def _missing_method(self, model: ast.ClassDef, body: _Bound, module: _Bound) -> None:
        near = difflib.get_close_matches(METHOD, body.functions, n=1, cutoff=0.6)
        near = near or [name for name in body.functions if name in _OTHER_METHODS][:1]
        advice = f"add `def {METHOD}(self, data):` to the class"
        if near:
            advice = f"rename `{shown(near[0])}` to `{METHOD}`"
        elif METHOD in module.functions:
            advice = f"indent `def {METHOD}` of line {module.functions[METHOD].lineno} into the class"
        self.errors.append(
            Problem(
                "bundle.no-predict",
                f"{shown(model.name)} has no method {METHOD}",
                self.at_node(body.functions[near[0]] if near else model),
                f"def {METHOD}(self, data), which returns a list of outputs",
                advice,
            )
        )

    def _check_init(self, function: _Function | None) -> None:
        if function is None or function.decorator_list:
            return
        for node in _within(function):
            if isinstance(node, ast.Return) and not _is_none(node.value):
                self.warnings.append(
                    Problem(
                        "bundle.init-result",
                        f"{CLASS}.__init__ returns a value, which Python refuses",
                        self.at_node(node),
                        "no `return` in __init__, or one without a value",
                        "keep what predict needs as self.name = value",
                    )
                )
                break
        required = _required(function.args, given=1)
        if required:
            self.errors.append(
                Problem(
                    "bundle.init-arguments",
                    f"{CLASS}.__init__ asks for {', '.join(f'`{name}`' for name in required)}, "
                    f"but {CLASS}() is made without arguments",
                    self.at_node(function),
                    "def __init__(self)",
                    "give them default values, or set them inside __init__",
                )
            )

    def _check_predict(self, function: _Function) -> None:
        decorators = {d.id for d in function.decorator_list if isinstance(d, ast.Name)}
        if len(decorators) != len(function.decorator_list) or decorators - {"staticmethod", "classmethod"}:
            return
        given = 1 if "staticmethod" in decorators else 2
        arguments = function.args
        positional = len(arguments.posonlyargs) + len(arguments.args)
        required = _required(arguments, given)
        expected = f"def {METHOD}(self, data)"
        if positional < given and arguments.vararg is None:
            given_names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
            missing = [name for name in ("self", "data")[-given:] if name not in given_names][: given - positional]
            fix = f"add {' and '.join(f'`{name}`' for name in missing)} to its parameters"
            self.errors.append(
                Problem(
                    "bundle.predict-arguments",
                    f"{CLASS}.{METHOD} does not take the data",
                    self.at_node(function),
                    expected,
                    fix,
                )
            )
        elif required:
            names = ", ".join(f"`{name}`" for name in required)
            self.errors.append(
                Problem(
                    "bundle.predict-arguments",
                    f"{CLASS}.{METHOD} asks for {names} beside the data, but gets the data alone",
                    self.at_node(function),
                    expected,
                    "give them default values, or read them from data['args']",
                )
            )
        self._check_result(function)

    def _check_result(self, function: _Function) -> None:
        inside = list(_within(function))
        what: str | None = None
        place: ast.stmt = function
        returns = sorted((node for node in inside if isinstance(node, ast.Return)), key=lambda node: node.lineno)
        bound = bindings(inside)

        def is_dict(value: ast.expr | None) -> bool:
            values = bound.get(value.id) if isinstance(value, ast.Name) else None
            return isinstance(value, ast.Dict) or (bool(values) and all(isinstance(v, ast.Dict) for v in values or ()))

        def is_packed(value: ast.expr | None) -> bool:
            values = bound.get(value.id, []) if isinstance(value, ast.Name) else [value]
            return bool(values) and all(isinstance(v, ast.Call) and _called(v) in ("dumps", "packb") for v in values)

        if isinstance(function, ast.AsyncFunctionDef):
            what, advice = "is `async` and returns a coroutine", "remove `async`"
        elif any(isinstance(node, ast.Yield | ast.YieldFrom) for node in inside):
            what, advice = "yields and so returns a generator", "collect the outputs in a list and return it"
        elif not any(node.value is not None for node in returns):
            what, advice = "never returns a value", "end it with `return outputs`"
        for node in returns if what is None else ():
            if is_dict(node.value):
                what, advice = "returns a dict", "put it into a list: `return [output]`"
            elif is_packed(node.value):
                what, advice = "returns text or bytes", "return the list itself; the server writes it out"
            elif isinstance(node.value, ast.Tuple):
                what, advice = "returns several values", "return the list of outputs alone"
            if what is not None:
                place = node
                break
        if what is not None:
            self.warnings.append(
                Problem(
                    "bundle.predict-result",
                    f"{CLASS}.{METHOD} {what}",
                    self.at_node(place),
                    "a list of outputs",
                    advice,
                )
            )


class _Bound:
    """The names that a body of statements binds, also inside its `if`, `try`, `with` and loops."""

    def __init__(self, body: Sequence[ast.stmt]) -> None:
        self.classes: dict[str, ast.ClassDef] = {}
        self.functions: dict[str, _Function] = {}
        self._others: set[str] = set()
        waiting: list[ast.AST] = [*reversed(body)]
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.ClassDef):
                self.classes[node.name] = node
            elif isinstance(node, _Function):
                self.functions[node.name] = node
            elif isinstance(node, ast.Import | ast.ImportFrom):
                self._others.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self._others.add(node.id)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                # globals()[…], exec(…), setattr(…): names may come from anywhere.
                self._others.update({"*"} if node.func.id in ("globals", "vars", "locals", "exec") else ())
            if not isinstance(node, _Scope):
                waiting.extend(list(ast.iter_child_nodes(node))[::-1])

    def knows(self, name: str) -> bool:
        """Whether the name is bound, or may be by a star import."""
        return name in self.classes or name in self.functions or bool(self._others & {name, "*"})


def _has_no_base(model: ast.ClassDef) -> bool:
    return all(isinstance(base, ast.Name) and base.id == "object" for base in model.bases)


def _is_none(node: ast.expr | None) -> bool:
    return node is None or (isinstance(node, ast.Constant) and node.value is None) or isinstance(node, ast.Call)


def _required(arguments: ast.arguments, given: int) -> list[str]:
    """Names of the parameters that must be passed beyond the first `given` positional ones."""
    positional = [*arguments.posonlyargs, *arguments.args]
    without_default = positional[: len(positional) - len(arguments.defaults)]
    required = [argument.arg for argument in without_default[given:]]
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return required + [argument.arg for argument, default in keywords if default is None]


def _within(function: _Function) -> Iterator[ast.AST]:
    """The nodes of a function's body without those of functions and classes inside it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _Scope):
            waiting.extend(ast.iter_child_nodes(node))


def _called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else str(getattr(function, "id", ""))
