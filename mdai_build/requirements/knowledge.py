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
DATED_PACKAGES = frozenset(_FIRST)
"""Those of which it is known."""
# The newest version that was tried, with compilers and without libraries for numbers, and failed: on the Pythons after
# the last one that has a wheel. Others may do (numpy 1.22.4 on Python 3.11 takes five minutes), or were not tried.
_FAILS_TO_BUILD: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "h5py": {"3.10": "2.10.0"},
        "numpy": {"3.10": "1.20.3", "3.12": "1.25.2", "3.13": "1.25.2"},
        "scikit-image": {"3.9": "0.16.2", "3.10": "0.17.2", "3.12": "0.19.3"},
        "scikit-learn": {"3.9": "0.22.2.post1", "3.10": "0.24.2"},
        "scipy": {"3.9": "1.4.1", "3.10": "1.6.1", "3.12": "1.10.1", "3.13": "1.13.1"},
    }
)


def first_version(package: str, python: str) -> str | None:
    """The oldest version of the package with a wheel for this Python; None where that is not known here."""
    versions = _FIRST.get(canonicalize_name(package))
    return versions[_PYTHONS.index(python)] if versions and python in _PYTHONS else None


def fails_to_build(package: str, asked: str | None, python: str) -> bool:
    """Whether a version, such as `==1.19.2`, is known to fail when it is built from its source on this Python."""
    newest = _FAILS_TO_BUILD.get(canonicalize_name(package), {}).get(python)
    version = re.search(r"\d+(?:\.\w+)*", asked or "")
    return newest is not None and version is not None and Version(version[0]) <= Version(newest)
