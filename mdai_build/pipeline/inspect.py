"""What an image is and holds, found out without running it: engine -> report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mdai_build.errors import Problem, UnavailableError
from mdai_build.plan import BASE_DIGEST_LABEL, LABEL_PREFIX, PARENT_ID_LABEL
from mdai_build.settings import Settings

if TYPE_CHECKING:
    from mdai_build.engine import ImageDetails
    from mdai_build.report.inspection import Inspection

_MOST_SBOM_BYTES = 16 * 2**20
_LABELS = {
    "version": f"{LABEL_PREFIX}version",
    "bundle": "org.opencontainers.image.title",
    "bundle_digest": f"{LABEL_PREFIX}bundle.digest",
    "base_image": f"{LABEL_PREFIX}base-image",
    "device_type": f"{LABEL_PREFIX}device-type",
    "cuda_version": f"{LABEL_PREFIX}cuda-version",
    "parent": "org.opencontainers.image.base.name",
    "parent_digest": BASE_DIGEST_LABEL,
    "parent_id": PARENT_ID_LABEL,
    "parent_kind": f"{LABEL_PREFIX}parent.kind",
    "parent_why": f"{LABEL_PREFIX}parent.why",
    "base": f"{LABEL_PREFIX}base.image",
}


def inspect_image(reference: str, settings: Settings) -> Inspection:
    """What can be known of an image, ours or not.

    Raises:
        UnavailableError: no engine answers, or it holds no such image.
    """
    from mdai_build.engine import connect, file_of_image, look_into
    from mdai_build.report.inspection import Inspection, read_sbom

    engine = connect(settings.engine_folder)
    image = look_into(engine, reference)
    built = _built(image)
    file = dict(image.labels).get(f"{LABEL_PREFIX}sbom") if built else None
    content = file_of_image(engine, image.id, file, _MOST_SBOM_BYTES) if file else None
    listed = read_sbom(content) if content is not None else None
    notes = []
    if not built:
        notes.append("mdai-build did not build this image: what it was made from, and its packages, are not recorded")
    elif file is None:
        notes.append("an earlier mdai-build made this image and did not write down its packages; build it anew")
    elif listed is None:
        notes.append(f"the list of packages that should be at {file} in the image is not there, or cannot be read")
    packages, removed = listed or ((), ())
    return Inspection(reference, image, built, file if listed else None, packages, removed, tuple(notes))


def sbom_of_image(reference: str, settings: Settings) -> bytes:
    """The bill of materials that an image holds, CycloneDX JSON, as it is.

    Raises:
        UnavailableError: no engine answers, or it holds no such image, or the image has none.
    """
    from mdai_build.engine import connect, file_of_image, look_into

    engine = connect(settings.engine_folder)
    image = look_into(engine, reference)
    file = dict(image.labels).get(f"{LABEL_PREFIX}sbom") if _built(image) else None
    content = file_of_image(engine, image.id, file, _MOST_SBOM_BYTES) if file else None
    if content is None:
        raise UnavailableError(
            Problem(
                code="inspect.no-sbom",
                what=f"the image {reference} does not say what is installed in it",
                expected=f"an image that mdai-build built, with the label {LABEL_PREFIX}sbom",
                next_step="build it anew with `mdai-build build MODEL`",
            )
        )
    return content


def _built(image: ImageDetails) -> dict[str, str]:
    labels = dict(image.labels)
    if _LABELS["version"] not in labels:
        return {}
    return {name: labels[label] for name, label in _LABELS.items() if label in labels}
