"""Builds an image again and compares both: plan -> engine -> canonical -> report."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdai_build.bundle import shown
from mdai_build.errors import Location, Problem, UsageError
from mdai_build.parents import NAMED_KINDS
from mdai_build.pipeline.build import BuildOptions, build_prepared, prepare, unfinished
from mdai_build.pipeline.check import CheckedModel
from mdai_build.pipeline.planning import check_for_build, plan_model, warnings_of
from mdai_build.pipeline.reproduce import normal_form
from mdai_build.pipeline.serve import Tell
from mdai_build.plan import LABEL_PREFIX, TEMPLATES_LABEL, BuildPlan
from mdai_build.requirements import CONSTRAINT_FILE
from mdai_build.resources import resources_digest
from mdai_build.settings import Settings

if TYPE_CHECKING:
    from mdai_build.engine import Engine
    from mdai_build.report.verification import Verification

_MOST_SBOM_BYTES = 16 * 2**20


def verify_image(reference: str, model: Path, settings: Settings, tell: Tell) -> Verification:
    """Builds the image of a model anew, with the versions that an image holds, and compares both.

    Nothing is tagged, and nothing of the rebuild stays.

    Raises:
        UnavailableError: no engine answers, or it holds no such image or not its parent.
        UsageError: mdai-build did not build the image.
        MdaiBuildError: the model cannot be built.
    """
    from mdai_build.canonical import compare
    from mdai_build.engine import connect, look_into
    from mdai_build.report.verification import Verification

    begun = time.monotonic()
    engine = connect(settings.engine_folder)
    image = look_into(engine, reference)
    labels = dict(image.labels)
    _check_ours(reference, labels)
    settings = _with_parent(settings, labels)
    tell("checking the bundle and its requirements")
    # The versions are those of the image, not what an index has now.
    checked = replace(check_for_build(model, settings), resolved_text="")
    with warnings_of(checked):
        unpacked, plan = plan_model(checked, settings, tell)
        notes = _notes(labels, unpacked.digest, checked)
        plan = _with_versions(plan, checked, _components(engine, image.id, labels))
        tag = f"{LABEL_PREFIX.rstrip('.')}/verify"
        prepared = prepare(engine, checked, unpacked, plan, tag, settings, BuildOptions(no_cache=True), tell)
    with unfinished(engine, settings, [prepared]):
        with warnings_of(checked):
            built, told = build_prepared(engine, prepared, settings, True, tell)
        with (
            normal_form(engine, image.id, prepared.plan, settings, tell) as ours,
            normal_form(engine, built.image_id, prepared.plan, settings, tell) as theirs,
        ):
            tell("comparing both")
            return Verification(
                reference,
                ours.digest,
                theirs.digest,
                len(ours.files),
                compare(ours, theirs),
                (*notes, *(note.what for note in told)),
                time.monotonic() - begun,
            )


def _check_ours(reference: str, labels: Mapping[str, str]) -> None:
    if f"{LABEL_PREFIX}version" not in labels:
        raise UsageError(
            Problem(
                code="verify.not-ours",
                what=f"mdai-build did not build the image {reference}",
                expected=f"an image with the label {LABEL_PREFIX}version",
                next_step="build one with `mdai-build build MODEL`",
            )
        )


def _with_parent(settings: Settings, labels: Mapping[str, str]) -> Settings:
    """The settings with the kind of parent that the image names, unless another one was asked for.

    Raises:
        UsageError: it stands on an image of its builder's choice, which was not asked for.
    """
    kind, reference = labels.get(f"{LABEL_PREFIX}parent.kind"), labels.get("org.opencontainers.image.base.name")
    if "parent" in settings.model_fields_set or kind in ("custom", "nvidia", None):
        return settings
    if kind not in NAMED_KINDS:
        # It is the image of a stranger: what it names would be run in the build, with the logins that a build is given.
        raise UsageError(
            Problem(
                code="verify.parent",
                what=f"only the image itself says that it stands on {shown(str(reference))}",
                where=Location("labels", key="org.opencontainers.image.base.name"),
                expected="a parent that you name: what is in it runs in the build",
                next_step=f"if you trust it, --parent {shown(str(reference))}",
            )
        )
    changed = settings.model_copy(update={"parent": kind})
    changed._logins = settings.logins
    return changed


def _notes(labels: Mapping[str, str], digest: str, checked: CheckedModel) -> tuple[str, ...]:
    notes = []
    if labels.get(f"{LABEL_PREFIX}bundle.digest") != digest:
        notes.append("the image was built from another bundle: the digests of the two differ")
    if labels.get(TEMPLATES_LABEL) != f"sha256:{resources_digest()}":
        version = labels[f"{LABEL_PREFIX}version"]
        notes.append(f"the image was made by mdai-build {version} with other templates or pins than those here")
    if not checked.requirements.lock and checked.requirements.lines:
        notes.append("the bundle has no lock: the rebuild was held to the versions that the image lists")
    return tuple(notes)


def _components(engine: Engine, image_id: str, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """The components that an image's bill of materials lists; it comes from a stranger."""
    from mdai_build.engine import file_of_image

    place = labels.get(f"{LABEL_PREFIX}sbom")
    content = file_of_image(engine, image_id, place, _MOST_SBOM_BYTES) if place else None
    try:
        found = json.loads(content or b"")["components"]
        return [component for component in found if isinstance(component, dict)]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []


def _with_versions(plan: BuildPlan, checked: CheckedModel, components: list[dict[str, Any]]) -> BuildPlan:
    """The plan, held to the versions that an image lists: of conda's packages, and the model's where no lock does."""
    from mdai_build.requirements import exact_conda_package, exact_package

    conda = tuple(filter(None, map(exact_conda_package, components)))
    plan = replace(plan, conda_packages=conda if plan.parent.has_conda else ())
    if checked.requirements.lock or not plan.requirements_text or "--require-hashes" in plan.requirements_text:
        return plan
    pins = "".join(f"{pin}\n" for pin in filter(None, map(exact_package, components)))
    text = plan.requirements_text
    if f"-c {CONSTRAINT_FILE}" not in text:
        text = f"-c {CONSTRAINT_FILE}\n{text}"
    return replace(plan, requirements_text=text, constraints_text=plan.constraints_text + pins)
