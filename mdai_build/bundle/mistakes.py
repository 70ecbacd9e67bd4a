"""Mistakes that model authors make often, as far as they show when the code is read and not run.

Each comes from what the interface document asks for: the casts ("Make sure to type cast the returned values"),
`.tolist()` for masks, UIDs by the label's scope, a look at `content_type`, weights inside the archive. All are told as
warnings, and what only might be wrong is not told: the smoke test finds the rest.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

from mdai_build.bundle.names import shown
from mdai_build.bundle.numpy_values import Buffers, Nodes, NumpyValues, bindings
from mdai_build.bundle.output_values import wrong_data, wrong_values
from mdai_build.bundle.request_mistakes import RequestMistakes
from mdai_build.bundle.start_mistakes import ends_of_process, relative_paths, start_mistakes
from mdai_build.errors import Location, Problem

At = Callable[["ast.stmt | ast.expr"], Location]

_ABSOLUTE = re.compile(r"(/(home|Users|root|content|kaggle|mnt|media|Volumes|gdrive)/|[A-Za-z]:[\\/])[^\n]+")
_WEIGHTS = re.compile(
    r"(?!/)[\w./\\ -]*[\w-]\.(h5|hdf5|keras|pth|pt|onnx|npz|npy|pkl|pickle|joblib|pb|tflite|safetensors)"
)
_WEIGHTS_NAME = re.compile(r"\.(h5|hdf5|keras|pth|pt|onnx|npz|npy|pkl|pickle|joblib|pb|tflite|safetensors)$")
# Calls whose file is made by the model, or that compare names; and those that bring files from elsewhere.
_WRITES = re.compile(r"save|dump|write|remove|unlink|endswith|replace|glob|print|exists|isfile", re.IGNORECASE)
_FETCHES = re.compile(r"download|urlretrieve|from_pretrained|from_url", re.IGNORECASE)
_UID_OF_KEY = {
    "study_uid": "StudyInstanceUID",
    "series_uid": "SeriesInstanceUID",
    "instance_uid": "SOPInstanceUID",
}
_OTHER_NAMES = {
    "probability": ("confidence", "score", "scores", "prob", "probs", "probabilities", "conf"),
    "class_index": ("class", "classid", "classidx", "label", "labelid", "category", "categoryid"),
    "instance_uid": ("sopinstanceuid", "instanceuid", "imageuid", "sopuid"),
    "series_uid": ("seriesinstanceuid", "seriesuid"),
    "study_uid": ("studyinstanceuid", "studyuid"),
    "frame_number": ("frame", "frameindex", "slice"),
    "note": ("text", "comment", "message", "description"),
}
_UID_KEYWORDS = {*_UID_OF_KEY.values(), "SOPClassUID"}
_INTS = ("class_index", "frame_number", "x", "y", "width", "height")
_LISTS = ("mask", "vertices")
# The maps in which those keys mean what the interface means by them.
_DATA = ({"mask"}, {"vertices"}, {"x", "y"}, {"x", "y", "width", "height"}, {"class_index", "probability"})


def find_mistakes(
    tree: ast.Module,
    at: At,
    files: Collection[str] | None,
    predict: ast.FunctionDef | None = None,
    device: str | None = None,
) -> Iterator[Problem]:
    """What is wrong in the code of mdai_deploy.py.

    `at` tells the place of a node; `files` are the paths of the bundle, or None where more may be in the image;
    `predict` is the method, if it is written out; `device` is config.yaml's `device_type`, if it is known.
    """
    nodes = tuple(ast.walk(tree))
    buffers = Buffers(nodes)
    yield from start_mistakes(tree, nodes, at, files, device)
    yield from RequestMistakes(nodes, predict, at).find()
    yield from _buffers(nodes, buffers, at)
    yield from _absolute_paths(nodes, at)
    yield from _content_types(nodes, at)
    if files is not None:
        yield from _missing_weights(nodes, at, files)
    yield from _Outputs(nodes, buffers, at).find()


def mistakes_of_helper(tree: ast.Module, at: At, files: Collection[str] | None) -> Iterator[Problem]:
    """What is wrong in a module that mdai_deploy.py imports: files that it will not find, and slips with bytes.

    Such modules come from training, too: a path of the author's machine counts as a mistake only where weights are
    loaded from it.
    """
    nodes = tuple(ast.walk(tree))
    yield from _buffers(nodes, Buffers(nodes), at)
    yield from RequestMistakes(nodes, None, at).find()
    yield from ends_of_process(tree, at, helper=True)
    loads = {
        id(node)
        for call in nodes
        if isinstance(call, ast.Call) and re.search("load|Session|read", _called(call))
        for node in ast.walk(call)
    }
    loaded = [node for node in nodes if id(node) in loads]
    yield from _absolute_paths([n for n in loaded if _WEIGHTS_NAME.search(str(getattr(n, "value", "")))], at)
    if files is not None:
        yield from relative_paths(nodes, at, files)


def _buffers(nodes: Nodes, buffers: Buffers, at: At) -> Iterator[Problem]:
    """`get_value()` on a BytesIO: a slip in the interface document's own example."""
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr == "get_value" and buffers.is_buffer(node.value):
            yield Problem(
                "bundle.get-value", "a BytesIO has no method `get_value`", at(node), next_step="write `getvalue()`"
            )


def _absolute_paths(nodes: Nodes, at: At) -> Iterator[Problem]:
    """Absolute paths of the author's own machine, which the image does not have."""
    for node, text in _strings(nodes):
        if _ABSOLUTE.fullmatch(text):
            name = re.split(r"[\\/]", text.rstrip("\\/"))[-1]
            yield Problem(
                "bundle.absolute-path-in-code",
                f"`{shown(text)}` is a path of your machine; the image does not have it",
                at(node),
                "a path relative to mdai_deploy.py",
                f"put the file into the model folder and write "
                f"os.path.join(os.path.dirname(os.path.dirname(__file__)), {shown(name)!r})",
            )


def _content_types(nodes: Nodes, at: At) -> Iterator[Problem]:
    """Every file is read as DICOM, whatever it is."""
    guarded = {id(node) for trial in nodes if isinstance(trial, ast.Try) for node in ast.walk(trial)}
    keys = {id(key) for node in nodes if isinstance(node, ast.Dict) for key in node.keys}
    if any(text == "content_type" and id(node) not in keys for node, text in _strings(nodes)):
        return
    for node in nodes:
        if not isinstance(node, ast.Call) or _called(node) not in ("dcmread", "read_file") or id(node) in guarded:
            continue
        if any(isinstance(part, ast.Constant) and part.value == "content" for part in ast.walk(node)):
            yield Problem(
                "bundle.content-type",
                "every file is read as DICOM, and a request may hold others",
                at(node),
                next_step="skip them before this line: if file['content_type'] != 'application/dicom': continue",
            )
            return


def _missing_weights(nodes: Nodes, at: At, files: Collection[str]) -> Iterator[Problem]:
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    if any(_FETCHES.search(_called(call)) for call in calls):
        return
    made = {id(node) for call in calls if _WRITES.search(_called(call)) for node in ast.walk(call)}
    names = {path.rpartition("/")[2] for path in files}
    told = set()
    for node, text in _strings(nodes):
        name = re.split(r"[\\/]", text)[-1]
        if not _WEIGHTS.fullmatch(text) or name in names or name in told or id(node) in made:
            continue
        told.add(name)
        near = difflib.get_close_matches(name, [other for other in names if _WEIGHTS.fullmatch(other)], n=1)
        yield Problem(
            "bundle.missing-weights",
            f"the bundle has no file `{shown(name)}`" + (f", but `{shown(near[0])}`" if near else ""),
            at(node),
            next_step="correct the name; capitals count" if near else "put it into the model folder and pack it anew",
        )


class _Outputs:
    """The maps that `predict` returns, where they are written out."""

    def __init__(self, nodes: Nodes, buffers: Buffers, at: At) -> None:
        self._nodes = nodes
        self._at = at
        self._numpy = NumpyValues(nodes)
        self._buffers = buffers
        self._bound = bindings(nodes)
        # Keys may be added elsewhere: by name, or by what cannot be read.
        self._named = {text for _, text in _strings(nodes)}
        self._grows = any(
            (isinstance(node, ast.Dict) and None in node.keys)
            or (isinstance(node, ast.Call) and _called(node) in ("update", "dict", "setdefault"))
            or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr))
            for node in nodes
        )

    def find(self) -> Iterator[Problem]:
        for node in self._nodes:
            if not isinstance(node, ast.Dict):
                continue
            entries = {
                key.value: value
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant) and isinstance(key.value, str)
            }
            if _is_output(entries):
                yield from self._output(node, entries)
                yield from self._casts(entries)
                entries = self._written_out(entries)
                yield from wrong_values(entries, self._at)
                yield from wrong_data(entries.get("data"), self._at)
            elif set(entries) in _DATA:
                yield from self._casts(entries)
                yield from wrong_values(self._written_out(entries), self._at)

    def _written_out(self, entries: dict[str, ast.expr]) -> dict[str, ast.expr]:
        """The entries with what a name stands for, where it is bound only once."""
        found = dict(entries)
        for key, value in entries.items():
            bound = self._bound.get(value.id, []) if isinstance(value, ast.Name) else []
            if len(bound) == 1 and bound[0] is not None and not isinstance(bound[0], ast.Dict | ast.DictComp):
                found[key] = bound[0]
        return found

    def _output(self, node: ast.Dict, entries: dict[str, ast.expr]) -> Iterator[Problem]:
        from mdai_build.runtime.contract import OUTPUT_KEYS, OUTPUT_TYPES

        kind = entries["type"]
        if isinstance(kind, ast.Constant) and kind.value not in OUTPUT_TYPES:
            yield Problem(
                "bundle.output-type",
                f"an output has the type {shown(repr(kind.value))}",
                self._at(kind),
                f"one of {', '.join(repr(name) for name in OUTPUT_TYPES)}",
                _did_you_mean(str(kind.value).upper(), OUTPUT_TYPES),
            )
        for key in node.keys:
            if isinstance(key, ast.Constant) and isinstance(key.value, str) and key.value not in OUTPUT_KEYS:
                yield Problem(
                    "bundle.output-key",
                    f"an output has no key `{shown(key.value)}`",
                    self._at(key),
                    f"keys out of {', '.join(OUTPUT_KEYS)}",
                    _other_name(key.value) or _did_you_mean(key.value, OUTPUT_KEYS),
                )
        yield from self._uids(node, entries)
        yield from self._images(entries)

    def _uids(self, node: ast.Dict, entries: dict[str, ast.expr]) -> Iterator[Problem]:
        data = entries.get("data")
        local = isinstance(data, ast.Dict) and bool(data.keys)
        for key, keyword in _UID_OF_KEY.items():
            if key in entries:
                found = {name for part in ast.walk(entries[key]) if (name := _uid_keyword(part))}
                if len(found) == 1 and keyword not in found:
                    yield Problem(
                        "bundle.swapped-uid",
                        f"`{key}` is taken from {found.pop()}",
                        self._at(entries[key]),
                        f"the {keyword} of the input",
                        f"write str(ds.{keyword})",
                    )
            elif key == "instance_uid" and "video_frame_number" in entries:
                continue  # a frame of a video series
            elif not self._grows and key not in self._named and (local or key == "study_uid"):
                yield Problem(
                    "bundle.missing-uid",
                    f"an output has no `{key}`",
                    self._at(node),
                    "study_uid, series_uid and instance_uid: a local label belongs to one image"
                    if local
                    else "study_uid in every output",
                    f'add "{key}": str(ds.{keyword})',
                )

    def _images(self, entries: dict[str, ast.expr]) -> Iterator[Problem]:
        images = entries.get("images")
        if isinstance(images, ast.Call) and _called(images) in ("getvalue", "get_value", "read", "tobytes"):
            yield Problem(
                "bundle.images",
                "`images` is no list",
                self._at(images),
                "a list of the bytes of images",
                "put it into brackets: [image_buffer.getvalue()]",
            )
        for item in images.elts if isinstance(images, ast.List) else ():
            if self._buffers.is_buffer(item):
                yield Problem(
                    "bundle.images",
                    "`images` holds a BytesIO",
                    self._at(item),
                    "the bytes in it",
                    "write `.getvalue()` behind it",
                )

    def _casts(self, entries: dict[str, ast.expr]) -> Iterator[Problem]:
        for key, value in entries.items():
            if key in _LISTS and self._numpy.holds(value):
                yield self._uncast(key, value, "a list", "write `.tolist()` behind it")
            elif key == "probability" and self._numpy.holds(value):
                expected = 'a plain float of Python, or a list of {"class_index": int, "probability": float}'
                yield self._uncast(key, value, expected, "write float(...) around each single value")
            elif key in _INTS and self._numpy.holds(value):
                yield self._uncast(key, value, "a plain int of Python", "write int(...) around it")

    def _uncast(self, key: str, value: ast.expr, expected: str, advice: str) -> Problem:
        return Problem(
            "bundle.missing-cast", f"`{key}` is a value of numpy, which is refused", self._at(value), expected, advice
        )


def _is_output(entries: dict[str, ast.expr]) -> bool:
    """Whether a map with these keys is an output, and not one of the model's own."""
    from mdai_build.runtime.contract import OUTPUT_TYPES

    kind = getattr(entries.get("type"), "value", None)
    known = isinstance(kind, str) and kind.upper() in OUTPUT_TYPES
    return "type" in entries and ("study_uid" in entries or (known and "class_index" in entries))


def _other_name(key: str) -> str | None:
    """What an output's key is called on the interface, of those that other tools call otherwise."""
    name = key.lower().replace("_", "")
    for meant, names in _OTHER_NAMES.items():
        if name in names:
            return f"write `{meant}`"
    if name in ("mask", "vertices", "polygon", "bbox", "box", "x", "y", "width", "height", "points"):
        return 'it belongs into `data`: "data": {...}'
    return None


def _did_you_mean(word: str, known: Collection[str]) -> str | None:
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean `{near[0]}`?" if near else None


def _uid_keyword(node: ast.AST) -> str | None:
    name: Any = node.attr if isinstance(node, ast.Attribute) else getattr(node, "value", None)
    return name if isinstance(name, str) and name in _UID_KEYWORDS else None


def _strings(nodes: Nodes) -> Iterator[tuple[ast.Constant, str]]:
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node, node.value


def _called(call: ast.Call) -> str:
    """The last name of what is called; empty where it has none."""
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else str(getattr(function, "id", ""))
