"""Nothing but the support matrix says what CUDAs, drivers, C libraries, GPUs and parents there are.

The sources are searched for its own values: in code outside docstrings and comments, in templates and messages outside
comments. What may stand there all the same is named below, with why.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mdai_build.matrix import support_matrix

ROOT = Path(__file__).resolve().parents[2]
MATRIX = support_matrix()
ROWS = MATRIX.gpu.values()
IMAGES = [
    MATRIX.cpu.google,
    MATRIX.cpu.slim,
    MATRIX.micromamba,
    MATRIX.local.cpu,
    MATRIX.local.gpu,
    *MATRIX.clara.values(),
]
IMAGES += [image for row in ROWS for image in (row.google, row.slim) if image]

EXAMPLE = "an example of a package's version"
SECONDS = "seconds"
ALLOWED: dict[str, dict[str, str]] = {
    "mdai_build/cli/bases.py": {"11.8": "an example in a text of --help, which reads no file"},
    "mdai_build/error_pages.toml": {"cu118": EXAMPLE},
    "mdai_build/runtime/inference.py": {"10.0": SECONDS},
    "mdai_build/runtime/status.py": {"10.0": SECONDS},
    "mdai_build/smoke/gpu.py": {"cu118": EXAMPLE},
    "mdai_build/smoke/run.py": {"10.0": SECONDS},
    "templates/init/config.yaml.j2": {"11.8": "an example in a comment of the file that is written"},
}
"""By file: a value that stands there and is none of the matrix's, or is an example, and why."""


def words() -> dict[str, str]:
    """What is looked for, as a pattern, by what it is."""
    versions = {*MATRIX.gpu, *(f"cu{cuda.replace('.', '')}" for cuda in MATRIX.gpu)}
    drivers = {driver for row in ROWS for driver in (row.driver, row.family_driver) if driver}
    glibc = {image.glibc for image in IMAGES if image.glibc} | {MATRIX.oldest_glibc, *MATRIX.clara}
    names = {each.name for each in MATRIX.generations}
    images = {image.image for image in IMAGES}
    return {
        "a version": _any_of(versions | drivers | glibc, r"(?<![\w.])(", r")(?!\w|\.\d)"),
        "a platform of wheels": rf"manylinux_(2_{MATRIX.glibc_minor})(?!\d)",
        "a generation of GPUs": _any_of(names, r"\b(", r")\b"),
        "a parent image": _any_of(images, "(", ")"),
    }


def _any_of(values: set[str], before: str, after: str) -> str:
    return before + "|".join(re.escape(value) for value in sorted(values, key=len, reverse=True)) + after


def texts_of_module(text: str) -> Iterator[tuple[int, str]]:
    """Lines and string constants of a module but its docstrings; and numbers that look like versions."""
    tree = ast.parse(text)
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in documentation:
            if isinstance(node.value, str):
                yield node.lineno, node.value
            elif isinstance(node.value, float) or node.value == MATRIX.glibc_minor:
                yield node.lineno, f"2.{node.value}" if isinstance(node.value, int) else str(node.value)


def texts_of_template(text: str) -> Iterator[tuple[int, str]]:
    """Lines of a template but Jinja's comments, or of a file of messages."""
    text = re.sub(r"\{#.*?#\}", lambda found: "\n" * found[0].count("\n"), text, flags=re.S)
    yield from enumerate(text.splitlines(), 1)


def sources() -> list[Path]:
    modules = [file for file in (ROOT / "mdai_build").rglob("*.py") if "_data" not in file.parts]
    more = [ROOT / "mdai_build" / "error_pages.toml", *(ROOT / "templates").rglob("*.j2")]
    return sorted([*modules, *more])


def copies_in(text: str, module: bool) -> list[tuple[int, str, str]]:
    """Line, value and what it is, of each value of the matrix in a text."""
    found = []
    for line, words_there in texts_of_module(text) if module else texts_of_template(text):
        for kind, pattern in words().items():
            found += [(line, match[1], kind) for match in re.finditer(pattern, words_there)]
    return found


def test_no_source_carries_a_copy() -> None:
    wrong = []
    for file in sources():
        name = file.relative_to(ROOT).as_posix()
        for line, value, kind in copies_in(file.read_text(encoding="utf-8"), file.suffix == ".py"):
            if value not in ALLOWED.get(name, {}):
                wrong.append(f"{name}:{line}: `{value}` is {kind} of base_images/matrix.yaml: read it from there")
    assert not wrong, "\n".join(wrong)


def test_what_is_allowed_is_there() -> None:
    for name, values in ALLOWED.items():
        file = ROOT / name
        found = {value for _, value, _ in copies_in(file.read_text(encoding="utf-8"), file.suffix == ".py")}
        assert found == set(values), name


@pytest.mark.parametrize(
    "line",
    [
        'CUDA_VERSIONS = ("10.0", "11.3")',
        'what = f"ask for CUDA {x} or 11.0"',
        'x = "cu118"',
        f'DRIVER = "{MATRIX.gpu["12.4"].family_driver}"',
        f'x = f"{{machine}}-manylinux_2_{MATRIX.glibc_minor}"',
        f'x = "manylinux_2_{MATRIX.glibc_minor}_x86_64"',
        f"glibc_minor: int = {MATRIX.glibc_minor}",
        f'OLDEST = "{MATRIX.oldest_glibc}"',
        "cuda = 11.8",
        'what = "on Ampere or newer"',
        'image = "debian:12-slim"',
    ],
)
def test_a_copy_would_be_found(line: str) -> None:
    assert copies_in(f'"""What this is: CUDA 11.0."""\n\n{line}  # as CUDA 11.0\n', module=True), line


@pytest.mark.parametrize("line", ['"""CUDA 11.0."""', "x = 3  # CUDA 11.0", 'x = "111.0"', 'x = "torch 11.0.3"'])
def test_what_is_none_would_not(line: str) -> None:
    assert copies_in(line, module=True) == []


def test_a_copy_in_a_template_or_a_message_would_be_found() -> None:
    assert copies_in("{# CUDA 11.0\n#}\nRUN pip download --platform manylinux_2_28_x86_64\n", module=False) == [
        (3, "2_28", "a platform of wheels")
    ]
    assert copies_in('fix = "Ask for CUDA 11.0."\n', module=False)
