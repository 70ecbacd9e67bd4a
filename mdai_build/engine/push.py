"""Pushes an image that the engine holds, as it is: what was tested is what is pushed."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from mdai_build.engine.connection import Engine
from mdai_build.engine.process import run_quietly, started
from mdai_build.errors import MdaiBuildError, Problem, UnavailableError

# The last line that `docker push` prints; before it, a line for each layer and what becomes of it.
_PUSHED = re.compile(r"^\S+: digest: (?P<digest>sha256:[0-9a-f]{64}) size: \d+$")
_LAYER = re.compile(r"^(?P<layer>[0-9a-f]{12}): (?P<state>Pushed|Layer already exists|Mounted from \S+)")
_REFUSED = re.compile(r"(?i)unauthorized|denied|authentication required|no basic auth credentials|forbidden")
_INSPECT_SECONDS = 60


@dataclass(frozen=True)
class Pushed:
    """Where an image was pushed to."""

    reference: str
    """With its digest: what a platform should pull."""
    size_bytes: int | None
    """Of all its layers as the registry holds them; None where it did not tell."""
    new_layers: int
    """How many the registry did not have."""
    seconds: float


def push_image(engine: Engine, reference: str, on_step: Callable[[str], None]) -> Pushed:
    """Pushes a tagged image to the registry that its tag names; `on_step` is told each layer that is there.

    Raises:
        UnavailableError: the registry does not answer, or does not let us.
    """
    begun = time.monotonic()
    said: list[str] = []
    layers: dict[str, str] = {}
    digest = None
    with started(engine.command("push", reference), engine.environment) as process:
        for line in process.stdout or ():
            said.append(line.rstrip("\n"))
            if found := _LAYER.match(line):
                layers[found["layer"]] = found["state"]
                on_step(f"pushing {reference}: {len(layers)} layers are there")
            elif pushed := _PUSHED.match(line.rstrip()):
                digest = pushed["digest"]
        exit_code = process.wait()
    if exit_code != 0 or digest is None:
        raise _failure(reference, "\n".join(said[-20:]))
    return Pushed(
        reference=f"{reference}@{digest}",
        size_bytes=_size(engine, f"{reference.rpartition(':')[0]}@{digest}"),
        new_layers=sum(state == "Pushed" for state in layers.values()),
        seconds=time.monotonic() - begun,
    )


def _size(engine: Engine, reference: str) -> int | None:
    answer = run_quietly(
        engine.command("buildx", "imagetools", "inspect", "--raw", reference), engine.environment, _INSPECT_SECONDS
    )
    try:
        return sum(int(layer["size"]) for layer in json.loads(answer.output)["layers"])
    except (ValueError, KeyError, TypeError):
        return None


def _failure(reference: str, said: str) -> MdaiBuildError:
    refused = _REFUSED.search(said)
    return UnavailableError(
        Problem(
            code="engine.push-refused" if refused else "engine.not-pushed",
            what=f"the image {reference} could not be pushed" + (": the registry does not let us" if refused else ""),
            expected="a tag that begins with the registry's host, such as registry.example:5000/models/lungs:1.2",
            next_step="log in with `docker login`; the image is in the engine, good and tagged"
            if refused
            else "see whether the registry answers; the image is in the engine, good and tagged",
            details=said,
        )
    )
