"""What is known of packages that install well and then do not work together, or cost more than they need.

The knowledge is data: `base_images/advice.yaml`. Everything here is a warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from mdai_build.config import ModelConfig
from mdai_build.errors import Location, Problem
from mdai_build.matrix import is_older, support_matrix
from mdai_build.requirements.model import REQUIREMENTS_FILE, Requirements
from mdai_build.requirements.refusal import Refusal
from mdai_build.requirements.resolved import Resolved
from mdai_build.resources import yaml_resource

DECIDING = ("numpy", "protobuf")
"""The preinstalled packages whose version decides what is said here."""
_TENSORFLOWS = ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "intel-tensorflow")


def advice(
    resolved: Resolved, requirements: Requirements, config: ModelConfig, cudnn: str | None = None
) -> tuple[Problem, ...]:
    """Warnings about the versions that an installer would take.

    Args:
        resolved: everything that would be installed; empty where that is not known.
        requirements: of the bundle, to tell lines.
        config: of the bundle: its device and CUDA.
        cudnn: major version of the parent image's cuDNN, where it is known.
    """
    found = (
        *_clashes(resolved),
        *_built_for_numpy_1(resolved),
        *(_unseen_gpu(resolved, config, cudnn) if config.device_type == "gpu" else _needless_cuda(resolved)),
    )
    return tuple(refusal.at(_line_of(names, requirements)) for names, refusal in found)


@cache
def _known() -> dict[str, Any]:
    known: dict[str, Any] = yaml_resource("base_images", "advice.yaml")
    return known


def advised_packages() -> frozenset[str]:
    """The packages that are known here."""
    clashes = (row[key] for row in _known()["clashes"] for key in ("package", "with"))
    return frozenset({*clashes, *_known()["numpy_2"], *_TENSORFLOWS})


Advice = tuple[tuple[str, ...], Refusal]
"""The packages that are meant, the one whose line is to be changed first, and what to say."""


def _clashes(resolved: Resolved) -> Iterator[Advice]:
    told = set()
    for row in _known()["clashes"]:
        name, version = _first(resolved, _TENSORFLOWS if row["package"] == "tensorflow" else (row["package"],))
        other = resolved.version(row["with"])
        if version is None or other is None or row["with"] in told:
            continue
        if _within(version, row["versions"]) and _within(other, row["at"]):
            told.add(row["with"])
            what = f"{row['with']} {other} would be installed, with which {name} {version} {row['what']}"
            yield (row["with"], name), Refusal("clash", what, next_step=row["next_step"])


def _built_for_numpy_1(resolved: Resolved) -> Iterator[Advice]:
    numpy = resolved.version("numpy")
    if numpy is None or numpy.major < 2:
        return
    old = [
        (name, version, first)
        for name, first in _known()["numpy_2"].items()
        if (version := resolved.version(name)) is not None and version < Version(first)
    ]
    if old:
        named = ", ".join(f"{name} {version} ({name}>={first} is not)" for name, version, first in old)
        what = f"numpy {numpy} would be installed, while these are compiled for numpy 1 and fail with it: {named}"
        yield (("numpy", *(name for name, _, _ in old)), Refusal("numpy-2", what, next_step="write `numpy<2`"))


def _unseen_gpu(resolved: Resolved, config: ModelConfig, cudnn: str | None) -> Iterator[Advice]:
    """Frameworks that would not see the GPU, or could do nothing with it."""
    yield from _other_cuda(resolved, config, cudnn)
    torch = resolved.version("torch")
    facts = _known()["pytorch_cuda"]
    if torch is None:
        return
    built = re.fullmatch(r"cu(\d+)(\d)", torch.local or "")
    cuda = f"{built[1]}.{built[2]}" if built else None
    if torch.local is None and _within(torch, facts["public"]["versions"]):
        cuda = facts["public"]["cuda"]
    matrix = support_matrix()
    if cuda is not None and matrix.lacks_expected(cuda):
        # Of a CUDA that no parent has, the last one before it tells.
        before = [row for version, row in matrix.gpu.items() if not is_older(cuda, version)]
        ends = ""
        if before:
            newest, last = matrix.generations_of(before[-1])[-1], before[-1].kernels.last
            ends = f"its kernels end with {newest.name} (sm_{last.replace('.', '')}), and "
        what = (
            f"torch {torch} is a build for CUDA {cuda}, whatever the parent image has: {ends}"
            f"on {matrix.expected.shown} or newer it fails with `no kernel image`"
        )
        yield ("torch",), Refusal("torch-kernels", what, next_step=facts["next_step"])


def _other_cuda(resolved: Resolved, config: ModelConfig, cudnn: str | None) -> Iterator[Advice]:
    name, version = _first(resolved, ("tensorflow", "tensorflow-gpu"))
    if version is not None and not any(package.name.startswith("nvidia-cudnn") for package in resolved.packages):
        for row in _known()["tensorflow_cuda"]:
            if _within(version, row["versions"]) and config.cuda_version not in row["works"]:
                what = (
                    f"{name} {version} is built for CUDA {row['built']} and runs on the CPU with another; "
                    f"this bundle asks for {config.cuda_version}"
                )
                works = " or ".join(f'"{cuda}"' for cuda in row["works"])
                yield (
                    (name,),
                    Refusal("tensorflow-cuda", what, next_step=f"write `cuda_version:` {works} in config.yaml"),
                )
            elif _within(version, row["versions"]) and cudnn is not None and cudnn != row["cudnn"]:
                what = f"{name} {version} loads cuDNN {row['cudnn']}; this parent image has {cudnn}: it runs on the CPU"
                next_step = (
                    "write `tensorflow[and-cuda]`, which brings its own (from 2.14 on), or build with --parent gcp"
                )
                yield (name,), Refusal("tensorflow-cudnn", what, next_step=next_step)
    torch = resolved.version("torch")
    if torch is not None and torch.local == "cpu":
        what = f"torch {torch} is a build without CUDA; this bundle asks for device_type gpu"
        yield ("torch",), Refusal("without-cuda", what, next_step="take a version without `+cpu`")
    cpu = resolved.version("tensorflow-cpu")
    if cpu is not None and version is None:
        what = f"tensorflow-cpu {cpu} is a build without CUDA; this bundle asks for device_type gpu"
        yield ("tensorflow-cpu",), Refusal("without-cuda", what, next_step="write `tensorflow`")


def _needless_cuda(resolved: Resolved) -> Iterator[Advice]:
    torch = resolved.version("torch")
    if torch is None or (torch.local is not None and not torch.local.startswith("cu")):
        return
    what = f"torch {torch} is a build for CUDA: it adds gigabytes to an image that runs on the CPU"
    index = _known()["pytorch_cpu_index"]
    next_step = f"write `--extra-index-url {index}` on a line above"
    if torch.local is not None:
        next_step += f", and `torch=={torch.public}+cpu`"
    yield ("torch",), Refusal("torch-cuda-on-cpu", what, next_step=next_step)


def _first(resolved: Resolved, names: tuple[str, ...]) -> tuple[str, Version | None]:
    for name in names:
        if (version := resolved.version(name)) is not None:
            return name, version
    return names[0], None


def _within(version: Version, specifiers: str) -> bool:
    return SpecifierSet(specifiers).contains(version, prereleases=True)


def _line_of(names: tuple[str, ...], requirements: Requirements) -> Location:
    """The line of the first of these packages that has one."""
    lines = {str(canonicalize_name(line.name)): line for line in requirements.lines if line.name and line.applies}
    line = next((lines[name] for name in names if name in lines), None)
    return Location(line.file, line.line, source=line.text) if line else Location(REQUIREMENTS_FILE)
