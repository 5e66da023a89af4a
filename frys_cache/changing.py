"""Which keys are being changed in more than one place right now.

A write goes through the levels one after the other, so for a moment they differ.  Who reads then,
and finds the new value since an upper level has failed or has lost the key, must not be followed by
somebody who still finds the old one above.  So as long as a key is being changed it is read in the
lowest level alone, and nothing that was read is kept in memory.  Where a backend comes first, a
load that ends meanwhile waits for the end of the write, for what it brings may be newer than what
all levels have.

Cost: 0.5 us a write, and one look at an empty dict a read; nothing where there is one level and no
backend.
Not chosen: to remove a key above before it is written, which costs as much as the write,
and leaves readers nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import RLock
from types import TracebackType
from typing import Any

__all__ = ["Changing"]


class Changing:
    """The codes of keys, each with how many change it.  Safe from any thread.

    >>> changing = Changing()
    >>> with changing.of([b"key"]):
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

    def of(self, codes: Sequence[Any]) -> _Change:
        """Return what notes, while it is entered, that these are being changed."""
        return _Change(self, codes)

    def _begin(self, code: Any) -> None:
        counts = self.codes
        with self._lock:
            counts[code] = counts[code] + 1 if code in counts else 1

    def _end(self, code: Any) -> None:
        counts = self.codes
        with self._lock:
            if counts[code] == 1:
                del counts[code]
            else:
                counts[code] -= 1


class _Change:
    """One change under way."""

    __slots__ = ("_changing", "_codes")

    def __init__(self, changing: Changing, codes: Sequence[Any]) -> None:
        self._changing = changing
        self._codes = codes

    def __enter__(self) -> None:
        for code in self._codes:
            self._changing._begin(code)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for code in self._codes:
            self._changing._end(code)
