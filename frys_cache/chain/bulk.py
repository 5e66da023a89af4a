"""Loading many keys in one call, where the source can.

Each key has a flight of its own, so that a batch and a single read share what is under way: of the
keys of a batch that nobody loads, one call brings all, and ends all their flights; for the others
it waits.  What is stale is loaded anew in a call of its own, which nobody has to wait for.

Cost: 2 us a key, beside the source.
Not chosen: a flight per batch, which two batches that overlap would not share.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from frys_cache.chain.loading import Loading
from frys_cache.flight import ABANDONED, ALONE
from frys_cache.flight_ring import NOBODY
from frys_cache.types import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable

    from frys_cache.flight import Flight

__all__ = ["Bulk"]


class Bulk(Loading):
    """The part of a `CacheManager` that loads many keys at once."""

    async def _load_many(
        self,
        face: Any,
        memory: Any,
        keys: list[Any],
        codes: list[Any],
        places: list[int],
        values: list[Any],
        stale: dict[int, Any],
    ) -> None:
        """Put into `values` what the source has for the keys at these places."""
        assert self._source is not None
        many = self._source.load_many
        if many is None or (len(places) == 1 and self._source.load is not None):
            found = await face.all(
                [
                    self._load(face, memory, keys[at], codes[at], self._order, stale.get(at))
                    for at in places
                ]
            )
            for at, value in zip(places, found, strict=True):
                values[at] = value
            return
        order, began = self._order, time.monotonic()
        flights: dict[int, Any] = {}
        led: dict[int, Any] = {}
        late: dict[int, Any] = {}  # of these, what there is a stale value of
        try:
            for at in places:
                kept = stale.get(at)
                if kept is not None and began < kept.retry_at:
                    values[at] = self._serve(kept)
                    continue
                flights[at], leads = memory._flights.board(keys[at])
                if leads:
                    (led if kept is None else late)[at] = flights[at]
            for loads in filter(None, (late, led)):
                # Whoever brings the first of them brings all, and how it ends they all do.
                first_one, *others = loads.values()
                first_one.on_end(partial(_follow, first_one, others))
                for flight in others:
                    flight.hand_over(NOBODY)
            if late:
                bring = partial(self._bring_many, face, memory, keys, codes, late)
                self._start_many(face, late, bring, [stale[at] for at in late])
            if led:
                bring = partial(self._bring_many, face, memory, keys, codes, led)
                first = next(iter(led))
                if order.timeout is None:
                    await face.lead(led[first], bring)
                elif not self._start_many(face, led, bring, []):
                    raise self._no_worker(keys[first])
        except BaseException:
            for flight in (*led.values(), *late.values()):
                flight.give_up()
            raise
        for at, flight in flights.items():
            kept = stale.get(at)
            if kept is not None and not self._soft:
                values[at] = self._serve(kept)
                continue
            limit = self._limit(order, kept, at in led)
            waited = time.monotonic() - began
            found = await self._wait(
                face, memory, keys[at], flight, kept, limit, order.timeout, waited
            )
            if found is ABANDONED or found is ALONE:
                if found is ALONE:
                    self.alone_loads += 1
                    memory._flights.detach(keys[at])
                again = [MISSING]
                await self._load_many(face, memory, [keys[at]], [codes[at]], [0], again, {0: kept})
                found = again[0]
            values[at] = found

    def _start_many(
        self, face: Any, led: dict[int, Any], bring: Callable[[], Any], stale: list[Any]
    ) -> bool:
        """Load many keys behind the back of who asked; False: there is no room for it."""
        first = led[next(iter(led))]
        return bool(face.start(first, partial(self._safely, face, bring, *stale), self._workers))

    async def _bring_many(
        self,
        face: Any,
        memory: Any,
        keys: list[Any],
        codes: list[Any],
        led: dict[int, Any],
        anew: bool = False,
    ) -> Any:
        """Load many keys in one call, and end the flights of all but the first."""
        assert self._source is not None
        first = next(iter(led))
        values: dict[int, Any] = {}
        try:
            for flight in led.values():
                flight.hand_over(led[first].leader)
            # Another flight may have landed before these were boarded.
            if not anew:
                for at in led:
                    value = memory.peek(keys[at], MISSING)
                    kept = None if self._aside is None else self._aside.find(keys[at])
                    if value is not MISSING or (kept is not None and kept.value is MISSING):
                        values[at] = value
            asked = [at for at in led if at not in values]
            tokens = {at: memory._token(keys[at]) for at in asked}
            beside = {at: self._beside(keys[at]) for at in asked}
            version = self._next()
            began = time.monotonic()
            found: Any = {}
            if asked:
                found = await face.call(self._source.load_many, [keys[at] for at in asked])
                if not isinstance(found, Mapping):
                    raise TypeError(
                        "loader_many has to return a mapping of those keys that have a value, not "
                        f"{type(found).__name__}"
                    )
                self.loads += 1
            took = time.monotonic() - began
            for at in asked:
                value = found.get(keys[at], MISSING)
                if await self._until_written(face, codes[at]):
                    await self._keep_loaded(
                        face, memory, keys[at], codes[at], value, self._order, version, tokens[at],
                        beside[at], took,
                    )  # fmt: skip
                values[at] = self._seen_beside(memory, keys[at], codes[at], value)
            for at, flight in led.items():
                if at != first:
                    flight.land(values[at])
            return values[first]
        except BaseException:
            self.load_failures += 1
            raise
        finally:
            # What is raised holds this frame, and the flights what is raised.
            flight = None
            del led


def _follow(first: Flight, others: list[Flight]) -> None:
    """End what one load was to bring as the first of it has ended, where it has not been ended."""
    error = first.error
    for flight in others:
        if error is None or flight.ended:
            flight.abandon()  # completes an end that was cut short
        else:
            flight.fail(error)
