"""Keys whose record in a tier may be older than what was acknowledged.

A tier that refuses a write or a removal, because its disk is full, still has the record of before.
Until that is gone the key must not be read there.  The keys are remembered in memory and removed
from the tier when it takes writes again, which is tried once a second, by whoever comes by.

Each doubt has the version at which it came up: an older write that ends later does not settle it,
for it is not what was acknowledged last.

Cost: nothing while there is no doubt; else one lookup in a dict.  At most `ROOM` keys: beyond them
a write has to be refused, since what cannot be remembered cannot be promised.
Not chosen: to settle past the breaker of the tier, which each write that is refused would do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from frys_cache.errors import CacheError

if TYPE_CHECKING:
    from frys_cache.tiers.persistent import PersistentCache

__all__ = ["Doubts"]

ROOM: Final = 10_000
AGAIN: Final = 1.0


class Doubts:
    """The encoded keys of one tier that are in doubt.  False when there are none.

    steady: a callable that returns seconds, for tests.  drop: removes keys from the tier, given a
    version; by default that of the tier itself.  Safe from any thread: each step is one operation
    of a dict, and a key that is written while it is settled has a newer version.
    """

    __slots__ = ("_cache", "_drop", "_steady", "_tried", "keys")

    def __init__(
        self,
        cache: PersistentCache[Any, Any],
        steady: Callable[[], float] = time.monotonic,
        drop: Callable[[list[bytes], int], object] | None = None,
    ) -> None:
        self._cache = cache
        self._drop = drop or cache.tier.drop
        self._steady = steady
        self.keys: dict[bytes, int] = {}
        self._tried = 0.0

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: bytes) -> bool:
        """Tell whether a key is in doubt, after trying to settle all that are."""
        if not self.keys:
            return False
        if self._steady() - self._tried >= AGAIN:
            self.settle()
        return key in self.keys

    def add(self, keys: Iterable[bytes], version: int = 0) -> bool:
        """Doubt these keys; False, and none is added, when there is no room for them.

        version: one drawn after the tier has failed.
        """
        self._tried = self._steady()
        known = dict.fromkeys(keys, version)
        if len(self.keys.keys() | known) > ROOM:
            return False
        self.keys.update(known)
        return True

    def discard(self, keys: Iterable[bytes], version: int | None = None) -> None:
        """Trust these keys again: the tier has taken what was written or removed.

        version: that of what it has taken; where the doubt is newer it stays.
        """
        for key in keys:
            since = self.keys.get(key)
            if since is not None and (version is None or since <= version):
                self.keys.pop(key, None)

    def settle(self) -> None:
        """Try to remove from the tier what is in doubt."""
        doubted = self.keys.copy()
        if not doubted:
            return
        self._tried = self._steady()
        try:
            self._drop(list(doubted), self._cache.tier.versions.next())
        except CacheError:
            return
        for key, since in doubted.items():
            if self.keys.get(key) == since:  # else it has come up anew
                self.keys.pop(key, None)
