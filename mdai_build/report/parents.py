"""The parents of the support matrix, told to people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from rich.text import Text

from mdai_build.report.terminal import console, table
from mdai_build.report.text import clean_line

if TYPE_CHECKING:
    from mdai_build.matrix import CudaRow, ParentImage


class Listed(Protocol):
    """What is told of a parent."""

    @property
    def serves(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def reference(self) -> str: ...
    @property
    def image(self) -> ParentImage: ...
    @property
    def cuda(self) -> CudaRow | None: ...
    @property
    def gone(self) -> bool: ...


def print_parents(parents: Iterable[Listed]) -> None:
    """A table of parents on standard output."""
    on = console()
    rows = table("for", "--parent", "image", "driver from", "patches until", "available until")
    for each in parents:
        until = str(each.image.available_until or ("" if each.image.listed else "not listed"))
        rows.add_row(
            each.serves,
            "" if each.kind == "nvidia" else each.kind,
            Text(clean_line(each.reference), overflow="fold"),
            each.cuda.oldest_driver if each.cuda else "",
            str(each.image.patched_until or ""),
            Text(until, style="yellow" if each.gone else ""),
        )
    on.print(rows)
