"""What reads an entry and then writes it, without losing what another thread writes meanwhile.

The new record is made first, without a lock, since that may run code of the user; then the tier is
asked to put it in the place of exactly the record that it was made from.  If that is another by
now, it starts again, with a version drawn after it has read.  So no thread of this process loses an
update, and a thread that is slow makes nobody wait.  Cost: a put and one more read.
Not chosen: a lock around all of it, under which the code of the user would run.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, Final, TypeVar

from frys_cache._core import is_stale
from frys_cache.codec.record import EXTENSION, NEGATIVE, TOMBSTONE
from frys_cache.errors import IntegrityError
from frys_cache.tiers.arguments import Ttl, milliseconds
from frys_cache.tiers.disk import DiskTier
from frys_cache.types import DEFAULT, MISSING

__all__ = ["Changes", "has_value"]

K = TypeVar("K")
V = TypeVar("V")

_ABSENT: Final = NEGATIVE | TOMBSTONE  # flags of a record without a value
_DOUBTFUL: Final = _ABSENT | EXTENSION  # flags of one that may be absent: it may be stale


def has_value(record: bytes, now_ms: int) -> bool:
    """Tell from the head of a record that has not expired whether it has a value, not stale."""
    if len(record) < 2:
        return False
    flags = record[1] & _DOUBTFUL
    return not flags or not (flags & _ABSENT or is_stale(record, now_ms))


class Changes(MutableMapping[K, V]):
    """The methods of a mapping on a disk tier that depend on what is there."""

    __slots__ = ()

    tier: DiskTier
    corrupt: int
    _key: Callable[[object], bytes]
    _encode: Callable[[bytes, object, int, int], bytes]
    _decode: Callable[[bytes, bytes], tuple[Any, int, int] | None]
    _version: Callable[[], int]
    _ttl_ms: int

    def holds(self, data: bytes) -> bool:
        """Tell whether the bytes of a key have a value, neither expired nor stale nor damaged."""
        try:
            record = self.tier.read_one(data)
        except IntegrityError:
            return False
        return record is not None and has_value(record, self.tier.wall())

    def add(self, key: K, value: V, *, ttl: Ttl = DEFAULT) -> bool:
        """Store a value if the key is absent; tell whether it was."""
        return self._store_if(False, key, value, ttl)

    def replace(self, key: K, value: V, *, ttl: Ttl = DEFAULT) -> bool:
        """Store a value if the key is there; tell whether it was."""
        return self._store_if(True, key, value, ttl)

    def _store_if(self, there: bool, key: K, value: V, ttl: Ttl) -> bool:
        data = self._key(key)
        expires = self._expiry(ttl)
        while True:
            old, found = self._find(data)
            if (found is not None) != there:
                return False
            record, version, _ = self._make(data, value, expires)
            if self.tier.swap(data, old, record, version, expires):
                return True

    def incr(self, key: K, delta: int = 1, *, ttl: Ttl = DEFAULT) -> int:
        """Add to an int and return the sum; an absent key counts as 0.

        The expiry stays; ttl is that of a key that was absent.  Raises TypeError for what is no
        int.
        """
        data = self._key(key)
        while True:
            old, found = self._find(data)
            value, _, expires = found or (0, 0, self._expiry(ttl))
            if not isinstance(value, int) or not isinstance(delta, int):
                raise TypeError(f"incr adds ints, not {value!r} and {delta!r}")
            number = int(value) + int(delta)
            record, version, expires = self._make(data, number, expires)
            if self.tier.swap(data, old, record, version, expires):
                return number

    def touch(self, key: K, ttl: Ttl = DEFAULT) -> bool:
        """Give a key a new ttl, from now on; tell whether it was there."""
        data = self._key(key)
        expires = self._expiry(ttl)
        while True:
            old, found = self._find(data)
            if found is None:
                return False
            record, version, expires = self._make(data, found[0], expires)
            if self.tier.swap(data, old, record, version, expires):
                return True

    def ttl_of(self, key: K) -> float | None:
        """Return the seconds that a key has left, None for ever; KeyError if it is absent."""
        found = self._find(self._key(key))[1]
        if found is None:
            raise KeyError(key)
        return (found[2] - self.tier.wall()) / 1000 if found[2] else None

    def pop(self, key: K, *default: Any) -> Any:
        """Remove a key and return its value, or the default; without one KeyError."""
        if len(default) > 1:
            raise TypeError(f"pop takes a key and one default, not {len(default)}")
        data = self._key(key)
        while True:
            old, found = self._find(data)
            if found is None:
                # What is stale is absent here, but it must not be served elsewhere any more.
                stale = old is not None and is_stale(old, self.tier.wall())
                if stale and not self.tier.swap(data, old, None, 0, 0):
                    continue
                if default:
                    return default[0]
                raise KeyError(key)
            if self.tier.swap(data, old, None, 0, 0):
                return found[0]

    def setdefault(self, key: K, default: Any = None, *, ttl: Ttl = DEFAULT) -> Any:
        """Return the value of a key, after storing the default if it is absent."""
        while True:
            value = self.get(key, MISSING)
            if value is not MISSING:
                return value
            if self.add(key, default, ttl=ttl):
                return default

    def _expiry(self, ttl: Ttl) -> int:
        """Return when an entry stored now with this ttl expires; 0: never."""
        span = self._ttl_ms if ttl is DEFAULT else milliseconds(ttl)
        return self.tier.wall() + span if span else 0

    def _make(self, data: bytes, value: Any, expires: int) -> tuple[bytes, int, int]:
        version = self._version()
        return self._encode(data, value, version, expires), version, expires

    def _find(self, data: bytes) -> tuple[bytes | None, tuple[Any, int, int] | None]:
        """Return the live record of a key, and what it says if that is a value."""
        record = self.tier.read_one(data)
        if record is None:
            return None, None
        try:
            found = self._decode(data, record)
        except IntegrityError:
            self.corrupt += 1
            return record, None
        if found is None or found[0] is MISSING:
            return record, None
        if found[2] and found[2] <= self.tier.wall():
            return record, None  # stale: it is there to be replaced
        return record, found
