"""The provenance of an image: an in-toto Statement v1 that holds a SLSA Provenance v1.

See https://in-toto.io/Statement/v1 and https://slsa.dev/provenance/v1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mdai_build import __version__
from mdai_build.plan import SBOM_FILE, BuildPlan
from mdai_build.resources import resources_digest

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:mdai-build:image:1"
_MOST_BYTES = 32 * 2**20
_SHA256 = "sha256:"


@dataclass(frozen=True)
class Built:
    """What is to be told of one build, beside its plan."""

    subjects: tuple[tuple[str, str], ...]
    """Name and `sha256:…` of the image: of its manifest where it was pushed, and as the engine holds it."""
    bundle_digest: str
    archive_sha256: str | None
    """Of the archive's file; None for a folder."""
    lock: str | None
    """The lock's path in the bundle, where one holds."""
    parent: str | None
    """The image that it stands on; None: a Dockerfile of the author's own begins with none."""
    parent_digest: str | None
    """Of the parent's manifest; None for one that came from no registry."""
    parent_layers: tuple[str, ...]
    sbom: bytes | None
    reproducible: bool
    builder: str
    """A URI of whoever built it, which its reader is to trust."""
    engine_version: str
    started: str
    finished: str
    """Both in RFC 3339."""


def make_statement(plan: BuildPlan, built: Built) -> bytes:
    """The statement, as JSON."""
    bundle = {"mdaiBundle1": built.bundle_digest.removeprefix(_SHA256)}
    if built.archive_sha256:
        bundle["sha256"] = built.archive_sha256
    parent = {"sha256": built.parent_digest.removeprefix(_SHA256)} if built.parent_digest else {}
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": name, "digest": {"sha256": digest.removeprefix(_SHA256)}} for name, digest in built.subjects
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "bundle": plan.name,
                    "python": plan.python,
                    "deviceType": plan.device_type,
                    "parent": built.parent,
                    "lock": built.lock,
                    "reproducible": built.reproducible,
                },
                "internalParameters": {
                    "templates": f"sha256:{resources_digest()}",
                    "installer": plan.installer,
                    "parentLayers": list(built.parent_layers),
                },
                "resolvedDependencies": [
                    {"name": "bundle", "digest": bundle},
                    *(
                        [{"name": "parent", "uri": built.parent, **({"digest": parent} if parent else {})}]
                        if built.parent
                        else []
                    ),
                    *_packages(built.sbom),
                ],
            },
            "runDetails": {
                "builder": {
                    "id": built.builder,
                    "version": {"mdai-build": __version__, "engine": built.engine_version},
                },
                "metadata": {"startedOn": built.started, "finishedOn": built.finished},
                "byproducts": _byproducts(built.sbom),
            },
        },
    }
    return json.dumps(statement, sort_keys=True, ensure_ascii=False).encode()


def _packages(sbom: bytes | None) -> list[dict[str, Any]]:
    components = json.loads(sbom)["components"] if sbom else []
    found = []
    for component in components:
        hashes = {entry["alg"].lower().replace("-", ""): entry["content"] for entry in component.get("hashes") or ()}
        notes = {entry["name"]: entry["value"] for entry in component.get("properties") or ()}
        kept = {name: notes[name] for name in ("mdai-build:group", "mdai-build:files-sha256") if name in notes}
        package: dict[str, Any] = {"uri": component["purl"], "annotations": kept}
        found.append({**package, "digest": hashes} if hashes else package)
    return found


def _byproducts(sbom: bytes | None) -> list[dict[str, Any]]:
    import hashlib

    if sbom is None:
        return []
    digest = {"sha256": hashlib.sha256(sbom).hexdigest()}
    return [{"name": SBOM_FILE, "mediaType": "application/vnd.cyclonedx+json", "digest": digest}]


@dataclass(frozen=True)
class ReadStatement:
    """What a statement says, as far as it is shown and checked."""

    subjects: tuple[str, ...]
    """Digests, `sha256:…`, that it speaks of."""
    bundle_digest: str | None
    parent: str | None
    builder: str
    versions: tuple[tuple[str, str], ...]
    started: str
    finished: str
    packages: int


def read_statement(content: bytes) -> ReadStatement:
    """Reads a statement, which may come from a stranger.

    Raises:
        ValueError: it is no in-toto statement with a SLSA provenance of a build by mdai-build.
    """
    try:
        if len(content) > _MOST_BYTES:
            raise ValueError("it is too large")
        found = json.loads(content)
        if found["_type"] != STATEMENT_TYPE or found["predicateType"] != PREDICATE_TYPE:
            raise ValueError("it is of another type")
        definition, run = found["predicate"]["buildDefinition"], found["predicate"]["runDetails"]
        if definition["buildType"] != BUILD_TYPE:
            raise ValueError("it is about another kind of build")
        dependencies: Sequence[Mapping[str, Any]] = definition["resolvedDependencies"]
        by_name = {str(entry["name"]): entry for entry in dependencies if "name" in entry}
        bundle = by_name.get("bundle", {}).get("digest", {}).get("mdaiBundle1")
        parent = by_name.get("parent", {})
        at = (parent.get("digest") or {}).get("sha256")
        return ReadStatement(
            subjects=tuple(f"sha256:{entry['digest']['sha256']}" for entry in found["subject"]),
            bundle_digest=f"sha256:{bundle}" if bundle else None,
            parent="@sha256:".join(str(part) for part in (parent.get("uri"), at) if part) or None,
            builder=str(run["builder"]["id"]),
            versions=tuple((str(k), str(v)) for k, v in sorted((run["builder"].get("version") or {}).items())),
            started=str(run["metadata"]["startedOn"]),
            finished=str(run["metadata"]["finishedOn"]),
            packages=sum("uri" in entry and "name" not in entry for entry in dependencies),
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"a part of it is missing: {error}") from None
