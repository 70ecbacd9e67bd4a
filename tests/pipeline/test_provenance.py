"""`inspect --key` refuses a statement that is not, byte for byte in what it says, what the key signed of this image."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from factories import build_plan

from mdai_build.engine import Engine, ImageDetails
from mdai_build.engine.process import Environment
from mdai_build.errors import NotVerifiedError
from mdai_build.pipeline.provenance import check_provenance
from mdai_build.provenance import PAYLOAD_TYPE, Built, make_statement, sealed

NO_ENGINE = Engine(None, "", "", Environment({}))  # type: ignore[arg-type]
BUNDLE = "sha256:" + "12" * 32
IMAGE = ImageDetails(
    id="sha256:" + "ab" * 32,
    tags=("mdai-build/lungs:latest",),
    size_bytes=1,
    created="",
    platform="linux/amd64",
    labels=(("io.mdai-build.bundle.digest", BUNDLE),),
    environment=(),
    user="1000",
    entry_point=(),
    command=(),
    working_folder="/",
    ports=(),
    layers=(),
)
BUILT = Built(
    subjects=(("mdai-build/lungs:latest", IMAGE.id),),
    bundle_digest=BUNDLE,
    archive_sha256=None,
    lock=None,
    parent=None,
    parent_digest=None,
    parent_layers=(),
    sbom=None,
    reproducible=False,
    builder="https://ci.example/runner",
    engine_version="26.1.5",
    started="2026-11-25T10:00:00Z",
    finished="2026-11-25T10:01:00Z",
)
STATEMENT = make_statement(build_plan(), BUILT)
MAKERS: dict[str, Callable[[], Any]] = {
    "ed25519": Ed25519PrivateKey.generate,
    "p256": lambda: generate_private_key(SECP256R1()),
}


@pytest.fixture(params=MAKERS)
def maker(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """Makes keys of one kind."""
    return MAKERS[request.param]


def written(key: Any, place: Path) -> Path:
    place.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return place


def checked(content: bytes, public: Path, image: ImageDetails = IMAGE) -> Any:
    file = public.with_suffix(".json")
    file.write_bytes(content)
    return check_provenance(NO_ENGINE, image, file, public)


def test_what_the_key_signed_of_this_image_is_taken(maker: Callable[[], Any], tmp_path: Path) -> None:
    key = maker()
    found = checked(sealed(STATEMENT, key), written(key, tmp_path / "key.pub"))
    assert found.signed_by and found.statement.builder == "https://ci.example/runner"
    pushed = replace(IMAGE, id="sha256:" + "cd" * 32, digests=(f"registry.example/lungs@{IMAGE.id}",))
    assert checked(sealed(STATEMENT, key), tmp_path / "key.pub", pushed).signed_by


def test_no_changed_byte_changes_what_is_said(maker: Callable[[], Any], tmp_path: Path) -> None:
    """Each byte of the file in turn, by one bit: it is refused, or says just what it did."""
    key = maker()
    public, whole = written(key, tmp_path / "key.pub"), sealed(STATEMENT, key)
    good = checked(whole, public)
    refused = 0
    for place in range(len(whole)):
        try:
            found = checked(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :], public)
        except NotVerifiedError:
            refused += 1
        else:
            # As where the byte is of the key's id, which nobody goes by, or of what base64 leaves aside.
            assert found == good
    assert refused > len(whole) - 150


def test_what_is_of_another_is_refused(maker: Callable[[], Any], tmp_path: Path) -> None:
    key, stranger = maker(), maker()
    public, whole = written(key, tmp_path / "key.pub"), json.loads(sealed(STATEMENT, key))
    elsewhere = replace(BUILT, subjects=(("other", "sha256:" + "cd" * 32),))
    another_image = make_statement(build_plan(), elsewhere)
    another_bundle = make_statement(build_plan(), replace(BUILT, bundle_digest="sha256:" + "34" * 32))
    by_stranger = json.loads(sealed(STATEMENT, stranger))
    of_another = json.loads(sealed(another_image, key))
    payload = base64.b64encode(STATEMENT.replace(b"ci.example", b"my.example")).decode()
    named = {**by_stranger["signatures"][0], "keyid": whole["signatures"][0]["keyid"]}
    refused: dict[str, Any] = {
        "another statement under the signature": {**whole, "payload": payload},
        "the statement of another image": of_another,
        "its signature under this one": {**whole, "signatures": of_another["signatures"]},
        "its payload over this signature": {**of_another, "signatures": whole["signatures"]},
        "the statement of another bundle": json.loads(sealed(another_bundle, key)),
        "another key": by_stranger,
        "another key under our key's name": {**by_stranger, "signatures": [named]},
        "no signature": {**whole, "signatures": []},
        "an empty signature": {**whole, "signatures": [{**named, "sig": ""}]},
        "half a signature": {**whole, "signatures": [{**named, "sig": whole["signatures"][0]["sig"][:40]}]},
        "another type": {**whole, "payloadType": "text/plain"},
        "a type that runs into the payload": {**whole, "payloadType": f"{PAYLOAD_TYPE} "},
        "no envelope": json.loads(STATEMENT),
    }
    for why, envelope in refused.items():
        with pytest.raises(NotVerifiedError):
            checked(json.dumps(envelope).encode(), public)
            pytest.fail(f"{why} was taken")
    # Beside a stranger's, ours counts: envelopes may be signed by several.
    both = {**whole, "signatures": [*by_stranger["signatures"], *whole["signatures"]]}
    assert checked(json.dumps(both).encode(), public).signatures == 2


def test_a_changed_image_is_another_one(maker: Callable[[], Any], tmp_path: Path) -> None:
    key = maker()
    public, whole = written(key, tmp_path / "key.pub"), sealed(STATEMENT, key)
    changed = (
        replace(IMAGE, id="sha256:" + "ab" * 31 + "aa"),
        replace(IMAGE, id="sha256:" + "cd" * 32, digests=("mdai-build/lungs@sha256:" + "ce" * 32,)),
        replace(IMAGE, labels=(("io.mdai-build.bundle.digest", "sha256:" + "34" * 32),)),
        replace(IMAGE, labels=()),
    )
    for image in changed:
        with pytest.raises(NotVerifiedError):
            checked(whole, public, image)
