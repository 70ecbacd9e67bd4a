"""Envelopes around statements, and the keys that sign them."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from mdai_build.errors import UsageError
from mdai_build.provenance import PAYLOAD_TYPE, open_envelope, sealed
from mdai_build.provenance.envelope import key_id, private_key, public_key

MAKERS = {"ed25519": Ed25519PrivateKey.generate, "p256": lambda: generate_private_key(SECP256R1())}
STATEMENT = b'{"_type": "a statement"}'


def pem(key: object, encryption: KeySerializationEncryption | None = None) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()).decode()  # type: ignore[attr-defined]


def public_pem(key: object, place: Path) -> Path:
    place.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))  # type: ignore[attr-defined]
    return place


@pytest.mark.parametrize("kind", MAKERS)
def test_what_was_sealed_opens_with_the_public_key(kind: str, tmp_path: Path) -> None:
    key = MAKERS[kind]()
    (tmp_path / "key.pem").write_text(pem(key))
    public = public_key(public_pem(key, tmp_path / "key.pub"))
    for given in (str(tmp_path / "key.pem"), pem(key), pem(key).replace("\n", "\\n")):
        opened = open_envelope(sealed(STATEMENT, private_key(given, None)), public)
        assert (opened.payload, opened.signed_by, opened.signatures) == (STATEMENT, key_id(public), 1)


def test_the_signature_is_that_of_the_dsse_specification() -> None:
    key = generate_private_key(SECP256R1())
    envelope = json.loads(sealed(STATEMENT, key))
    signed = f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(STATEMENT)} ".encode() + STATEMENT
    assert envelope["payloadType"] == PAYLOAD_TYPE
    key.public_key().verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed, ECDSA(hashes.SHA256()))


@pytest.mark.parametrize("kind", MAKERS)
def test_what_was_changed_does_not(kind: str) -> None:
    key = MAKERS[kind]()
    public = key.public_key()
    whole = json.loads(sealed(STATEMENT, key))
    other = json.loads(sealed(STATEMENT, MAKERS[kind]()))
    for changed in (
        {**whole, "payload": base64.b64encode(STATEMENT + b" ").decode()},
        {**whole, "signatures": other["signatures"]},
        {**whole, "signatures": []},
        {**whole, "payloadType": "text/plain"},
    ):
        with pytest.raises(ValueError, match=r"by that key|not application"):
            open_envelope(json.dumps(changed).encode(), public)
    for broken in (b"", b"[]", b"1", b"{}", b'{"payload": 1}', b'{"payload": "AA=="}', b"[" * 100_000):
        with pytest.raises(ValueError):
            open_envelope(broken, public)


def test_without_a_key_nothing_is_claimed() -> None:
    assert open_envelope(STATEMENT, None).signed_by is None
    assert open_envelope(sealed(STATEMENT, Ed25519PrivateKey.generate()), None).signed_by is None
    with pytest.raises(ValueError, match="not signed"):
        open_envelope(STATEMENT, Ed25519PrivateKey.generate().public_key())


def test_a_key_with_a_password(tmp_path: Path) -> None:
    text = pem(Ed25519PrivateKey.generate(), BestAvailableEncryption(b"correct horse"))
    assert isinstance(private_key(text, "correct horse"), Ed25519PrivateKey)
    for password, reason in ((None, "asks for a password"), ("battery staple", "cannot be read")):
        with pytest.raises(UsageError) as refused:
            private_key(text, password)
        problem = refused.value.problems[0]
        assert reason in problem.what and "signing_key_password" in (problem.expected or "")


def test_keys_that_cannot_be_used_are_told_and_never_shown(tmp_path: Path) -> None:
    other = pem(generate_private_key(SECP384R1()))
    cosign = "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nc2VjcmV0\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"
    broken = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
    for given in (other, cosign, broken, str(tmp_path / "none.pem")):
        with pytest.raises(UsageError) as refused:
            private_key(given, None)
        told = json.dumps([problem.as_json() for problem in refused.value.problems]) + str(refused.value)
        assert "PRIVATE KEY" not in told and "c2VjcmV0" not in told and given.splitlines()[1:2] != [told]
    (tmp_path / "x.pub").write_text("no key")
    with pytest.raises(UsageError, match="no public key"):
        public_key(tmp_path / "x.pub")
