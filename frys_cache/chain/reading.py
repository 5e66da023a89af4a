"""Reading down a chain: the first level that answers, and what is kept of it on the way up.

Each level answers in one of five ways.  A hit is kept in memory with the life it has left, and
handed to the levels above the one that had it.  A known absence ends the search.  A stale value is
held while the search goes on, for when the source fails.  A miss goes on, and so does a fault,
which is counted apart and is an error at the end where that was asked for.

Whoever reads below takes a token of memory first and fills memory with it afterwards; a write or a
removal in between makes the token worthless, and the value is returned but not kept.

Cost: 2 us on a miss of memory, beside what the tiers take; nothing on a hit.
Not chosen: a frame per level, each 5 % of a read from disk.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from frys_cache.chain.bulk import Bulk
from frys_cache.errors import IntegrityError, TierUnavailable, ValueTooLarge
from frys_cache.types import MISSING

if TYPE_CHECKING:
    from frys_cache.chain.levels import Level

__all__ = ["Reading"]

SHORTEST: Final = 0.05
"""Seconds: what has less life left is not worth a place in memory."""


class Reading(Bulk):
    """The part of a `CacheManager` that reads."""

    async def read(
        self, face: Any, memory: Any, key: Any, loads: bool = True, again: bool = False
    ) -> Any:
        """Return the value of a key that memory does not have, and keep it there; or MISSING.

        loads: ask the source in the end.  again: this was counted before.
        """
        token = memory._token(key)
        code = self._code(key)
        stale: Any = None
        if self._writes is not None and (op := self._writes.find(code)) is not None:
            return self._waiting_value(memory, key, op, token)
        aside = self._aside
        beside = None if aside is None else aside.token(key)
        if aside is not None and (kept := aside.find(key)) is not None:
            if kept.value is MISSING:
                if loads:
                    self.negatives += 1
                    return MISSING
            elif kept.fresh_until > time.monotonic():
                return self._give(face, memory, key, code, kept, token, loads)
            else:
                stale = kept
        fault: TierUnavailable | Level | None = None
        changing = self._changing.codes
        levels = self._levels
        if changing and code in changing:
            levels = levels[-1:]
        for level in levels:
            probes = not level.breaker.closed
            if level.doubted and code in level.doubts:
                level.misses += not again
                fault = (fault or level) if probes else fault
                continue
            if probes and not level.breaker.admits():
                fault = fault or level
                continue
            tier = level.cache.tier
            ended = not probes
            try:
                if face.blocks:
                    record = tier.read_one(code)
                else:
                    record = tier.on(face).read_one(code)
                    if record is not None and type(record) is not bytes:
                        record = await record
                if probes:
                    ended = True
                    level.breaker.succeeded()
                if level.problem is not None:
                    level.recovered(False)
                if record is None:
                    level.misses += not again
                    continue
                entry = level.decode(code, record)
            except Exception as error:  # noqa: BLE001 - sorted there
                ended = True
                fault = await self._unread(face, level, code, error) or fault
                continue
            finally:
                if not ended:
                    level.breaker.released()
            if entry is None:
                level.misses += not again
                continue
            value, _, expires_ms = entry
            left = (expires_ms - self.wall()) / 1000 if expires_ms else None
            if value is MISSING:
                if loads and self._source is not None and (left is None or left > 0):
                    level.negatives += 1
                    return MISSING
                level.misses += not again
                continue
            if left is not None and left <= 0:
                level.stale += not again
                stale = stale or self._stale_of(level, memory, key, value, record, beside)
                continue
            level.hits += 1
            if level is not self._levels[0]:
                self._backfill.add(level, code, value, record)
            if changing and code in changing:
                return self._seen_beside(memory, key, code, value)
            return self._fill(memory, key, value, left, token, beside, level, record)
        if loads and self._source is not None:
            return await self._load(face, memory, key, code, self._order, stale)
        if fault is not None and self._strict:
            raise fault if isinstance(fault, TierUnavailable) else fault.resting()
        return MISSING

    async def read_many(
        self, face: Any, memory: Any, keys: list[Any], loads: bool = True
    ) -> list[Any]:
        """Return the values of keys that memory does not have, in order: one pass per tier."""
        values: list[Any] = [MISSING] * len(keys)
        tokens = [memory._token(key) for key in keys]
        beside = [] if self._aside is None else [self._aside.token(key) for key in keys]
        codes = [self._code(key) for key in keys]
        places, stale = self._at_hand(face, memory, keys, codes, tokens, values, loads)
        fault: TierUnavailable | None = None
        changing = self._changing.codes
        for level in self._levels:
            if not places:
                break
            trusted = places
            if changing and level is not self._levels[-1]:
                trusted = [at for at in trusted if codes[at] not in changing]
            if level.doubted:
                certain = [at for at in trusted if codes[at] not in level.doubts]
                level.misses += len(trusted) - len(certain)
                trusted = certain
            if not trusted:
                continue
            try:
                records = await level.ask(face, level.batch, [codes[at] for at in trusted])
            except TierUnavailable as error:
                fault = fault or error
                continue
            except IntegrityError:  # one damaged block must not hide the others
                for at in trusted:
                    values[at] = await self.read(face, memory, keys[at], loads)
                places = [at for at in places if at not in set(trusted)]
                continue
            answered = await self._sort(
                face, memory, level, trusted, records, keys, codes, tokens, beside, values, stale,
                loads,
            )  # fmt: skip
            places = [at for at in places if at not in answered]
        if places and loads and self._source is not None:
            await self._load_many(face, memory, keys, codes, places, values, stale)
        elif fault is not None and self._strict and places:
            raise fault
        return values

    def _at_hand(
        self,
        face: Any,
        memory: Any,
        keys: list[Any],
        codes: list[Any],
        tokens: list[int],
        values: list[Any],
        loads: bool,
    ) -> tuple[list[int], dict[int, Any]]:
        """Answer what needs no tier; return the places of the others, and stale values by place."""
        stale: dict[int, Any] = {}
        if self._writes is None and self._aside is None:
            return list(range(len(keys))), stale
        places = []
        for at, (key, code) in enumerate(zip(keys, codes, strict=True)):
            if self._writes is not None and (op := self._writes.find(code)) is not None:
                values[at] = self._waiting_value(memory, key, op, tokens[at])
                continue
            kept = None if self._aside is None else self._aside.find(key)
            if kept is not None and kept.value is MISSING and loads:
                self.negatives += 1
                continue
            if kept is not None and kept.value is not MISSING:
                if kept.fresh_until > time.monotonic():
                    values[at] = self._give(face, memory, key, code, kept, tokens[at], loads)
                    continue
                stale[at] = kept
            places.append(at)
        return places, stale

    async def _sort(
        self,
        face: Any,
        memory: Any,
        level: Level,
        places: list[int],
        records: list[Any],
        keys: list[Any],
        codes: list[Any],
        tokens: list[int],
        beside: list[Any],
        values: list[Any],
        stale: dict[int, Any],
        loads: bool,
    ) -> set[int]:
        """Take what a level had for a batch; return the places that need no other level."""
        now = self.wall()
        beside = beside or [0] * len(keys)
        answered = set()
        hits = 0
        known = loads and self._source is not None
        decoded = level.codec.decode_many([codes[at] for at in places], records)
        for at, record, entry in zip(places, records, decoded, strict=True):
            if entry is None:
                level.misses += 1
                continue
            if isinstance(entry, IntegrityError):
                await self._unread(face, level, codes[at], entry)
                continue
            value, _, expires_ms = entry
            left = (expires_ms - now) / 1000 if expires_ms else None
            over = left is not None and left <= 0
            if value is MISSING:
                if known and not over:
                    level.negatives += 1
                    answered.add(at)
                else:
                    level.misses += 1
                continue
            if over:
                level.stale += 1
                kept = None
                if at not in stale:
                    kept = self._stale_of(level, memory, keys[at], value, record, beside[at])
                if kept is not None:
                    stale[at] = kept
                continue
            hits += 1
            answered.add(at)
            values[at] = value
            if level is not self._levels[0]:
                self._backfill.add(level, codes[at], value, record)
            if self._changing.codes and codes[at] in self._changing.codes:
                values[at] = self._seen_beside(memory, keys[at], codes[at], value)
            else:
                values[at] = self._fill(
                    memory, keys[at], value, left, tokens[at], beside[at], level, record
                )
        level.hits += hits
        return answered

    def _fill(
        self,
        memory: Any,
        key: Any,
        value: Any,
        left: float | None,
        token: int,
        beside: Any,
        level: Level,
        record: bytes,
    ) -> Any:
        """Keep in memory what a level had, for the life that it has left; return what is seen."""
        if not level.keeps:
            return value
        deadline = None
        if left is not None:
            if left < SHORTEST:
                return value
            if self._aside is not None:
                left = self._watch(memory, key, value, left, level.codec.ends(record), beside)
            deadline = time.monotonic() + left
        try:
            if not memory._fill(key, value, deadline, None, token):
                # What memory has got meanwhile is what all others see.
                return memory.peek(key, value)
        except ValueTooLarge:
            pass  # too heavy for memory; below there is room for it
        return value

    def _give(
        self, face: Any, memory: Any, key: Any, code: Any, kept: Any, token: int, loads: bool
    ) -> Any:
        """Return a value that is kept beside memory, and have it loaded anew when that is due."""
        self.early += 1
        now = time.monotonic()
        if now < kept.refresh_at:  # memory had no room for it any more
            if self._changing.codes and code in self._changing.codes:
                return kept.value
            with suppress(ValueTooLarge):
                memory._fill(key, kept.value, min(kept.refresh_at, kept.fresh_until), None, token)
        elif loads and now >= kept.retry_at:
            self._refresh(face, memory, key, code, kept)
        return kept.value

    def _waiting_value(self, memory: Any, key: Any, op: Any, token: int) -> Any:
        """Return what a write has stored that is still to be sent; MISSING if it is a removal."""
        assert self._writes is not None
        self.waiting_hits += 1
        value = self._writes.value_of(op)
        if value is MISSING:
            return MISSING
        deadline = None
        if op.expires_ms:
            left = (op.expires_ms - self.wall()) / 1000
            if left <= 0:
                # For a backend it is still the newest there is; without one its time is over.
                return value if self._backend is not None else MISSING
            if left < SHORTEST:
                return value
            deadline = time.monotonic() + left
        with suppress(ValueTooLarge):
            memory._fill(key, value, deadline, None, token)
        return value

    async def _unread(
        self, face: Any, level: Level, code: bytes, error: Exception
    ) -> TierUnavailable | None:
        """Sort what a read has raised: damage is a miss, and removed; a fault is returned."""
        if isinstance(error, TierUnavailable):
            level.failed(error)
            return error
        if not isinstance(error, IntegrityError):
            raise error
        level.faults += 1
        level.misses += 1
        try:
            await level.discard(face, code, error)
        except TierUnavailable as fault:
            level.failed(fault)
            return fault
        return None
