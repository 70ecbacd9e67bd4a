"""The statement of what an image was built from: made after a build, beside the image, and checked by `inspect`."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from mdai_build.errors import Location, NotVerifiedError, Problem, UnavailableError, UsageError
from mdai_build.pipeline.planning import parent_of
from mdai_build.pipeline.serve import Tell
from mdai_build.plan import LABEL_PREFIX, SBOM_FILE
from mdai_build.settings import Settings

if TYPE_CHECKING:
    from mdai_build.engine import Engine, ImageDetails
    from mdai_build.pipeline.build import BuildOptions, Prepared
    from mdai_build.provenance import ReadStatement
    from mdai_build.provenance.envelope import PrivateKey
    from mdai_build.report.inspection import Provenance
    from mdai_build.report.values import BuildReport

_MOST_SBOM_BYTES = 16 * 2**20
_MOST_STATEMENT_BYTES = 64 * 2**20


def wants_provenance(settings: Settings, options: BuildOptions) -> bool:
    """Whether a build is to state what it was made from: where a file is named, and on a push where there is a key."""
    return options.provenance is not None or (options.push and settings.signing_key is not None)


def signing_key(settings: Settings) -> PrivateKey | None:
    """The key that the settings give.

    Raises:
        UsageError: it cannot be used.
    """
    if settings.signing_key is None:
        return None
    from mdai_build.provenance.envelope import private_key

    password = settings.signing_key_password
    return private_key(settings.signing_key.get_secret_value(), password.get_secret_value() if password else None)


def record_provenance(
    engine: Engine,
    model: Prepared,
    report: BuildReport,
    settings: Settings,
    options: BuildOptions,
    started: datetime,
    tell: Tell,
) -> None:
    """Writes the statement of a finished build, and puts it beside an image that was pushed.

    Raises:
        UnavailableError: the file cannot be written, or the registry does not take it.
    """
    from mdai_build.engine import attach_statement, file_of_image, layers_of
    from mdai_build.provenance import ENVELOPE_TYPE, PAYLOAD_TYPE, PREDICATE_TYPE, Built, make_statement, sealed

    image = report.image
    if image is None:
        return
    tell("stating what the image was built from")
    parent = parent_of(model.plan)
    subjects = [(model.tag, image.id)]
    if report.pushed:
        name, _, digest = report.pushed.reference.partition("@")
        subjects.insert(0, (name, digest))
    if image.digest:
        subjects.append((model.tag, image.digest))
    statement = make_statement(
        model.plan,
        Built(
            subjects=tuple(dict.fromkeys(subjects)),
            bundle_digest=model.unpacked.digest,
            archive_sha256=_archive_digest(model),
            lock=model.checked.requirements.lock,
            parent=parent,
            parent_digest=manifest_digest(engine, parent) if parent else None,
            parent_layers=layers_of(engine, parent) if parent else (),
            sbom=file_of_image(engine, image.id, SBOM_FILE, _MOST_SBOM_BYTES),
            reproducible=settings.reproducible,
            builder=settings.builder_id,
            engine_version=engine.version,
            started=_moment(started),
            finished=_moment(datetime.now(timezone.utc)),
        ),
    )
    key = signing_key(settings)
    content = sealed(statement, key) if key else statement
    if options.provenance:
        _write(options.provenance, content + b"\n")
    if report.pushed:
        media_type = ENVELOPE_TYPE if key else PAYLOAD_TYPE
        attach_statement(engine, _with_host(report.pushed.reference), content, media_type, PREDICATE_TYPE)


def check_provenance(engine: Engine, image: ImageDetails, file: Path | None, key_file: Path | None) -> Provenance:
    """What a statement says of an image, once it is known to speak of this very image.

    It is read from a file, or where none is named from beside the image in its registry. With a key, its signature is
    checked.

    Raises:
        NotVerifiedError: it is not signed by that key, or speaks of another image or another bundle.
        UnavailableError: there is none.
        UsageError: the key or the file cannot be read.
    """
    from mdai_build.provenance import open_envelope, read_statement
    from mdai_build.provenance.envelope import public_key
    from mdai_build.report.inspection import Provenance

    key = public_key(key_file) if key_file else None
    where, content = (str(file), _read(file)) if file else _beside(engine, image)
    try:
        opened = open_envelope(content, key)
        statement = read_statement(opened.payload)
    except ValueError as error:
        raise _not_verified(where, f"the provenance is not to be trusted: {error}") from None
    known = {image.id, *(reference.partition("@")[2] for reference in image.digests)}
    if not known & set(statement.subjects):
        raise _not_verified(where, "the provenance speaks of another image", f"one of {', '.join(sorted(known))}")
    _check_labels(where, image, statement)
    return Provenance(where, statement, opened.signed_by, opened.signatures)


def manifest_digest(engine: Engine, reference: str) -> str | None:
    """The digest of an image's manifest in the registry that its reference names; None for a local one."""
    from mdai_build.engine import digests_of

    name = reference.partition("@")[0]
    name = name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
    if name.startswith("mdai-build/"):
        return None  # made on this machine: what containerd gives it is no registry's
    found = (digest.partition("@") for digest in digests_of(engine, reference))
    return next((digest for repository, _, digest in found if repository == name), None)


def _check_labels(where: str, image: ImageDetails, statement: ReadStatement) -> None:
    label = dict(image.labels).get(f"{LABEL_PREFIX}bundle.digest")
    if statement.bundle_digest != label:
        raise _not_verified(where, "the provenance speaks of another bundle than the image's own label")


def _beside(engine: Engine, image: ImageDetails) -> tuple[str, bytes]:
    from mdai_build.engine import attached_statement
    from mdai_build.provenance import PREDICATE_TYPE

    for reference in image.digests:
        content = attached_statement(engine, _with_host(reference), PREDICATE_TYPE)
        if content is not None:
            return reference, content
    raise UnavailableError(
        Problem(
            code="provenance.none",
            what="no provenance is beside the image in a registry",
            expected="an image that was pushed with provenance, or a file with it: --provenance FILE",
        )
    )


def _with_host(reference: str) -> str:
    """The reference without the tag, which a digest makes needless."""
    name, _, digest = reference.partition("@")
    return f"{name.rpartition(':')[0] if ':' in name.rpartition('/')[2] else name}@{digest}"


def _archive_digest(model: Prepared) -> str | None:
    bundle = model.checked.bundle
    if bundle.kind == "folder":
        return None
    digest = hashlib.sha256()
    with bundle.origin.open("rb") as stream:
        while part := stream.read(2**20):
            digest.update(part)
    return digest.hexdigest()


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(_MOST_STATEMENT_BYTES)
    except OSError as error:
        raise UsageError(
            Problem("provenance.unreadable", f"it cannot be read: {error.strerror or error}", Location(str(file)))
        ) from None


def _write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise UnavailableError(
            Problem(
                code="provenance.cannot-write",
                what=f"the provenance cannot be written: {error.strerror or error}",
                where=Location(str(file)),
                next_step="name another file; the image is built and tagged",
            )
        ) from error


def _not_verified(where: str, what: str, expected: str | None = None) -> NotVerifiedError:
    return NotVerifiedError(Problem("provenance.not-verified", what, Location(where), expected))
