"""Writing to a chain by its strategy, and removing from it.

Write-through goes to the backend first and then to the tiers, the lowest first, so that no level is
ahead of the one below it: a read that finds a value above finds none older below later on.  The
lowest tier is the authority where there is no backend.  Write-back puts a journal record in their
place.  Write-around writes the lowest level only.

Writes of one key to a backend take turns, by flights, so that backend and tiers end with the same
value.  Where there is none, versions decide: of two writers of a key each makes the other's token
of memory worthless, so memory keeps neither value, and the tiers keep the one of the newer version.
Cost: 3 us beside what the tiers take.
Not chosen: a lock per key around all levels, under which foreign code would run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from frys_cache.chain.levels import FAULTS, Level, expiry_of
from frys_cache.chain.removing import Removing
from frys_cache.errors import CacheError, CacheTimeout, WriteError
from frys_cache.tiers.base import head_of
from frys_cache.types import EvictionCause

__all__ = ["Writing"]


class Writing(Removing):
    """The part of a `CacheManager` that writes and removes."""

    _around: bool

    # ---- one value -------------------------------------------------------------------------------

    def write_now(self, key: Any, value: Any, life: float | None) -> bool:
        """Have a write wait to be sent, if nothing stands in its way; False: `write` has to do it.

        To be called where it `writes_now` only, for what a `Deposit` does not take: values that are
        signed or kept as objects.  What `write` does there, without a coroutine: a third less.
        """
        writes = self._writes
        assert writes is not None
        code = self._code(key)
        if self._aside is not None:
            self._aside.forget(key)  # before it can have been sent
        ends = 0 if life is None else expiry_of(life, self.wall())
        return writes.put_now(code, key, value, self._next(), ends)

    async def write(
        self, face: Any, memory: Any, key: Any, value: Any, life: float | None
    ) -> float | None:
        """Write a value below, before memory takes it; the strategy says where.

        life: seconds, or None for ever.  Returns how long memory may answer for it, or None: as
        long as it was to live.  Raises what the codec and the backend raise, `WriteError` where the
        lowest tier fails and that is an error, and `Backpressure`; then memory is to forget the key
        or has not changed.  Where it `takes_steps`, to be called within `change_of`.
        """
        code = self._code(key)
        lives = self._freshness.jittered(life) if self._freshness.jitter else life
        writes = self._writes
        if writes is not None and self._aside is not None:
            self._aside.forget(key)  # before it can have been sent
        beside = self._beside(key)
        if writes is not None:
            ends = 0 if lives is None else expiry_of(lives, self.wall())
            if not (face.blocks and writes.put_now(code, key, value, self._next(), ends)):
                while not await writes.put(face, code, key, value, self._next(), ends):
                    pass  # somebody else has drawn a newer version before it was taken
        elif self._backend is not None:
            work = partial(self._write_both, face, memory, code, key, value, lives)
            await self._in_turn(face, memory, key, code, work)
        else:
            plan = self._plan(code, value, lives)
            await self._write_levels(face, memory, code, key, value, lives, plan, False)
        shown = lives
        if self._aside is not None:
            shown = self._look_after(memory, key, value, lives, beside)
        if self._around:
            memory._forget(key)
        if self._siblings.are_others:
            self._tell(memory, key)
        return None if shown == life else shown

    def _look_after(
        self, memory: Any, key: Any, value: Any, life: float | None, beside: Any
    ) -> float | None:
        """Keep beside memory what may be given stale, or renewed early, later on.

        beside: the token of before the write: of two writers at once neither keeps its value.
        """
        aside = self._aside
        if aside is None:
            return life
        if life is None or self._around or self._source is None:
            aside.forget(key)
            return life
        refresh = self._freshness.refresh_after(life, 0.0)
        if self._freshness.stale_for or refresh is not None:
            stale_for = self._freshness.stale_for
            try:
                if not aside.keep(key, value, life, stale_for, refresh, 0.0, beside):
                    aside.forget(key)
            except BaseException:  # a sizeof has raised; below is the new value
                memory._forget(key)
                raise
            return life if refresh is None else refresh
        aside.forget(key)
        return life

    async def _write_both(
        self,
        face: Any,
        memory: Any,
        code: Any,
        key: Any,
        value: Any,
        life: float | None,
        crosses: Callable[[], bool],
    ) -> None:
        """Tell the backend, and then the tiers.

        What has been loaded meanwhile has a version from before it was loaded; so that of the
        write is from after it was stored.
        """
        self._plan(code, value, life)  # raises for what cannot be below, before anything changes
        try:
            await face.call(self._backend.store, key, value)
        except BaseException:
            # It may have stored it all the same: what is here may be old now.
            await self._distrust(face, memory, [key], [code])
            raise
        plan = self._plan(code, value, life)
        if crosses():
            await self._distrust(face, memory, [key], [code])
        else:
            await self._write_levels(face, memory, code, key, value, life, plan, True)

    def _plan(
        self, code: Any, value: Any, life: float | None
    ) -> list[tuple[Level, int, bytes, int]]:
        """Make the records of a value, the lowest level first, before anything has changed."""
        plan: list[tuple[Level, int, bytes, int]] = []
        if not self._levels:
            return plan
        version, wall = self._next(), self.wall()
        stale_for = self._freshness.stale_for if self._source is not None else 0.0
        for level in reversed(self._levels):
            record, ends = self._record(
                level, code, value, version, level.life(life), wall, stale_for
            )
            plan.append((level, version, record, ends))
        return plan

    async def _write_levels(
        self,
        face: Any,
        memory: Any,
        code: Any,
        key: Any,
        value: Any,
        life: float | None,
        plan: list[tuple[Level, int, bytes, int]],
        told: bool,
    ) -> None:
        """Write into the tiers, the lowest first.  told: the backend has it, so none is vital."""
        newest = 0
        for at, (level, version, record, ends) in enumerate(plan):
            vital = at == 0 and not told
            try:
                if (told or at) and self._around:
                    await level.ask(face, "drop", [code], self._next())
                elif level.admits(code, life):
                    if newest > version:
                        version = newest
                        record, ends = self._again(level, code, value, version, life)
                    while not await level.ask(face, "put_one", code, record, version, ends):
                        if told:  # nobody knows which value the backend has taken last
                            await level.ask(face, "drop", [code])
                            break
                        if at:
                            break  # somebody else has been here with a newer one
                        # Late is who drew a version and was overtaken: that is no reason to lose.
                        newest = version = self._next()
                        record, ends = self._again(level, code, value, version, life)
                    if level.hands_down:
                        self._held.forget(code, version)
                else:
                    await level.ask(face, "drop", [code])
                    if level.hands_down:
                        # With a version above that of its removal below.
                        self._held.add(code, self._next(), value)
            except (*FAULTS, CacheTimeout) as error:
                await self._unwritten(face, memory, [key], [code], level, error, vital)
            else:
                if level.doubted:
                    level.doubts.discard([code], version)

    def _again(
        self, level: Level, code: Any, value: Any, version: int, life: float | None
    ) -> tuple[bytes, int]:
        stale_for = self._freshness.stale_for if self._source is not None else 0.0
        return self._record(level, code, value, version, level.life(life), self.wall(), stale_for)

    # ---- many values -----------------------------------------------------------------------------

    async def put_many(
        self, face: Any, memory: Any, pairs: list[tuple[Any, Any]], ttl: Any
    ) -> None:
        """Store many values, in each tier all of them or none.

        Raises what the codec raises, before anything has changed, and otherwise as `write`;
        `WriteError.failed` says which keys.
        """
        # By code, so that of equal keys the last one counts.
        batch: dict[Any, tuple[Any, Any, float | None, int, Any]] = {}
        for key, value in pairs:
            life = self._freshness.jittered(memory._life(key, ttl))
            token = memory._token(key)
            beside = self._beside(key)
            batch[self._code(key)] = key, value, life, token, beside
        if not batch:
            return
        with self._change_of(memory, [key for key, *_ in batch.values()]):
            if self._writes is not None:
                await self._put_many_waiting(face, batch)
            elif self._backend is not None:
                keys = {code: batch[code][0] for code in batch}
                work = partial(self._put_many_both, face, memory, batch)
                _, crossed = await self._turns.batch(face, keys, work)
                if crossed:
                    await self._distrust(face, memory, [keys[code] for code in crossed], crossed)
            else:
                plan = self._plan_many(batch)
                await self._put_many_levels(face, memory, batch, plan, False)
            self._take_over(memory, batch)

    async def _put_many_waiting(self, face: Any, batch: dict[Any, Any]) -> None:
        """Have a batch wait to be sent."""
        assert self._writes is not None
        wall, late = self.wall(), list(batch)
        if self._aside is not None:
            for code, (key, *entry, _) in list(batch.items()):
                self._aside.forget(key)  # before it can have been sent
                batch[code] = (key, *entry, self._beside(key))
        while late:
            entries = [
                (code, *batch[code][:2], self._next(), expiry_of(batch[code][2], wall))
                for code in late
            ]
            late = await self._writes.put_many(face, entries)

    def _take_over(self, memory: Any, batch: dict[Any, Any]) -> None:
        """Have memory keep a batch that has been stored below."""
        try:
            for key, value, life, token, beside in batch.values():
                shown = self._look_after(memory, key, value, life, beside)
                if self._around:
                    memory._forget(key)
                else:
                    memory._keep(key, value, shown, 1.0, token)
                self._tell(memory, key)
        except BaseException:  # a sizeof has raised; below are the new values
            for key, *_ in batch.values():
                memory._forget(key)
            raise

    def _plan_many(self, batch: dict[Any, Any]) -> dict[Level, dict[Any, bytes]]:
        """Make the records of a batch, before anything has changed.

        A key has the same version in every level, or two batches could win in one level each.
        """
        versions = {code: self._next() for code in batch}
        plan: dict[Level, dict[Any, bytes]] = {}
        for level in reversed(self._levels):
            plan[level] = {
                code: self._again(level, code, value, versions[code], life)[0]
                for code, (_, value, life, *_) in batch.items()
            }
        return plan

    async def _put_many_both(
        self, face: Any, memory: Any, batch: dict[Any, Any], crossed: Callable[[], set[Any]]
    ) -> None:
        """Tell the backend, and then the tiers of what it has taken."""
        self._plan_many(batch)  # raises for what cannot be below, before anything changes
        values = {key: value for key, value, *_ in batch.values()}
        store_many = getattr(self._backend, "store_many", None)
        failed: dict[object, BaseException] = {}
        if store_many is not None:
            try:
                await face.call(store_many, dict(values))
            except BaseException:
                await self._distrust(face, memory, list(values), list(batch))
                raise
        else:
            for code, (key, value, *_) in list(batch.items()):
                try:
                    await face.call(self._backend.store, key, value)
                except Exception as error:  # noqa: BLE001 - reported, key by key
                    failed[key] = error
                    del batch[code]
                    await self._distrust(face, memory, [key], [code])
        plan = self._plan_many(batch)
        if unsure := [code for code in crossed() if code in batch]:
            await self._distrust(face, memory, [batch[code][0] for code in unsure], unsure)
            for records in plan.values():
                for code in unsure:
                    del records[code]
        await self._put_many_levels(face, memory, batch, plan, True)
        if failed:
            for key, *_ in batch.values():
                memory._forget(key)  # below is what the backend has taken
                if self._aside is not None:
                    self._aside.forget(key)
                self._tell(memory, key)
            raise WriteError(
                f"the backend failed to store {len(failed)} of {len(values)} keys", failed
            )

    async def _put_many_levels(
        self,
        face: Any,
        memory: Any,
        batch: dict[Any, Any],
        plan: dict[Level, dict[Any, bytes]],
        told: bool,
    ) -> None:
        """Write a batch into the tiers, the lowest first."""
        newer: dict[Any, int] = {}
        for at, (level, records) in enumerate(plan.items()):
            version = None
            try:
                if (told or at) and self._around:
                    version = self._next()
                    await level.ask(face, "drop", list(batch), version)
                    records = {}
                for code, drawn in newer.items() if records else ():
                    _, value, life, *_ = batch[code]
                    records[code] = self._again(level, code, value, drawn, life)[0]
                others = [code for code in records if not level.admits(code, batch[code][2])]
                late = list(records.keys() - others) if others else list(records)
                while late:
                    if level.hands_down:
                        for code in late:
                            self._held.forget(code)
                    late = await level.ask(face, "write", [(code, records[code]) for code in late])
                    if told and late:  # nobody knows which value the backend has taken last
                        await level.ask(face, "drop", late)
                        break
                    if at:
                        break  # somebody else has been here with newer ones
                    for code in late:
                        _, value, life, *_ = batch[code]
                        newer[code] = self._next()
                        records[code] = self._again(level, code, value, newer[code], life)[0]
                if others:
                    await level.ask(face, "drop", others)
                    for code in others if level.hands_down else ():
                        self._held.add(code, self._next(), batch[code][1])
            except (*FAULTS, CacheTimeout) as error:
                keys = [key for key, *_ in batch.values()]
                vital = at == 0 and not told
                await self._unwritten(face, memory, keys, list(batch), level, error, vital)
            else:
                for code in (batch if version else records) if level.doubted else ():
                    own = version or head_of(records[code])[0]
                    level.doubts.discard([code], own)

    # ---- what memory alone has, where a tier gets what is evicted ------------------------------

    def evicted(self, key: Any, value: Any, cause: EvictionCause) -> None:
        """Write below what memory had no room for; a fault is counted, and the value lost."""
        level = self._levels[0]
        try:
            code = self._code(key)
            version = self._held.version_of(code, value)
            if version is None:
                return
            if cause is EvictionCause.EVICTED:
                ends = expiry_of(level.ttl, self.wall())
                record = level.codec.encode(code, value, version, ends)
                level.cache.tier.put_one(code, record, version, ends)
            self._held.forget(code, version)
        except CacheError:
            self.unwritten += 1
