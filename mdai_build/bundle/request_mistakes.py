"""Mistakes in how a model reads its request, as far as they show when the code is read.

Interface document, "mdai_deploy.py": the input schema. The data is plain dicts, lists and bytes.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from mdai_build.bundle.names import shown
from mdai_build.bundle.numpy_values import Nodes, bindings
from mdai_build.errors import Location, Problem

At = Callable[["ast.stmt | ast.expr"], Location]

REQUEST_KEYS = ("files", "annotations", "label_classes", "args")
FILE_KEYS = ("content", "content_type", "dicom_tags")
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_OTHER_NAMES: Mapping[str, str] = MappingProxyType(
    {"instanceuid": _UIDS[2], "imageuid": _UIDS[2], "sopuid": _UIDS[2], "seriesuid": _UIDS[1], "studyuid": _UIDS[0]}
)
# What is given a file or a path, and how it is given bytes.
_READERS: Mapping[str, str] = MappingProxyType(
    {
        "dcmread": 'pydicom.dcmread(BytesIO(file["content"]))',
        "read_file": 'pydicom.dcmread(BytesIO(file["content"]))',
        "open": 'Image.open(BytesIO(file["content"]))',
        "imread": 'cv2.imdecode(np.frombuffer(file["content"], np.uint8), cv2.IMREAD_UNCHANGED), or '
        'Image.open(BytesIO(file["content"]))',
    }
)
_SAME_THINGS = ("enumerate", "sorted", "list", "reversed", "tqdm", "iter")


class RequestMistakes:
    """What is wrong with how `predict` takes its data; `at` tells the place of a node."""

    def __init__(self, nodes: Nodes, predict: ast.FunctionDef | None, at: At) -> None:
        self._nodes = nodes
        self._predict = predict
        self._at = at
        self._bound = bindings(nodes)

    def find(self) -> Iterator[Problem]:
        """The mistakes, in no order."""
        yield from self._bytes_as_file()
        yield from self._uid_names()
        name = self._data_name()
        if name is not None and self._predict is not None:
            yield from self._keys(name, tuple(ast.walk(self._predict)))
            yield from self._early_return(name)

    def _data_name(self) -> str | None:
        """The name of the data in `predict`; None where another value may be bound to it."""
        if self._predict is None or self._predict.decorator_list:
            return None
        names = [argument.arg for argument in (*self._predict.args.posonlyargs, *self._predict.args.args)]
        inside = bindings(tuple(ast.walk(self._predict)))
        return names[1] if len(names) > 1 and len(inside.get(names[1], ())) == 1 else None

    def _keys(self, data: str, nodes: Nodes) -> Iterator[Problem]:
        files = self._file_names(data, nodes)
        for node in nodes:
            owner = getattr(node, "value", None)
            if not isinstance(owner, ast.Name):
                if isinstance(node, ast.Subscript) and self._is_first_file(owner, data):
                    yield from self._file_key(node)
                elif isinstance(node, ast.Subscript) and self._is_first_label(owner, data):
                    yield from self._label_key(node)
                elif isinstance(node, ast.For) and _is_name(node.iter, data):
                    yield self._looped_over(node, data)
                elif isinstance(node, ast.Call):
                    yield from self._file_as_bytes(node, files)
                continue
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
                if owner.id == data:
                    yield from self._request_key(node, data)
                elif owner.id in files:
                    yield from self._file_key(node)
            elif (
                isinstance(node, ast.Attribute) and node.attr in REQUEST_KEYS + FILE_KEYS and owner.id in {data, *files}
            ):
                yield Problem(
                    "bundle.request-attribute",
                    f"`{shown(owner.id)}` is a dict, and a dict has no attribute `{node.attr}`",
                    self._at(node),
                    "its keys in brackets",
                    f'write {shown(owner.id)}["{node.attr}"]',
                )

    def _file_names(self, data: str, nodes: Nodes) -> set[str]:
        """Names that only ever stand for a file of the request."""
        found: set[str] = set()
        for node in nodes:
            if isinstance(node, ast.For) and self._are_files(node.iter, data):
                target = node.target
                if isinstance(target, ast.Tuple) and target.elts and _called(node.iter) == "enumerate":
                    target = target.elts[-1]
                if isinstance(target, ast.Name):
                    found.add(target.id)
        counts: dict[str, int] = {}
        for node in nodes:
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                counts[node.id] = counts.get(node.id, 0) + 1
        return {name for name in found if counts.get(name) == 1}

    def _are_files(self, node: ast.expr, data: str) -> bool:
        if isinstance(node, ast.Call) and _called(node) in _SAME_THINGS and node.args:
            return self._are_files(node.args[0], data)
        if isinstance(node, ast.Name):
            values = self._bound.get(node.id, [])
            return len(values) == 1 and isinstance(values[0], ast.Subscript) and self._are_files(values[0], data)
        return _is_key(node, "files") and isinstance(node, ast.Subscript) and _is_name(node.value, data)

    def _is_first_file(self, node: ast.expr | None, data: str) -> bool:
        return (
            isinstance(node, ast.Subscript)
            and isinstance(node.slice, ast.Constant)
            and isinstance(node.slice.value, int)
            and self._are_files(node.value, data)
        )

    def _request_key(self, node: ast.Subscript, data: str) -> Iterator[Problem]:
        key = _key(node)
        if key is None or key in REQUEST_KEYS:
            return
        near = difflib.get_close_matches(key.lower(), REQUEST_KEYS, n=1)
        advice = f"did you mean `{near[0]}`?" if near else f'the images are in {shown(data)}["files"]'
        if key in FILE_KEYS:
            advice = f'each file has its own: for file in {shown(data)}["files"]: ... file["{key}"]'
        yield Problem(
            "bundle.request-key",
            f"a request has no key `{shown(key, 60)}`",
            self._at(node.slice),
            f"one of {', '.join(REQUEST_KEYS)}",
            advice,
        )

    def _file_key(self, node: ast.Subscript) -> Iterator[Problem]:
        key = _key(node)
        if key is None or key in FILE_KEYS or not isinstance(node.ctx, ast.Load):
            return
        near = difflib.get_close_matches(key.lower(), FILE_KEYS, n=1)
        advice = f"did you mean `{near[0]}`?" if near else None
        if re.search("name|path|url", key.lower()):
            advice = 'a file comes as bytes, without a name: pydicom.dcmread(BytesIO(file["content"]))'
        if key in REQUEST_KEYS:
            advice = f'it belongs to the request: data["{key}"]'
        yield Problem(
            "bundle.request-key",
            f"a file of a request has no key `{shown(key, 60)}`",
            self._at(node.slice),
            "content, content_type or, beside a JPEG or PNG, dicom_tags",
            advice,
        )

    def _is_first_label(self, node: ast.expr | None, data: str) -> bool:
        return (
            isinstance(node, ast.Subscript)
            and isinstance(node.slice, ast.Constant)
            and isinstance(node.slice.value, int)
            and _is_key(node.value, "label_classes")
            and isinstance(node.value, ast.Subscript)
            and _is_name(node.value.value, data)
        )

    def _label_key(self, node: ast.Subscript) -> Iterator[Problem]:
        key = _key(node)
        if key is None or key in ("class_index", "label") or not isinstance(node.ctx, ast.Load):
            return
        yield Problem(
            "bundle.request-key",
            f"a label class has no key `{shown(key, 60)}`",
            self._at(node.slice),
            "class_index or label",
            f'its label may have one: ["label"]["{shown(key, 60)}"]',
        )

    def _looped_over(self, node: ast.For, data: str) -> Problem:
        return Problem(
            "bundle.request-key",
            f"`{shown(data)}` is a dict, and looping over it gives its keys, not its files",
            self._at(node.iter),
            "the list of its files",
            f'write for {shown(ast.unparse(node.target), 40)} in {shown(data)}["files"]',
        )

    def _file_as_bytes(self, node: ast.Call, files: set[str]) -> Iterator[Problem]:
        given = node.args[0] if node.args else None
        if _called(node) in ("BytesIO", "dcmread") and isinstance(given, ast.Name) and given.id in files:
            yield Problem(
                "bundle.bytes-as-file",
                f"`{_called(node)}` is given a dict: `{shown(given.id)}` has its bytes in `content`",
                self._at(given),
                "bytes",
                f'write BytesIO({shown(given.id)}["content"])',
            )

    def _bytes_as_file(self) -> Iterator[Problem]:
        for node in self._nodes:
            if not isinstance(node, ast.Call) or not node.args or _called(node) not in _READERS:
                continue
            given = node.args[0]
            if isinstance(given, ast.Name):
                values = self._bound.get(given.id, [])
                given = values[0] if len(values) == 1 and values[0] is not None else given
            if _is_key(given, "content"):
                yield Problem(
                    "bundle.bytes-as-file",
                    f"`{_called(node)}` is given the bytes of a file and takes them for its path",
                    self._at(node.args[0]),
                    "a file that can be read",
                    f"write {_READERS[_called(node)]}",
                )

    def _uid_names(self) -> Iterator[Problem]:
        datasets = {
            name
            for name, values in self._bound.items()
            if values
            and all(isinstance(value, ast.Call) and _called(value) in ("dcmread", "read_file") for value in values)
        }
        right = {uid.lower(): uid for uid in _UIDS} | dict(_OTHER_NAMES)
        for node in self._nodes:
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in datasets:
                meant = right.get(node.attr.lower().replace("_", ""))
                if meant is not None and meant != node.attr:
                    yield Problem(
                        "bundle.uid-name",
                        f"DICOM has no attribute `{shown(node.attr)}`",
                        self._at(node),
                        next_step=f"write {shown(node.value.id)}.{meant}",
                    )

    def _early_return(self, data: str) -> Iterator[Problem]:
        """A `return` that ends the loop over the files with the first of them."""
        for node in ast.walk(self._predict) if self._predict is not None else ():
            if not isinstance(node, ast.For) or not self._are_files(node.iter, data):
                continue
            for statement in node.body:
                if isinstance(statement, ast.Return):
                    location = self._at(statement)
                    yield Problem(
                        "bundle.early-return",
                        "this `return` stands inside the loop over the files: all but the first are never looked at",
                        location,
                        "one answer for all files of the request",
                        "move it out of the loop, to the indentation of `for`",
                    )


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _key(node: ast.Subscript) -> str | None:
    key = getattr(node.slice, "value", None)
    return key if isinstance(node.slice, ast.Constant) and isinstance(key, str) else None


def _is_key(node: ast.expr | None, key: str) -> bool:
    return isinstance(node, ast.Subscript) and _key(node) == key


def _called(node: ast.expr) -> str:
    function = node.func if isinstance(node, ast.Call) else None
    return function.attr if isinstance(function, ast.Attribute) else str(getattr(function, "id", ""))
