"""Loading what no level has: one load per key, what is done while it takes long, and when it fails.

A load is a flight: who asks first leads it, all others wait for what it brings.  Where there is a
stale value nobody has to wait for longer than the soft limit, and none fails with the source; a
load that goes on behind the back of who asked runs on a bounded pool of workers.

A value gets the version that was drawn before its loading began, so that whatever is written or
removed meanwhile wins.  Cost: 10 us a load, beside the source.
Not chosen: a lock per key, which a loader that hangs would hold for ever.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from frys_cache.chain.keeping import Keeping
from frys_cache.chain.levels import expiry_of
from frys_cache.errors import Backpressure, CacheError, CacheTimeout, ValueTooLarge
from frys_cache.flight import ABANDONED, ALONE
from frys_cache.flight_ring import name_of
from frys_cache.tiers.face import Fatal
from frys_cache.types import DEFAULT, MISSING, EvictionCause

if TYPE_CHECKING:
    from collections.abc import Callable

    from frys_cache.chain.backfill import Backfill
    from frys_cache.chain.changing import Changing
    from frys_cache.chain.held import Held
    from frys_cache.chain.levels import Level
    from frys_cache.chain.source import Source
    from frys_cache.chain.turns import Turns
    from frys_cache.chain.workers import Workers
    from frys_cache.health import Events
    from frys_cache.writeback.writeback import WriteBack

__all__ = ["Loading", "Order"]

LONGEST_S: Final = 9.2e9
"""Seconds, 292 years: for how long a stale value may be stored that may be given for ever."""
PAUSE: Final = 1.0
"""Seconds for which a stale value is given without trying again, after a load has failed."""


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """What is to be called for a key, and how what it brings is kept."""

    function: Callable[..., Any] | None
    """Called with the key, if it takes one."""
    takes_key: bool
    ttl: Any
    stale_for: float
    timeout: float | None
    """Seconds after which who waits is told `CacheTimeout`; None: never."""


class Loading(Keeping):
    """The part of a `CacheManager` that loads."""

    IGNORED: Final = (CacheError,)

    _turns: Turns
    _changing: Changing
    _source: Source | None
    _order: Order
    _writes: WriteBack | None
    _held: Held
    _backend: Any
    writes_evicted: bool
    _workers: Workers
    _backfill: Backfill
    _events: Events
    _strict: bool
    _soft: float
    _lock_timeout: float | None
    _journals: Level | None
    _steady: Callable[[], float]
    _code: Callable[[Any], Any]
    _next: Callable[[], int]
    negatives: int
    early: int
    waiting_hits: int
    stale_served: int
    loads: int
    load_failures: int
    alone_loads: int
    unwritten: int

    if TYPE_CHECKING:

        async def read(
            self, face: Any, memory: Any, key: Any, loads: bool = True, again: bool = False
        ) -> Any:
            """Return the value of a key that memory does not have."""

        def evicted(self, key: Any, value: Any, cause: EvictionCause) -> None:
            """Write below what memory had no room for."""

        def _begin_aside(self) -> None: ...

        async def _load_many(
            self,
            face: Any,
            memory: Any,
            keys: list[Any],
            codes: list[Any],
            places: list[int],
            values: list[Any],
            stale: dict[int, Any],
        ) -> None: ...

        async def _bring_many(
            self,
            face: Any,
            memory: Any,
            keys: list[Any],
            codes: list[Any],
            led: dict[int, Any],
            anew: bool = False,
        ) -> Any: ...

    # ---- one key ---------------------------------------------------------------------------------

    async def _load(
        self, face: Any, memory: Any, key: Any, code: Any, order: Order, stale: Any
    ) -> Any:
        """Return what the source has for a key that no level has, or a stale value, or MISSING."""
        if order.function is None:  # there is a bulk loader only
            values = [MISSING]
            await self._load_many(face, memory, [key], [code], [0], values, {0: stale})
            return values[0]
        if stale is not None and time.monotonic() < stale.retry_at:
            return self._serve(stale)
        load = partial(self._bring, face, memory, key, code, order)
        while True:
            flight: Any = None
            leads = False
            try:
                flight, leads = memory._flights.board(key)
                behind = leads and (stale is not None or order.timeout is not None)
                if behind:
                    work = partial(self._safely, face, load, stale)
                    if not face.start(flight, work, self._workers):
                        if stale is not None:
                            return self._serve(stale)
                        raise self._no_worker(key)
                if stale is not None and not self._soft:
                    return self._serve(stale)
                if leads and not behind:
                    value = await face.lead(flight, load)
                else:
                    limit = self._limit(order, stale, leads)
                    value = await self._wait(face, memory, key, flight, stale, limit, order.timeout)
            except BaseException:
                if leads:
                    flight.give_up()
                raise
            finally:
                del flight
            if value is ALONE:
                self.alone_loads += 1
                return await load()
            if value is MISSING and not leads and not order.takes_key:
                continue  # it was the loader that had nothing, and the factory has not been asked
            if value is not ABANDONED:
                return value

    async def _wait(
        self,
        face: Any,
        memory: Any,
        key: Any,
        flight: Any,
        stale: Any,
        limit: float | None,
        timeout: float | None,
        waited: float = 0.0,
    ) -> Any:
        """Return what a flight brings, or a stale value where that takes too long or fails.

        ABANDONED: board again; ALONE: load without it.  waited: seconds of the limit that are over.
        """
        try:
            return await face.wait(flight, None if limit is None else max(0.0, limit - waited))
        except CacheTimeout:
            if flight.ended:  # it is the loader's own
                if stale is None:
                    raise
                return self._serve_after_failure(stale)
            if stale is not None:
                return self._serve(stale)
            if limit != timeout:
                return ALONE  # lock_timeout: no longer wait for somebody else
            # The flight stays: one load of a key at a time, and one worker, however long it takes.
            raise CacheTimeout(
                f"loading {name_of(key)} took longer than {limit} seconds (loader_timeout); "
                "what it brings later is kept"
            ) from None
        except BaseException as error:
            # An interrupt of this wait is not what the flight has brought.
            if stale is None or not (isinstance(error, Exception) or flight.error is error):
                raise
            return self._serve_after_failure(stale)
        finally:
            del flight

    def _no_worker(self, key: Any) -> Backpressure:
        return Backpressure(
            f"{name_of(key)} cannot be loaded within its timeout now: {self._workers.busy} workers "
            f"are busy and {self._workers.queued} loads wait for them"
        )

    def _limit(self, order: Order, stale: Any, leads: bool) -> float | None:
        """Return how many seconds to wait at most."""
        limits = [order.timeout]
        if stale is not None:
            limits.append(self._soft)
        if not leads:
            limits.append(self._lock_timeout)
        return min((limit for limit in limits if limit is not None), default=None)

    def _serve(self, stale: Any) -> Any:
        self.stale_served += 1
        return stale.value

    def _serve_after_failure(self, stale: Any) -> Any:
        """Give a stale value where the source has failed, and leave it alone for a while."""
        self._postpone(stale)
        return self._serve(stale)

    def _postpone(self, kept: Any) -> None:
        if self._aside is not None:
            self._aside.postpone(kept, PAUSE)

    async def _safely(self, face: Any, load: Callable[[], Any], *stale: Any) -> Any:
        """Load behind the back of who asked: a failure is counted and told of.

        Whatever the source raises goes to who waits, as it would from a load of his own.
        """
        try:
            return await load()
        except BaseException as error:
            if face.ends_load(error):
                raise
            for kept in stale:
                if kept is not None:
                    self._postpone(kept)
            self._events.tell("load-failed", error=f"{type(error).__name__}: {error}")
            if isinstance(error, Exception):
                raise
            raise Fatal(error) from None

    def _refresh(self, face: Any, memory: Any, key: Any, code: Any, kept: Any) -> None:
        """Load a key anew, behind the back of who has just got what is still good."""
        if self._source is None:
            return
        leads = False
        try:
            flight, leads = memory._flights.board(key)
            if leads:
                if self._order.function is None:
                    load = partial(self._bring_many, face, memory, [key], [code], {0: flight}, True)
                else:
                    load = partial(self._bring, face, memory, key, code, self._order, True)
                face.start(flight, partial(self._safely, face, load, kept), self._workers)
        except BaseException:
            if leads:
                flight.give_up()
            raise

    async def _bring(
        self, face: Any, memory: Any, key: Any, code: Any, order: Order, anew: bool = False
    ) -> Any:
        """Call the source and keep what it brings, unless the key is written meanwhile."""
        if not anew:
            # Another flight may have landed before this one was boarded.
            found = memory.peek(key, MISSING)
            if found is MISSING and (self._levels or self._writes is not None):
                found = await self.read(face, memory, key, False, True)
            if found is not MISSING:
                return found
        token = memory._token(key)
        beside = self._beside(key)
        version = self._next()
        began = time.monotonic()
        assert order.function is not None
        try:
            if order.takes_key:
                value = await face.call(order.function, key)
            else:
                value = await face.call(order.function)
        except BaseException:
            self.load_failures += 1
            raise
        self.loads += 1
        took = time.monotonic() - began
        if not order.takes_key or await self._until_written(face, code):
            await self._keep_loaded(
                face, memory, key, code, value, order, version, token, beside, took
            )
        return self._seen_beside(memory, key, code, value) if order.takes_key else value

    async def _until_written(self, face: Any, code: Any) -> bool:
        """Wait, not for ever, for a write of a key whose value the source may have given already.

        Else the next reader might find the one before it in a tier.  False: it has not ended, for
        it may be waiting for who reads; what was loaded is not to be kept.
        """
        if self._backend is not None and self._changing.codes and code in self._changing.codes:
            return await self._turns.ended(face, code)
        return True

    def _seen_beside(self, memory: Any, key: Any, code: Any, value: Any) -> Any:
        """Return what others still see of a key that is being changed, else the value found."""
        if not self._changing.codes or code not in self._changing.codes:
            return value
        here = memory.peek(key, MISSING)
        if here is MISSING and self._aside is not None:
            kept = self._aside.find(key)
            if kept is not None and (kept.value is MISSING or kept.fresh_until > self._steady()):
                return kept.value
        return value if here is MISSING else here

    async def _keep_loaded(
        self,
        face: Any,
        memory: Any,
        key: Any,
        code: Any,
        value: Any,
        order: Order,
        version: int,
        token: int,
        beside: Any,
        took: float,
    ) -> None:
        """Keep what the source has brought in every level, and in memory."""
        life = self._freshness.jittered(memory._life(key, order.ttl))
        if value is MISSING:
            if order.takes_key:  # a factory says nothing of the source
                life = self._freshness.negative_life(life)
                if life and self._aside is not None:
                    self._aside.remember_absent(key, life, beside)
                    self._unless_written(memory, key)
                    await self._write_loaded(face, code, MISSING, version, life, 0, took)
                elif self._aside is not None:
                    await self._let_go(face, key, code, version, beside)
            return
        await self._write_loaded(face, code, value, version, life, order.stale_for, took)
        if self._changing.codes and code in self._changing.codes:
            return
        if self._aside is not None:
            refresh = self._freshness.refresh_after(life, took) if order.takes_key else None
            if life is not None and (refresh is not None or order.stale_for):
                self._aside.keep(key, value, life, order.stale_for, refresh, took, beside)
                self._unless_written(memory, key)
                life = life if refresh is None else refresh
            else:
                self._aside.forget(key)  # that it was absent
        kept = False
        with suppress(ValueTooLarge):
            deadline = None if life is None else time.monotonic() + life
            kept = memory._fill(key, value, deadline, None, token)
        if not kept and self.writes_evicted:
            self.evicted(key, value, EvictionCause.EVICTED)

    async def _let_go(self, face: Any, key: Any, code: Any, version: int, beside: Any) -> None:
        """Forget what is stale, or to be renewed, of a key that the source has no more."""
        assert self._aside is not None
        if not self._freshness.stale_for and self._freshness.refresh_ahead is None:
            return
        if self._aside.token(key) == beside:
            self._aside.forget(key)
        for level in reversed(self._levels):
            with suppress(CacheError):
                await level.ask(face, "drop", [code], version)

    async def _write_loaded(
        self,
        face: Any,
        code: Any,
        value: Any,
        version: int,
        life: float | None,
        stale_for: float,
        took: float,
    ) -> None:
        """Write what was loaded into every level; what cannot be is still good in memory."""
        wall = self.wall()
        for level in reversed(self._levels):
            lives = level.life(life)
            try:
                if value is MISSING:
                    ends = expiry_of(lives, wall)
                    record = level.codec.negative(code, version, ends)
                else:
                    record, ends = self._record(
                        level, code, value, version, lives, wall, stale_for, took
                    )
                if level.admits(code, life):
                    await level.ask(face, "put_one", code, record, version, ends)
                elif level.hands_down and value is not MISSING:
                    self._held.add(code, version, value)
            except CacheError:
                self.unwritten += 1
            else:
                if level.doubted:
                    level.doubts.discard([code], version)

    def _record(
        self,
        level: Level,
        code: Any,
        value: Any,
        version: int,
        life: float | None,
        wall: int,
        stale_for: float = 0.0,
        took: float = 0.0,
    ) -> tuple[bytes, int]:
        """Return the record of a value in a level, and when it is to be removed there."""
        ends = expiry_of(life, wall)
        if not ends or not (stale_for or (took and self._freshness.refresh_ahead is not None)):
            return level.codec.encode(code, value, version, ends), ends
        hard = ends + round(min(stale_for, LONGEST_S) * 1000)
        return (
            level.codec.encode(
                code, value, version, hard, fresh_ms=ends, load_ms=round(took * 1000)
            ),
            hard,
        )

    # ---- get_or_set ------------------------------------------------------------------------------

    async def get_or_set(
        self,
        face: Any,
        memory: Any,
        key: Any,
        factory: Callable[[], Any],
        ttl: Any = DEFAULT,
        stale: float | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Return the value of a key, or what its factory brings."""
        order = Order(
            factory,
            False,
            ttl,
            self._freshness.stale_for if stale is None else stale,
            self._order.timeout if timeout is None else timeout,
        )
        if order.stale_for and self._aside is None:
            self._begin_aside()
        value = memory.peek(key, MISSING)
        if value is MISSING:
            value = await self.read(face, memory, key, False)
        if value is not MISSING:
            return value
        kept = None if self._aside is None else self._aside.find(key)
        if kept is not None and kept.value is MISSING:
            kept = None
        return await self._load(face, memory, key, self._code(key), order, kept)
