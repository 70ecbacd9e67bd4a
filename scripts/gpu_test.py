"""Test every GPU example on this machine's GPU, in every combination that can be had, and print one table.

With Docker and NVIDIA's container toolkit: an image for each Python and CUDA whose parent image the engine holds
(--pull: all; --only: some), built and tested. Else, and with --local: in Pythons of this machine with torch or cupy.

Exit codes: 0 all good, 1 something failed, 2 wrong usage, 77 neither this machine nor its engine has a GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker.errors
import yaml

from mdai_build.config import ModelConfig
from mdai_build.config.model import BASE_IMAGES, CUDA_VERSIONS
from mdai_build.engine import Engine, GpuRequest, connect
from mdai_build.engine.gpus import no_gpu_here, refusal
from mdai_build.errors import MdaiBuildError
from mdai_build.parents import choose_parent
from mdai_build.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parent.parent
EXIT_NO_GPU = 77
RUNTIME = ROOT / "mdai_build" / "runtime" / "__main__.py"
TAG = "mdai-build-gpu-test"
LONGEST_SECONDS = 3600
HEADINGS = ("example", "Python", "CUDA", "outcome", "computed by", "GPU memory", "busy", "seconds")


@dataclass
class Row:
    """One combination, and what became of it."""

    example: str
    python: str
    cuda: str
    outcome: str = ""
    framework: str = ""
    memory: str = ""
    utilisation: str = ""
    seconds: float = 0.0
    reason: str = ""
    """Why it failed or was left out, in full."""

    @property
    def failed(self) -> bool:
        return self.outcome == "FAILED"

    def cells(self) -> tuple[str, ...]:
        seconds = f"{self.seconds:.0f}" if self.seconds else ""
        return (
            *(self.example, self.python, self.cuda, self.outcome, self.framework, self.memory),
            *(self.utilisation, seconds),
        )


def cupy_for(cuda: str) -> str:
    """The cupy distribution for a CUDA; from 11.2 on there is one for all of a major version (CuPy, "Installation")."""
    major, _, minor = cuda.partition(".")
    if int(major) < 11 or (int(major) == 11 and int(minor) < 2):
        return f"cupy-cuda{major}{minor}"
    return f"cupy-cuda{major}x"


def gpu_examples(root: Path) -> list[Path]:
    """The examples whose config asks for a GPU."""
    configs = sorted(root.glob("*/.mdai/config.yaml"))
    return [path.parents[1] for path in configs if yaml.safe_load(path.read_text()).get("device_type") == "gpu"]


def combinations(example: Path) -> Iterator[tuple[str, str]]:
    """Python (as `base_image` says it) and CUDA: the example's own first, then all others."""
    own = yaml.safe_load((example / ".mdai/config.yaml").read_text())
    first = (str(own["base_image"]), str(own["cuda_version"]))
    yield first
    for cuda in CUDA_VERSIONS:
        for name in BASE_IMAGES:
            if name.startswith("py") and (name, cuda) != first:
                yield name, cuda


def variant(example: Path, base_image: str, cuda: str, place: Path) -> Path:
    """A copy of an example for another combination."""
    model = place / example.name
    shutil.copytree(example, model, ignore=shutil.ignore_patterns("__pycache__"))
    config = f'base_image: {base_image}\ndevice_type: gpu\ncuda_version: "{cuda}"\n'
    (model / ".mdai/config.yaml").write_text(config)
    (model / ".mdai/requirements.txt").write_text(f"{cupy_for(cuda)}\n")
    return model


def run(words: list[str], variables: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    """Runs `mdai-build` with --json; what it printed there."""
    done = subprocess.run(
        [sys.executable, "-m", "mdai_build.cli", *words, "--json"],
        env={**os.environ, **(variables or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    try:
        told = json.loads(done.stdout)
    except ValueError:
        told = {}
    return done.returncode, told if isinstance(told, dict) else {}


def judge(row: Row, code: int, told: dict[str, Any]) -> None:
    """Fills in what a run told."""
    smoke = told.get("smoke") or {}
    gpu = smoke.get("gpu") or {}
    failed = [check for check in smoke.get("checks") or () if check["outcome"] == "failed"]
    problems = [*(told.get("problems") or ()), *(problem for check in failed for problem in check["problems"])]
    row.outcome = "ok" if code == 0 and gpu.get("tested") else "FAILED"
    row.reason = "; ".join(dict.fromkeys(str(problem["what"]) for problem in problems))
    if code == 0 and not gpu.get("tested"):
        row.reason = f"the GPU was not tested: {gpu.get('reason') or 'it was not looked for'}"
    if code not in (0, 7) and not row.reason:
        row.reason = f"mdai-build ended with exit code {code}"
    computed = [each for each in gpu.get("frameworks") or () if each["computes"]]
    row.framework = ", ".join(f"{each['name']} {each['version']}" for each in computed)
    row.memory = f"{gpu['peak_bytes'] / 1e6:.0f} MB" if gpu.get("peak_bytes") else ""
    row.utilisation = f"{gpu['utilisation']} %" if gpu.get("utilisation") is not None else ""


def gpu_refusal(engine: Engine) -> str | None:
    """Why the engine gives a container no GPU, asked with any image that it has; None: it does, or has no image."""
    images = engine.client.images.list()
    if not images:
        return None
    container = engine.client.containers.create(
        images[0], ["true"], entrypoint=[], device_requests=[GpuRequest().as_device_request()]
    )
    try:
        container.start()
    except docker.errors.APIError as error:  # that the image has no such program is none of our business
        return refusal(str(error.explanation))
    finally:
        container.remove(force=True)
    return None


def in_containers(pull: bool, only: Collection[tuple[str, str]], settings: Settings) -> list[Row] | str:
    """A row for each combination, or for those of `only`; or, in words, why there is no engine for it."""
    try:
        engine = connect(settings.engine_folder)
    except MdaiBuildError as failure:
        return failure.problems[0].what
    if reason := gpu_refusal(engine):
        return f"the engine gives a container no GPU: {reason}"
    rows = []
    for example in gpu_examples(ROOT / "examples"):
        for base_image, cuda in combinations(example):
            if only and (base_image, cuda) not in only:
                continue
            row = Row(example.name, f"{base_image[2]}.{base_image[3:]}", cuda)
            config = ModelConfig.model_validate({"base_image": base_image, "device_type": "gpu", "cuda_version": cuda})
            try:
                parent = choose_parent(config, settings).reference
            except MdaiBuildError as failure:
                row.outcome, row.reason = "left out", failure.problems[0].what
                rows.append(row)
                continue
            if not pull and engine.image(parent) is None:
                row.outcome, row.reason = "left out", f"the parent image {parent} is not here (--pull gets it)"
                rows.append(row)
                continue
            begun = time.monotonic()
            tag = f"{TAG}/{example.name}-{base_image}-cu{cuda.replace('.', '')}:latest"
            with tempfile.TemporaryDirectory(prefix="mdai-build-gpu-test-") as place:
                model = variant(example, base_image, cuda, Path(place))
                code, told = run(["build", str(model), "--tag", tag, "--gpus", "all"])
            if [problem["code"] for problem in told.get("problems") or ()] == ["engine.no-gpu"]:
                return str(told["problems"][0]["what"])
            row.seconds = time.monotonic() - begun
            judge(row, code, told)
            rows.append(row)
            say(f"{tag}: {row.outcome}")
            subprocess.run(
                engine.command("image", "rm", "--force", tag),
                env=dict(engine.environment.values),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
    return rows


def host_pythons(given: list[str]) -> list[str]:
    """Those that were named, else the machine's own: not that of this virtual environment."""
    if given:
        return given
    own = str(Path(sys.executable).parent)
    path = os.pathsep.join(part for part in os.environ.get("PATH", os.defpath).split(os.pathsep) if part != own)
    candidates = [shutil.which("python3", path=path), "/opt/conda/bin/python", "/usr/bin/python3"]
    # A link may be a virtual environment's: it is followed to tell which are the same, and no further.
    found = {os.path.realpath(name): name for name in reversed(candidates) if name and Path(name).exists()}
    return list(reversed(found.values()))


def in_host_pythons(pythons: list[str]) -> list[Row]:
    """A row for each example and Python."""
    rows = []
    for python in pythons:
        look = ask(python)
        frameworks = ", ".join(f"{each['name']} {each['version']}" for each in look.get("frameworks") or ())
        for example in gpu_examples(ROOT / "examples"):
            row = Row(example.name, python, str((look.get("driver") or {}).get("cuda") or ""))
            rows.append(row)
            if not frameworks:
                row.outcome, row.reason = "left out", "this Python has neither torch nor cupy nor tensorflow"
                continue
            begun = time.monotonic()
            with lent_packages(python) as variables:
                code, told = run(["test", "--local", str(example), "--python", python, "--gpus", "all"], variables)
            row.seconds = time.monotonic() - begun
            judge(row, code, told)
            say(f"{example.name} in {python}: {row.outcome}")
    return rows


def ask(python: str) -> dict[str, Any]:
    """What the runtime's look at the GPUs tells in a Python."""
    words = [python, str(RUNTIME), "gpu", "-"]  # no framework has that name: none is tried
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, timeout=120, check=False)
    try:
        told = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        return {}
    return told if isinstance(told, dict) else {}


@contextlib.contextmanager
def lent_packages(python: str) -> Iterator[dict[str, str]]:
    """Our own pydicom, which is pure Python, for a Python that has none; as variables of the environment."""
    asked = subprocess.run([python, "-c", "import pydicom"], capture_output=True, check=False)
    if asked.returncode == 0:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="mdai-build-gpu-test-") as folder:
        site = Path(str(importlib.metadata.distribution("pydicom").locate_file("")))
        for path in (site / "pydicom", *site.glob("pydicom-*.dist-info")):
            (Path(folder) / path.name).symlink_to(path)
        yield {"PYTHONPATH": folder}


def say(text: str) -> None:
    print(f"gpu-test: {text}", file=sys.stderr, flush=True)


def print_table(rows: list[Row]) -> None:
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    for row in rows:
        if row.reason:
            print(f"\n{row.example}, Python {row.python}, CUDA {row.cuda or '?'}: {row.reason}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--local", action="store_true", help="in Pythons of this machine, even where Docker is")
    parser.add_argument("--pull", action="store_true", help="pull the parent images that are not here: many gigabytes")
    parser.add_argument("--python", action="append", default=[], help="with --local: a Python with torch or cupy")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        type=combination,
        metavar="BASE_IMAGE:CUDA",
        help="in containers: this combination, such as py310:11.8; may be given again",
    )
    options = parser.parse_args()
    missing = no_gpu_here()  # the engine may have one: it can be on another machine
    rows: list[Row] | str = "--local was given"
    if not options.local:
        rows = in_containers(options.pull, options.only, load_settings())
    if missing and isinstance(rows, str):
        say(f"nothing was tested on {platform.node()}: {missing}; no containers: {rows}")
        return EXIT_NO_GPU
    if not missing:
        tell_devices()
    if isinstance(rows, str):
        say(f"no containers: {rows}; local mode")
        rows = in_host_pythons(host_pythons(options.python))
    print_table(rows)
    if not any(row.outcome == "ok" or row.failed for row in rows):
        say("nothing could be tested")
        return 1
    return 1 if any(row.failed for row in rows) else 0


def combination(text: str) -> tuple[str, str]:
    """`py310:11.8` as `combinations` has it."""
    base_image, _, cuda = text.partition(":")
    if base_image not in BASE_IMAGES or cuda not in CUDA_VERSIONS:
        raise argparse.ArgumentTypeError(f"{text} is none of those in docs/parents.md, such as py310:11.8")
    return base_image, cuda


def tell_devices() -> None:
    """Says what devices and which driver this machine has."""
    look = ask(sys.executable)
    driver = look.get("driver") or {}
    for device in driver.get("devices") or ():
        say(f"{device['name']}, compute capability {device['capability']}, {device['bytes'] / 2**30:.0f} GiB")
    said = f"driver {look.get('driver_version') or '?'}, CUDA up to {driver.get('cuda') or '?'}"
    say(f"{said}; {driver['error']}" if driver.get("error") else said)


if __name__ == "__main__":
    sys.exit(main())
