"""Values of outputs that are of the wrong type already as they are written down, with what was meant."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from mdai_build.bundle.names import shown
from mdai_build.errors import Location, Problem

At = Callable[[ast.expr], Location]

_DATA_KINDS = (
    frozenset({"mask"}),
    frozenset({"vertices"}),
    frozenset({"x", "y"}),
    frozenset({"x", "y", "width", "height"}),
    frozenset({"start_frame_number", "end_frame_number"}),
)
_DATA_EXPECTED = (
    '{"mask": rows}, {"x", "y", "width", "height"}, {"vertices": [[x, y], ...]}, {"x", "y"}, or {} for a label of the '
    "whole image"
)
# How other tools call what the interface calls otherwise.
_DATA_MEANT: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("x1", "x2", "xmin", "xmax", "left", "right"), "box"),
        **dict.fromkeys(("w", "h", "bbox", "box", "boxes", "bounding_box"), "box"),
        **dict.fromkeys(("masks", "segmentation", "seg"), "mask"),
        **dict.fromkeys(("polygon", "points", "contour", "contours", "vertex"), "vertices"),
    }
)
_DATA_ADVICE: Mapping[str, str] = MappingProxyType(
    {
        "box": 'a box is {"x": left, "y": top, "width": right - left, "height": bottom - top}, in whole pixels',
        "mask": 'a mask is {"mask": mask.tolist()}, a list of rows',
        "vertices": 'a polygon is {"vertices": [[x, y], ...]}',
    }
)
_INTS = ("class_index", "frame_number", "video_frame_number", "x", "y", "width", "height")
_TEXTS = ("study_uid", "series_uid", "instance_uid")


def wrong_values(entries: Mapping[str, ast.expr], at: At) -> Iterator[Problem]:
    """What is surely of the wrong type in an output, or in its `data`, with these keys."""
    for key, value in entries.items():
        found = _type_of(value)
        if key in _INTS and found in ("str", "float", "bool"):
            yield _wrong(key, found, value, at, "a plain int of Python", _int_advice(value, found))
        elif key == "probability" and found in ("str", "bool"):
            advice = (
                "write the number without quotes" if isinstance(value, ast.Constant) else "write float(...) around it"
            )
            yield _wrong(key, found, value, at, "a plain float of Python, from 0 to 1", advice)
        elif key == "probability" and _is_list_of_numbers(value):
            yield _wrong(
                key,
                "list of numbers",
                value,
                at,
                'a float, or a list of {"class_index": int, "probability": float}',
                'write [{"class_index": i, "probability": float(p)} for i, p in enumerate(probabilities)]',
            )
        elif key in _TEXTS and found in ("int", "float", "list"):
            yield _wrong(key, found, value, at, "the UID as a string", "write str(ds....) with the UID of the input")
        elif key == "explanations" and found == "dict":
            yield _wrong(key, found, value, at, "a list of dicts", "put it into brackets: [{...}]")
        elif key == "data" and found in ("list", "str"):
            yield _wrong(key, found, value, at, _DATA_EXPECTED, _data_advice(value, found))
        elif key in ("mask", "vertices") and found in ("str", "dict", "int", "float"):
            yield _wrong(key, found, value, at, _DATA_EXPECTED, _DATA_ADVICE[key])
        elif key == "vertices" and isinstance(value, ast.List) and _is_list_of_numbers(value):
            yield _wrong(key, "list of numbers", value, at, _DATA_EXPECTED, _DATA_ADVICE[key])
        elif key == "note" and found in ("int", "float", "list"):
            yield _wrong(key, found, value, at, "a string", "write str(...) around it")


def wrong_data(data: ast.expr | None, at: At) -> Iterator[Problem]:
    """A `data` that is written out, and of no kind that the interface knows."""
    if not isinstance(data, ast.Dict):
        return
    keys = [key.value for key in data.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
    if len(keys) < len(data.keys) or not keys or frozenset(keys) in _DATA_KINDS:
        return
    odd = next((key for key in keys if key not in {name for kind in _DATA_KINDS for name in kind}), keys[0])
    node = next(key for key in data.keys if isinstance(key, ast.Constant) and key.value == odd)
    kind = _DATA_MEANT.get(odd.lower())
    if kind is None and {"x", "y"} <= set(keys):
        kind = "box"
    yield Problem(
        "bundle.output-data",
        f"`data` with the keys {', '.join(f'`{shown(key, 40)}`' for key in keys[:8])} is nothing that is shown",
        at(node),
        _DATA_EXPECTED,
        _DATA_ADVICE[kind] if kind else None,
    )


def _data_advice(value: ast.expr, found: str) -> str | None:
    if isinstance(value, ast.List) and len(value.elts) == 4:
        return _DATA_ADVICE["box"]
    return _DATA_ADVICE["vertices"] if found == "list" else None


def _wrong(key: str, found: str, value: ast.expr, at: At, expected: str, advice: str | None) -> Problem:
    article = "an" if found == "int" else "a"
    return Problem("bundle.value-type", f"`{key}` is {article} {found}", at(value), expected, advice)


def _int_advice(value: ast.expr, found: str) -> str:
    if isinstance(value, ast.Constant):
        return "write the number without quotes" if found == "str" else "write a whole number"
    return "write int(...) in place of it" if isinstance(value, ast.Call) else "write int(...) around it"


def _type_of(node: ast.expr) -> str | None:
    """The type of a value that shows as it is written; None where it does not."""
    if isinstance(node, ast.Constant):
        return type(node.value).__name__ if node.value is not None else None
    if isinstance(node, ast.JoinedStr):
        return "str"
    if isinstance(node, ast.Dict | ast.DictComp):
        return "dict"
    if isinstance(node, ast.List | ast.ListComp):
        return "list"
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("str", "int", "float", "bool")
    ):
        return node.func.id
    return None


def _is_list_of_numbers(node: ast.expr) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "tolist":
        return True
    if isinstance(node, ast.List) and node.elts:
        return all(_type_of(element) in ("float", "int") for element in node.elts)
    return isinstance(node, ast.ListComp) and _type_of(node.elt) in ("float", "int")
