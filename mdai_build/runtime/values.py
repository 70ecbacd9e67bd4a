"""Checks of single values and of long lists of numbers, for the contract; knows no schema.

To stay cheap while looking at every element, long lists are walked in C by ``marshal``: see ``_all_tagged``.

A value of a subclass counts as its base only where it reads as msgpack writes it: see ``_overridden``.
"""

from __future__ import annotations

import collections
import difflib
import enum
import marshal
import math
import re
from typing import Any, Callable, Dict, Iterable, NamedTuple, Sequence

# Lists that msgpack writes with one byte a value, ints from 0 to 127 or bools: these bytes, by the list's id.
SmallRows = Dict[int, bytes]

_INTEGER_RANGE = (-(2**63), 2**64)
_COUNTED = 1000
# What marshal writes for a list of exact ints of 32 bits and floats, and of bools too.
_NUMBERS = re.compile(rb".{5}(?:i.{4}|g.{8})*\Z", re.DOTALL)
_PIXELS = re.compile(rb".{5}(?:i.{4}|g.{8}|[TF])*\Z", re.DOTALL)
_BOOLS = bytes.maketrans(b"FT", b"\xc2\xc3")
_READERS = {
    int: ("__lt__", "__le__"),
    float: (),
    str: ("__eq__", "__hash__", "__len__", "__bool__", "encode"),
    dict: ("__len__", "__bool__", "__iter__", "__contains__", "__getitem__", "get", "items"),
}
_CASTS = {"int": int, "float": float, "str": str, "bytes": bytes, "list": list, "dict": dict}
_SEQUENCE_READERS = ("__len__", "__bool__", "__iter__", "__getitem__")
_TRUSTED = (enum.Enum, collections.OrderedDict)


class Violation(NamedTuple):
    """One place where a value is not what the contract asks for.

    ``path`` names the place (``outputs[3].data.mask[17][4]``), ``message`` what was expected and how to write it, and
    ``value`` what stands there, shortened.
    """

    path: str
    message: str
    value: str

    def __str__(self) -> str:
        found = " (found {})".format(self.value) if self.value else ""
        return "{}: {}{}".format(self.path, self.message, found)


class TooMany(Exception):
    """So many violations that looking for more is a waste: a list may hold millions."""


class Report:
    """Collects violations up to a limit and counts the rest, up to another: ``add`` raises TooMany there."""

    def __init__(self, limit: int, small_rows: SmallRows | None = None) -> None:
        self.small_rows = small_rows
        self._limit = limit
        self._found: list[Violation] = []
        self._count = 0

    def add(self, path: str, message: str, *found: Any) -> None:
        self._count += 1
        if self._count <= self._limit:
            self._found.append(Violation(path, message, _shown(found[0]) if found else ""))
        if self._count == _COUNTED:
            raise TooMany

    def result(self, root: str) -> list[Violation]:
        rest = self._count - len(self._found)
        if rest:
            number = "{}{}".format("at least " if self._count == _COUNTED else "", rest)
            return [*self._found, Violation(root, number + " more problems are not listed", "")]
        return self._found


def are_numbers(values: Sequence[Any], small: SmallRows | None = None) -> bool:
    """Whether all are ints of 64 bits and finite floats."""
    return _are_written_as(_NUMBERS, values, small) or all(map(_is_number, values))


def are_pixels(values: Sequence[Any], small: SmallRows | None = None) -> bool:
    """Whether all are such numbers or bools: a mask from a comparison, made a list with ``.tolist()``, holds bools."""
    return _are_written_as(_PIXELS, values, small) or all(map(_is_pixel, values))


def report_numbers(report: Report, values: Sequence[Any], place: Callable[[int], str], bools: bool = False) -> None:
    """Reports the first value that is no number as above, and how many more there are."""
    is_right = _is_pixel if bools else _is_number
    bad = [index for index, value in enumerate(values) if not is_right(value)]
    first = values[bad[0]]
    if isinstance(first, float) and not math.isfinite(first):
        message = "expected a finite number: `numpy.nan_to_num(...)` replaces nan and infinity"
    elif is_plain(first, int):
        message = "expected a number of at most 64 bits"
    else:
        message = "expected an int or a float" + cast(first, "number")
    if len(bad) > 1:
        message += "; {} more in this list".format(len(bad) - 1)
    report.add(place(bad[0]), message, first)


def _are_written_as(pattern: re.Pattern[bytes], values: Sequence[Any], small: SmallRows | None) -> bool:
    """Whether all are exact ints of 64 bits, or what the pattern allows and finite. Never wrongly true."""
    if type(values) not in (list, tuple):
        return False
    try:
        written = marshal.dumps(values, 2)  # type: ignore[arg-type]
    except ValueError:
        return False
    count = len(values)
    if _all_tagged(written, count, b"i", 4):
        if small is not None:
            _keep_if_small(values, written, small)
        return True
    if pattern is _PIXELS and len(written) == 5 + count and not written[5:].translate(None, b"FT"):
        if small is not None:
            small[id(values)] = written[5:].translate(_BOOLS)
        return True
    if _all_tagged(written, count, b"g", 8) or pattern.match(written):
        # A sum beyond the largest float is infinite too; each value is looked at then.
        return math.isfinite(sum(values))
    return set(map(type, values)) == {int} and _INTEGER_RANGE[0] <= min(values) and max(values) < _INTEGER_RANGE[1]


def _all_tagged(written: bytes, count: int, tag: bytes, size: int) -> bool:
    """Whether what was marshalled are exact ints of 32 bits (``i``, 4) or exact floats (``g``, 8), and nothing else.

    In marshal's version 2 a list is five bytes of head, then for each value a tag and its bytes. If the whole is as
    long as that makes it and each place where a tag is due holds ours, then by induction every value is of that
    type: the first tag stands right behind the head, and a value with our tag ends where the next tag is due.
    Exact types alone get these tags: a bool, a numpy scalar or a subclass gets another one, or none. The patterns
    rest on the same induction and are slower.
    """
    step = 1 + size
    return len(written) == 5 + step * count and written[5::step] == tag * count


def _keep_if_small(values: Sequence[Any], written: bytes, small: SmallRows) -> None:
    """Keeps marshalled ints as bytes if all of them are from 0 to 127: the upper three of their four bytes are zero."""
    low, zeros = written[6::5], bytes(len(values))
    if low.isascii() and written[7::5] == written[8::5] == written[9::5] == zeros:
        small[id(values)] = low


def _is_number(value: Any) -> bool:
    if is_plain(value, float):
        return math.isfinite(value)
    return is_plain(value, int) and _INTEGER_RANGE[0] <= value < _INTEGER_RANGE[1]


def _is_pixel(value: Any) -> bool:
    return type(value) is bool or _is_number(value)


# ---- single values ----


def check_int(report: Report, place: str, value: Any) -> bool:
    if not is_plain(value, int):
        report.add(place, "expected an int" + cast(value, "int"), value)
        return False
    if not _INTEGER_RANGE[0] <= value < _INTEGER_RANGE[1]:
        report.add(place, "expected an int of at most 64 bits", value)
        return False
    return True


def check_index(report: Report, place: str, value: Any) -> bool:
    if not check_int(report, place, value):
        return False
    if value < 0:
        report.add(place, "must not be negative", value)
        return False
    return True


def check_text(report: Report, place: str, value: Any, expected: str = "a string") -> bool:
    if not is_plain(value, str):
        report.add(place, "expected {}".format(expected) + cast(value, "str"), value)
        return False
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        report.add(place, "expected text that UTF-8 can hold: it has a lone surrogate", value)
        return False
    return True


def check_bytes(report: Report, place: str, value: Any) -> bool:
    if not (is_plain(value, bytes) or is_plain(value, bytearray)):
        report.add(place, "expected bytes" + cast(value, "bytes"), value)
        return False
    if not value:
        report.add(place, "must not be empty")
        return False
    return True


def check_keys(
    report: Report, place: str, values: dict[Any, Any], known: Sequence[str], required: Sequence[str] = ()
) -> None:
    for key in values:
        if not (is_plain(key, str) and key in known):
            near = difflib.get_close_matches(key, known, 1) if is_plain(key, str) else []
            hint = "did you mean `{}`?".format(near[0]) if near else "known are " + ", ".join(known)
            report.add(place, "unknown key {}: {}".format(_shown(key), hint))
    for key in required:
        if key not in values:
            report.add(place, "the key `{}` is missing".format(key))


def items(report: Report, place: str, value: Any, expected: str) -> Iterable[tuple[str, Any]]:
    if not is_list(value):
        report.add(place, "expected {}".format(expected) + cast(value, "list"), value)
        return
    for index, item in enumerate(value):
        yield "{}[{}]".format(place, index), item


def is_list(value: Any) -> bool:
    return type(value) in (list, tuple) or any(
        isinstance(value, kind) and not _overridden(value, kind) for kind in (list, tuple)
    )


def is_plain(value: Any, kind: type) -> bool:
    """Whether msgpack writes the value as this kind: of the type or a subclass, but no bool, nothing of numpy."""
    if type(value) is kind:
        return True
    return (
        isinstance(value, kind) and not isinstance(value, bool) and not _library(value) and not _overridden(value, kind)
    )


def _overridden(value: Any, kind: type) -> str:
    """The method by which a value of a subclass could show the check other content than msgpack writes, or ``""``.

    msgpack reads past some of a subclass's methods and calls others: a list whose ``__len__`` lies makes it write
    what no reader can decode, and bytes that do make it read memory that is not theirs.
    """
    for ancestor in type(value).__mro__:
        if ancestor is kind:
            return ""
        if not any(ancestor is trusted for trusted in _TRUSTED):
            for name in _READERS.get(kind, _SEQUENCE_READERS):
                if name in vars(ancestor):
                    return name
    return "__class__"


def _library(value: Any) -> str:
    """``numpy`` or ``torch`` or ``tensorflow`` when the value is theirs, else an empty string."""
    for ancestor in type(value).__mro__:
        name = str(ancestor.__module__).split(".")[0]
        if name in ("numpy", "torch", "tensorflow"):
            return name
    return ""


def dimensions(value: Any) -> int:
    """How many dimensions an array or a tensor has; 0 for a single value and for everything else."""
    count = getattr(value, "ndim", 0) if _library(value) else 0
    return count if isinstance(count, int) else 0


def cast(value: Any, wanted: str) -> str:
    """What to write so that the value becomes what is wanted, as the end of a message; empty when it is not known."""
    kind = _CASTS.get(wanted)
    if (
        kind is not None
        and isinstance(value, kind)
        and type(value) is not kind
        and not _library(value)
        and not isinstance(value, bool)
    ):
        return ": its class has a `{}` of its own, write `{}(...)`".format(_overridden(value, kind), wanted)
    if _library(value) and wanted in ("list", "number"):
        return ": write `.tolist()`"
    if _library(value) or isinstance(value, (bool, int, float)):
        if wanted in ("int", "float", "str") and not (wanted == "int" and isinstance(value, str)):
            return ": write `{}(...)`".format(wanted)
        if wanted == "number" and isinstance(value, bool):
            return ": write `int(...)`"
    if wanted == "bytes" and hasattr(value, "getvalue"):
        return ": write `.getvalue()`"
    return ""


def list_advice(outputs: Any) -> str:
    """How what ``predict`` returned becomes a list of outputs, as the end of a message."""
    if outputs is None:
        return ": `predict` has to end with `return outputs`"
    if isinstance(outputs, dict):
        return ": write `return [output]`"
    if hasattr(type(outputs), "__await__"):
        return ": remove `async` from `predict`"
    if hasattr(type(outputs), "__next__"):
        return ": `predict` yields; collect the outputs in a list and return that"
    return cast(outputs, "list")


def _shown(value: Any) -> str:
    """The value in at most some eighty characters, without running its own code."""
    kind = type(value)
    if kind in (bool, int, float, type(None)):
        try:
            text = repr(value)
        except ValueError:  # an int beyond the interpreter's limit of digits
            return "an int of {} bits".format(value.bit_length())
        return text if len(text) <= 60 else text[:57] + "..."
    if kind in (str, bytes):
        text = repr(value[:61])
        return text if len(value) <= 60 else text[:57] + "..."
    if kind in (list, tuple, dict, set):
        return "{} of {}".format(kind.__name__, len(value))
    module = "" if kind.__module__ == "builtins" else str(kind.__module__) + "."
    return "a value of type {}{}".format(module, kind.__qualname__)
