"""Loads the author's ``mdai_deploy.py`` the way that the document promises, and tells what it raised."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from types import TracebackType
from typing import Any, Callable, Iterator

MODULE = "mdai_deploy"
_OUR_FOLDER = os.path.dirname(os.path.abspath(__file__))


class ModelError(Exception):
    """The bundle has no model to load; the message says what is missing."""


def load(root: str, mdai_path: str) -> Callable[[Any], Any]:
    """Imports ``mdai_deploy``, makes one ``MDAIModel`` and returns its ``predict``.

    Raises ModelError when there is no such class or method, and whatever the author's code raises.
    """
    mdai_folder = os.path.normpath(os.path.join(root, mdai_path))
    path = os.path.join(mdai_folder, MODULE + ".py")
    if not os.path.isfile(path):
        raise ModelError(f"there is no file {path}")
    set_import_path(root, mdai_folder)
    sys.argv = [path]
    # By its file, so that a module of the same name elsewhere cannot take its place.
    spec = importlib.util.spec_from_file_location(MODULE, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module
    spec.loader.exec_module(module)
    model_class = getattr(module, "MDAIModel", None)
    if model_class is None:
        raise ModelError(f"{path} has no class MDAIModel")
    predict = getattr(model_class(), "predict", None)
    if not callable(predict):
        raise ModelError(f"MDAIModel in {path} has no method predict")
    return predict  # type: ignore[no-any-return]


def set_import_path(root: str, mdai_folder: str) -> None:
    """Puts every folder of the bundle on ``sys.path``, as "Explicit additions of folders to sys.path" promises.

    The root and ``.mdai`` come first. The other folders come last, in sorted order: a helper folder may hold a
    ``types.py`` or a package's sub-folder ``torch``, which must not take the place of the standard library's or of
    an installed package.
    """
    first = [root, mdai_folder]
    ours = (_OUR_FOLDER, *first)
    rest = [entry for entry in sys.path if entry not in ours]
    last = [folder for folder in sorted(folders_of(root)) if folder not in first]
    sys.path[:] = [*first, *rest, *(folder for folder in last if folder not in rest)]


def folders_of(root: str) -> Iterator[str]:
    """All folders under the root, hidden ones too (interface document, "Explicit additions of folders to sys.path")."""
    for folder, names, _ in os.walk(root):
        names[:] = [name for name in names if name not in (".git", "__pycache__")]
        yield folder


def explain(what: str, error: BaseException) -> str:
    """What failed and why, with the traceback of the author's code."""
    if isinstance(error, ModelError):
        return f"{what}: {error}\n"
    lines = traceback.format_exception(type(error), error, _authors_part(error.__traceback__))
    return f"{what}: {_in_one_line(error)}\n\n{''.join(lines)}"


def _in_one_line(error: BaseException) -> str:
    for line in traceback.format_exception_only(type(error), error):
        # A SyntaxError shows its place first, indented.
        if not line.startswith(" "):
            return line.strip().split("\n")[0]
    return type(error).__name__


def _authors_part(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if os.path.dirname(file) != _OUR_FOLDER and not file.startswith("<frozen importlib"):
            return trace
        trace = trace.tb_next
    return None
