"""What depends on whether a key is there: `in`, `add`, `replace`, `incr`, `touch`, `pop` and so on.

The tier below memory decides, in one step for all threads, since memory has only a part of what
there is.  Memory follows: it takes over what was stored, under the rule of the two tokens that
manager.py tells of, or forgets the key, and the next read asks below.

Cost: that of the tier, and a look at memory.
Not chosen: to decide in memory and write below afterwards, where two threads could both have added.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from frys_cache.errors import IntegrityError, TierUnavailable, WriteError
from frys_cache.types import DEFAULT, MISSING, Default

if TYPE_CHECKING:
    from frys_cache._core import MemoryCache
    from frys_cache.codec.entry import Codec
    from frys_cache.doubts import Doubts
    from frys_cache.tiers.persistent import PersistentCache

    _Memory: TypeAlias = MemoryCache[Any, Any]
    _Ttl: TypeAlias = float | timedelta | Default | None

__all__ = ["Decisions", "expiry_of"]


def expiry_of(life: float | None, wall_ms: int) -> int:
    """Return when a life of so many seconds ends, in milliseconds since 1970; 0 for None, never.

    >>> expiry_of(1.5, 1_000), expiry_of(None, 1_000)
    (2500, 0)
    """
    return 0 if life is None else wall_ms + max(1, round(life * 1000))


class Decisions:
    """The part of a `CacheManager` that lets the tier decide."""

    _cache: PersistentCache[Any, Any]
    _codec: Codec
    _doubts: Doubts
    _strict: bool
    _ttl: float | None
    faults: int

    if TYPE_CHECKING:

        def read(self, memory: _Memory, key: Any) -> Any:
            """Return the value of a key that memory does not have."""

        def _tell(self, memory: _Memory, key: Any) -> None: ...

    def contains(self, memory: _Memory, key: Any) -> bool:
        """Tell whether a key that memory does not have is below."""
        code = self._codec.key(key)
        if code in self._doubts:
            return False
        try:
            return self._cache.holds(code)  # what is damaged the next read removes
        except TierUnavailable:
            self.faults += 1
            if self._strict:
                raise
            return False

    def add(self, memory: _Memory, key: Any, value: Any, ttl: _Ttl, cost: float) -> bool:
        """Store a value if the key is nowhere; whether it was stored."""
        return self._store_if(memory, key, value, ttl, cost, "add")

    def replace(self, memory: _Memory, key: Any, value: Any, ttl: _Ttl, cost: float) -> bool:
        """Store a value if the key is somewhere; whether it was stored."""
        return self._store_if(memory, key, value, ttl, cost, "replace")

    def _store_if(
        self, memory: _Memory, key: Any, value: Any, ttl: Any, cost: float, which: str
    ) -> bool:
        life = memory._life(key, ttl)
        token = memory._token(key)
        if not self._decide(memory, key, which, key, value, ttl=self._life_below(life)):
            return False
        memory._keep(key, value, life, cost, token)
        return True

    def setdefault(self, memory: _Memory, key: Any, default: Any) -> Any:
        """Return the value of a key, which becomes `default` if it is nowhere."""
        while True:
            value = self.read(memory, key)
            if value is not MISSING:
                return value
            if self.add(memory, key, default, DEFAULT, 1.0):
                return default

    def incr(self, memory: _Memory, key: Any, delta: int) -> int:
        """Add to an int; memory asks below for it when it is read next."""
        if not isinstance(delta, int):
            raise TypeError(f"incr adds an int, not {type(delta).__name__}")
        life = self._life_below(memory._life(key, DEFAULT))
        try:
            return cast(int, self._decide(memory, key, "incr", key, delta, ttl=life))
        finally:
            memory._forget(key)

    def touch(self, memory: _Memory, key: Any, ttl: _Ttl) -> bool:
        """Let a key live for another ttl from now on; whether it was somewhere."""
        life = memory._life(key, ttl)
        touched = bool(self._decide(memory, key, "touch", key, self._life_below(life)))
        return memory._touch(key, life) or touched

    def ttl_of(self, memory: _Memory, key: Any) -> float | Any | None:
        """Return the seconds that a key that memory does not have has left; or MISSING."""
        try:
            return self._cache.ttl_of(key)
        except KeyError:
            return MISSING

    def pop(self, memory: _Memory, key: Any) -> Any:
        """Remove a key and return its value, or MISSING."""
        code = self._codec.key(key)
        version = self._cache.tier.versions.next()
        # Before the tier, so that nobody hands down again what was popped.
        here = memory._forget(key)
        try:
            if code in self._doubts:
                raise TierUnavailable("the last write of this key is still to be taken")
            if here is not MISSING:
                self._hand_down(code, here, None, version)
            value = self._cache.pop(key, MISSING)
        except (TierUnavailable, IntegrityError) as error:
            raise self._undecided("pop", key, error) from error
        memory._forget(key)
        self._tell(memory, key)
        return value

    def _decide(self, memory: _Memory, key: Any, which: str, *arguments: Any, **more: Any) -> Any:
        """Let the tier decide, which first is told of what memory alone has.

        The version is from before memory is looked at.  Whoever removes a key removes it from
        memory first, so what is removed after that look has a later version and stays removed.
        """
        code = self._codec.key(key)
        try:
            if code in self._doubts:
                raise TierUnavailable("the last write of this key is still to be taken")
            version = self._cache.tier.versions.next()
            value = memory.peek(key, MISSING)
            if value is not MISSING:
                self._hand_down(code, value, memory._left(key), version)
            decided = getattr(self._cache, which)(*arguments, **more)
        except (TierUnavailable, IntegrityError) as error:
            raise self._undecided(which, key, error) from error
        self._tell(memory, key)
        return decided

    def _hand_down(self, code: bytes, value: Any, life: float | None, version: int) -> None:
        """Have below what memory alone has: the disk evicted it, or was not to have it yet."""
        tier = self._cache.tier
        if tier.read_one(code) is None:
            expires_ms = expiry_of(self._life_below(life), tier.wall())
            record = self._codec.encode(code, value, version, expires_ms)
            tier.put_one(code, record, version, expires_ms)

    def _life_below(self, life: float | None) -> float | None:
        """Return how long an entry lives below: no longer than the tier lets any live."""
        if self._ttl is None:
            return life
        return self._ttl if life is None else min(life, self._ttl)

    def _undecided(self, which: str, key: Any, error: Exception) -> WriteError:
        self.faults += 1
        return WriteError(f"the disk could not decide {which}({key!r}): {error}", {key: error})
