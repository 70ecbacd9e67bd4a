"""What people write in requirements.txt that pip does not read, and what they meant."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Specification
from packaging.utils import canonicalize_name

from mdai_build.requirements.refusal import Refusal

# Names of conda packages that no Python package index has under this name.
CONDA_ONLY: Mapping[str, str] = {
    "python": "`base_image` in config.yaml chooses the Python; take out the line",
    "cudatoolkit": "`device_type: gpu` and `cuda_version` in config.yaml choose CUDA; take out the line",
    "cudnn": "`device_type: gpu` in config.yaml brings cuDNN; take out the line",
    "pytorch-cuda": "`device_type: gpu` and `cuda_version` in config.yaml choose CUDA; take out the line",
    "pytorch-mutex": "it is a switch of conda; take out the line",
    "cpuonly": "it is a switch of conda; take out the line, and take torch from PyTorch's CPU page of wheels",
    "pytorch": "PyTorch's name for pip is `torch`",
    "pytorch-gpu": "PyTorch's name for pip is `torch`",
    "libopencv": "the name for pip is `opencv-python-headless`",
    "py-opencv": "the name for pip is `opencv-python-headless`",
}
# Names that are imported, or that an index has as a placeholder that fails on purpose.
OTHER_NAME: Mapping[str, str] = {
    "cv2": "opencv-python",
    "dicom": "pydicom",
    "pil": "pillow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "simple-itk": "SimpleITK",
    "opencv": "opencv-python",
    "mpl-toolkits": "matplotlib",
}
# Backports for Python 2 and early Python 3; installed on today's they hide the standard library's own modules.
BACKPORTS = frozenset({"asyncio", "enum34", "futures", "pathlib", "typing", "uuid"})
# Of the standard library, and on no index a package that does what the name says.
_STANDARD = frozenset(sys.stdlib_module_names) - {"dataclasses", "typing", "zoneinfo", "tomllib", "distutils"}

_CONDA_PIN = re.compile(r"(?P<name>[\w.-]+)(?:\[[\w,-]*\])?=(?P<version>[\w.+!*-]+)=[\w.+-]+")
_COMMANDS = re.compile(
    r"(?:[!%$]\s*)?(?:sudo\s+)?(?:python3?\s+-m\s+)?(?:pip3?|conda|mamba|uv\s+pip)\s+install\s+(?P<rest>.+)"
)


def check_name(name: str) -> None:
    """Refuse a name that only conda knows.

    Raises:
        Refusal: with what to do instead.
    """
    advice = CONDA_ONLY.get(canonicalize_name(name))
    if advice:
        raise Refusal("conda-name", f"`{name}` is a conda package; pip does not have it", next_step=advice)


def doubt(name: str) -> Refusal | None:
    """What is probably wrong with this name, for a warning."""
    canonical = canonicalize_name(name)
    if canonical in OTHER_NAME:
        return Refusal(
            "other-name",
            f"`{name}` is the name that is imported, not the one that is installed",
            next_step=f"write `{OTHER_NAME[canonical]}`",
        )
    if canonical in BACKPORTS:
        return Refusal(
            "backport",
            f"`{name}` stands in for a standard module of old Pythons, and hides the real one on today's",
            next_step="take out the line",
        )
    if name.lower() in _STANDARD:
        return Refusal(
            "standard-library",
            f"`{name}` is part of Python",
            next_step="take out the line; an index may hold another package of this name",
        )
    return None


def is_command(line: str) -> bool:
    """Whether a line is typed at a shell's or a notebook's prompt, such as `pip install -U numpy`."""
    return _COMMANDS.fullmatch(line) is not None


def rejected(line: str, reason: str) -> Refusal:
    """Why a line that pip rejects is wrong, with the line that was probably meant. Both texts are redacted.

    Raises:
        Refusal: rather than that, if what was meant cannot be installed either.
    """
    if command := _COMMANDS.fullmatch(line):
        packages = [word for word in command["rest"].split() if not word.startswith("-")]
        lines = ", ".join(f"`{package}`" for package in packages)
        what = f"`{line}` is a command of a shell"
        return Refusal("syntax", what, next_step=f"write {lines}" + (", each on its own line" if packages[1:] else ""))
    for suggestion, what in _suggestions(line):
        if _readable(suggestion):
            check_name(Specification(suggestion).name)
            return Refusal("syntax", what, next_step=f"write `{suggestion}`")
    if re.match(r"(?:git@|git\+git@)[\w.-]+:", line):
        path = line.split(":", 1)[1]
        host = re.split("[@:]", line)[1]
        return Refusal(
            "vcs-scheme",
            f"`{line}` needs a key, which the build does not have",
            next_step=f"write `git+https://{host}/{path}`",
        )
    if re.match(r"(?:import|from)\s+\w", line):
        return Refusal("syntax", f"`{line}` is Python code", expected="the name of a package, such as numpy==1.23.3")
    words = re.split(r"[,\s]+", line.strip(", "))
    if len(words) > 1 and all(_readable(word) for word in words):
        several = ", ".join(f"`{word}`" for word in words)
        return Refusal("syntax", f"`{line}` has several packages", next_step=f"write {several}, each on its own line")
    return Refusal(
        "syntax",
        f"pip does not read `{line}`: {reason}" if reason else f"pip does not read `{line}`",
        expected="a package with its version, such as numpy==1.23.3, a URL, or a path such as ./a.whl",
    )


def _suggestions(line: str) -> Iterator[tuple[str, str]]:
    """Readings of a line that went wrong in a usual way, each with what is wrong."""
    if listed := re.fullmatch(r"-\s+(\S.*)", line):
        yield listed[1], f"`{line}` begins like a list; requirements.txt has one package a line and nothing else"
    bare = line.rstrip(",;").strip("\"'“”‘’ ")
    if bare != line:
        yield bare, f"`{line}` has quotes or a comma around the package"
    if pinned := _CONDA_PIN.fullmatch(line):
        yield f"{pinned['name']}=={pinned['version']}", f"`{line}` is conda's way to pin; pip's is =="
    operators = re.sub(r"=>", ">=", re.sub(r"=<", "<=", re.sub(r"(?<![=<>!~])=(?![=<>])", "==", line, count=1)))
    if operators != line:
        wrong = "=" if "==" in operators and "==" not in line else ("=>" if "=>" in line else "=<")
        meant = {"=": "==", "=>": ">=", "=<": "<="}[wrong]
        yield operators, f"`{line}`: pip writes `{meant}`, not `{wrong}`"
    if wild := re.fullmatch(r"(.*(?:>=|<=|>|<)\s*[\d.]+?)\.\*(.*)", line):
        yield wild[1] + wild[2], f"`{line}`: `.*` goes with == and != only"
    if spaced := re.fullmatch(r"([\w.-]+)(?:\s+|\s*:\s*|@)v?(\d[\w.]*)", line):
        yield f"{spaced[1]}=={spaced[2]}", f"`{line}` lacks the == before the version"
    if unquoted := re.fullmatch(r"(.*;.*?[<>=!~]=?\s*)(\d[\d.]*)", line):
        yield f'{unquoted[1]}"{unquoted[2]}"', f"`{line}`: values in a marker stand in quotes"
    if versioned := re.fullmatch(r"(.*==\s*)v(\d.*)", line):
        yield versioned[1] + versioned[2], f"`{line}`: a version begins with a digit"


def _readable(text: str) -> bool:
    try:
        Specification(text)
    except InvalidRequirement:
        return False
    return True
