"""The local parent image: what mdai-build relies on in Google's parents, for every Python of the support matrix."""

from __future__ import annotations

import subprocess

import pytest

from mdai_build.engine import connect
from mdai_build.matrix import support_matrix
from mdai_build.settings import load_settings

PARENT = support_matrix().local.cpu.image

PROBE = """
import bz2, ctypes, curses, hashlib, lzma, pyexpat, readline, sqlite3, ssl, sys, sysconfig, uuid, zlib
assert sys.version.startswith("{python}."), sys.version
assert sys.prefix == "/opt/conda/envs/mdai-env", sys.prefix
assert sysconfig.get_path("include").startswith(sys.prefix), sysconfig.get_path("include")
"""
# Built from source by the parent's compiler, and loaded without help from LD_LIBRARY_PATH.
EXTENSION = """
from setuptools import Extension, setup
setup(name="probe", version="1", ext_modules=[Extension("probe", ["probe.c"])])
"""
EXTENSION_SOURCE = """
#include <Python.h>
static struct PyModuleDef module = { PyModuleDef_HEAD_INIT, "probe", NULL, -1, NULL };
PyMODINIT_FUNC PyInit_probe(void) { return PyModule_Create(&module); }
"""
SCRIPT = """
set -eu
conda create --yes --quiet --name mdai-env python=$PYTHON pip
conda clean --all --yes
export PATH=/opt/conda/envs/mdai-env/bin:$PATH
python -c "$PROBE"
mkdir /tmp/probe && cd /tmp/probe
printf '%s' "$EXTENSION" > setup.py
printf '%s' "$EXTENSION_SOURCE" > probe.c
python setup.py --quiet build_ext --inplace
python -c 'import probe'
"""


def run_in_parent(command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    engine = connect(load_settings().engine_folder)
    given = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
    words = engine.command("run", "--rm", "--network", "none", *given, PARENT, *command)
    done = subprocess.run(words, env=engine.environment.values, capture_output=True, text=True, check=False)
    engine.client.close()
    return done


@pytest.mark.parametrize("python", support_matrix().pythons)
def test_an_environment_works_and_compiles_extensions(python: str) -> None:
    """Without network, since the parent carries its own channel."""
    done = run_in_parent(
        ["sh", "-c", SCRIPT],
        PYTHON=python,
        PROBE=PROBE.format(python=python),
        EXTENSION=EXTENSION,
        EXTENSION_SOURCE=EXTENSION_SOURCE,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"python-{python}." in done.stdout


def test_a_python_that_the_channel_lacks_is_said() -> None:
    done = run_in_parent(["conda", "create", "-y", "-n", "env", "python=3.4"])

    assert done.returncode == 1
    assert "No candidates were found for python 3.4" in done.stderr


def test_libraries_that_opencv_loads_are_there() -> None:
    probe = "import ctypes; [ctypes.CDLL(name) for name in ('libGL.so.1', 'libglib-2.0.so.0', 'libgthread-2.0.so.0')]"
    done = run_in_parent(["python", "-c", probe])

    assert done.returncode == 0, done.stderr
