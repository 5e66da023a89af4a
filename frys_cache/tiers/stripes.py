"""Why an older write never replaces a newer one, though RocksDB cannot compare.

Keys are spread over 64 stripes, each with a lock and the highest version that was written or
dropped in it.  A write whose version is higher than that is newer than whatever is stored under
its key, so nothing has to be read: that is every write of a single thread, and nearly every one of
many.  Only a write that comes late, or a record that another tier kept, is compared with the head
of what is stored, and with the tombstones of what was dropped lately.

A lock is held over a call of RocksDB and never over foreign code: keys are bytes here and records
are made before.  The collector may run a destructor there, which may use this very tier, so a
thread can take its lock again.  Who needs several takes them in the order of their numbers.
Cost: 0.1 us a write, and a tombstone per dropped key, of which a stripe forgets the older half at
1,024.
Not chosen: a table of all writes in flight, which costs every write what only late ones need.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["STRIPES", "Stripe", "hold", "new_stripes"]

STRIPES: Final = 64
_TOMBSTONES: Final = 1_024


class Stripe:
    """One lock, and what it guards: the highest version, and who was dropped at which."""

    __slots__ = ("dropped", "lock", "top")

    def __init__(self, top: int) -> None:
        self.lock = threading.RLock()
        self.top = top
        self.dropped: dict[bytes, int] = {}

    def bury_locked(self, key: bytes, version: int) -> None:
        """Remember that a key was dropped at a version."""
        if version > self.top:
            self.top = version
        before = self.dropped.pop(key, 0)
        self.dropped[key] = max(version, before)
        if len(self.dropped) > _TOMBSTONES:
            for old in list(self.dropped)[: _TOMBSTONES // 2]:
                del self.dropped[old]


def new_stripes(top: int) -> list[Stripe]:
    """Return stripes for which nothing beyond version `top` is stored yet."""
    return [Stripe(top) for _ in range(STRIPES)]


@contextmanager
def hold(stripes: list[Stripe], keys: Iterable[bytes] | None = None) -> Iterator[None]:
    """Hold the locks of many keys; None: of all keys there could be."""
    held = []
    numbers = range(STRIPES) if keys is None else sorted({hash(key) % STRIPES for key in keys})
    try:
        for at in numbers:
            stripes[at].lock.acquire()
            held.append(stripes[at])
        yield
    finally:
        for stripe in reversed(held):
            stripe.lock.release()
