"""Make the tables of docs/parents.md from the support matrix and from what was tested.

Run with the project's virtual environment: `.venv/bin/python scripts/parents_page.py`. They stand between comments that
say so; a test sees to it that they are as this makes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from mdai_build.matrix import CudaRow, ParentImage, SupportMatrix, support_matrix

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "parents.md"
RECORDS = ROOT / "base_images" / "tested.yaml"


def page(text: str) -> str:
    """The page's text with its tables made anew.

    Raises:
        ValueError: a table has no place in it.
    """
    matrix = support_matrix()
    records = yaml.safe_load(RECORDS.read_text(encoding="utf-8"))
    parts = {
        "parents": table(PARENT_HEADINGS, _parent_rows(matrix)),
        "cuda": table(CUDA_HEADINGS, (_cuda_row(matrix, version, row) for version, row in matrix.gpu.items())),
        "problems": "\n".join(f"- {line}" for line in _problems(matrix)),
        "tested": "\n".join((_tested_on(records), "", table(TESTED_HEADINGS, _tested_rows(records)))),
        "sources": "\n".join(f"- {name}: {source}" for name, source in matrix.sources.items()),
    }
    for name, part in parts.items():
        place = re.compile(rf"(<!-- begin {name}, .*? -->\n).*?(<!-- end {name} -->)", re.S)
        text, count = place.subn(lambda found, part=part: f"{found[1]}\n{part}\n\n{found[2]}", text)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"the page has {count} places for {name}")
    return text


PARENT_HEADINGS = (
    "for",
    "`--parent`",
    "image",
    "system",
    "glibc",
    "cuDNN",
    "its own Python",
    "platforms",
    "patches until",
    "available until",
)
CUDA_HEADINGS = (
    "CUDA",
    "driver of its release",
    "oldest driver",
    "compute capabilities",
    "GPUs with kernels",
    "without",
)
TESTED_HEADINGS = ("`base_image`", "`cpu`", "`gpu`", "when", "with")


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown; what is not known is an empty cell."""
    headings = list(headings)
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _parent_rows(matrix: SupportMatrix) -> Iterator[list[str]]:
    yield _parent("cpu", "gcp", matrix.cpu.google)
    yield _parent("cpu", "slim", matrix.cpu.slim)
    for version, row in matrix.gpu.items():
        yield _parent(f"CUDA {version}", "gcp", row.google)
        if row.slim:
            yield _parent(f"CUDA {version}", "slim", row.slim)
    for version, image in matrix.clara.items():
        yield _parent(f"`nvidia`, {version}", "", image)


def _parent(serves: str, kind: str, image: ParentImage) -> list[str]:
    until = str(image.available_until or "") if image.listed else "no longer listed"
    known = [image.distribution or "", image.glibc or "", image.cudnn or "", ", ".join(image.pythons)]
    dates = [str(image.patched_until or ""), until]
    return [serves, f"`{kind}`" if kind else "", f"`{image.image}`", *known, ", ".join(image.platforms), *dates]


def _cuda_row(matrix: SupportMatrix, version: str, row: CudaRow) -> list[str]:
    kernels = f"{row.kernels.first} to {row.kernels.last}"
    with_them, without = matrix.generations_of(row), matrix.newer_generations(row)
    span = f"{with_them[0].name} to {with_them[-1].name} ({with_them[-1].such_as})"
    return [version, row.driver, row.oldest_driver, kernels, span, ", ".join(each.name for each in without)]


def _problems(matrix: SupportMatrix) -> Iterator[str]:
    yield from _of_images(matrix.cpu.google, matrix.cpu.slim)
    for version, row in matrix.gpu.items():
        yield from (f"CUDA {version}: {each}" for each in row.problems)
        yield from _of_images(row.google, row.slim)
    yield from _of_images(*matrix.clara.values(), matrix.micromamba, matrix.local.cpu, matrix.local.gpu)


def _of_images(*images: ParentImage | None) -> Iterator[str]:
    for image in images:
        if image and image.problems:
            yield f"`{image.image}`: {'; '.join(image.problems)}"


def _tested_on(records: dict[str, Any]) -> str:
    images = " and ".join(sorted({f"`{run['parent']}`" for run in records["runs"]}))
    return f"Over {images}:"


def _tested_rows(records: dict[str, Any]) -> Iterator[list[str]]:
    runs = {(run["base_image"], run["device_type"]): run for run in records["runs"]}
    for base_image in dict.fromkeys(run["base_image"] for run in records["runs"]):
        both = [runs[base_image, device] for device in ("cpu", "gpu")]
        outcomes = (f"{run['outcome']}, {run['checks']} checks" for run in both)
        # They run together, unless somebody stopped between them.
        when, where = (", ".join(dict.fromkeys(map(told, both))) for told in (lambda run: str(run["date"]), _machine))
        yield [f"`{base_image}`", *outcomes, when, where]


def _machine(run: dict[str, Any]) -> str:
    machine = run["machine"]
    gpus = f"{machine['gpus']} GPUs" if machine["gpus"] else "no GPU"
    return f"{machine['engine']} on {machine['platform']}, {gpus}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
