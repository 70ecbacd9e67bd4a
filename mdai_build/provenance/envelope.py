"""Signatures around a statement: DSSE envelopes, by ECDSA P-256 or Ed25519 keys in PEM.

The Dead Simple Signing Envelope, version 1: what is signed is the type and the payload, each with its length (`_pae`).
The keys and signatures are those of cosign's key pairs, so that `cosign verify-attestation --key` reads what we attach.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from mdai_build.errors import Location, Problem, UsageError

PAYLOAD_TYPE = "application/vnd.in-toto+json"
ENVELOPE_TYPE = "application/vnd.dsse.envelope.v1+json"
_KEYS = "an ECDSA P-256 or Ed25519 key in PEM, such as `openssl genpkey -algorithm ed25519` makes"
_COSIGN = "ENCRYPTED SIGSTORE PRIVATE KEY"

PrivateKey = EllipticCurvePrivateKey | Ed25519PrivateKey
PublicKey = EllipticCurvePublicKey | Ed25519PublicKey


@dataclass(frozen=True)
class Opened:
    """What was in a file of provenance."""

    payload: bytes
    signed_by: str | None
    """The id of the key whose signature was checked; None where none was asked for."""
    signatures: int


def private_key(given: str, password: str | None) -> PrivateKey:
    """The key that a setting gives: the path of a PEM file, or its text.

    Raises:
        UsageError: it cannot be read, is of another kind, or its password is wrong. The message never holds the key.
    """
    inline = "-----BEGIN" in given
    where = "the key itself" if inline else given
    try:
        text = given.replace("\\n", "\n").encode() if inline else Path(given).read_bytes()
        if _COSIGN.encode() in text:
            raise _no_key(where, "it is in cosign's own encryption", "the key that was imported into cosign, in PEM")
        key = load_pem_private_key(text, password.encode() if password else None)
    except OSError as error:
        raise _no_key(where, error.strerror or "it cannot be read", _KEYS) from None
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        reason = "it asks for a password" if isinstance(error, TypeError) and not password else "it cannot be read"
        hint = f"{_KEYS}; its password in the setting signing_key_password"
        raise _no_key(where, reason, hint) from None
    if isinstance(key, Ed25519PrivateKey) or (isinstance(key, EllipticCurvePrivateKey) and _is_p256(key)):
        return key
    raise _no_key(where, "it is a key of another kind", _KEYS)


def public_key(file: Path) -> PublicKey:
    """The key of a PEM file, such as cosign.pub.

    Raises:
        UsageError: it cannot be read, or is of another kind.
    """
    try:
        key = load_pem_public_key(file.read_bytes())
    except OSError as error:
        raise _no_key(str(file), error.strerror or "it cannot be read", _KEYS, "--key") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _no_key(str(file), "it is no public key", "a public key in PEM, such as cosign.pub", "--key") from None
    if isinstance(key, Ed25519PublicKey) or (isinstance(key, EllipticCurvePublicKey) and _is_p256(key)):
        return key
    raise _no_key(str(file), "it is a key of another kind", _KEYS, "--key")


def key_id(key: PublicKey) -> str:
    """The SHA-256 of a public key as it is in certificates (SubjectPublicKeyInfo)."""
    written = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(written).hexdigest()}"


def sealed(statement: bytes, key: PrivateKey) -> bytes:
    """A statement in a signed envelope, as JSON on one line."""
    signed = _pae(statement)
    signature = key.sign(signed) if isinstance(key, Ed25519PrivateKey) else key.sign(signed, ECDSA(hashes.SHA256()))
    envelope = {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(statement).decode(),
        "signatures": [{"keyid": key_id(key.public_key()), "sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(envelope).encode()


def open_envelope(content: bytes, key: PublicKey | None) -> Opened:
    """The statement in an envelope, or the statement itself where it has none; its signature checked if there is a key.

    Raises:
        ValueError: it is neither, or no signature in it is by that key.
    """
    try:
        found = json.loads(content)
        if "payload" not in found:
            if key is not None:
                raise ValueError("it is not signed")
            return Opened(content, None, 0)
        payload = base64.b64decode(found["payload"], validate=True)
        signatures = [base64.b64decode(entry["sig"], validate=True) for entry in found["signatures"]]
        kind = found["payloadType"]
    except (KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise ValueError(f"it is no envelope: {error}") from None
    if kind != PAYLOAD_TYPE:
        raise ValueError(f"it holds {kind!r}, not {PAYLOAD_TYPE}")
    if key is None:
        return Opened(payload, None, len(signatures))
    if not any(_signed_by(key, signature, _pae(payload)) for signature in signatures):
        raise ValueError("no signature in it is by that key")
    return Opened(payload, key_id(key), len(signatures))


def _signed_by(key: PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, signed)
        else:
            key.verify(signature, signed, ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _pae(payload: bytes) -> bytes:
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _is_p256(key: EllipticCurvePrivateKey | EllipticCurvePublicKey) -> bool:
    return isinstance(key.curve, SECP256R1)


def _no_key(where: str, reason: str, expected: str, option: str = "signing_key") -> UsageError:
    return UsageError(
        Problem(
            code="provenance.key",
            what=f"the key cannot be used: {reason}",
            where=Location(where, key=option),
            expected=expected,
        )
    )
