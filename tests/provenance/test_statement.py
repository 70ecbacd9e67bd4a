"""The statement of what an image was built from."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from factories import build_plan

from mdai_build.parents import Parent
from mdai_build.provenance import Built, make_statement, read_statement

DIGEST = "sha256:" + "ab" * 32
PLAN = build_plan(
    parent=Parent(kind="gcp", reference="registry.example/base-cpu", cuda=None, conda_channels=(), why="a CPU model"),
    env=(("TOKEN", "hidden-value"),),
    requirements_text="numpy\n",
    index_url="https://index.example/simple",
    netrc=True,
)
SBOM = {
    "components": [
        {
            "name": "numpy",
            "purl": "pkg:pypi/numpy@1.23.3",
            "properties": [
                {"name": "mdai-build:group", "value": "model"},
                {"name": "mdai-build:files-sha256", "value": "cd" * 32},
            ],
        },
        {
            "name": "python",
            "purl": "pkg:conda/python@3.8.18",
            "hashes": [{"alg": "SHA-256", "content": "ef" * 32}],
            "properties": [{"name": "mdai-build:group", "value": "conda"}],
        },
    ]
}
BUILT = Built(
    subjects=(("registry.example/lungs", DIGEST),),
    bundle_digest="sha256:" + "12" * 32,
    archive_sha256="34" * 32,
    lock=".mdai/requirements.lock",
    parent="registry.example/base-cpu",
    parent_digest="sha256:" + "56" * 32,
    parent_layers=("sha256:" + "78" * 32,),
    sbom=json.dumps(SBOM).encode(),
    reproducible=True,
    builder="https://ci.example/runner",
    engine_version="26.1.5",
    started="2026-11-25T10:00:00Z",
    finished="2026-11-25T10:01:00Z",
)


def test_it_is_a_slsa_provenance() -> None:
    statement = json.loads(make_statement(PLAN, BUILT))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert statement["subject"] == [{"name": "registry.example/lungs", "digest": {"sha256": "ab" * 32}}]
    definition, run = statement["predicate"]["buildDefinition"], statement["predicate"]["runDetails"]
    bundle, parent, numpy, python = definition["resolvedDependencies"]
    assert bundle["digest"] == {"mdaiBundle1": "12" * 32, "sha256": "34" * 32}
    assert parent == {"name": "parent", "uri": "registry.example/base-cpu", "digest": {"sha256": "56" * 32}}
    assert numpy["uri"] == "pkg:pypi/numpy@1.23.3" and numpy["annotations"]["mdai-build:files-sha256"] == "cd" * 32
    assert python["digest"] == {"sha256": "ef" * 32}
    assert definition["externalParameters"]["lock"] == ".mdai/requirements.lock"
    assert run["builder"]["id"] == "https://ci.example/runner"
    assert run["byproducts"][0]["mediaType"] == "application/vnd.cyclonedx+json"


def test_no_value_of_the_environment_is_in_it() -> None:
    assert b"hidden-value" not in make_statement(PLAN, BUILT)


def test_it_is_read_again() -> None:
    read = read_statement(make_statement(PLAN, BUILT))
    assert read.subjects == (DIGEST,)
    assert (read.bundle_digest, read.packages) == (BUILT.bundle_digest, 2)
    assert read.parent == "registry.example/base-cpu@sha256:" + "56" * 32
    local = read_statement(make_statement(PLAN, replace(BUILT, parent_digest=None, sbom=None, archive_sha256=None)))
    assert (local.parent, local.packages) == ("registry.example/base-cpu", 0)
    assert read_statement(make_statement(PLAN, replace(BUILT, parent=None, parent_digest=None))).parent is None


@pytest.mark.parametrize("part", ["_type", "subject", "predicate", "predicateType"])
def test_what_a_stranger_wrote_is_refused(part: str) -> None:
    statement = json.loads(make_statement(PLAN, BUILT))
    for value in (None, [], {}, 1, "x"):
        with pytest.raises(ValueError):
            read_statement(json.dumps({**statement, part: value or {"x": 1}}).encode())
        with pytest.raises(ValueError):
            read_statement(json.dumps({name: v for name, v in statement.items() if name != part}).encode())
    for content in (b"", b"[]", b"null", b"[" * 100_000):
        with pytest.raises(ValueError):
            read_statement(content)
