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

from typing import Any

from frys_cache.errors import CacheError, CacheTimeout, WriteError
from frys_cache.levels import FAULTS, Level, expiry_of
from frys_cache.removing import Removing
from frys_cache.types import EvictionCause

__all__ = ["Writing"]


class Writing(Removing):
    """The part of a `CacheManager` that writes and removes."""

    _around: bool

    # ---- one value -------------------------------------------------------------------------------

    async def write(
        self, face: Any, memory: Any, key: Any, value: Any, life: float | None
    ) -> float | None:
        """Write a value below, before memory takes it; the strategy says where.

        life: seconds, or None for ever.  Returns how long memory may answer for it, or None: as
        long as it was to live.  Raises what the codec and the backend raise, `WriteError` where the
        lowest tier fails and that is an error, and `Backpressure`; then memory is to forget the key
        or has not changed.
        """
        code = self._code(key)
        beside = self._beside(key)
        lives = self._freshness.jittered(life)
        if self._writes is not None:
            await self._put_waiting(face, code, key, value, lives)
        elif self._backend is not None:
            self._plan(
                code, value, lives
            )  # raises what the codec does, before anything has changed
            await self._in_turn(
                face, code, lambda: self._write_both(face, memory, code, key, value, lives)
            )
        else:
            await self._write_levels(
                face, memory, code, key, value, lives, self._plan(code, value, lives), False
            )
        shown = self._look_after(key, value, lives, beside)
        if self._around:
            memory._forget(key)
        self._tell(memory, key)
        return shown if shown != life else None

    def _look_after(self, key: Any, value: Any, life: float | None, beside: int) -> float | None:
        """Keep beside memory what may be given stale, or renewed early, later on.

        beside: from before it was written below; of two that change a key at once neither is kept.
        """
        if self._aside is None:
            return life
        stale_for = self._freshness.stale_for
        refresh = None if life is None else self._freshness.refresh_after(life, 0.0)
        if life is None or self._around or self._source is None or not (stale_for or refresh):
            self._aside.forget(key)
            return life
        if not self._aside.keep(key, value, life, stale_for, refresh, 0.0, beside):
            self._aside.forget(key)
        return life if refresh is None else refresh

    async def _put_waiting(
        self, face: Any, code: Any, key: Any, value: Any, life: float | None
    ) -> None:
        """Acknowledge a write that the flusher brings further."""
        assert self._writes is not None
        writes, ends = self._writes, expiry_of(life, self.wall())
        if face.blocks and writes.put_now(code, key, value, self._next(), ends):
            return
        while not await writes.put(face, code, key, value, self._next(), ends):
            pass  # somebody else has drawn a newer version before it was taken

    async def _write_both(
        self,
        face: Any,
        memory: Any,
        code: Any,
        key: Any,
        value: Any,
        life: float | None,
    ) -> None:
        try:
            await face.call(self._backend.store, key, value)
        except BaseException:
            # It may have stored it all the same: what is here may be old now.
            await self._distrust(face, memory, [key], [code])
            raise
        # With versions from after it, so that what was loaded from it before that is older.
        plan = self._plan(code, value, life)
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
                    level.doubts.discard([code])

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
        batch: dict[Any, tuple[Any, Any, float | None, int]] = {}
        beside: dict[Any, int] = {}
        for key, value in pairs:
            life = self._freshness.jittered(memory._life(key, ttl))
            batch[code := self._code(key)] = key, value, life, memory._token(key)
            beside[code] = self._beside(key)
        if not batch:
            return
        if self._writes is not None:
            wall = self.wall()
            late = list(batch)
            while late:
                entries = [
                    (code, *batch[code][:2], self._next(), expiry_of(batch[code][2], wall))
                    for code in late
                ]
                late = await self._writes.put_many(face, entries)
        elif self._backend is not None:
            await self._put_many_both(face, memory, batch)
        else:
            await self._put_many_levels(face, memory, batch, self._plan_many(batch), False)
        try:
            for code, (key, value, life, token) in batch.items():
                shown = self._look_after(key, value, life, beside[code])
                if self._around:
                    memory._forget(key)
                else:
                    memory._keep(key, value, shown, 1.0, token)
                self._tell(memory, key)
        except BaseException:  # a sizeof has raised; below are the new values
            for key, _, _, _ in batch.values():
                memory._forget(key)
            raise

    def _plan_many(self, batch: dict[Any, Any]) -> dict[Level, dict[Any, bytes]]:
        """Make the records of a batch, before anything has changed."""
        plan: dict[Level, dict[Any, bytes]] = {}
        for level in reversed(self._levels):
            plan[level] = {
                code: self._again(level, code, value, self._next(), life)[0]
                for code, (_, value, life, _) in batch.items()
            }
        return plan

    async def _put_many_both(self, face: Any, memory: Any, batch: dict[Any, Any]) -> None:
        """Tell the backend, and then the tiers of what it has taken."""
        self._plan_many(batch)  # raises what the codec does, before anything has changed
        values = {key: value for key, value, _, _ in batch.values()}
        store_many = getattr(self._backend, "store_many", None)
        if store_many is not None:
            try:
                await face.call(store_many, values)
            except BaseException:
                await self._distrust(face, memory, list(values), list(batch))
                raise
        else:
            failed: dict[object, BaseException] = {}
            for code, (key, value, _, _) in list(batch.items()):
                try:
                    await face.call(self._backend.store, key, value)
                except Exception as error:  # noqa: BLE001 - reported, key by key
                    failed[key] = error
                    del batch[code]
                    await self._distrust(face, memory, [key], [code])
            if failed:
                await self._put_many_levels(face, memory, batch, self._plan_many(batch), True)
                raise WriteError(
                    f"the backend failed to store {len(failed)} of {len(values)} keys", failed
                )
        # With versions from after it, so that what was loaded from it before that is older.
        await self._put_many_levels(face, memory, batch, self._plan_many(batch), True)

    async def _put_many_levels(
        self,
        face: Any,
        memory: Any,
        batch: dict[Any, Any],
        plan: dict[Level, dict[Any, bytes]],
        told: bool,
    ) -> None:
        """Write a batch into the tiers, the lowest first."""
        for at, (level, records) in enumerate(plan.items()):
            try:
                if (told or at) and self._around:
                    await level.ask(face, "drop", list(batch), self._next())
                    continue
                others = [code for code in batch if not level.admits(code, batch[code][2])]
                late = list(records.keys() - others) if others else list(records)
                while late:
                    if level.hands_down:
                        for code in late:
                            self._held.forget(code)
                    late = await level.ask(face, "write", [(code, records[code]) for code in late])
                    if at:
                        break  # somebody else has been here with newer ones
                    for code in late:
                        _, value, life, _ = batch[code]
                        records[code] = self._again(level, code, value, self._next(), life)[0]
                if others:
                    await level.ask(face, "drop", others)
                    for code in others if level.hands_down else ():
                        self._held.add(code, self._next(), batch[code][1])
            except (*FAULTS, CacheTimeout) as error:
                keys = [key for key, _, _, _ in batch.values()]
                vital = at == 0 and not told
                await self._unwritten(face, memory, keys, list(batch), level, error, vital)
            else:
                level.doubts.discard(batch)

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
