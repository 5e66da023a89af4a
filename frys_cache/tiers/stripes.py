"""Why an older write never replaces a newer one, though RocksDB cannot compare.

Keys are spread over 64 stripes, each with the highest version that was written or dropped in it.  A
write whose version is higher than that is newer than whatever is stored under its key, so nothing
has to be read: that is every write of a single thread, and nearly every one of many.  Only a write
that comes late, or a record that another tier kept, is compared with the head of what is stored,
with the tombstones of what was dropped lately, and with the clears.  What is refused as late is
told to the writer: one with a version of its own takes a new one and comes again.

Nothing that was dropped is forgotten, it only becomes coarser: beyond 1,024 tombstones the older
half of a stripe becomes its floor, beyond 64 clears the oldest becomes the floor of all stripes,
and what is not above the floor is late.

One lock of a tier guards all stripes.  RocksDB is called under it, which holds the GIL for a write
in any case.  The collector may run a destructor there, and a signal a handler, which may use this
very tier, so a thread can take the lock again; and it is taken by `with` alone, which leaves no
moment in which an interrupt could leak it.
Cost: 0.1 us a write, and a tombstone per dropped key.
Not chosen: a lock per stripe, which a destructor takes in another order than a batch does, so that
the two wait for each other; a table of all writes in flight, which costs every write what only late
ones need.
"""

from __future__ import annotations

from typing import Final

__all__ = ["STRIPES", "Clears", "Stripe", "new_stripes"]

STRIPES: Final = 64
_TOMBSTONES: Final = 1_024
_CLEARS: Final = 64


class Stripe:
    """The highest version, who was dropped at which, and up to which that was forgotten."""

    __slots__ = ("dropped", "floor", "top")

    def __init__(self, top: int) -> None:
        self.top = top
        self.floor = 0
        self.dropped: dict[bytes, int] = {}

    def bury_locked(self, key: bytes, version: int) -> None:
        """Remember that a key was dropped at a version."""
        if version > self.top:
            self.top = version
        before = self.dropped.pop(key, 0)
        self.dropped[key] = max(version, before)
        if len(self.dropped) > _TOMBSTONES:
            for old in list(self.dropped)[: _TOMBSTONES // 2]:
                self.floor = max(self.floor, self.dropped.pop(old))

    def raise_locked(self, version: int) -> None:
        """Take every write up to a version for late."""
        self.floor = max(self.floor, version)
        self.top = max(self.top, version)


class Clears:
    """Which ranges of keys were cleared at which version."""

    __slots__ = ("_ranges", "_stripes")

    def __init__(self, stripes: list[Stripe]) -> None:
        self._stripes = stripes
        self._ranges: dict[tuple[bytes, bytes], int] = {}

    def add_locked(self, start: bytes, stop: bytes, version: int) -> None:
        """Remember that all keys from `start` to before `stop` were dropped at a version."""
        before = self._ranges.pop((start, stop), 0)
        self._ranges[start, stop] = max(version, before)
        for stripe in self._stripes:
            stripe.top = max(stripe.top, version)
        if len(self._ranges) > _CLEARS:
            forgotten = self._ranges.pop(next(iter(self._ranges)))
            for stripe in self._stripes:
                stripe.raise_locked(forgotten)

    def last_locked(self, key: bytes) -> int:
        """Return the version at which a key was cleared; 0: never."""
        last = 0
        for (start, stop), version in self._ranges.items():
            if version > last and start <= key < stop:
                last = version
        return last


def new_stripes(top: int) -> list[Stripe]:
    """Return stripes for which nothing beyond version `top` is stored yet."""
    return [Stripe(top) for _ in range(STRIPES)]
