"""What people write in requirements.txt that pip does not read, and what they meant."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Specification
from packaging.specifiers import SpecifierSet
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
# Written by `pip freeze`, on no index.
_ARTEFACTS: Mapping[str, str] = {
    "pkg-resources": "Debian's and Ubuntu's pip writes it by mistake; take out the line",
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
FAILS_ON_PURPOSE = frozenset({"sklearn", "skimage"})
"""Those of them whose package on the public index fails to install and says why, except `sklearn==0.0` (tried)."""
# Backports for Python 2 and early Python 3; installed on today's they hide the standard library's own modules.
BACKPORTS = frozenset({"asyncio", "enum34", "futures", "pathlib", "typing", "uuid"})
# Of the standard library, and on no index a package that does what the name says.
_STANDARD = frozenset(sys.stdlib_module_names) - {"dataclasses", "typing", "zoneinfo", "tomllib", "distutils"}

_CONDA_PIN = re.compile(r"(?P<name>[\w.-]+)(?:\[[\w,-]*\])?=(?P<version>[\w.+!*-]+)=[\w.+-]+")
_COMMANDS = re.compile(
    r"(?:[!%$]\s*)?(?:sudo\s+)?(?:python3?\s+-m\s+)?(?:pip3?|conda|mamba|uv\s+pip)\s+install\s+(?P<rest>.+)"
)


def check_name(name: str, versions: SpecifierSet) -> None:
    """Refuse what is not on an index under this name: what only conda knows, and what was withdrawn.

    Raises:
        Refusal: with what to do instead.
    """
    canonical = canonicalize_name(name)
    if advice := CONDA_ONLY.get(canonical):
        raise Refusal("conda-name", f"`{name}` is a conda package; pip does not have it", next_step=advice)
    if advice := _ARTEFACTS.get(canonical):
        raise Refusal("no-package", f"`{name}` is no package", next_step=advice)
    # Its last version, which an installer takes first, only fails with a message (tried).
    if canonical == "tensorflow-gpu" and versions.contains("2.12.0"):
        raise Refusal(
            "withdrawn",
            "`tensorflow-gpu` was withdrawn: its last version only says so, and fails to install",
            next_step="write `tensorflow`, which is for GPUs too, or pin an old version, up to tensorflow-gpu==2.11.0",
        )


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
    """Why a line that pip rejects is wrong, with the line that was probably meant. Both texts are redacted."""
    if command := _COMMANDS.fullmatch(line):
        packages = [word for word in command["rest"].split() if not word.startswith("-")]
        lines = ", ".join(f"`{package}`" for package in packages)
        what = f"`{line}` is a command of a shell"
        return Refusal("syntax", what, next_step=f"write {lines}" + (", each on its own line" if packages[1:] else ""))
    if re.fullmatch(r"Package\s+Version.*|-{3,}[-\s]*", line):
        return Refusal(
            "syntax",
            f"`{line}` heads the table that `pip list` prints",
            next_step="take out the line; `pip list --format=freeze` prints what pip can read",
        )
    if re.fullmatch(r"(?:name|channels|dependencies|prefix):.*", line):
        return Refusal(
            "syntax",
            f"`{line}` is a line of conda's environment.yml",
            next_step="write the packages alone, one a line, by the names that pip knows them by",
        )
    if re.match(r"(?:import|from)\s+\w", line):
        return Refusal(
            "syntax",
            f"`{line}` is Python code",
            expected="the name of a package, such as numpy==1.23.3",
            next_step="write the package's name, with its version, in place of the line",
        )
    if conda_only := re.fullmatch(r"(_\w+)[= ].*", line):
        return Refusal(
            "conda-name",
            f"`{conda_only[1]}` is a package of conda alone; pip does not have it",
            next_step="take out the line",
        )
    if re.fullmatch(r"\[[\w. -]+\]", line):
        return Refusal(
            "syntax",
            f"`{line}` heads a section, as in pyproject.toml",
            expected="one package a line, such as numpy==1.23.3, and nothing else",
            next_step="take out the line, and write those below it as pip does",
        )
    several = re.split(r"[,;]?\s+|[,;]", line)
    if len(several) > 1 and all(_readable(part) and re.match("[A-Za-z]", part) for part in several):
        lines = ", ".join(f"`{part}`" for part in several)
        return Refusal("syntax", f"`{line}` names several packages", next_step=f"write {lines}, each on its own line")
    for suggestion, what in _suggestions(line):
        if _readable(suggestion):
            meant = Specification(suggestion)
            try:
                check_name(meant.name, meant.specifier)
            except Refusal as refusal:
                return refusal  # what was meant could not be installed either
            return Refusal("syntax", what, next_step=f"write `{suggestion}`")
    if re.match(r"(?:git@|git\+git@)[\w.-]+:", line):
        path = line.split(":", 1)[1]
        host = re.split("[@:]", line)[1]
        return Refusal(
            "vcs-scheme",
            f"`{line}` needs a key, which the build does not have",
            next_step=f"write `git+https://{host}/{path}`",
        )
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
    if listed := re.fullmatch(r"([\w.-]+)\s+(\d[\w.]*)\s+\w\S*(?:\s+\S+)?", line):
        yield f"{listed[1]}=={listed[2]}", f"`{line}` is a line of the table that `conda list` prints"
    if poetry := re.fullmatch(r"([\w.-]+)\s*=\s*[\"']\s*([\^~]?)([<>=!~]{0,2})\s*(\d+(?:\.\d+)*|\*)[\"']", line):
        number = poetry[4]
        bounds = {"": f"{poetry[3] or '=='}{number}", "~": f"~={number}" if number.count(".") > 1 else f"=={number}.*"}
        major = int(number.partition(".")[0]) if number[0].isdigit() else 0
        # Below 1.0 Poetry's ^ has rules of its own: there the version itself is surely right.
        bounds["^"] = f">={number},<{major + 1}" if major else f"=={number}"
        yield (
            f"{poetry[1]}{'' if number == '*' else bounds[poetry[2]]}",
            f"`{line}` is a line of pyproject.toml, as Poetry writes it",
        )
    if any_version := re.fullmatch(r"([\w.-]+(?:\[[\w,-]*\])?)\s*==?\s*(?:latest|newest|any|\*|x)", line):
        yield any_version[1], f"`{line}`: the newest version is asked for by the name alone"
    if placeholder := re.fullmatch(r"(.*==\s*\d+(?:\.\d+)*)(?:\.x)+", line):
        yield f"{placeholder[1]}.*", f"`{line}`: pip writes `*` for any number"
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
