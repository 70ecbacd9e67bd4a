"""What an image was built from, as a statement that others can check: in-toto, SLSA, DSSE; signed if there is a key."""

from __future__ import annotations

from mdai_build.provenance.envelope import ENVELOPE_TYPE, PAYLOAD_TYPE, Opened, open_envelope, sealed
from mdai_build.provenance.statement import PREDICATE_TYPE, Built, ReadStatement, make_statement, read_statement

__all__ = [
    "ENVELOPE_TYPE",
    "PAYLOAD_TYPE",
    "PREDICATE_TYPE",
    "Built",
    "Opened",
    "ReadStatement",
    "make_statement",
    "open_envelope",
    "read_statement",
    "sealed",
]
