"""Build and serve a model for every Python, for CPU and GPU, on the local parents, and write down what came of it.

Run with the project's virtual environment: `.venv/bin/python scripts/matrix.py`. The records are
base_images/tested.yaml; scripts/parents_page.py shows them.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import engine
import parent
import yaml

from mdai_build.config.model import DEFAULT_CUDA
from mdai_build.matrix import support_matrix

RECORDS = Path(__file__).resolve().parent.parent / "base_images" / "tested.yaml"
TAG = "mdai-build/matrix"
HEADING = """\
# What was built and served for real, by scripts/matrix.py: a model of one requirement, on the parents that
# `make parent` makes, each answer to the smoke test's requests checked. Each run says when it was and on what machine,
# since a later run of some leaves the others as they are. `gpus`: how many the machine had.
"""
MODEL = """\
import colorama


class MDAIModel:
    def predict(self, data):
        return []
"""


def run(base_image: str, device: str, folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Builds and tests the model for one combination; gives its record."""
    model = folder / f"matrix-{base_image}-{device}"
    (model / ".mdai").mkdir(parents=True)
    gpu = f'device_type: gpu\ncuda_version: "{DEFAULT_CUDA}"\n' if device == "gpu" else ""
    (model / ".mdai" / "config.yaml").write_text(f"base_image: {base_image}\n{gpu}")
    (model / ".mdai" / "requirements.txt").write_text("colorama==0.4.6\n")
    (model / ".mdai" / "mdai_deploy.py").write_text(MODEL)
    words = [sys.executable, "-m", "mdai_build.cli", "build", str(model), "--parent", "local", "--json"]
    done = subprocess.run([*words, "--tag", f"{TAG}:{base_image}-{device}"], env=environment, capture_output=True)
    told = json.loads(done.stdout)
    smoke = told.get("smoke") or {}
    checks = smoke.get("checks", [])
    outcome = "served" if done.returncode == 0 else f"failed: {told['problems'][0]['what']}"
    return {
        "base_image": base_image,
        "device_type": device,
        "parent": getattr(support_matrix().local, device).image,
        "outcome": outcome,
        "checks": len(checks),
    }


def machine(environment: dict[str, str]) -> dict[str, Any]:
    """What the records were made on."""
    words = ["docker", "version", "--format", "{{.Server.Version}} {{.Server.Os}}/{{.Server.Arch}}"]
    version, platform = (engine.ask(words, environment) or "unknown unknown").split()
    return {"engine": f"Docker {version}", "platform": platform, "gpus": len(list(Path("/dev").glob("nvidia[0-9]*")))}


def merged(before: list[dict[str, Any]], made: list[dict[str, Any]], order: list[str]) -> list[dict[str, Any]]:
    """The records with those made now in place of older ones of the same combination; no other one changes."""

    def combination(record: dict[str, Any]) -> tuple[int, str]:
        return order.index(record["base_image"]), record["device_type"]

    known = [record for record in before if record["base_image"] in order]
    records = {combination(record): record for record in (*known, *made)}
    return [records[key] for key in sorted(records)]


def read_records() -> list[dict[str, Any]]:
    """What earlier runs wrote down."""
    if not RECORDS.exists():
        return []
    runs: list[dict[str, Any]] = yaml.safe_load(RECORDS.read_text(encoding="utf-8"))["runs"]
    return runs


def main() -> int:
    every = [f"py{python.replace('.', '')}" for python in support_matrix().pythons]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "base_images", nargs="*", metavar="BASE_IMAGE", help="such as py38; default: all. The records of others stay."
    )
    chosen = parser.parse_args().base_images or every
    if unknown := [name for name in chosen if name not in every]:
        parser.error(f"{', '.join(unknown)}: expected {', '.join(every)}")
    environment = parent.docker_environment()
    circumstances = {"date": datetime.date.today(), "machine": machine(dict(os.environ) | environment)}
    made = []
    with tempfile.TemporaryDirectory(prefix="mdai-build-matrix-") as name:
        environment = {**environment, "MDAI_BUILD_CACHE_FOLDER": str(Path(name, "cache"))}
        for base_image in chosen:
            for device in ("cpu", "gpu"):
                record = {**run(base_image, device, Path(name), environment), **circumstances}
                print(f"{record['base_image']} {device}: {record['outcome']}", file=sys.stderr, flush=True)
                made.append(record)
                engine.ask(["docker", "image", "rm", f"{TAG}:{record['base_image']}-{device}"], environment)
    write_records(merged(read_records(), made, every))
    return 0 if all(record["outcome"] == "served" for record in made) else 1


def write_records(records: list[dict[str, Any]]) -> None:
    """Writes them down, whole records each: a change of one shows as its own lines alone."""
    plain = [json.loads(json.dumps(record, default=str)) for record in records]
    RECORDS.write_text(HEADING + yaml.safe_dump({"runs": plain}, sort_keys=False, width=120), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
