"""What is known of packages that models use most: the first version with wheels for each Python.

Found with `uv pip compile --no-build --no-deps --resolution lowest --python-platform x86_64-manylinux_2_28
--python-version X.Y`. Wheels of old versions do not appear later, so that entries hold once they are right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from packaging.utils import canonicalize_name
from packaging.version import Version

_PYTHONS = ("3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
_FIRST: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "h5py": ("2.8.0", "2.9.0", "3.0.0", "3.6.0", "3.8.0", "3.10.0", "3.12.1"),
        "matplotlib": ("2.2.2", "3.1.2", "3.3.3", "3.5.0", "3.6.0", "3.7.3", "3.9.2"),
        "numpy": ("1.14.5", "1.17.3", "1.19.3", "1.21.2", "1.23.2", "1.26.0", "2.1.0"),
        "opencv-contrib-python": ("4.0.0.21", "4.1.2.30", "4.4.0.46", "4.5.4.58", *["4.5.5.62"] * 3),
        "opencv-python": ("4.0.0.21", "4.1.2.30", "4.4.0.46", "4.5.4.60", *["4.5.5.64"] * 3),
        "pandas": ("0.23.2", "0.25.2", "1.1.3", "1.3.3", "1.5.0", "2.1.1", "2.2.3"),
        "pillow": ("5.2.0", "6.2.1", "8.0.0", "8.3.2", "9.2.0", "10.0.0", "10.4.0"),
        "pywavelets": ("0.5.2", "1.1.0", "1.1.1", "1.2.0", "1.4.1", "1.5.0", "1.7.0"),
        "scikit-image": ("0.14.0", "0.16.2", "0.18.0", "0.19.0", "0.20.0", "0.22.0", "0.25.0"),
        "scikit-learn": ("0.19.2", "0.22", "0.24.0", "1.0.2", "1.1.3", "1.3.1", "1.5.2"),
        "scipy": ("1.1.0", "1.3.2", "1.5.4", "1.7.2", "1.9.2", "1.11.2", "1.14.1"),
        "tensorflow": ("1.13.1", "2.2.0", "2.5.0", "2.8.0", "2.12.0", "2.16.1", "2.20.0"),
        "torch": ("1.0.0", "1.4.0", "1.7.1", "1.11.0", "1.13.0", "2.2.0", "2.5.0"),
        "torchvision": ("0.3.0", "0.5.0", "0.8.2", "0.12.0", "0.15.1", "0.17.0", "0.21.0"),
    }
)
_HARD_TO_BUILD = frozenset({"numpy", "scikit-image", "scikit-learn", "scipy"})


def first_version(package: str, python: str) -> str | None:
    """The oldest version of the package with a wheel for this Python; None where that is not known here."""
    versions = _FIRST.get(canonicalize_name(package))
    return versions[_PYTHONS.index(python)] if versions and python in _PYTHONS else None


def is_hard_to_build(package: str, asked: str | None, python: str) -> bool:
    """Whether a version older than the first with a wheel for this Python is sure to fail when it is built.

    Tried with compilers at hand, on the Python after the last one that has a wheel. Versions of the same feature
    release as the first with a wheel may do, and so may packages that are not named here.
    """
    first = first_version(package, python)
    version = re.search(r"\d+(?:\.\d+)*", asked or "")
    if first is None or version is None or canonicalize_name(package) not in _HARD_TO_BUILD:
        return False
    return Version(version[0]).release[:2] < Version(first).release[:2]
