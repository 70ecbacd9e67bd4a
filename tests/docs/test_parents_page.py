"""docs/parents.md is what scripts/parents_page.py makes of the support matrix and of the records of real runs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import yaml

from mdai_build.matrix import support_matrix

ROOT = Path(__file__).resolve().parents[2]
RECORDS = yaml.safe_load((ROOT / "base_images" / "tested.yaml").read_text(encoding="utf-8"))


def test_the_page_is_up_to_date() -> None:
    specification = importlib.util.spec_from_file_location("parents_page", ROOT / "scripts" / "parents_page.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    written = (ROOT / "docs" / "parents.md").read_text(encoding="utf-8")
    assert module.page(written) == written, "make it anew with scripts/parents_page.py"
    for row in support_matrix().gpu.values():
        assert f"`{row.google.image}`" in written and row.oldest_driver in written


def test_the_known_problems_of_every_parent_are_on_the_page() -> None:
    matrix, page = support_matrix(), (ROOT / "docs" / "parents.md").read_text(encoding="utf-8")
    rows = matrix.gpu.values()
    images = [matrix.cpu.google, matrix.cpu.slim, matrix.micromamba, *matrix.clara.values()]
    images += [image for row in rows for image in (row.google, row.slim) if image]
    problems = {problem for each in (*images, *rows) for problem in each.problems}
    assert problems and not {problem for problem in problems if problem not in page}


def test_each_run_says_when_and_where_it_was() -> None:
    for run in RECORDS["runs"]:
        assert set(run["machine"]) == {"engine", "platform", "gpus"} and len(str(run["date"])) == 10


def test_every_python_was_served_on_both_local_parents() -> None:
    served = {(run["base_image"], run["parent"]) for run in RECORDS["runs"] if run["outcome"] == "served"}
    local = support_matrix().local
    assert served == {
        (f"py{python.replace('.', '')}", image.image)
        for python in support_matrix().pythons
        for image in (local.cpu, local.gpu)
    }
    assert all(run["checks"] > 10 for run in RECORDS["runs"])
