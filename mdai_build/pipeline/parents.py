"""The parents of the support matrix under the settings in force: listed, and pinned to the bytes that they are now."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mdai_build.errors import Location, MdaiBuildError, Problem, UnavailableError, UsageError
from mdai_build.matrix import CudaRow, ParentImage, support_matrix
from mdai_build.parents import NAMED_KINDS, google_name, resolved_reference
from mdai_build.pipeline.serve import Tell
from mdai_build.scratch import write_whole
from mdai_build.settings import Settings, pins_file

if TYPE_CHECKING:
    from mdai_build.documents.machine import ListedParentDocument, ParentsPinDocument

_HEADING = """\
# Digests of parent images, by `mdai-build parents pin`: a build takes these bytes, whatever the names come to mean.
[parent_pins]
"""


@dataclass(frozen=True)
class ListedParent:
    """One parent, as a build would take it."""

    serves: str
    """What it is for: `cpu`, `CUDA 11.3`, `clara 4.1.0`, `slim parents`."""
    kind: str
    """What to say to `--parent` for it; `nvidia` needs no saying."""
    name: str
    """Its name, under which it is pinned."""
    reference: str
    """What is pulled: replaced, mirrored and pinned as the settings say."""
    image: ParentImage
    cuda: CudaRow | None
    gone: bool
    """Whether it is past its announced end of availability, or no longer listed."""

    @property
    def digest(self) -> str | None:
        """What it is pinned to."""
        return self.reference.partition("@")[2] or None

    @property
    def problems(self) -> tuple[str, ...]:
        """What is known to go wrong with it."""
        return (*self.image.problems, *(self.cuda.problems if self.cuda else ()))

    def as_json(self) -> ListedParentDocument:
        """The parent as JSON-ready values."""
        image, cuda = self.image, self.cuda
        return {
            "serves": self.serves,
            "kind": self.kind,
            "name": self.name,
            "reference": self.reference,
            "digest": self.digest,
            "platforms": list(image.platforms),
            "distribution": image.distribution,
            "glibc": image.glibc,
            "cudnn": image.cudnn,
            "pythons": list(image.pythons),
            "patched_until": str(image.patched_until) if image.patched_until else None,
            "available_until": str(image.available_until) if image.available_until else None,
            "past_availability": self.gone,
            "oldest_driver": cuda.oldest_driver if cuda else None,
            "compute_capabilities": [cuda.kernels.first, cuda.kernels.last] if cuda else None,
            "gpu_generations": [each.name for each in support_matrix().generations_of(cuda)] if cuda else None,
            "problems": list(self.problems),
        }


@dataclass(frozen=True)
class Pinned:
    """What came of pinning."""

    file: Path
    pins: tuple[tuple[str, str], ...]
    """Names of parents and their digests."""
    warnings: tuple[Problem, ...]

    def as_json(self) -> ParentsPinDocument:
        """The result as JSON-ready values."""
        return {
            "format": 1,
            "exit_code": 0,
            "file": str(self.file),
            "pins": dict(self.pins),
            "warnings": [warning.as_json() for warning in self.warnings],
        }


def list_parents(settings: Settings, today: datetime.date | None = None) -> tuple[ListedParent, ...]:
    """All parents that a config can lead to, the first choice before its slim equivalent."""
    today = today or datetime.date.today()
    return tuple(
        ListedParent(
            serves, kind, name, resolved_reference(name, settings), image, cuda, image.past_availability(today)
        )
        for serves, kind, name, image, cuda in _all(settings)
    )


def _all(settings: Settings) -> Iterator[tuple[str, str, str, ParentImage, CudaRow | None]]:
    matrix = support_matrix()
    yield "cpu", "gcp", google_name(matrix.cpu.google, settings), matrix.cpu.google, None
    yield "cpu", "slim", _slim_name(matrix.cpu.slim, settings), matrix.cpu.slim, None
    for version, row in matrix.gpu.items():
        yield f"CUDA {version}", "gcp", google_name(row.google, settings), row.google, row
        if row.slim:
            yield f"CUDA {version}", "slim", _slim_name(row.slim, settings), row.slim, row
    yield "slim parents", "slim", _slim_name(matrix.micromamba, settings), matrix.micromamba, None
    for version, image in matrix.clara.items():
        yield f"clara {version}", "nvidia", _slim_name(image, settings), image, None


def _slim_name(image: ParentImage, settings: Settings) -> str:
    return settings.parent_replacements.get(image.image, image.image)


def pin_parents(settings: Settings, names: Sequence[str], tell: Tell) -> Pinned:
    """Writes the digests that parents have in their registries now; settings read them from then on.

    Args:
        settings: in force; what is pinned by default is what the setting `parent` leads to.
        names: of parents, as the matrix or a reference names them.
        tell: progress.

    Raises:
        UsageError: there is nothing to pin.
        UnavailableError: no registry knows any of them, or the file cannot be written.
    """
    from mdai_build.engine import connect

    wanted = _wanted(settings, names)
    engine = connect(settings.engine_folder)
    found: dict[str, str] = {}
    warnings: list[Problem] = []
    unpinned = settings.model_copy(update={"parent_pins": {}, "parent_replacements": {}})
    for name in wanted:
        reference = resolved_reference(name, unpinned)
        tell(f"asking for {reference}")
        try:
            found[name] = engine.digest_in_registry(reference)
        except MdaiBuildError as failure:
            warnings.append(
                Problem(
                    code="parents.not-pinned",
                    what=f"{reference} was not pinned: {failure.problems[0].what}",
                    next_step="name a registry that has it (settings parent_registry, parent_mirrors)",
                )
            )
    if not found:
        raise UnavailableError(warnings)
    file = pins_file()
    pins = {**settings.parent_pins, **found}
    lines = "".join(f"{json.dumps(name)} = {json.dumps(digest)}\n" for name, digest in sorted(pins.items()))
    try:
        write_whole(file, _HEADING + lines)
    except OSError as error:
        raise UnavailableError(
            Problem("parents.cannot-write", f"the pins cannot be written: {error.strerror}", Location(str(file)))
        ) from error
    return Pinned(file, tuple(found.items()), tuple(warnings))


def _wanted(settings: Settings, names: Sequence[str]) -> tuple[str, ...]:
    listed = list_parents(settings)
    if not names:
        if settings.parent == "local":
            raise UsageError(
                Problem(
                    code="parents.local-not-pinned",
                    what="a parent that was made on this machine is in no registry, and has no digest to pin",
                    next_step="pin Google's: --parent gcp; or their equivalents: --parent slim",
                )
            )
        if settings.parent not in NAMED_KINDS:
            return (settings.parent_replacements.get(settings.parent, settings.parent),)
        return tuple(each.name for each in listed if each.kind == settings.parent)
    known = {each.image.image: each.name for each in listed} | {each.name: each.name for each in listed}
    return tuple(dict.fromkeys(known.get(name, name) for name in names))
