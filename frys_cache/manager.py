"""`CacheManager`: what a cache does below memory; the chain of its tiers.

Reads go down until a tier answers, and what it brings is kept in memory with the life it has left.
Writes go to the lowest tier first, so that no tier is ahead of the one below it.  Three rules keep
memory from showing what is no longer below:

- Whoever reads below takes a token of memory first and fills memory with it afterwards; a write or
  a removal in between makes the token worthless, and the value is returned but not kept.
- Whoever writes below takes a token first too.  Of two writers of a key each makes the other's
  token worthless, so memory keeps neither value, and the tier keeps the one of the newer version.
- What depends on whether a key is there is decided by the tier (decisions.py).

Cost: 2 us on a miss of memory, beside what the tier takes; nothing on a hit.
Not chosen: a lock per key around both tiers, under which foreign code of keys and values would run.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from frys_cache.decisions import Decisions, expiry_of
from frys_cache.doubts import Doubts
from frys_cache.errors import (
    CacheClosed,
    CacheError,
    ConfigurationError,
    IntegrityError,
    KeyNotStable,
    KeyTooLarge,
    TierUnavailable,
    ValueTooLarge,
    WriteError,
)
from frys_cache.held import Held
from frys_cache.siblings import siblings_over
from frys_cache.tiers.base import after
from frys_cache.types import MISSING, Default, EvictionCause, TierStats
from frys_cache.warming import warm

if TYPE_CHECKING:
    from frys_cache._core import MemoryCache
    from frys_cache.config import CacheConfig
    from frys_cache.tiers.persistent import PersistentCache

    _Memory: TypeAlias = MemoryCache[Any, Any]
    _Ttl: TypeAlias = float | timedelta | Default | None

__all__ = ["CacheManager"]

SHORTEST: Final = 0.05
"""Seconds: what has less life left is not worth a place in memory."""
MODES: Final = ("resilient", "strict")

NAME: Final = "persistent"

# What a tier that fails raises, and what a key raises that cannot be below.
FAULTS: Final = (TierUnavailable, IntegrityError)
UNSTORABLE: Final = (KeyNotStable, KeyTooLarge)


class CacheManager(Decisions):
    """Coordinate the tiers below the memory of one cache.  `FrysCache` makes it.

    tiers: one `PersistentCache`.  mode: `"resilient"`, where a fault of a tier is a miss, and a
    write that it refuses is kept in memory alone, or `"strict"`, where the first is an error and
    the second a `WriteError`.  config: what a pickle of the cache is made of.  owned: close the
    tier with the cache.  Raises `ConfigurationError` for anything else.  Safe from any thread.

    >>> import tempfile
    >>> from frys_cache import FrysCache
    >>> with FrysCache(10, persistent=tempfile.mkdtemp() + "/db") as cache:
    ...     list(cache.manager.tiers)
    ['persistent']
    """

    def __init__(
        self,
        tiers: Sequence[PersistentCache[Any, Any]],
        *,
        mode: Literal["resilient", "strict"] = "resilient",
        config: CacheConfig | None = None,
        owned: bool = False,
    ) -> None:
        if len(tiers) != 1:
            raise ConfigurationError(f"a chain has one tier below memory, not {len(tiers)}")
        if mode not in MODES:
            raise ConfigurationError(f"mode must be 'resilient' or 'strict', not {mode!r}")
        self.config = config
        self._owned = owned
        self._cache = tiers[0]
        self._codec = self._cache.codec
        self._key = self._codec.key
        self._decode = self._codec.decode
        self._strict = mode == "strict"
        self._doubts = Doubts(self._cache)
        self._doubted = self._doubts.keys
        self.writes_evicted = self._cache.admission.name == "on-evict"
        """Whether memory has to hand down what it evicts."""
        self._held = Held()  # then: what it alone has
        # What another process writes nobody tells of, so nothing of it is kept.
        self._keeps = self._cache.tier.store.mode != "secondary"
        ttl = self._cache.ttl
        self._ttl = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
        self._siblings = siblings_over(self._cache)
        self.hits = 0
        """Requests that the tier answered."""
        self.misses = 0
        """Requests that it did not."""
        self.faults = 0
        """Requests and writes that it failed."""
        self.unwritten = 0
        """Loaded values that could not be written below and are in memory alone."""

    @property
    def tiers(self) -> MappingProxyType[str, PersistentCache[Any, Any]]:
        """The tiers below memory by name, the fastest first."""
        return MappingProxyType({NAME: self._cache})

    def stats(self) -> dict[str, TierStats]:
        """Return what each tier has done for this cache, and holds."""
        own = self._cache.stats()
        return {
            NAME: TierStats(self.hits, self.misses, own.entries, own.total_size),
        }

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything written so far outlives a power cut; `TierUnavailable`."""
        self._cache.flush(timeout)

    @property
    def alone(self) -> bool:
        """Whether there is no database: another process has it, or this one was forked."""
        return self._cache.alone

    def attach(self, memory: _Memory) -> None:
        """Begin to work for a memory, and fill it if the tier was opened for that."""
        self._siblings.add(memory)
        if self._cache.warm_on_open:
            counts = self.hits, self.misses
            try:
                warm(memory, self._cache, self.read_many)
            finally:
                self.hits, self.misses = counts  # nobody has asked

    def close(self, memory: _Memory) -> None:
        """End the work for a memory, and close the tier if it is this cache's own."""
        self._siblings.discard(memory)
        with suppress(CacheClosed):
            for key, value in list(memory.items()) if self._held else ():
                self.evicted(key, value, EvictionCause.EVICTED)
            self._doubts.settle()
        if self._owned:
            self._cache.close()

    # ---- read ------------------------------------------------------------------------------------

    def read(self, memory: _Memory, key: Any) -> Any:
        """Return the value of a key that memory does not have, and keep it there; or MISSING."""
        # One frame: each further one is 5 % of a read from disk.
        token = memory._token(key)
        tier = self._cache.tier
        code = self._key(key)
        try:
            if self._doubted and code in self._doubts:
                self.misses += 1
                return MISSING
            record = tier.fetch(code)
            if record is None:
                self.misses += 1
                return MISSING
            entry = self._decode(code, record)
        except Exception as error:  # noqa: BLE001 - RocksDB's are bare, and are sorted there
            return self._unread(code, error)
        if entry is None or entry[0] is MISSING:
            self.misses += 1
            return MISSING
        value, _, expires_ms = entry
        deadline = None
        if expires_ms:
            left = (expires_ms - tier.wall()) / 1000
            if left <= 0:
                self.misses += 1
                return MISSING
            if left < SHORTEST:  # not worth a place in memory
                self.hits += 1
                return value
            deadline = time.monotonic() + left
        self.hits += 1
        if not self._keeps:
            return value
        try:
            memory._fill(key, value, deadline, None, token)
        except ValueTooLarge:
            return value  # too heavy for memory; below there is room for it
        return value

    def read_many(self, memory: _Memory, keys: list[Any]) -> list[Any]:
        """Return the values of keys that memory does not have, as `read` does, in their order."""
        values: list[Any] = [MISSING] * len(keys)
        tokens = [memory._token(key) for key in keys]
        codes = list(map(self._key, keys))
        places = list(range(len(keys)))
        if self._doubted:
            trusted = [at for at, code in enumerate(codes) if code not in self._doubts]
            self.misses += len(codes) - len(trusted)
            places, codes = [places[at] for at in trusted], [codes[at] for at in trusted]
        if not codes:
            return values
        tier = self._cache.tier
        try:
            records = tier.fetch_list(codes)
        except IntegrityError:  # one damaged block must not hide the others
            return [self.read(memory, key) for key in keys]
        except TierUnavailable:
            self.faults += 1
            self.misses += len(codes)
            if self._strict:
                raise
            return values
        now, steady = tier.wall(), time.monotonic()
        found = 0
        for place, code, entry in zip(
            places, codes, self._codec.decode_many(codes, records), strict=True
        ):
            if entry is None:
                continue
            if isinstance(entry, IntegrityError):
                self.misses -= 1  # counted with all others below
                self._unread(code, entry)
                continue
            value, _, expires_ms = entry
            left = (expires_ms - now) / 1000 if expires_ms else SHORTEST
            if value is MISSING or left <= 0:
                continue
            found += 1
            values[place] = value
            if left >= SHORTEST and self._keeps:
                deadline = steady + left if expires_ms else None
                with suppress(ValueTooLarge):
                    memory._fill(keys[place], value, deadline, None, tokens[place])
        self.hits += found
        self.misses += len(codes) - found
        return values

    def _unread(self, code: bytes, error: Exception) -> Any:
        """Take a failed read for a miss, after removing what is damaged, or pass the error on."""
        self.faults += 1
        try:
            self._cache.damaged(code, error)
        except TierUnavailable:
            if self._strict:
                raise
        self.misses += 1
        return MISSING

    # ---- write -----------------------------------------------------------------------------------

    def version(self) -> int:
        """Return the version that a value has whose loading begins now."""
        return self._cache.tier.versions.next()

    def write(
        self, memory: _Memory, key: Any, value: Any, life: float | None, version: int | None
    ) -> None:
        """Write a value below, before memory takes it.

        life: seconds, or None for ever.  version: None, or that of a value that was loaded: what
        was written since the loading began stays, and nothing is raised, for a value that cannot
        be written below is still good in memory.
        Raises what the codec raises, and `WriteError` where the tier fails and that is an error.
        """
        if version is None:
            self._write(memory, key, value, life, None)
            return
        try:
            self._write(memory, key, value, life, version)
        except CacheError:
            self.unwritten += 1

    def _write(
        self, memory: _Memory, key: Any, value: Any, life: float | None, loaded: int | None
    ) -> None:
        code = self._key(key)
        tier = self._cache.tier
        expires_ms = expiry_of(self._life_below(life), tier.wall())
        version = tier.versions.next() if loaded is None else loaded
        record = self._codec.encode(code, value, version, expires_ms)
        try:
            if self._goes_below(code, life):
                # Late is who drew a version and was overtaken: that must not undo this write.
                while not tier.put_one(code, record, version, expires_ms) and loaded is None:
                    version = tier.versions.next()
                    record = self._codec.encode(code, value, version, expires_ms)
                self._held.forget(code, version)
            else:
                if loaded is None:  # for a load there was nothing, or what is older and goes later
                    tier.drop([code])
                    version = tier.versions.next()
                self._hold(code, version, value)
        except FAULTS as error:
            self._unwritten(memory, [key], [code], error)
        else:
            if self._doubted:
                self._doubts.discard([code])
        self._tell(memory, key)

    def put_many(self, memory: _Memory, pairs: list[tuple[Any, Any]], ttl: _Ttl) -> None:
        """Store many values, on disk all of them or none.

        Raises what the codec raises, before anything has changed, and `WriteError` as `write`.
        """
        tier = self._cache.tier
        wall = tier.wall()
        # By code, so that of equal keys the last one counts.
        batch: dict[bytes, tuple[Any, Any, float | None, int]] = {}
        for key, value in pairs:
            batch[self._key(key)] = key, value, memory._life(key, ttl), memory._token(key)
        records = {code: self._record(code, *batch[code][1:3], wall) for code in batch}
        others = [code for code in batch if not self._goes_below(code, batch[code][2])]
        late = list(batch.keys() - others) if others else list(batch)
        try:
            while late:
                for code in late:
                    self._held.forget(code)
                late = tier.write([(code, records[code]) for code in late])
                for code in late:
                    records[code] = self._record(code, *batch[code][1:3], wall)
            if others:
                tier.drop(others)
            for code in others:
                self._hold(code, tier.versions.next(), batch[code][1])
        except FAULTS as error:
            keys = [key for key, _, _, _ in batch.values()]
            self._unwritten(memory, keys, list(batch), error)
        else:
            self._doubts.discard(batch)
        try:
            for key, value, life, token in batch.values():
                memory._keep(key, value, life, 1.0, token)
                self._tell(memory, key)
        except BaseException:  # a sizeof has raised; below are the new values
            for key, _, _, _ in batch.values():
                memory._forget(key)
            raise

    def _record(self, code: bytes, value: Any, life: float | None, wall: int) -> bytes:
        """Return the record of a value that is stored now."""
        version = self._cache.tier.versions.next()
        return self._codec.encode(code, value, version, expiry_of(self._life_below(life), wall))

    # ---- what memory alone has, where the tier gets what is evicted ----------------------------

    def _goes_below(self, code: bytes, life: float | None) -> bool:
        """Tell whether what is stored goes below now."""
        # What memory evicts it hands down without its expiry, so what has one goes below at once.
        return life is not None if self.writes_evicted else self._cache.admits(code)

    def _hold(self, code: bytes, version: int, value: Any) -> None:
        """Remember what memory alone has, with a version above that of its removal below."""
        if self.writes_evicted:
            self._held.add(code, version, value)

    def evicted(self, key: Any, value: Any, cause: EvictionCause) -> None:
        """Write below what memory had no room for; a fault is counted, and the value lost."""
        try:
            code = self._key(key)
            version = self._held.version_of(code, value)
            if version is None:
                return
            if cause is EvictionCause.EVICTED:
                expires_ms = expiry_of(self._ttl, self._cache.tier.wall())
                record = self._codec.encode(code, value, version, expires_ms)
                self._cache.tier.put_one(code, record, version, expires_ms)
            self._held.forget(code, version)
        except CacheError:
            self.unwritten += 1

    # ---- remove ----------------------------------------------------------------------------------

    def remove(self, memory: _Memory, keys: list[Any] | None) -> list[bool]:
        """Remove keys (None: all) below, before memory does; whether each was there."""
        if keys is None:
            self._clear(memory)
            return []
        # Memory first: see `_decide`.
        removed = [memory._forget(key) is not MISSING for key in keys]
        places: list[int] = []
        codes: list[bytes] = []
        for place, key in enumerate(keys):
            with suppress(*UNSTORABLE):  # what cannot be below need not be removed there
                codes.append(self._key(key))
                places.append(place)
        if not codes:
            return removed
        for code in codes:
            self._held.forget(code)
        try:
            there = self._cache.tier.drop(codes)
        except FAULTS as error:
            self._unwritten(memory, keys, codes, error)
        else:
            for place, was in zip(places, there, strict=True):
                removed[place] |= was
            if self._doubted:
                self._doubts.discard(codes)
        for key in keys:
            self._tell(memory, key)
        return removed

    def _clear(self, memory: _Memory) -> None:
        """Remove all keys of the namespace below; `WriteError` where that fails."""
        memory._empty()
        self._held.clear()
        try:
            self._cache.clear()
        except FAULTS as error:
            self.faults += 1
            raise WriteError(f"the {NAME} tier could not be cleared: {error}") from error
        self._doubts.discard(list(self._doubted))
        for other in self._siblings.but(memory):
            other._empty()

    def _tell(self, memory: _Memory, key: Any) -> None:
        """Let the other caches over these entries forget a key."""
        for other in self._siblings.but(memory):
            other._forget(key)

    def forget_calls(self, memory: _Memory, name: str) -> None:
        """Remove below the results of a memoized function; memory follows."""
        prefix = self._codec.tuples(name)
        try:
            self._cache.tier.clear(prefix, cast(bytes, after(prefix)))
        except FAULTS as error:
            self.faults += 1
            raise WriteError(f"the {NAME} tier did not forget {name}: {error}") from error

    def _unwritten(
        self, memory: _Memory, keys: list[Any], codes: list[bytes], error: CacheError
    ) -> None:
        """Doubt what the tier has of these keys from now on, or forget them here and raise."""
        self.faults += 1
        if not self._strict and self._doubts.add(codes):
            self._doubts.settle()  # where only the reserve is touched, removing is still possible
            return
        for key in keys:
            memory._forget(key)
        shown = repr(keys[0]) if len(keys) == 1 else f"{len(keys)} keys"
        raise WriteError(
            f"the {NAME} tier failed to write {shown}: {error}",
            dict.fromkeys(keys, error),
        ) from error
