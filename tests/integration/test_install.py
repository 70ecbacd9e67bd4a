"""What the install step takes from the preflight, and what it leaves in the image."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import docker
import pytest
from harness.case import BUNDLES

from mdai_build.engine import Engine, connect
from mdai_build.pipeline.build import BuildOptions, ensure_image, prepare
from mdai_build.pipeline.check import CheckedModel
from mdai_build.pipeline.planning import check_for_build, plan_model
from mdai_build.settings import Settings, load_settings

# The Python files of site-packages without bytecode, but for tests and one file that is no Python 3; then bytecode of
# another Python.
LOOK = """
import glob, os, colorama
here = os.path.dirname(os.path.dirname(colorama.__file__))
left_out = {"test", "tests", "doxyfilter.py"}
sources = [f for f in glob.glob(here + "/**/*.py", recursive=True) if not left_out & set(f.split("/"))]
other = [f for f in glob.glob(here + "/**/*.pyc", recursive=True) if "-310." not in f]
cached = lambda f: os.path.join(os.path.dirname(f), "__pycache__", os.path.basename(f)[:-3] + ".cpython-310.pyc")
print(colorama.__version__, [f for f in sources if not os.path.exists(cached(f))], other)
"""


@pytest.mark.parametrize(
    "resolved, version, installed",
    [
        ("colorama==0.4.5\n", "28.0", "0.4.5"),
        ("colorama==99\n", "28.0", "0.4.6"),
        ("", "28.0", "0.4.6"),
        ("colorama==0.4.5\n", "26.1", "0.4.6"),
    ],
    ids=["known before", "known wrongly", "not known", "an engine to which a secret is dear is not told"],
)
def test_the_step_installs_what_the_preflight_found(
    resolved: str, version: str, installed: str, engine: docker.DockerClient, tmp_path: Path, cache_folder: Path
) -> None:
    """Proved by a lie: nothing but the preflight's finding would bring 0.4.5. One that is no good stops nothing."""
    folder = tmp_path / "model"
    shutil.copytree(BUNDLES / "minimal" / "model", folder)
    (folder / ".mdai" / "config.yaml").write_text("base_image: py310\n")
    (folder / ".mdai" / "requirements.txt").write_text(f"colorama<=0.4.6,!=9.{time.time_ns()}\n")
    settings = load_settings({"parent": "local", "build_network": "host", "cache_folder": cache_folder})
    found = replace(connect(settings.engine_folder), version=version)
    try:
        image = built(found, replace(check_for_build(folder, settings), resolved_text=resolved), settings)
        try:
            words = ["/opt/conda/envs/mdai-env/bin/python", "-c", LOOK]
            told = engine.containers.run(image, words[1:], entrypoint=words[0], remove=True, network_disabled=True)
        finally:
            found.remove_image(image)
    finally:
        found.client.close()
    assert told.decode().strip() == f"{installed} [] []"


def built(engine: Engine, checked: CheckedModel, settings: Settings) -> str:
    unpacked, plan = plan_model(checked, settings, print)
    model = prepare(engine, checked, unpacked, plan, "mdai-build-test/resolved:1", settings, BuildOptions(), print)
    return ensure_image(engine, model, settings, False, print)[0].image_id
