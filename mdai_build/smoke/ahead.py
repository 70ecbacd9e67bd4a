"""Values made by a thread while whoever takes them does something else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar, overload

T = TypeVar("T")


class MadeAhead(Sequence[T], Generic[T]):
    """A sequence whose values are made one after another from now on; a value that is not there yet is waited for.

    Taking a value raises what its making raised.
    """

    def __init__(self, makers: Iterable[Callable[[], T]]) -> None:
        self._values: list[tuple[Callable[[], T], Future[T]]] = [(make, Future()) for make in makers]
        # Nobody waits for it where the values are not needed after all.
        threading.Thread(target=self._make_all, daemon=True).start()

    def _make_all(self) -> None:
        for make, value in self._values:
            try:
                value.set_result(make())
            except BaseException as error:  # noqa: BLE001 - whoever takes the value is told
                value.set_exception(error)

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            return [value.result() for _, value in self._values[index]]
        return self._values[index][1].result()
