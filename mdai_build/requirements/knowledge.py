"""What is known of packages that models use most: the first version with wheels for each Python.

Found with `uv pip compile --no-build --no-deps --resolution lowest --python-platform x86_64-manylinux_2_28
--python-version X.Y`. Wheels of old versions do not appear later, so that entries hold once they are right.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from packaging.utils import canonicalize_name

_PYTHONS = ("3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
_FIRST: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "numpy": ("1.14.5", "1.17.3", "1.19.3", "1.21.2", "1.23.2", "1.26.0", "2.1.0"),
        "pandas": ("0.23.2", "0.25.2", "1.1.3", "1.3.3", "1.5.0", "2.1.1", "2.2.3"),
        "scikit-image": ("0.14.0", "0.16.2", "0.18.0", "0.19.0", "0.20.0", "0.22.0", "0.25.0"),
        "scipy": ("1.1.0", "1.3.2", "1.5.4", "1.7.2", "1.9.2", "1.11.2", "1.14.1"),
        "tensorflow": ("1.13.1", "2.2.0", "2.5.0", "2.8.0", "2.12.0", "2.16.1", "2.20.0"),
        "torch": ("1.0.0", "1.4.0", "1.7.1", "1.11.0", "1.13.0", "2.2.0", "2.5.0"),
        "torchvision": ("0.3.0", "0.5.0", "0.8.2", "0.12.0", "0.15.1", "0.17.0", "0.21.0"),
    }
)


def first_version(package: str, python: str) -> str | None:
    """The oldest version of the package with a wheel for this Python; None where that is not known here."""
    versions = _FIRST.get(canonicalize_name(package))
    return versions[_PYTHONS.index(python)] if versions and python in _PYTHONS else None
