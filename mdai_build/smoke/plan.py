"""Decides what a smoke test sends: the user's samples where there are any, else synthetic ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdai_build.bundle import SMOKE_FILE
from mdai_build.errors import Location, Problem, UsageError
from mdai_build.smoke.request import Demand, Expectation, Scope, SmokeRequest

if TYPE_CHECKING:
    from mdai_build.bundle import UnpackedBundle
    from mdai_build.settings import Settings
    from mdai_build.smoke.smoke_file import SmokeFile

DEFAULT_SCOPE: Scope = "SERIES"
"""The scope of samples that come without one: models of every scope loop over `files`, so a series suits most."""


@dataclass(frozen=True)
class SmokePlan:
    """What will be sent, and how long the model may take."""

    requests: Sequence[SmokeRequest]
    """Synthetic ones may still be in the making: one that is not there yet is waited for."""
    ready_seconds: float = 300.0
    predict_seconds: float = 120.0
    total_seconds: float = 300.0
    """How long all requests that nobody asked for may take together; what would take longer is left out."""
    repeats: int = 3
    """How often the first answered request is sent again, to measure later answers."""
    warnings: tuple[Problem, ...] = ()
    gpu: bool = False
    """Whether the model is to compute on a GPU."""


def make_smoke_plan(
    settings: Settings,
    samples: Path | None = None,
    unpacked: UnpackedBundle | None = None,
    scope: Scope | None = None,
) -> SmokePlan:
    """The plan for a bundle or an image.

    The user's folder (or file) `samples` goes before the samples of the bundle's `.mdai/smoke.yaml`, and these before
    the synthetic ones. Everything else that smoke.yaml says holds for all of them.

    Raises:
        UsageError: `samples` holds nothing that can be sent.
        BundleError: smoke.yaml, or a sample that it names, is wrong.
    """
    from mdai_build.smoke.smoke_file import parse_smoke_file

    requests: Sequence[SmokeRequest]
    smoke_file: SmokeFile | None = None
    if unpacked is not None and unpacked.bundle.has(SMOKE_FILE):
        smoke_file = parse_smoke_file(unpacked.bundle.read_text(SMOKE_FILE))
    scope = scope or (smoke_file.scope if smoke_file else None)
    given = _given(smoke_file)
    warnings: tuple[Problem, ...] = ()
    if samples is not None:
        base = samples if samples.is_dir() else samples.parent
        found = {path.relative_to(base).as_posix(): path for path in _files_below(samples)}
        requests, warnings = _own_requests(found, scope, given, str(samples))
        if not requests:
            raise UsageError(
                Problem(
                    code="smoke.no-samples",
                    what="there is no DICOM, JPEG or PNG file to send",
                    where=Location(file=str(samples)),
                    expected="at least one file that a model can be sent",
                    next_step="name a folder with .dcm, .jpg or .png files",
                )
            )
    elif smoke_file is not None and smoke_file.samples and unpacked is not None:
        from mdai_build.smoke.smoke_file import bundled_samples

        sources = {file.path: file.source for file in unpacked.files}
        chosen = {path: sources[path] for path in bundled_samples(smoke_file, sources)}
        requests, warnings = _own_requests(chosen, scope, given, SMOKE_FILE)
    else:
        from mdai_build.smoke.samples import synthetic_requests

        requests = synthetic_requests(scope, **given)
    return SmokePlan(requests, settings.ready_timeout, settings.predict_timeout, warnings=warnings)


def _given(smoke_file: SmokeFile | None) -> dict[str, Any]:
    if smoke_file is None:
        return {}
    given: dict[str, Any] = {
        "args": dict(smoke_file.args),
        "annotations": tuple(smoke_file.annotations),
        "expect": Expectation(
            minimum=smoke_file.expect.min_outputs,
            maximum=smoke_file.expect.max_outputs,
            types=tuple(smoke_file.expect.types),
            class_indices=tuple(smoke_file.expect.class_indices),
        ),
    }
    if smoke_file.label_classes:
        given["label_classes"] = tuple(entry.as_body() for entry in smoke_file.label_classes)
        given["own_labels"] = True
    return given


def _own_requests(
    paths: Mapping[str, Path], scope: Scope | None, given: Mapping[str, Any], origin: str
) -> tuple[tuple[SmokeRequest, ...], tuple[Problem, ...]]:
    from mdai_build.smoke.files import group_files, read_files

    files, warnings = read_files(paths, origin)
    chosen = scope or DEFAULT_SCOPE
    groups = group_files(files, chosen)
    fields = dict(given)
    if "label_classes" not in fields:
        from mdai_build.smoke.samples import label_classes

        fields["label_classes"] = label_classes()
    requests = tuple(
        SmokeRequest(name=name, scope=chosen, files=members, demand=Demand.REQUIRED, **fields)
        for name, members in groups.items()
    )
    return requests, warnings


def _files_below(folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise UsageError(
            Problem(
                code="smoke.no-folder",
                what="there is no such folder",
                where=Location(file=str(folder)),
                expected="a folder with .dcm, .jpg or .png files",
                next_step="check the path after --samples",
            )
        )
    return sorted(path for path in folder.rglob("*") if path.is_file())
