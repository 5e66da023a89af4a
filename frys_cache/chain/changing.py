"""Which keys are being changed in more than one place right now.

A write goes through the levels one after the other, so for a moment they differ.  Who reads then,
and finds the new value since an upper level has failed or has lost the key, must not be followed by
somebody who still finds the old one above.  So as long as a key is being changed it is read in the
lowest level alone, what memory still has goes before what was found below, and nothing that was
read is kept.  Where a backend comes first, a load that ends meanwhile waits for the end of the
write, for what it brings may be newer than what all levels have.

Cost: 0.5 us a write, and one look at an empty dict a read; nothing where there is one level and no
backend.
Not chosen: to remove a key above before it is written, which costs as much as the write,
and leaves readers nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from frys_cache._core import MemoryCache

__all__ = ["Change", "Changing", "Marked"]


class Marked:
    """Keys that are written in one step below, noted in memory until it has them, too."""

    __slots__ = ("_keys", "_memory", "_places")

    def __init__(self, memory: MemoryCache[Any, Any], keys: Sequence[Any]) -> None:
        self._memory = memory
        self._keys = keys
        self._places: list[int] = []

    def __enter__(self) -> None:
        try:
            for key in self._keys:
                self._places.append(self._memory._begin_writing(key))
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._places:
            self._memory._end_writing(self._places.pop())


class Changing:
    """The codes of keys, each with how many change it.  Safe from any thread.

    >>> changing = Changing()
    >>> with changing.of([b"key"], crossed=lambda places: None):
    ...     b"key" in changing.codes
    True
    >>> changing.codes
    {}
    """

    __slots__ = ("_lock", "codes")

    def __init__(self) -> None:
        self.codes: dict[Any, int] = {}
        # Can be taken again: the collector may run a destructor that writes, and a signal a
        # handler.  Nothing comes between the statements under it, for none of them is a call.
        self._lock = RLock()

    def of(self, codes: Sequence[Any], crossed: Callable[[list[int]], object]) -> Change:
        """Return what notes, while it is entered, that these are being changed.

        crossed: called once they are noted, with the places of those that another is changing.
        """
        return Change(self, codes, crossed)

    def _begin(self, code: Any) -> bool:
        counts = self.codes
        with self._lock:
            crosses = code in counts
            counts[code] = counts[code] + 1 if crosses else 1
        return crosses

    def _end(self, code: Any) -> None:
        counts = self.codes
        with self._lock:
            if counts[code] == 1:
                del counts[code]
            else:
                counts[code] -= 1


class Change:
    """One change under way, from `begin` to `end`, or in a `with` block."""

    __slots__ = ("_changing", "_codes", "_crossed")

    def __init__(
        self, changing: Changing, codes: Sequence[Any], crossed: Callable[[list[int]], object]
    ) -> None:
        self._changing = changing
        self._codes = codes
        self._crossed = crossed

    def begin(self) -> None:
        """Note it."""
        begin = self._changing._begin
        places = [place for place, code in enumerate(self._codes) if begin(code)]
        try:
            self._crossed(places)
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """Note no more."""
        for code in self._codes:
            self._changing._end(code)

    __enter__ = begin

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()
