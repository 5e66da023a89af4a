"""Removing from a chain, and what becomes of a key whose writing or removal has failed.

A removal goes the way of a write: to the backend or the journal first, then through the tiers, the
lowest first.  What was begun before it comes late: a load under way is returned and not kept.

What fails below leaves the key forgotten above, or, in a resilient chain, the level in doubt about
it: it is not read there until the old record is gone.
Cost: that of the tiers.  Not chosen: to remove above first and only then below, where a read in
between would bring the old value up again.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from frys_cache.chain.changing import Marked
from frys_cache.chain.levels import FAULTS, Level
from frys_cache.chain.reading import Reading
from frys_cache.chain.turns import Turns
from frys_cache.errors import (
    CacheError,
    CacheTimeout,
    KeyNotStable,
    KeyTooLarge,
    TierUnavailable,
    WriteError,
    WriteUnknown,
)
from frys_cache.tiers.base import after
from frys_cache.types import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from frys_cache.chain.aside import Aside
    from frys_cache.chain.changing import Change
    from frys_cache.chain.siblings import Siblings

__all__ = ["Removing"]

AT_ONCE: Final = nullcontext()
UNSTORABLE: Final = (KeyNotStable, KeyTooLarge)
"""What a key raises that cannot be below."""


class Removing(Reading):
    """The part of a `CacheManager` that removes, and that copes with what fails."""

    _turns: Turns
    _siblings: Siblings
    takes_steps: bool
    """Whether a write goes to more than one place, one after the other."""

    # ---- remove ----------------------------------------------------------------------------------

    async def remove(self, face: Any, memory: Any, keys: list[Any]) -> list[bool]:
        """Remove keys below, before memory does; whether each was there."""
        for key in keys:
            self._recall(memory, key)
        # Memory first: who decides about a key looks there after it has drawn a version.
        removed = [memory._forget(key) is not MISSING for key in keys]
        places: list[int] = []
        codes: list[Any] = []
        for place, key in enumerate(keys):
            with suppress(*UNSTORABLE):  # what cannot be below need not be removed there
                codes.append(self._code(key))
                places.append(place)
        if not codes:
            return removed
        told = [keys[place] for place in places]
        with self._change_of(memory, told):
            if self._aside is not None:
                for key in told:
                    self._aside.forget(key)  # before its removal can have been sent
            if self._writes is not None:
                there = await self._remove_waiting(face, told, codes)
            else:
                there = await self._remove_now(face, memory, told, codes)
        for place, was in zip(places, there, strict=True):
            removed[place] |= was
        for key in keys:
            if self._aside is not None:
                self._aside.forget(key)
            self._tell(memory, key)
        return removed

    async def _remove_now(
        self, face: Any, memory: Any, keys: list[Any], codes: list[Any]
    ) -> list[bool]:
        if self._backend is None:
            return await self._drop(face, memory, keys, codes, False)
        there = []
        for key, code in zip(keys, codes, strict=True):
            work = partial(self._remove_both, face, memory, key, code)
            there.append(await self._in_turn(face, memory, key, code, work))
        return there

    async def _remove_waiting(self, face: Any, keys: list[Any], codes: list[Any]) -> list[bool]:
        """Acknowledge removals that the flusher brings further."""
        assert self._writes is not None
        there = []
        for key, code in zip(keys, codes, strict=True):
            op = self._writes.find(code)
            if op is not None:
                there.append(not op.is_delete)
            else:
                there.append(await self._live_below(face, code) is not None)
            while not await self._writes.delete(face, code, key, self._next()):
                pass
        return there

    async def _live_below(self, face: Any, code: Any) -> tuple[Level, bytes] | None:
        """Return the first level that has a value for a key that is alive, and its record."""
        for level in self._levels_of(code):
            if level.doubted and code in level.doubts:
                continue
            try:
                record = await level.ask(face, "read_one", code)
            except FAULTS as error:
                if self._strict and isinstance(error, TierUnavailable):
                    raise
                continue  # what is damaged the next read removes
            if record is not None and self._is_live(level, record):
                return level, record
        return None

    def _is_live(self, level: Level, record: bytes) -> bool:
        """Tell whether a record holds a value whose time is not over."""
        if len(record) < 2 or record[1] & 3:  # negative, tombstone
            return False
        _, fresh_ms, hard_ms, _ = level.codec.ends(record)
        ends = fresh_ms or hard_ms
        return not ends or ends > self.wall()

    async def _remove_both(
        self, face: Any, memory: Any, key: Any, code: Any, _crosses: Callable[[], bool]
    ) -> bool:
        try:
            await face.call(self._backend.delete, key)
        except BaseException:
            await self._distrust(face, memory, [key], [code])
            raise
        return (await self._drop(face, memory, [key], [code], True))[0]

    async def _drop(
        self, face: Any, memory: Any, keys: list[Any], codes: list[Any], told: bool
    ) -> list[bool]:
        """Remove keys from the tiers, the lowest first."""
        there = [False] * len(codes)
        for at, level in enumerate(reversed(self._levels)):
            if level.hands_down:
                for code in codes:
                    self._held.forget(code)
            version = self._next()
            try:
                # Without a version at the lowest: a removal takes whatever is there at its turn.
                gone = await level.ask(face, "drop", codes, *((version,) if at else ()))
            except (*FAULTS, CacheTimeout) as error:
                await self._unwritten(face, memory, keys, codes, level, error, at == 0 and not told)
            else:
                there = [was or now for was, now in zip(there, gone, strict=True)]
                if level.doubted:
                    level.doubts.discard(codes, version)
        return there

    async def _distrust(
        self,
        face: Any,
        memory: Any,
        keys: list[Any],
        codes: list[Any],
        levels: list[Level] | None = None,
    ) -> None:
        """Forget keys whose value below these levels, or all, is not known any more."""
        for key in keys:
            memory._forget(key)
            if self._aside is not None:
                self._aside.forget(key)
        for level in self._levels if levels is None else levels:
            try:
                await level.ask(face, "drop", codes)
            except (*FAULTS, CacheTimeout):
                level.doubts.add(codes, self._next())

    async def clear(self, face: Any, memory: Any) -> None:
        """Remove all keys of the namespace from every level; `WriteError` where that fails.

        A backend keeps what it has, and gets what waits for it.
        """
        memory._empty()
        self._held.clear()
        if self._aside is not None:
            self._aside.empty()
        if self._writes is not None and self._backend is None:
            landing = self._writes.clear()
            if landing is not None:
                await face.wait(landing)
        await self._clear_tiers(face, lambda codec: codec.prefix(None), "be cleared")
        for level in self._levels:
            level.doubts.discard(list(level.doubted))
        if self._aside is not None:
            self._aside.empty()  # what was read before the tiers were clear
        for other in self._siblings.but(memory):
            if (aside := _aside_of(other)) is not None:
                aside.empty()
            other._empty()

    async def forget_calls(self, face: Any, memory: Any, name: str) -> None:
        """Remove below the results of a memoized function; memory follows."""
        if self._writes is not None and self._levels:
            landing = self._writes.clear(self._levels[0].codec.tuples(name))
            if landing is not None:
                await face.wait(landing)
        await self._clear_tiers(face, lambda codec: codec.tuples(name), f"forget {name}")

    async def _clear_tiers(self, face: Any, prefix_of: Callable[[Any], bytes], what: str) -> None:
        for level in reversed(self._levels):
            prefix = prefix_of(level.codec)
            try:
                await level.ask(face, "clear", prefix, after(prefix))
            except FAULTS as error:
                raise WriteError(f"the {level.name} tier could not {what}: {error}") from error

    # ---- what both need --------------------------------------------------------------------------

    def _count_steps(self) -> None:
        levels = self._levels
        many = len(levels) > 1 or self._backend is not None
        self.takes_steps = self._writes is None and bool(levels) and many

    def change_of(self, memory: Any, keys: list[Any]) -> Change:
        """Return what notes that keys are being changed, from before that until memory has it."""
        codes = [self._code(key) for key in keys]

        def crossed(places: list[int]) -> None:
            # Of two writers at once memory keeps neither value, and has none of before.
            if not self.writes_evicted:
                for place in places:
                    memory._forget(keys[place])
                    if self._aside is not None:
                        self._aside.forget(keys[place])
            if self._siblings.are_others:
                for key in keys:
                    self._tell(memory, key)

        return self._changing.of(codes, crossed)

    def _change_of(self, memory: Any, keys: list[Any]) -> AbstractContextManager[None]:
        """Return the same where that takes more than one step, or what notes it in memory."""
        if self.takes_steps:
            return self.change_of(memory, keys)
        return AT_ONCE if self._is_alone() else Marked(memory, keys)

    def _is_alone(self) -> bool:
        """Tell whether there is nothing that is written to."""
        return not self._levels and self._writes is None and self._backend is None

    def _levels_of(self, code: Any) -> list[Level]:
        """Return the levels where a key may be read now."""
        changing = self._changing.codes
        return self._levels[-1:] if changing and code in changing else self._levels

    async def _in_turn(
        self,
        face: Any,
        memory: Any,
        key: Any,
        code: Any,
        work: Callable[[Callable[[], bool]], Coroutine[Any, Any, Any]],
    ) -> Any:
        """Do this work when no other of the same key is under way; return what it returns."""
        result, crossed = await self._turns.single(face, code, work)
        if crossed:
            await self._distrust(face, memory, [key], [code])
        return result

    def _tell(self, memory: Any, key: Any) -> None:
        """Let who reads a key from now on join no load from before, and other caches forget it."""
        memory._flights.detach(key)
        self._tell_others(memory, key)

    def _tell_others(self, memory: Any, key: Any) -> None:
        """Let the other caches over these entries forget a key."""
        for other in self._siblings.but(memory):
            # First beside memory, from where a read would fill memory again.
            if (aside := _aside_of(other)) is not None:
                aside.forget(key)
            other._forget(key)

    async def _unwritten(
        self,
        face: Any,
        memory: Any,
        keys: list[Any],
        codes: list[Any],
        level: Level,
        error: CacheError,
        vital: bool,
    ) -> None:
        """Doubt what a level has of these keys from now on, or forget them above it and raise."""
        if not (vital and self._strict) and level.doubts.add(codes, self._next()):
            level.doubts.settle()  # where only the reserve is touched, removing is still possible
            return
        for key in keys:
            memory._forget(key)
        await self._distrust(
            face, memory, [], codes, [upper for upper in self._levels if upper is not level]
        )
        shown = repr(keys[0]) if len(keys) == 1 else f"{len(keys)} keys"
        kind = WriteUnknown if isinstance(error, CacheTimeout) else WriteError
        raise kind(
            f"the {level.name} tier failed to write {shown}: {error}", dict.fromkeys(keys, error)
        ) from error


def _aside_of(memory: Any) -> Aside | None:
    """Return what another cache remembers beside its memory."""
    aside: Aside | None = getattr(getattr(memory, "_below", None), "_aside", None)
    return aside
