"""What can be known about a bundle without an engine: bundle -> config -> requirements -> parent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from mdai_build.bundle import SMOKE_FILE, Bundle, Limits, check_entry_point, check_weights, read_bundle
from mdai_build.config import ModelConfig, check_config_against_bundle, parse_config
from mdai_build.errors import BundleError, MdaiBuildError, Problem
from mdai_build.parents import Parent, choose_parent
from mdai_build.requirements import MACHINES, Requirements, missing_imports, read_requirements
from mdai_build.settings import Settings

if TYPE_CHECKING:
    from mdai_build.documents.bundle import CheckDocument, ConfigDocument

T = TypeVar("T")


@dataclass(frozen=True)
class CheckedModel:
    """A bundle in which nothing wrong was found without an engine."""

    bundle: Bundle
    config: ModelConfig
    requirements: Requirements
    parent: Parent
    warnings: tuple[Problem, ...]
    wheels_suffice: bool = False
    """Whether it is known that no requirement has to be built from its source."""
    resolved_text: str = ""
    """What the requirements came to, for the install step (`requirements.resolved_file`); empty where not known."""


def limits_of(settings: Settings) -> Limits:
    """How much a bundle may hold."""
    return Limits(settings.bundle_entries, settings.bundle_bytes, settings.bundle_ratio)


def check_model(path: Path, settings: Settings, *, look_up: bool = False) -> CheckedModel:
    """Everything that can be known about a bundle without an engine; the model's code is read, never run.

    Args:
        path: of the archive or folder.
        settings: in force.
        look_up: whether package indexes are asked if the requirements can be met.

    Raises:
        BundleError: the bundle, its config or its entry point is wrong; problems of all parts at once.
        RequirementsError: its requirements cannot be met.
    """
    bundle = read_bundle(path, limits_of(settings))
    warnings = list(bundle.warnings)
    failures: list[MdaiBuildError] = []

    def attempt(step: Callable[[], T]) -> T | None:
        try:
            return step()
        except MdaiBuildError as failure:
            failures.append(failure)
            warnings.extend(failure.warnings)
            return None

    parsed = attempt(lambda: parse_config(bundle.read_text(bundle.config_path), bundle.config_path))
    python = parsed.config.python if parsed else None
    device = parsed.config.device_type if parsed and python else None
    warnings.extend(attempt(lambda: check_entry_point(bundle, python, device)) or ())
    warnings.extend(attempt(lambda: tuple(check_weights(bundle))) or ())
    if parsed is not None:
        warnings.extend(parsed.warnings)
        warnings.extend(attempt(lambda: check_config_against_bundle(parsed.config, bundle, settings.platform)) or ())
    requirements = attempt(lambda: read_requirements(bundle, python, machine=MACHINES[settings.platform]))
    attempt(lambda: _check_smoke_file(bundle))
    parent = attempt(lambda: choose_parent(parsed.config, settings)) if parsed else None
    if requirements is not None:
        warnings.extend(requirements.warnings)
        warnings.extend(missing_imports(bundle, requirements, python))
    wheels_suffice, resolved_text = False, ""
    if requirements is not None and parsed is not None and look_up:
        from mdai_build.pipeline.preflight import preflight

        found = attempt(
            lambda: preflight(bundle, parsed.config, requirements, settings, parent.cudnn if parent else None)
        )
        if found is not None:
            warnings.extend(found.warnings)
            wheels_suffice, resolved_text = found.wheels_suffice, found.resolved_text
    if failures or parsed is None or requirements is None or parent is None:
        raise _together(failures, warnings)
    told = (*warnings, *parent.warnings)
    return CheckedModel(bundle, parsed.config, requirements, parent, told, wheels_suffice, resolved_text)


def _check_smoke_file(bundle: Bundle) -> None:
    if bundle.has(SMOKE_FILE):
        from mdai_build.smoke.smoke_file import bundled_samples, parse_smoke_file

        bundled_samples(parse_smoke_file(bundle.read_text(SMOKE_FILE)), (member.path for member in bundle.members))


def _together(failures: list[MdaiBuildError], warnings: list[Problem]) -> MdaiBuildError:
    kind = next((type(failure) for failure in failures if isinstance(failure, BundleError)), type(failures[0]))
    return kind((problem for failure in failures for problem in failure.problems), warnings)


def overrides(checked: CheckedModel) -> tuple[str, ...]:
    """What the requirements change in the preinstalled packages, a sentence each."""
    return tuple(
        f"{change.name} {change.preinstalled} -> {change.asked} ({change.file}:{change.line})"
        for change in checked.requirements.overrides
    )


def summary(checked: CheckedModel, exit_code: int = 0) -> CheckDocument:
    """What `check` found, JSON-ready."""
    parent = checked.parent
    return {
        "format": 1,
        "exit_code": exit_code,
        "bundle": checked.bundle.name,
        "kind": checked.bundle.kind,
        "files": len(checked.bundle.members),
        "bytes": sum(member.size for member in checked.bundle.members),
        "config": cast("ConfigDocument", checked.config.model_dump(mode="json")),
        "parent": {"kind": parent.kind, "reference": parent.reference, "why": parent.why},
        "requirements": [line.text.split(" --hash=")[0] for line in checked.requirements.lines],
        "lock": checked.requirements.lock,
        "overrides": list(overrides(checked)),
        "warnings": [warning.as_json() for warning in checked.warnings],
    }
