"""Decodes an answer, of which a hostile model may have made a small body that unpacks to more than this machine has."""

from __future__ import annotations

from typing import Any

MAX_PARTS = 4_000_000
"""Lists, maps and extensions in one answer: each takes at least 56 bytes of memory here, and one byte of the body. A
mask has one a row, a polygon one a point."""


class NotDecodableError(ValueError):
    """The body is no msgpack, or too much of it; the message says which."""


def decode_answer(body: bytes) -> Any:
    """The outputs in the body of an answer, whatever they are.

    Raises:
        NotDecodableError: there are none.
    """
    import msgpack

    parts = 0

    def counted(value: Any) -> Any:
        nonlocal parts
        parts += 1
        if parts > MAX_PARTS:
            raise NotDecodableError(f"it has more than {MAX_PARTS} lists and maps")
        return value

    def extension(code: int, data: bytes) -> Any:
        return counted(msgpack.ExtType(code, data))

    try:
        return msgpack.unpackb(
            body, raw=False, strict_map_key=False, list_hook=counted, object_hook=counted, ext_hook=extension
        )
    except NotDecodableError:
        raise
    except Exception as error:
        # msgpack raises many kinds for bytes that are not msgpack, TypeError for a key that is a list among them.
        raise NotDecodableError(f"the body is not msgpack: {str(error) or type(error).__name__}") from error
