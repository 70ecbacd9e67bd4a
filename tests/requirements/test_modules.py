from __future__ import annotations

import pytest

from mdai_build.requirements import missing_imports, package_of, read_requirements

IMPORTS = "import os, numpy, cv2\nfrom PIL import Image\n"


def told(bundle_of, requirements: str, source: str = IMPORTS, python: str | None = "3.8", **files: str):
    paths = {path.replace("__", "/") + ".py": text for path, text in files.items()}
    bundle = bundle_of(requirements, {".mdai/mdai_deploy.py": source, **paths})
    return missing_imports(bundle, read_requirements(bundle, python), python)


@pytest.mark.parametrize(
    ("requirements", "missing"),
    [
        ("", {"cv2", "PIL"}),
        ("numpy==1.20.0\npandas\n", {"cv2", "PIL"}),
        ("opencv-python==4.4.0.42\n", {"PIL"}),
        ("OpenCV_contrib.python\nPillow\n", set()),
        ("opencv-python-headless\nscikit-image\n", set()),
        # What this one brings is not known.
        ("some-package\n", set()),
        ("git+https://example.org/x.git\n", set()),
        # Not installed on this Python.
        ('pillow; python_version < "3.7"\nopencv-python\n', {"PIL"}),
    ],
)
def test_what_no_requirement_brings_is_told(bundle_of, requirements: str, missing: set[str]) -> None:
    found = told(bundle_of, requirements)
    assert {problem.what.split("`")[1] for problem in found} == missing
    assert all(problem.where.file == ".mdai/mdai_deploy.py" and problem.where.column for problem in found)


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    import cv2\nexcept ImportError:\n    cv2 = None\n",
        "def f():\n    import cv2\n",
        "from . import cv2\n",
        "from google.protobuf import message\nimport mpl_toolkits, pylibjpeg\n",
        "this is no Python\n",
    ],
)
def test_what_may_never_be_imported_or_is_not_known_is_not_told(bundle_of, source: str) -> None:
    assert told(bundle_of, "", source) == ()


def test_code_that_was_left_at_home_is_told(bundle_of) -> None:
    (problem,) = told(bundle_of, "numpy\npandas\n", "import numpy\nfrom lung_tools.masks import fill\n")
    assert problem.code == "requirements.missing-module" and "`lung_tools`" in problem.what
    assert (problem.where.line, problem.where.column) == (2, 6)


def test_modules_of_the_bundle_are_followed_and_never_missing(bundle_of) -> None:
    found = told(bundle_of, "", "import helper, cv2\n", lib__helper="import torch\n", vendored__cv2="x = 1\n")
    (problem,) = found
    assert "`torch`" in problem.what and problem.where.file == "lib/helper.py"


def test_nothing_is_known_of_a_parent_of_the_author_s_own(bundle_of) -> None:
    assert told(bundle_of, "", python=None) == ()


def test_package_names() -> None:
    assert [package_of(name) for name in ("cv2", "sklearn", "efficientnet_pytorch", "torch")] == [
        "opencv-python-headless",
        "scikit-learn",
        "efficientnet-pytorch",
        "torch",
    ]
