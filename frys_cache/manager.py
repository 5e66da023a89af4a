"""`CacheManager`: what a cache does below memory; the chain of its tiers, and the source behind.

The algorithm is written once, as coroutines over a face: the methods here that take a memory first
run it to the end on the calling thread, and whoever is on an event loop awaits the same coroutines
over `ASYNC`.  Its parts: reading.py, loading.py, writing.py, removing.py, decisions.py; each says
what it costs.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from weakref import WeakValueDictionary

from frys_cache._core import Deposit, Descent
from frys_cache.breaker import Breaker
from frys_cache.chain.aside import Aside
from frys_cache.chain.backfill import Backfill
from frys_cache.chain.changing import Changing
from frys_cache.chain.freshness import Freshness, check_seconds
from frys_cache.chain.held import Held
from frys_cache.chain.levels import FAULTS, Level
from frys_cache.chain.loading import Order
from frys_cache.chain.sending import Sending, loop_of
from frys_cache.chain.siblings import Siblings, siblings_over
from frys_cache.chain.source import source_of
from frys_cache.chain.turns import Turns
from frys_cache.chain.warming import warm
from frys_cache.chain.workers import Workers
from frys_cache.consistency import (
    ConsistencyManager,
    ConsistencyStrategy,
    check_backend,
    consistency_of,
)
from frys_cache.errors import CacheClosed, CacheTimeout, ConfigurationError, TierUnavailable
from frys_cache.health import CacheEvent, Events, TierHealth
from frys_cache.tiers.face import SYNC, run_sync
from frys_cache.tiers.versions import Versions, WallClock
from frys_cache.types import DEFAULT, EvictionCause, TierStats

if TYPE_CHECKING:
    from frys_cache._core import MemoryCache
    from frys_cache.config import CacheConfig
    from frys_cache.writeback.writeback import FlushReport, WriteBack

    _Memory: TypeAlias = MemoryCache[Any, Any]
    _Ttl: TypeAlias = Any

__all__ = ["CacheManager"]

MODES: Final = ("resilient", "strict")
CLOSING: Final = 10.0
"""Seconds that closing waits for writes that are still to be sent."""


class CacheManager(Sending):
    """Coordinate the tiers below the memory of one cache, and the source of its data.

    `FrysCache` makes it.  tiers: the levels below memory, the fastest first, any number of them.
    consistency: a `ConsistencyManager`, a strategy or its name.  loader, loader_many: callables
    that give the value of a key, or a mapping of many, `MISSING` for none; plain or async.
    backend: a `Backend`.  negative_ttl: seconds for which it is remembered that the source has
    nothing; None: a tenth of the ttl and at most 30.  stale_ttl: seconds after its expiry in which
    a value may still be given while it is loaded anew.  soft_timeout: seconds that who could have
    a stale value waits for a load first; None: not at all.  loader_timeout: seconds after which who
    waits for a load is told `CacheTimeout`.  lock_timeout: seconds after which who waits for the
    load of another loads alone.  jitter: the fraction by which a ttl is varied.  refresh_ahead:
    the fraction of a ttl after which a value that is asked for is loaded anew, or "xfetch": the
    later, the likelier.  mode: `"resilient"`, where a fault of a tier is a miss, and a write that
    the lowest one refuses is kept above it alone, or `"strict"`, where the first is an error and
    the second a `WriteError`.  config: what a pickle of the cache is made of.  owned: close the
    tiers with the cache.

    Raises `ConfigurationError` for what cannot be.  Safe from any thread and task.

    >>> import tempfile
    >>> from frys_cache import FrysCache
    >>> with FrysCache(10, persistent=tempfile.mkdtemp() + "/db") as cache:
    ...     list(cache.manager.tiers)
    ['persistent']
    """

    def __init__(
        self,
        tiers: Sequence[Any],
        *,
        consistency: ConsistencyManager | ConsistencyStrategy | str = "write-through",
        loader: Callable[[Any], Any] | None = None,
        loader_many: Callable[[Any], Any] | None = None,
        backend: Any = None,
        negative_ttl: float | timedelta | None = None,
        stale_ttl: float | timedelta | None = None,
        soft_timeout: float | timedelta | None = None,
        loader_timeout: float | timedelta | None = None,
        lock_timeout: float | timedelta | None = None,
        jitter: float = 0.0,
        refresh_ahead: float | Literal["xfetch"] | None = None,
        mode: Literal["resilient", "strict"] = "resilient",
        config: CacheConfig | None = None,
        owned: bool = False,
    ) -> None:
        if mode not in MODES:
            raise ConfigurationError(f"mode must be 'resilient' or 'strict', not {mode!r}")
        self.config = config
        self.consistency = consistency_of(consistency)
        strategy = self.consistency.strategy
        self._backend = _backend_of(self.consistency, backend)
        self._source = source_of(loader, loader_many, self._backend)
        if strategy is ConsistencyStrategy.REFRESH_AHEAD:
            if self._source is None:
                raise ConfigurationError(
                    "REFRESH_AHEAD loads anew what is asked for: pass loader= or a backend too"
                )
            refresh_ahead = "xfetch" if refresh_ahead is None else refresh_ahead
        self._freshness = Freshness(
            stale_ttl=0 if stale_ttl is None else stale_ttl,
            jitter=jitter,
            refresh_ahead=refresh_ahead,
            negative_ttl=negative_ttl,
        )
        self._soft = (
            0.0
            if soft_timeout is None
            else check_seconds("soft_timeout", soft_timeout, allow_zero=True, allow_inf=True)
        )
        self._lock_timeout = seconds_or_none("lock_timeout", lock_timeout)
        self._order = Order(
            None if self._source is None else self._source.load,
            True,
            DEFAULT,
            self._freshness.stale_for,
            seconds_or_none("loader_timeout", loader_timeout),
        )
        self._loop = loop_of(self._backend)
        self._owned = owned
        self._strict = mode == "strict"
        self._around = strategy is ConsistencyStrategy.WRITE_AROUND
        self._events = Events()
        self._workers = Workers()
        self._held = Held()
        self._begun: dict[int, int] = {}
        self._steady = time.monotonic
        self._tiers = {getattr(cache, "name", cache.tier.name): cache for cache in tiers}
        if len(self._tiers) != len(tiers):
            raise ConfigurationError("a chain has each kind of tier once at most")
        namespaces = {cache.codec.namespace for cache in tiers}
        if len(namespaces) > 1:
            raise ConfigurationError(
                f"the tiers of a chain have one namespace, not {', '.join(sorted(namespaces))}"
            )
        self._levels = [
            Level(cache, self._breaker_changed)
            for cache in tiers
            if not getattr(cache, "alone", False)
        ]
        self.wall = (
            next((c.tier.wall for c in tiers if hasattr(c.tier, "wall")), None) or WallClock()
        )
        versions = next((c.tier.versions for c in tiers if hasattr(c.tier, "versions")), None)
        versions = versions or Versions()
        self._next = versions.next
        for cache in tiers:  # one clock for all, or what was removed later could be newer
            if getattr(cache.tier, "versions", versions) is not versions:
                versions.observe(cache.tier.versions.last())
                cache.tier.versions = versions
        self._siblings = siblings_over(self._levels[0].cache) if self._levels else Siblings()
        self._turns, self._changing = self._siblings.turns, self._siblings.changing
        self._code = self._levels[0].codec.key if self._levels else _same
        self._backfill = Backfill(self._levels, self._workers.submit, self.wall)
        self.deposit: Deposit | None = None
        """What takes a put that only has to wait, where that is all there is to it, or None."""
        if self._source is not None or self._freshness.stale_for:
            self._begin_aside()
        else:
            self._aside = None
        self.writes_evicted = bool(self._levels) and self._levels[0].hands_down
        """Whether memory has to hand down what it evicts."""
        self._journals: Level | None = None
        self._writes: WriteBack | None = None
        if strategy is ConsistencyStrategy.WRITE_BACK:
            self._begin_write_back(config)
        else:
            self._look_at_journals()
        self._count_steps()
        writes: WriteBack | None = self._siblings.writes
        self.writes_now = strategy is ConsistencyStrategy.WRITE_BACK and not (
            jitter or self._freshness.stale_for or self._freshness.refresh_ahead
        )
        """Whether a write may be taken by `write_now`."""
        if self.writes_now and writes is not None:
            forget = None if self._aside is None else self._aside.forget
            self.deposit = writes.deposit(self._code, self._next, self.wall, forget)
        self.descent = self._straight_path()
        """What a miss of memory asks where nothing but tiers is below it, or None."""
        self.negatives = self.early = self.waiting_hits = self.stale_served = 0
        self.loads = self.load_failures = self.alone_loads = 0
        self.unwritten = 0
        """Loaded values that could not be written below and are in memory alone."""
        _alive[id(self)] = self

    # ---- the whole -------------------------------------------------------------------------------

    @property
    def tiers(self) -> MappingProxyType[str, Any]:
        """The tiers below memory by name, the fastest first."""
        return MappingProxyType(self._tiers)

    @property
    def answered(self) -> int:
        """Requests that memory missed and something below answered."""
        levels = sum(level.hits for level in self._levels)
        return levels + self.waiting_hits + self.early + self.stale_served

    def stats(self) -> dict[str, TierStats]:
        """Return what each tier has done for this cache, and holds."""
        stats = {}
        for level in self._levels:
            own = level.cache.stats()
            stats[level.name] = TierStats(
                level.hits,
                level.misses + level.negatives + level.stale,
                own.entries,
                own.total_size,
            )
        return stats

    def health(self) -> dict[str, TierHealth]:
        """Return how each level does: `"memory"`, each tier, and `"source"` where there is one.

        What waits to be sent is reported with the tier that has the journal, or with memory.
        """
        beside = {
            "beside_hits": self.early,
            "waiting_hits": self.waiting_hits,
            "loads_alone": self.alone_loads,
            "unwritten": self.unwritten,
        }
        found = {"memory": TierHealth(stale=self.stale_served, detail=MappingProxyType(beside))}
        for level in self._levels:
            down = level.breaker.state == "open"
            degraded = level.doubted or level.problem is not None or not level.breaker.closed
            found[level.name] = TierHealth(
                state="down" if down else "degraded" if degraded else "ok",
                breaker=level.breaker.state,
                since=level.breaker.since,
                last_error=level.problem,
                faults=level.faults,
                hits=level.hits,
                misses=level.misses,
                negatives=level.negatives,
                stale=level.stale,
                doubted=len(level.doubted),
            )
        if self._source is not None:
            found["source"] = TierHealth(
                hits=self.loads, faults=self.load_failures, negatives=self.negatives
            )
        if self._writes is not None:
            name = "memory" if self._journals is None else self._journals.name
            found[name] = replace(
                found[name],
                dirty=self._writes.entries,
                dirty_bytes=self._writes.size_bytes,
                oldest_dirty=self._writes.waiting,
                dead_letters=len(self._writes.dead_letters()),
                unknown_writes=self._writes.unknown,
            )
        return found

    def subscribe(self, listener: Callable[[CacheEvent], object]) -> Callable[[], None]:
        """Have a callable told of each `CacheEvent`; return what ends that.

        Events are "breaker-open", "breaker-half-open", "breaker-closed", "load-failed",
        "dead-letter", "backpressure", "outage" and "recovered".  It is called by whichever thread
        caused the event, with no lock held; what it raises is reported and changes nothing.
        """
        return self._events.subscribe(listener)

    def flush(self, timeout: float | None = None) -> FlushReport | None:
        """Wait until all that waits is sent, and everything written outlives a power cut."""
        timeout, report = seconds_or_none("timeout", timeout), None
        began = time.monotonic()
        if self._writes is not None:
            report = run_sync(self._writes.flush(SYNC, timeout))
        for level in self._levels:
            if hasattr(level.cache, "flush"):
                left = None if timeout is None else timeout - (time.monotonic() - began)
                level.cache.flush(left if left is None else max(left, 0.001))
        return report

    def attach(self, memory: _Memory) -> None:
        """Begin to work for a memory, and fill it if a tier was opened for that."""
        self._siblings.add(memory)
        for level in self._levels:
            if getattr(level.cache, "warm_on_open", False):
                counts = level.hits, level.misses
                try:
                    warm(memory, level.cache, self._read_quietly)
                finally:
                    level.hits, level.misses = counts  # nobody has asked

    def _read_quietly(self, memory: _Memory, keys: list[Any]) -> list[Any]:
        return run_sync(self.read_many(SYNC, memory, keys, False))

    def close(self, memory: _Memory, timeout: float | None = CLOSING) -> FlushReport | None:
        """End the work for a memory, and close the tiers if they are this cache's own.

        Whatever comes in between, an interrupt too: what can be given back is given back.
        """
        self._siblings.discard(memory)
        report = None
        try:
            with suppress(CacheClosed):
                for key, value in list(memory.items()) if self._held else ():
                    self.evicted(key, value, EvictionCause.EVICTED)
            if self._writes is not None:
                report = run_sync(self._writes.close(SYNC, timeout))
            with suppress(CacheClosed):
                for level in self._levels:
                    level.doubts.settle()
        finally:
            if self._writes is not None and self._siblings.writes is self._writes:
                self._siblings.writes = None
                self.consistency._in_use = False
            self._workers.close(0.0)
            if self._owned:
                for cache in self._tiers.values():
                    cache.close()
        return report

    # ---- what a cache asks for beside reading and writing ---------------------------------------

    async def look(self, face: Any, memory: _Memory, key: Any) -> Any:
        """Return what the tiers have for a key, or MISSING; the source is not asked."""
        return await self.read(face, memory, key, False)

    async def write_loaded(
        self, face: Any, memory: _Memory, key: Any, value: Any, life: float | None, version: int
    ) -> None:
        """Write what a memoized function has returned, with the version of when it was called."""
        code = self._code(key)
        await self._write_loaded(face, code, value, version, life, 0.0, 0.0)
        if self._aside is not None:
            self._aside.forget(key)
        self._tell_others(memory, key)

    async def begin(self, _face: Any, memory: _Memory, key: Any) -> int:
        """Return the version of what is read elsewhere from now on."""
        version = self._next()
        self._begun[version] = memory._token(key)
        while len(self._begun) > BEGUN:
            with suppress(KeyError, RuntimeError):
                del self._begun[next(iter(self._begun))]
        return version

    async def put_versioned(
        self,
        face: Any,
        memory: _Memory,
        key: Any,
        value: Any,
        ttl: _Ttl,
        cost: float,
        version: int,
    ) -> None:
        """Store what was read elsewhere since `begin` gave this version, unless the key changed."""
        code = self._code(key)
        beside = self._beside(key)
        life = self._freshness.jittered(memory._life(key, ttl))
        token = self._begun.get(version)
        if token is None or token != memory._token(key):
            return
        if self._writes is not None and self._writes.find(code) is not None:
            return
        plan = [
            (level, *self._record(level, code, value, version, level.life(life), self.wall()))
            for level in reversed(self._levels)
        ]
        with self._change_of(memory, [key]):
            for at, (level, record, ends) in enumerate(plan):
                try:
                    if not await level.ask(face, "put_one", code, record, version, ends):
                        return
                except (*FAULTS, CacheTimeout) as error:
                    await self._unwritten(face, memory, [key], [code], level, error, at == 0)
                else:
                    level.doubts.discard([code], version)
            shown = self._look_after(memory, key, value, life, beside)
            self._follow(memory, key, value, shown, cost, token)
            self._tell(memory, key)

    def version(self) -> int:
        """Return the version that a value has whose loading begins now."""
        return self._next()

    # ---- parts -----------------------------------------------------------------------------------

    def _straight_path(self) -> Descent | None:
        beside = self._source is not None or self._aside is not None or self._writes is not None
        if not self._levels or beside or not all(level.keeps for level in self._levels):
            return None

        def failed(level: Level, code: bytes, error: Exception) -> TierUnavailable | None:
            return run_sync(self._unread(SYNC, level, code, error))

        return Descent(
            tuple(self._levels),
            self._changing.codes,
            self._code,
            self.wall,
            failed,
            self._backfill.add,
            self._seen_beside,
            self._strict,
        )

    def _begin_aside(self) -> None:
        """Remember keys beside memory from now on, as much as memory may hold."""
        bounds = {} if self.config is None else self.config.memory_arguments()
        self._aside = Aside(**{name: bounds.get(name) for name in BOUNDS})
        if self.deposit is not None:  # which does not know it
            self.deposit.on = False

    def _breaker_changed(self, breaker: Breaker, _before: str, after: str) -> None:
        self._events.tell(f"breaker-{after}", breaker.name)

    def _leave_parent(self) -> None:
        """In a forked child: do without what only the parent can use."""
        self._levels = [one for one in self._levels if not hasattr(type(one.cache), "alone")]
        self._workers = Workers()
        self._backfill = Backfill(self._levels, self._workers.submit, self.wall)
        # What the other threads of the parent were at nobody ends here.
        self._turns, self._changing = Turns(), Changing()
        if self._writes is not None and self._journals is not None:
            # Nothing can be put in the journal here, so the backend is written to at once.
            self._writes = self._journals = None
            self.writes_now = False
            if self.deposit is not None:
                self.deposit.on = False
        self._count_steps()


BOUNDS: Final = ("max_entries", "max_size_bytes", "sizeof")
BEGUN: Final = 10_000
"""How many versions are remembered that `begin` has given."""


def _same(key: Any) -> Any:
    return key


def seconds_or_none(name: str, span: float | timedelta | None) -> float | None:
    """Return a time in seconds, checked; None: there is none, or no end."""
    if span is None:
        return None
    seconds = check_seconds(name, span, allow_zero=True, allow_inf=True)
    return None if seconds == math.inf else seconds


def _backend_of(consistency: ConsistencyManager, backend: Any) -> Any:
    """Return the one backend that was given."""
    if backend is None:
        return consistency.backend
    check_backend(backend)
    if consistency.backend is not None:
        raise ConfigurationError(
            "a backend is given twice: as backend= and to the ConsistencyManager; pass one of them"
        )
    if consistency.strategy is ConsistencyStrategy.CACHE_ASIDE:
        raise ConfigurationError(
            "with CACHE_ASIDE the application writes its store itself and the cache calls no "
            "backend: pass loader= to have it read, or choose WRITE_THROUGH"
        )
    return backend


# Not a WeakSet: that cannot be listed while another thread adds to it.
_alive: WeakValueDictionary[int, CacheManager] = WeakValueDictionary()


def _after_fork_in_child() -> None:
    for reference in _alive.valuerefs():
        manager = reference()
        if manager is not None:
            manager._leave_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
