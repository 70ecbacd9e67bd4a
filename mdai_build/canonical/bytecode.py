"""Compiled Python in a form that depends on its source alone.

Two compilations of one source differ in three ways that mean nothing: an object is marked as one that may be referred
to (`FLAG_REF` of the marshal format) if it happens to have more than one reference in that process; a string of one
character, of which a process has one only, as interned if anything interned it; and before Python 3.11 the members of
a set constant come in the order of their hashes. Here only what is referred to is marked, such strings are interned,
and members are sorted. A pyc that goes by its source's time gets the time that the source gets (PEP 552).

The format is that of CPython's Python/marshal.c from 3.7 to 3.13; whatever else is found stays as it is.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

HEADER_BYTES = 16
_REF, _FLAG = ord("r"), 0x80
_PLAIN = frozenset(b"0NFTS.")
_FIXED = {ord("i"): 4, ord("I"): 8, ord("g"): 8, ord("y"): 16}
_LONG_STRINGS, _SHORT_STRINGS = frozenset(b"stuaA"), frozenset(b"zZf")
_INTERNED = {ord("z"): ord("Z"), ord("a"): ord("A"), ord("u"): ord("t")}
_LONG_SEQUENCES, _SETS = frozenset(b"([<>"), frozenset(b"<>")
_DEEPEST = 200
"""Nested deeper than any compiler nests; a pyc made by hand must not exhaust the stack."""


@dataclass(frozen=True)
class _CodeLayout:
    """What a code object consists of: numbers, objects, a number (the first line), objects."""

    numbers: int
    objects: int
    objects_after: int


# By the first of the magic numbers that a release and its preparations have (Lib/importlib/_bootstrap_external.py).
_LAYOUTS = (
    (3390, _CodeLayout(5, 8, 1)),  # 3.7
    (3400, _CodeLayout(6, 8, 1)),  # 3.8 to 3.10
    (3450, _CodeLayout(5, 8, 2)),  # 3.11 to 3.13
    (3600, None),
)


class _UnknownFormatError(ValueError):
    """No marshal format that is known here."""


@dataclass(eq=False)
class _Node:
    kind: int
    payload: bytes = b""
    """Bytes between the type and the objects that belong to it."""
    children: list[_Node] = field(default_factory=list)
    tail_at: int = -1
    """For a code object: the number of the child before which its first line's number stands."""
    tail: bytes = b""
    uses: int = 0


def normal_pyc(content: bytes, time: int) -> bytes:
    """The content of a .pyc file in its normal form, for a source whose time is set to `time` (Unix seconds)."""
    if len(content) < HEADER_BYTES or content[2:4] != b"\r\n":
        return content
    magic, flags = struct.unpack_from("<H", content)[0], struct.unpack_from("<I", content, 4)[0]
    layout = next((layout for first, layout in reversed(_LAYOUTS) if magic >= first), None)
    if layout is None or flags > 3:
        return content
    header = content[:HEADER_BYTES] if flags else content[:8] + struct.pack("<I", time) + content[12:HEADER_BYTES]
    try:
        return header + _write(_read(content[HEADER_BYTES:], layout))
    except (_UnknownFormatError, UnicodeDecodeError):
        return header + content[HEADER_BYTES:]


def _read(data: bytes, layout: _CodeLayout) -> _Node:
    reader = _Reader(data, layout)
    node = reader.node(0)
    if reader.at != len(data):
        raise _UnknownFormatError
    return node


class _Reader:
    def __init__(self, data: bytes, layout: _CodeLayout) -> None:
        self.data = data
        self.at = 0
        self.layout = layout
        self.referable: list[_Node] = []

    def take(self, count: int) -> bytes:
        part = self.data[self.at : self.at + count]
        if count < 0 or len(part) != count:
            raise _UnknownFormatError
        self.at += count
        return part

    def node(self, depth: int) -> _Node:
        if depth > _DEEPEST:
            raise _UnknownFormatError
        code = self.take(1)[0]
        kind = code & ~_FLAG
        if kind == _REF:
            number = struct.unpack("<I", self.take(4))[0]
            if number >= len(self.referable):
                raise _UnknownFormatError
            found: _Node = self.referable[number]
            found.uses += 1
            return found
        node = _Node(kind)
        if code & _FLAG:
            self.referable.append(node)  # before its children: so the reader of CPython numbers them
        self.fill(node, depth)
        return node

    def fill(self, node: _Node, depth: int) -> None:
        kind = node.kind
        if kind in _PLAIN:
            return
        if kind in _FIXED:
            node.payload = self.take(_FIXED[kind])
        elif kind in _SHORT_STRINGS:
            size = self.take(1)
            node.payload = size + self.take(size[0])
        elif kind in _LONG_STRINGS:
            size = self.take(4)
            node.payload = size + self.take(struct.unpack("<i", size)[0])
        elif kind == ord("l"):
            size = self.take(4)
            node.payload = size + self.take(2 * abs(struct.unpack("<i", size)[0]))
        elif kind == ord(")"):
            node.payload = self.take(1)
            self.children(node, node.payload[0], depth)
        elif kind in _LONG_SEQUENCES:
            node.payload = self.take(4)
            self.children(node, struct.unpack("<i", node.payload)[0], depth)
        elif kind == ord("c"):
            node.payload = self.take(4 * self.layout.numbers)
            self.children(node, self.layout.objects, depth)
            node.tail_at, node.tail = self.layout.objects, self.take(4)
            self.children(node, self.layout.objects_after, depth)
        else:
            raise _UnknownFormatError
        if kind in _INTERNED and _characters(node) <= 1:
            node.kind = _INTERNED[kind]

    def children(self, node: _Node, count: int, depth: int) -> None:
        if count < 0 or count > len(self.data):
            raise _UnknownFormatError
        for _ in range(count):
            node.children.append(self.node(depth + 1))


def _characters(node: _Node) -> int:
    text = node.payload[1:] if node.kind in _SHORT_STRINGS else node.payload[4:]
    # Of two bytes at most: those are the characters of Latin-1, which each process has once.
    return len(text.decode("utf-8", "surrogatepass")) if len(text) <= 2 else len(text)


def _write(root: _Node) -> bytes:
    out: list[bytes] = []
    numbers: dict[int, int] = {}

    def write(node: _Node) -> None:
        number = numbers.get(id(node))
        if number is not None:
            out.append(struct.pack("<BI", _REF, number))
            return
        if node.uses:
            numbers[id(node)] = len(numbers)
        out.append(bytes([node.kind | (_FLAG if node.uses else 0)]))
        out.append(node.payload)
        children = sorted(node.children, key=_alone) if node.kind in _SETS else node.children
        for at, child in enumerate(children):
            if at == node.tail_at:
                out.append(node.tail)
            write(child)

    write(root)
    return b"".join(out)


def _alone(node: _Node) -> bytes:
    """The object written by itself, without references: what it is, wherever it stands."""
    return bytes([node.kind]) + node.payload + node.tail + b"".join(map(_alone, node.children))
