"""Builds many images with one `docker buildx bake`, so that BuildKit solves what they share once.

A bake file in JSON is read as HCL: `${` and `%{` begin a template there (HCL's JSON syntax, "Expressions").
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from mdai_build.engine.build import (
    BuildRequest,
    BuildResult,
    failed,
    given_up_after,
    given_up_with,
    image_id,
)
from mdai_build.engine.connection import Engine
from mdai_build.engine.process import Environment, run_quietly, started
from mdai_build.engine.progress import Progress, follow
from mdai_build.engine.steps import ShowsSteps, StepNow
from mdai_build.scratch import scratch_folder

_ASKS_FOR_HOST_NETWORK = (0, 17)
"""From this version on, a bake file that wants the host's network needs a yes on the command line."""


def bake_file(requests: Mapping[str, BuildRequest]) -> str:
    """The bake file of some requests, as JSON; the names are those of its targets (letters, digits, `_`, `-`)."""
    targets = {name: _target(request) for name, request in requests.items()}
    return json.dumps({"group": {"default": {"targets": list(targets)}}, "target": _literal(targets)}, indent=2) + "\n"


def bake_images(
    engine: Engine, requests: Mapping[str, BuildRequest], on_step: Callable[[str], None]
) -> dict[str, BuildResult]:
    """Builds the images of all requests, at least one, as one graph; `on_step` is told each step as it begins.

    Raises:
        MdaiBuildError: a step failed, whosoever: BuildKit then ends the builds of all, and some images may be done.
    """
    begun = time.monotonic()
    progress = Progress()
    some = next(iter(requests.values()))
    with scratch_folder() as scratch:
        file, metadata = scratch / "docker-bake.json", scratch / "metadata.json"
        file.write_text(bake_file(requests), encoding="utf-8")
        words = ["buildx", "bake", f"--file={file}", "--progress=plain", "--provenance=false"]
        words.append(f"--metadata-file={metadata}")
        if some.builder:
            words.append(f"--builder={some.builder}")
        if some.network == "host" and _buildx_version(engine) >= _ASKS_FOR_HOST_NETWORK:
            words.append("--allow=network.host")
        # Newer ones ask before a file that they do not know reads outside the working folder; this one is ours.
        variables = {**engine.environment.values, **dict(some.proxies), "BUILDX_BAKE_ENTITLEMENTS_FS": "0"}
        with started(engine.command(*words), Environment(variables)) as process:
            with given_up_after(process, some.timeout, progress), given_up_with(engine, process):
                follow(process.stdout or (), progress, _Once(on_step))
                exit_code = process.wait()
            if exit_code != 0:
                raise failed(engine, progress)
        told: dict[str, Any] = json.loads(metadata.read_bytes())
    seconds = time.monotonic() - begun
    stages, steps = progress.stages(), progress.steps(begun)
    return {name: BuildResult(image_id(engine, told[name]), stages, seconds, steps) for name in requests}


class _Once:
    """Tells a step that several targets have once, without their names."""

    def __init__(self, on_step: Callable[[str], None]) -> None:
        self._on_step = on_step
        self._shows = on_step if isinstance(on_step, ShowsSteps) else None
        self._told: set[str] = set()

    def __call__(self, name: str) -> None:
        step = _without_target(name)
        if step not in self._told and "internal] " not in step:
            self._told.add(step)
            self._on_step(step)

    def step(self, now: StepNow) -> None:
        """What a step is doing, to whoever can show it."""
        name = _without_target(now.name)
        if self._shows is not None and "internal] " not in name:
            self._shows.step(replace(now, name=name))


def _without_target(name: str) -> str:
    return re.sub(r"^\[\S+ +(?=[^\]]* \d+/\d+\])", "[", re.sub(r"^\[\S+\] (?=exporting)", "", name))


def _target(request: BuildRequest) -> dict[str, Any]:
    parts: dict[str, Any] = {
        "context": str(request.context),
        "dockerfile": "Dockerfile",
        "contexts": {name: str(folder) for name, folder in request.contexts},
        "secret": [f"id={name},src={file}" for name, file in request.secrets],
        # Those of proxies are taken from the environment: a value may hold a password.
        "args": {**request.arguments, **{name: None for name, _ in request.proxies}},
        "labels": dict(request.labels),
        "network": request.network,
        "platforms": [request.platform] if request.platform else [],
        "target": request.target,
        "no-cache": request.no_cache,
        "no-cache-filter": list(request.fresh),
        "cache-from": list(request.cache_from),
        "cache-to": list(request.cache_to),
        "output": [request.exporter],
    }
    return {name: value for name, value in parts.items() if value}


def _literal(value: Any) -> Any:
    """The same value with its texts written so that HCL takes them as they are."""
    if isinstance(value, str):
        return value.replace("${", "$${").replace("%{", "%%{")
    if isinstance(value, dict):
        return {name: _literal(part) for name, part in value.items()}
    return [_literal(part) for part in value] if isinstance(value, list) else value


def _buildx_version(engine: Engine) -> tuple[int, int]:
    found = re.search(
        r"\bv?(\d+)\.(\d+)\.\d+", run_quietly(engine.command("buildx", "version"), engine.environment).output
    )
    return (int(found[1]), int(found[2])) if found else (0, 0)
