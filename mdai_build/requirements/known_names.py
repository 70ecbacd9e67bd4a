"""The names of packages that are known here, to tell which one a misspelled name may mean."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache

from packaging.utils import canonicalize_name

from mdai_build.requirements.advice import advised_packages
from mdai_build.requirements.hints import OTHER_NAME
from mdai_build.requirements.knowledge import DATED_PACKAGES
from mdai_build.requirements.modules import MODULE_PACKAGES
from mdai_build.requirements.preinstalled import preinstalled

_LIKENESS = 0.8
"""Of difflib: one letter too few, too many, wrong or out of its place in a name of five; two in one of ten."""


def nearest_name(name: str, python: str) -> str | None:
    """The known package whose name is most like this one; None where none is like it.

    Known are what is preinstalled for this Python, and the packages that our own tables tell of.
    """
    near = get_close_matches(canonicalize_name(name), _known(python), n=1, cutoff=_LIKENESS)
    return near[0] if near else None


@cache
def _known(python: str) -> tuple[str, ...]:
    names = {pin.name for pin in preinstalled(python)}
    names.update(OTHER_NAME.values(), DATED_PACKAGES, MODULE_PACKAGES, advised_packages())
    return tuple(sorted({canonicalize_name(name) for name in names}))
