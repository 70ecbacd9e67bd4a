"""Writes what a model's folder lacks to be a bundle; never over anything that is there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

from mdai_build.bundle import WEIGHT_SUFFIXES, slug
from mdai_build.errors import Location, Problem, UsageError
from mdai_build.matrix import support_matrix
from mdai_build.requirements import Guess, guess_requirements
from mdai_build.text_templates import text_templates

if TYPE_CHECKING:
    from mdai_build.documents.bundle import InitDocument

Task = Literal["classification", "segmentation", "detection", "series", "image"]
TASKS: tuple[Task, ...] = get_args(Task)
DEFAULT_PYTHON = "3.10"

_FILES = ("config.yaml", "mdai_deploy.py", "requirements.txt", "smoke.yaml")
_ABOUT: Mapping[Task, str] = MappingProxyType(
    {
        "classification": "Tells which class an image is of",
        "segmentation": "Marks the pixels of a finding",
        "detection": "Draws a box around a finding",
        "series": "Looks at a series as a whole",
        "image": "Makes an image from an image",
    }
)
# Folders that are no part of a model, and are large.
_PASSED_OVER = frozenset({".git", ".mdai", ".venv", "venv", "env", "node_modules", "__pycache__", "site-packages"})
_MOST_FILES = 5000
_LARGEST_SOURCE = 2**20
# How weights are loaded, by the endings of their files; for a framework in whose files an ending means something else,
# by both.
_LOADING: tuple[tuple[tuple[str, ...], str, tuple[str, ...]], ...] = (
    (
        (".pt", ".pth", ".ckpt", ".tar", ".bin"),
        "torch",
        (
            'self.device = "cuda" if torch.cuda.is_available() else "cpu"',
            "self.model = Net()  # your class",
            "self.model.load_state_dict(torch.load(WEIGHTS, map_location=self.device))",
            "self.model.to(self.device).eval()",
        ),
    ),
    ((".h5", ".hdf5", ".keras"), "tensorflow", ("self.model = tf.keras.models.load_model(WEIGHTS, compile=False)",)),
    ((".onnx",), "onnxruntime", ("self.model = onnxruntime.InferenceSession(WEIGHTS)",)),
    ((".pkl", ".pickle", ".joblib"), "joblib", ("self.model = joblib.load(WEIGHTS)",)),
    ((".npz", ".npy"), "numpy", ("self.model = np.load(WEIGHTS)",)),
    ((".tflite",), "tensorflow", ("self.model = tf.lite.Interpreter(model_path=WEIGHTS)",)),
    ((".safetensors",), "safetensors", ("self.model.load_state_dict(safetensors.torch.load_file(WEIGHTS))",)),
)
_FRAMEWORKS = ("torch", "tensorflow", "keras", "onnxruntime", "monai", "jax", "sklearn")


@dataclass(frozen=True)
class InitReport:
    """What was written, and what was found to write it from."""

    folder: Path
    written: tuple[str, ...]
    """Paths below the folder."""
    kept: tuple[str, ...]
    """What was there already, and is as it was."""
    python: str
    framework: str | None
    requirements: tuple[str, ...]
    weights: str | None
    """The largest file of weights, below the folder."""

    def as_json(self) -> InitDocument:
        """The report as JSON-ready values."""
        return {
            "format": 1,
            "exit_code": 0,
            "folder": str(self.folder),
            "written": list(self.written),
            "kept": list(self.kept),
            "python": self.python,
            "framework": self.framework,
            "requirements": list(self.requirements),
            "weights": self.weights,
        }


def init_model(folder: Path, task: Task = "classification", python: str | None = None) -> InitReport:
    """Makes a folder a bundle that builds and passes: adds what is missing, and changes nothing that is there.

    In a folder that holds a model already, its weights, its framework and its requirements are looked for.

    Raises:
        UsageError: the folder cannot be written to.
    """
    found = _look_around(folder)
    python = python or found.python or DEFAULT_PYTHON
    guess = guess_requirements(found.sources, python, found.requirements)
    if task == "image":
        guess = _with_pillow(guess)
    values = {
        "task": task,
        "about": _ABOUT[task],
        "name": slug(folder.resolve().name),
        "base_image": f"py{python.replace('.', '')}",
        "weights": found.weights,
        "loading": tuple(_loading(found.weights)),
        "requirements": guess.lines,
    }
    mdai = folder / ".mdai"
    kept = [f".mdai/{name}" for name in _FILES if _is_there(mdai / name)]
    written = []
    templates = text_templates(python=_python_text)
    try:
        mdai.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            if f".mdai/{name}" not in kept:
                text = templates.get_template(f"init/{name}.j2").render(values)
                with (mdai / name).open("x", encoding="utf-8") as file:
                    file.write(text)
                written.append(f".mdai/{name}")
    except OSError as error:
        raise UsageError(
            Problem(
                "init.cannot-write",
                f"the model's folder cannot be written to: {error.strerror or error}",
                Location(str(error.filename or folder)),
                "a new folder, or one of yours",
                "name another folder",
            )
        ) from error
    framework = next((name for name in _FRAMEWORKS if name in guess.modules), None)
    return InitReport(folder, tuple(written), tuple(kept), python, framework, guess.lines, found.weights)


def _is_there(path: Path) -> bool:
    other = {"config.yaml": "config.yml"}.get(path.name)
    return os.path.lexists(path) or (other is not None and os.path.lexists(path.with_name(other)))


@dataclass(frozen=True)
class _Found:
    sources: Mapping[str, str]
    requirements: str
    weights: str | None
    python: str | None


def _look_around(folder: Path) -> _Found:
    """What a folder holds of a model; nothing in one that is new."""
    sources: dict[str, str] = {}
    weights: list[tuple[int, str]] = []
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        size = path.stat().st_size
        if path.suffix == ".py" and size <= _LARGEST_SOURCE:
            sources[name] = path.read_text(encoding="utf-8", errors="replace")
        elif name.lower().endswith((*WEIGHT_SUFFIXES, ".pth.tar")) and size:
            weights.append((size, name))
    return _Found(
        sources,
        _read(folder / "requirements.txt"),
        max(weights)[1] if weights else None,
        _python_of(_read(folder / ".python-version"), _read(folder / "environment.yml")),
    )


def _files(folder: Path) -> Iterator[Path]:
    count = 0
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _PASSED_OVER)
        for name in sorted(names):
            path = Path(place, name)
            if path.is_file():
                count += 1
                yield path
        if count > _MOST_FILES:
            return


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")[:_LARGEST_SOURCE]
    except OSError:
        return ""


def _python_of(version_file: str, environment: str) -> str | None:
    """The Python that a folder was made with, as pyenv or conda have it written down."""
    found = re.match(r"\s*(3\.\d+)", version_file) or re.search(
        r"^\s*-\s*python\s*=+\s*(3\.\d+)", environment, re.MULTILINE
    )
    return found[1] if found and found[1] in support_matrix().pythons else None


def _loading(weights: str | None) -> Iterator[str]:
    """Lines that load weights of this kind."""
    if weights is None:
        yield "They go into this model's folder, for instance as model.pth beside .mdai:"
        yield 'weights = os.path.join(ROOT, "model.pth")'
        return
    for endings, module, lines in _LOADING:
        if weights.lower().endswith(endings):
            imported = {"tensorflow": "tensorflow as tf", "safetensors": "safetensors.torch"}.get(module, module)
            if module != "numpy":
                yield f"import {imported}"
            yield from lines
            return
    yield "the file is WEIGHTS"


def _with_pillow(guess: Guess) -> Guess:
    if any(re.match(r"(?i)pillow\b", line) for line in guess.lines):
        return guess
    return Guess(guess.modules, tuple(sorted((*guess.lines, "pillow"), key=str.lower)))


def _python_text(value: str) -> str:
    """A text as a literal of Python."""
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"' if value.isprintable() else repr(value)
