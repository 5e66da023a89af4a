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
            # All in C: an interrupt does not come between a beginning and its place.
            self._places.extend(map(self._memory._begin_writing, self._keys))
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        ends = map(self._memory._end_writing, iter(self._places.pop, None))
        while self._places:
            next(ends)

    def __del__(self) -> None:
        # An interrupt came at the beginning of `__exit__`.
        try:
            left = self._places
        except AttributeError:  # it came when this was made
            return
        if left:
            self.__exit__(None, None, None)


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

    def _begin(self, code: Any, begun: list[Any]) -> bool:
        """Count a code, and note it in `begun`; tell whether another is changing it."""
        counts = self.codes
        with self._lock:
            crosses = code in counts
            counts[code] = counts[code] + 1 if crosses else 1
            begun += (code,)  # no call, which `append` were
        return crosses

    def _end(self, begun: list[Any]) -> None:
        """Count the last of these no more, and take it out."""
        counts = self.codes
        with self._lock:
            code = begun[-1]
            count = counts[code]
            if count == 1:
                del counts[code]
            else:
                counts[code] = count - 1
            del begun[-1]


class Change:
    """One change under way, from `begin` to `end`, or in a `with` block."""

    __slots__ = ("_begun", "_changing", "_codes", "_crossed")

    def __init__(
        self, changing: Changing, codes: Sequence[Any], crossed: Callable[[list[int]], object]
    ) -> None:
        self._changing = changing
        self._codes = codes
        self._crossed = crossed
        self._begun: list[Any] = []

    def begin(self) -> None:
        """Note it."""
        begin = self._changing._begin
        begun = self._begun
        try:
            places = [place for place, code in enumerate(self._codes) if begin(code, begun)]
            self._crossed(places)
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """Note no more; once more does nothing."""
        while self._begun:
            self._changing._end(self._begun)

    def __del__(self) -> None:
        # An interrupt came at the beginning of `end`, or before who changes had come to it.
        try:
            left = self._begun
        except AttributeError:  # or when this was made
            return
        if left:
            self.end()

    __enter__ = begin

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()
