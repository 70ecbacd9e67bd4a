"""What an image is and holds, told to people and to machines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from mdai_build.report.document import FORMAT
from mdai_build.report.terminal import console, print_facts, table
from mdai_build.report.text import clean_line, size

if TYPE_CHECKING:
    from rich.console import Console

    from mdai_build.documents.image import InspectDocument, ProvenanceDocument
    from mdai_build.engine import ImageDetails
    from mdai_build.provenance import ReadStatement

_PROPERTY = "mdai-build:"
_WIDEST_STEP = 100


@dataclass(frozen=True)
class Package:
    """A package that an image's bill of materials lists."""

    name: str
    version: str
    group: str
    """`model`, `server` or `conda`; empty where it does not say."""
    preinstalled: str | None
    """The version that the environment began with, of a package that is preinstalled."""
    source: str | None
    """Where it came from that did not come from an index."""
    licences: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether the model's requirements moved a preinstalled package to another version."""
        return self.preinstalled not in (None, self.version)


@dataclass(frozen=True)
class Provenance:
    """A statement of what an image was built from, which speaks of that very image."""

    where: str
    statement: ReadStatement
    signed_by: str | None
    """The id of the key whose signature was checked; None where none was."""
    signatures: int


@dataclass(frozen=True)
class Inspection:
    """What could be found out about an image without running it."""

    reference: str
    image: ImageDetails
    built: Mapping[str, str]
    """What its labels say that it was built from, empty for an image that is none of ours."""
    sbom_file: str | None
    packages: tuple[Package, ...]
    removed: tuple[str, ...]
    """Preinstalled packages that are not there any more, as `name==version`."""
    notes: tuple[str, ...]
    """What could not be found out, and why."""
    provenance: Provenance | None = None
    """None where it was not asked for."""


def read_sbom(content: bytes) -> tuple[tuple[Package, ...], tuple[str, ...]] | None:
    """Packages and removed packages of a CycloneDX document; None for anything else. It comes from a stranger."""
    try:
        document = json.loads(content)
        components = document["components"] if document["bomFormat"] == "CycloneDX" else None
        if not isinstance(components, list):
            return None
        packages = tuple(_package(component) for component in components)
        removed = tuple(value for name, value in _properties(document) if name == "removed")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return packages, removed


def _package(component: Mapping[str, Any]) -> Package:
    properties = dict(_properties(component))
    return Package(
        name=str(component["name"]),
        version=str(component.get("version", "")),
        group=properties.get("group", ""),
        preinstalled=properties.get("preinstalled"),
        source=properties.get("source"),
        licences=tuple(_licences(component.get("licenses") or ())),
    )


def _properties(holder: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for entry in holder.get("properties") or ():
        if str(entry["name"]).startswith(_PROPERTY):
            yield str(entry["name"]).removeprefix(_PROPERTY), str(entry["value"])


def _licences(entries: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for entry in entries:
        licence = entry.get("license") or {}
        if text := entry.get("expression") or licence.get("id") or licence.get("name"):
            yield str(text)


def inspection_as_json(found: Inspection) -> InspectDocument:
    """An inspection as JSON-ready values. Sizes are bytes."""
    image = found.image
    return {
        "format": FORMAT,
        "exit_code": 0,
        "image": {
            "reference": found.reference,
            "id": image.id,
            "tags": list(image.tags),
            "size_bytes": image.size_bytes,
            "created": image.created,
            "platform": image.platform,
        },
        "built": dict(found.built) or None,
        "runs": {
            "user": image.user,
            "entry_point": list(image.entry_point),
            "command": list(image.command),
            "working_folder": image.working_folder,
            "ports": list(image.ports),
            "environment": list(image.environment),
        },
        "packages": [
            {
                "name": package.name,
                "version": package.version,
                "group": package.group,
                "preinstalled": package.preinstalled,
                "changed": package.changed,
                "source": package.source,
                "licences": list(package.licences),
            }
            for package in found.packages
        ],
        "removed": list(found.removed),
        "layers": [{"made_by": layer.made_by, "size_bytes": layer.size_bytes} for layer in image.layers],
        "labels": dict(image.labels),
        "sbom": found.sbom_file,
        "notes": list(found.notes),
        "provenance": _provenance(found.provenance) if found.provenance else None,
    }


def _provenance(found: Provenance) -> ProvenanceDocument:
    statement = found.statement
    return {
        "where": found.where,
        "signed_by": found.signed_by,
        "signatures": found.signatures,
        "subjects": list(statement.subjects),
        "bundle_digest": statement.bundle_digest,
        "parent": statement.parent,
        "builder": statement.builder,
        "versions": dict(statement.versions),
        "started": statement.started,
        "finished": statement.finished,
        "packages": statement.packages,
    }


def print_inspection(found: Inspection) -> None:
    """Prints an inspection as tables."""
    on = console()
    image = found.image
    print_facts(on, _facts(found))
    if found.packages:
        _print_packages(on, found)
    if image.layers:
        on.print()
        layers = table("layer", "size")
        for layer in image.layers:
            words = clean_line(layer.made_by)
            words = words if len(words) <= _WIDEST_STEP else words[: _WIDEST_STEP - 3] + "..."
            layers.add_row(Text(words), size(layer.size_bytes))
        on.print(layers)
    if found.notes:
        on.print()
    for note in found.notes:
        on.print(Text(clean_line(note), style="yellow"))


def _facts(found: Inspection) -> list[tuple[str, str]]:
    image, built = found.image, found.built
    rows = [("image", ", ".join(image.tags) or found.reference)]
    rows.append(("", f"{image.id}, {size(image.size_bytes)}, {image.platform}"))
    if built:
        runs_on = ", ".join(filter(None, (built.get("base_image"), built.get("device_type"))))
        runs_on += f", CUDA {built['cuda_version']}" if built.get("cuda_version") else ""
        rows += [
            ("built from", f"{built.get('bundle', 'a bundle')}, {built.get('bundle_digest', 'of unknown digest')}"),
            ("by", f"mdai-build {built['version']}"),
            ("runs on", runs_on),
            ("parent", ": ".join(filter(None, (built.get("parent"), built.get("parent_why"))))),
            ("", built.get("parent_digest") or built.get("parent_id") or "of unknown digest"),
        ]
    rows += [
        ("user", image.user or "root"),
        ("starts", " ".join((*image.entry_point, *image.command)) or "nothing"),
        ("in", image.working_folder or "/"),
        ("ports", ", ".join(image.ports) or "none"),
        ("environment", " ".join(image.environment) or "none"),
    ]
    if found.provenance:
        statement = found.provenance.statement
        versions = ", ".join(f"{name} {version}" for name, version in statement.versions)
        rows += [
            ("provenance", f"built {statement.started} by {statement.builder} ({versions})"),
            ("", f"from {statement.bundle_digest} on {statement.parent}, {statement.packages} packages"),
            ("", _signature(found.provenance)),
        ]
    return rows


def _signature(found: Provenance) -> str:
    if found.signed_by:
        return f"signed by the key {found.signed_by}"
    return "signed; not checked, since no --key was given" if found.signatures else "not signed"


def _print_packages(on: Console, found: Inspection) -> None:
    on.print()
    packages: Table = table("package", "version", "for", "")
    order = {"model": 0, "server": 1}
    for package in sorted(found.packages, key=lambda package: order.get(package.group, 2)):
        packages.add_row(
            Text(clean_line(package.name)),
            Text(clean_line(package.version)),
            Text(clean_line(package.group)),
            Text(clean_line(_remark(package)), style="yellow" if package.changed else ""),
        )
    on.print(packages)
    for name in found.removed:
        on.print(Text(f"preinstalled and no longer there: {clean_line(name)}", style="yellow"))


def _remark(package: Package) -> str:
    remarks = []
    if package.changed:
        remarks.append(f"preinstalled was {package.preinstalled}")
    elif package.preinstalled is not None:
        remarks.append("preinstalled")
    if package.source:
        remarks.append(f"from {package.source}")
    return ", ".join(remarks)
