"""Starts the server: ``python -I -S .../__main__.py``; with ``worker FD`` the worker, with ``gpu`` a look at the GPUs.

The folder is loaded under one name wherever it lies and whatever it is called, without a place on ``sys.path``: neither
the model nor the server can import a module of the other by accident.
"""

import importlib
import importlib.util
import os
import sys

NAME = "mdai_runtime"


def load_runtime() -> None:
    """Makes this folder importable as ``mdai_runtime``."""
    folder = os.path.dirname(os.path.abspath(__file__))
    spec = importlib.util.spec_from_file_location(
        NAME, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    load_runtime()
    if sys.argv[1:2] == ["worker"]:
        importlib.import_module(NAME + ".worker").main(int(sys.argv[2]))
    elif sys.argv[1:2] == ["gpu"]:
        sys.exit(importlib.import_module(NAME + ".gpu").main(sys.argv[2:]))
    else:
        sys.exit(importlib.import_module(NAME + ".server").main())
