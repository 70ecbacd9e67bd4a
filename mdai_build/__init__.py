"""Check, build and test MD.ai model bundles: archive in, tested image out.

From Python: `from mdai_build import build, check` (`api`). The rooms, in the order in which data passes through them:
`bundle`, `config`, `requirements`, `parents`, `plan`, `dockerfile`, `context`, `engine`, `smoke`, `report`; `cli` alone
sees all of them. `runtime` is what runs inside an image.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # the module typing takes a while to import, in which Ctrl-C would show a traceback
if TYPE_CHECKING:
    from typing import Any

    from mdai_build.api import as_json, build, check, predict, test
    from mdai_build.errors import (
        BuildFailedError,
        BundleError,
        Location,
        MdaiBuildError,
        Problem,
        RequirementsError,
        UnavailableError,
        UsageError,
    )

__version__ = "0.1.0"

__all__ = [
    "BuildFailedError",
    "BundleError",
    "Location",
    "MdaiBuildError",
    "Problem",
    "RequirementsError",
    "UnavailableError",
    "UsageError",
    "__version__",
    "as_json",
    "build",
    "check",
    "predict",
    "test",
]

_FUNCTIONS = ("as_json", "build", "check", "predict", "test")


def __getattr__(name: str) -> Any:
    # Loaded when they are asked for: the command line's `--help`, and what runs in an image, need none of them.
    if name in __all__:
        return getattr(import_module("mdai_build.api" if name in _FUNCTIONS else "mdai_build.errors"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
