"""What depends on whether a key is there: `in`, `add`, `replace`, `incr`, `touch`, `pop` and so on.

The lowest tier decides, in one step for all threads, since memory has only a part of what there is:
it is asked to put the new record in the place of exactly the one that was read, and if that is
another by now, all begins anew.  With a write-back the writes that wait decide so, and where there
is no tier, memory.  The levels above follow: memory takes over what was stored, under its token,
and the others forget the key.

Cost: a read and a write of the tier, and a look at memory.
Not chosen: to decide in memory and write below afterwards, where two threads could both have added.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from frys_cache.chain.levels import FAULTS, Level, expiry_of
from frys_cache.chain.writing import Writing
from frys_cache.errors import CacheTimeout, IntegrityError, TierUnavailable, WriteError
from frys_cache.types import DEFAULT, MISSING, Default

if TYPE_CHECKING:
    from frys_cache._core import MemoryCache

    _Memory: TypeAlias = MemoryCache[Any, Any]
    _Ttl: TypeAlias = float | timedelta | Default | None
    # Given the value of a key (or MISSING) and the end of its life, what they become (MISSING: the
    # key goes), or None: they stay.
    _Step: TypeAlias = Callable[[Any, int], tuple[Any, int] | None]

__all__ = ["Decisions"]

FOLLOWED: Final = ("add", "replace")
"""What has a value that is looked after when it has been stored."""
SAME: Final = object()
"""What a step comes to that leaves all as it was."""


class Decisions(Writing):
    """The part of a `CacheManager` that decides."""

    async def contains(self, face: Any, memory: _Memory, key: Any) -> bool:
        """Tell whether a key that memory does not have is below."""
        code = self._code(key)
        if self._writes is not None and (op := self._writes.find(code)) is not None:
            return self._waiting_is_live(op)
        kept = None if self._aside is None else self._aside.find(key)
        if kept is not None and (kept.value is MISSING or kept.fresh_until > self._steady()):
            return kept.value is not MISSING
        return await self._live_below(face, code) is not None

    async def add(
        self, face: Any, memory: _Memory, key: Any, value: Any, ttl: _Ttl, cost: float
    ) -> bool:
        """Store a value if the key is nowhere; whether it was stored."""
        return await self._store_if(face, memory, key, value, ttl, cost, False)

    async def replace(
        self, face: Any, memory: _Memory, key: Any, value: Any, ttl: _Ttl, cost: float
    ) -> bool:
        """Store a value if the key is somewhere; whether it was stored."""
        return await self._store_if(face, memory, key, value, ttl, cost, True)

    async def _store_if(
        self, face: Any, memory: _Memory, key: Any, value: Any, ttl: Any, cost: float, there: bool
    ) -> bool:
        life = self._freshness.jittered(memory._life(key, ttl))
        token = memory._token(key)
        beside = self._beside(key)

        def step(found: Any, _: int) -> tuple[Any, int] | None:
            return (value, self._ends(life)) if (found is not MISSING) == there else None

        which = "replace" if there else "add"
        self._recall(memory, key)
        with self._change_of(memory, [key]):
            if await self._change(face, memory, key, which, step) is SAME:
                return False
            shown = self._look_after(memory, key, value, life, beside)
            if self._levels:  # else memory has decided, and has it
                self._follow(memory, key, value, shown, cost, token)
        return True

    def _follow(
        self, memory: _Memory, key: Any, value: Any, life: float | None, cost: float, token: int
    ) -> None:
        """Have memory take over what was stored below."""
        if self._around:
            memory._forget(key)
        else:
            memory._keep(key, value, life, cost, token)

    async def setdefault(self, face: Any, memory: _Memory, key: Any, default: Any) -> Any:
        """Return the value of a key, which becomes `default` if it is nowhere."""
        while True:
            value = memory.peek(key, MISSING)
            if value is MISSING:
                value = await self.read(face, memory, key, False)
            if value is not MISSING:
                return value
            if await self.add(face, memory, key, default, DEFAULT, 1.0):
                return default

    async def incr(self, face: Any, memory: _Memory, key: Any, delta: int) -> int:
        """Add to an int; memory asks below for it when it is read next."""
        if not isinstance(delta, int):
            raise TypeError(f"incr adds an int, not {type(delta).__name__}")
        life = memory._life(key, DEFAULT)

        def step(found: Any, ends: int) -> tuple[Any, int]:
            if found is MISSING:
                return int(delta), self._ends(life)
            if not isinstance(found, int):
                raise TypeError(f"incr adds ints, not {found!r} and {delta!r}")
            return int(found) + int(delta), ends

        self._recall(memory, key)
        try:
            with self._change_of(memory, [key]):
                return cast(int, await self._change(face, memory, key, "incr", step))
        finally:
            if self._levels:
                memory._forget(key)

    async def touch(self, face: Any, memory: _Memory, key: Any, ttl: _Ttl) -> bool:
        """Let a key live for another ttl from now on; whether it was somewhere."""
        life = memory._life(key, ttl)

        def step(found: Any, _: int) -> tuple[Any, int] | None:
            return None if found is MISSING else (found, self._ends(life))

        self._recall(memory, key)
        touched = False
        if self._levels:
            with self._change_of(memory, [key]):
                touched = await self._change(face, memory, key, "touch", step) is not SAME
        if self._aside is not None:
            self._aside.forget(key)
        return bool(memory._touch(key, life)) or touched

    async def ttl_of(self, face: Any, memory: _Memory, key: Any, left: Any) -> float | Any | None:
        """Return the seconds that a key has left, None for ever, or MISSING.

        left: those that memory gives it.
        """
        if self._aside is not None and (kept := self._aside.find(key)) is not None:
            more = kept.fresh_until - self._steady()
            if kept.value is not MISSING and more > 0:
                return more
        if left is not MISSING:
            return left
        code = self._code(key)
        ends = -1
        if self._writes is not None and (op := self._writes.find(code)) is not None:
            if not self._waiting_is_live(op):
                return MISSING
            ends = op.expires_ms
        else:
            found = await self._live_below(face, code)
            if found is not None:
                _, fresh_ms, hard_ms, _ = found[0].codec.ends(found[1])
                ends = fresh_ms or hard_ms
        if ends < 0:
            return MISSING
        return (ends - self.wall()) / 1000 if ends else None

    async def pop(self, face: Any, memory: _Memory, key: Any) -> Any:
        """Remove a key and return its value, or MISSING."""
        gone = MISSING

        def step(found: Any, _: int) -> tuple[Any, int] | None:
            nonlocal gone
            gone = found
            # Without a backend an absence is stored, too, so that a load under way comes late.
            absent = found is MISSING and (self._backend is not None or self._writes is not None)
            return None if absent else (MISSING, 0)

        self._recall(memory, key)
        if self._is_alone():
            gone = memory._forget(key)
        else:
            with self._change_of(memory, [key]):
                await self._change(face, memory, key, "pop", step)
                memory._forget(key)
        if self._aside is not None:
            self._aside.forget(key)
        self._tell(memory, key)
        return gone

    # ---- the one step ----------------------------------------------------------------------------

    async def _change(self, face: Any, memory: _Memory, key: Any, which: str, step: _Step) -> Any:
        """Let what decides take a step; return the new value, or SAME if all stayed as it was."""
        code = self._code(key)
        try:
            if self._writes is not None:
                work = partial(self._change_waiting, face, memory, key, code, step)
                # Where memory is all there is, a write that has been sent leaves nothing to see.
                changed = await (
                    work() if self._levels else self._in_turn(face, memory, key, code, work)
                )
            elif self._backend is not None:
                work = partial(self._change_both, face, memory, key, code, step, which)
                changed = await self._in_turn(face, memory, key, code, work)
            elif self._levels:
                changed = await self._change_levels(face, memory, key, code, step, which)
            else:
                changed = self._change_memory(memory, key, step)
        except FAULTS as error:
            raise WriteError(
                f"the {self._levels[-1].name} tier could not decide {which}({key!r}): {error}",
                {key: error},
            ) from error
        if changed is not SAME and self._aside is not None and which not in FOLLOWED:
            self._aside.forget(key)
        self._tell(memory, key)
        return changed

    async def _change_waiting(
        self, face: Any, memory: _Memory, key: Any, code: Any, step: _Step, _crosses: Any = None
    ) -> Any:
        """Decide among the writes that wait and what is below them."""
        writes = self._writes
        assert writes is not None
        while True:
            record = None
            version = self._next()
            op = writes.find(code)
            if op is not None:
                found = writes.value_of(op) if self._waiting_is_live(op) else MISSING
                ends = op.expires_ms
            elif self._journals is not None:
                record, found, ends = await self._found(face, code, self._journals)
            elif self._levels:
                _, found, ends = await self._found(face, code, self._levels[-1])
            else:
                found = memory.peek(key, MISSING)
                ends = 0 if found is MISSING else expiry_of(memory._left(key), self.wall())
            taken = step(found, ends)
            if taken is None:
                return SAME
            value, ends = taken
            if self._aside is not None:
                self._aside.forget(key)  # before it can have been sent
            if await writes.change(face, code, key, op, record, value, version, ends):
                if self._levels:
                    memory._forget(key)
                else:
                    self._put_here(memory, key, value, ends)
                return value

    async def _change_both(
        self,
        face: Any,
        memory: _Memory,
        key: Any,
        code: Any,
        step: _Step,
        which: str,
        crosses: Callable[[], bool],
    ) -> Any:
        """Decide by the lowest tier, or memory, and tell the backend first and then the tiers."""
        if which == "touch":
            return await self._change_levels(face, memory, key, code, step, which)
        found = memory.peek(key, MISSING)
        ends = 0 if found is MISSING else expiry_of(memory._left(key), self.wall())
        if self._levels:
            if code in self._levels[-1].doubts:
                raise TierUnavailable("the last write of this key is still to be taken")
            _, found, ends = await self._found_in_all(face, memory, key, code, which)
        taken = step(found, ends)
        if taken is None:
            return SAME
        value, ends = taken
        if value is MISSING:
            await self._remove_both(face, memory, key, code, crosses)
        else:
            life = (ends - self.wall()) / 1000 if ends else None
            await self._write_both(face, memory, code, key, value, life, crosses)
        if not self._levels:
            self._put_here(memory, key, value, ends)
        return value

    def _put_here(self, memory: _Memory, key: Any, value: Any, ends: int) -> None:
        """Have in memory what was decided there and is stored elsewhere, or nothing."""
        life = (ends - self.wall()) / 1000 if ends else None
        found = memory.peek(key, MISSING)
        if value is MISSING or not memory._swap(key, found, value, life):
            memory._forget(key)

    async def _change_levels(
        self, face: Any, memory: _Memory, key: Any, code: Any, step: _Step, which: str
    ) -> Any:
        """Let the lowest tier decide; those above it forget the key."""
        level = self._levels[-1]
        if code in level.doubts:
            raise TierUnavailable("the last write of this key is still to be taken")
        while True:
            record, found, ends = await self._found_in_all(face, memory, key, code, which)
            taken = step(found, ends)
            if taken is None:
                return SAME
            value, ends = taken
            version = self._next()
            new = None if value is MISSING else level.codec.encode(code, value, version, ends)
            try:
                done = await level.ask(face, "swap", code, record, new, version, ends)
            except (*FAULTS, CacheTimeout):
                # It may be done all the same: what is above may be old now.
                await self._distrust(face, memory, [key], [code], self._levels[:-1])
                raise
            if done:
                break
        for upper in self._levels[:-1]:
            try:
                await upper.ask(face, "drop", [code], self._next())
            except FAULTS as error:
                await self._unwritten(face, memory, [key], [code], upper, error, False)
        return value

    async def _found_in_all(
        self, face: Any, memory: _Memory, key: Any, code: Any, which: str
    ) -> tuple[bytes | None, Any, int]:
        """Return what the lowest tier has, after handing down to it what memory alone has."""
        # The version is from before memory is looked at.  Whoever removes a key removes it
        # from memory first, so what is removed after that look has a later version.
        version = self._next()
        if which == "pop":
            here = memory._forget(key)  # so that nobody hands down again what was popped
            life = None
        else:
            here, life = memory.peek(key, MISSING), memory._left(key)
        if here is not MISSING:
            await self._hand_down(face, code, here, life, version)
        return await self._found(face, code, self._levels[-1])

    def _change_memory(self, memory: _Memory, key: Any, step: _Step) -> Any:
        """Decide in memory, which is all there is."""
        while True:
            found = memory.peek(key, MISSING)
            life = memory._left(key)
            taken = step(found, self._ends(life))
            if taken is None:
                return SAME
            value, ends = taken
            life = (ends - self.wall()) / 1000 if ends else None
            if memory._swap(key, found, value, life):
                return value

    async def _found(self, face: Any, code: Any, level: Level) -> tuple[bytes | None, Any, int]:
        """Return what a level has: the record, the value or MISSING, and the end of its life."""
        record = await level.ask(face, "read_one", code)
        if record is None:
            return None, MISSING, 0
        try:
            entry = level.decode(code, record)
        except IntegrityError:
            level.faults += 1
            return record, MISSING, 0
        if entry is None or entry[0] is MISSING or 0 < entry[2] <= self.wall():
            return record, MISSING, 0
        return record, entry[0], entry[2]

    async def _hand_down(
        self, face: Any, code: Any, value: Any, life: float | None, version: int
    ) -> None:
        """Have below what memory alone has: the disk evicted it, or was not to have it yet."""
        level = self._levels[-1]
        if await level.ask(face, "read_one", code) is None:
            ends = expiry_of(level.life(life), self.wall())
            record = level.codec.encode(code, value, version, ends)
            await level.ask(face, "put_one", code, record, version, ends)

    def _ends(self, life: float | None) -> int:
        """Return when what lives so long from now on ends in the lowest tier."""
        return expiry_of(self._levels[-1].life(life) if self._levels else life, self.wall())

    def _waiting_is_live(self, op: Any) -> bool:
        """Tell whether a write that waits is a value whose time is not over."""
        if op.is_delete:
            return False
        return not op.expires_ms or self._backend is not None or op.expires_ms > self.wall()
