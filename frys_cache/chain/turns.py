"""Turns: writes of one key to a backend and the tiers do not cross.

Of two that did, the backend could end with the value of one and the tiers with that of the other.
A write of one key is a flight under that key: the next one waits for its end.  Batches wait for one
another; a batch does not wait for single writes, nor they for it.  Where both have written a key
nobody knows which the backend has taken last.  So each asks for that when the backend has taken
its own, after it has drawn its version, and then forgets the key in the tiers instead of writing
it; and once more at its end.

Cost: 1 us for a write that meets none.  Not chosen: a batch that takes the turns of all its keys,
which would wait for a thousand others; a lock, under which the code of the backend would run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from frys_cache.errors import CacheTimeout, DeadlockError
from frys_cache.flight import ABANDONED, ALONE, Flights

__all__ = ["Turns"]

PATIENCE: Final = 5.0
"""Seconds for which a load waits for a write of its key, which may wait for who loads."""

_BATCH: Final = object()


class Turns:
    """What is being written, by code.

    Safe from any thread and task.  DeadlockError for who asks within a turn for the same one.
    """

    __slots__ = ("_batches", "_begun", "_flights", "_singles", "_touched")

    def __init__(self) -> None:
        self._flights = Flights()
        self._singles: dict[object, Any] = {}  # the single writes that are under way
        self._touched: set[Any] | None = None  # what they have written, while a batch is under way
        self._batches: dict[object, frozenset[Any]] = {}
        self._begun = 0  # batches so far

    async def single(
        self, face: Any, code: Any, work: Callable[[Callable[[], bool]], Awaitable[Any]]
    ) -> Any:
        """Do this work when no other of the same key is under way.

        work: called with what tells whether a batch has written the key by then.
        Returns (what it returns, whether a batch has written the key meanwhile).
        """

        async def marked() -> tuple[Any, bool]:
            mark = object()
            begun = self._begun
            try:
                self._singles[mark] = code
                result = await work(lambda: self._met_batch(code, begun))
                # In this order: a batch that begins now finds the mark, or is seen here.
                return result, self._met_batch(code, begun)
            finally:
                # One more `finally`, for an interrupt that comes within this one.
                try:
                    if (touched := self._touched) is not None:
                        touched.add(code)
                finally:
                    self._singles.pop(mark, None)

        return await self._in_turn(face, code, marked)

    async def ended(self, face: Any, code: Any) -> bool:
        """Wait for what writes a key now, if anything does, and is not waiting for who calls.

        False: it took longer than `PATIENCE`.
        """
        for name, is_one in ((code, True), (_BATCH, self._is_in_batch(code))):
            if not is_one:
                continue
            flight: Any = None
            leads = False
            try:
                flight, leads = self._flights.board(name)
                if leads:
                    flight.abandon()
                else:
                    with suppress(DeadlockError):
                        await face.wait(flight, PATIENCE)
            except CacheTimeout:
                return False
            except BaseException:
                if leads:
                    flight.give_up()
                raise
            finally:
                del flight
        return True

    async def batch(
        self,
        face: Any,
        codes: Iterable[Any],
        work: Callable[[Callable[[], set[Any]]], Awaitable[Any]],
    ) -> tuple[Any, list[Any]]:
        """Do this work when no other batch is under way.

        work: called with what tells those of its keys that single writes have written by then.
        Returns (what it returns, those of its keys that single writes have written meanwhile).
        """
        keys = frozenset(codes)

        async def marked() -> tuple[Any, list[Any]]:
            touched: set[Any] = set()
            mark = object()

            def crossed() -> set[Any]:
                touched.update(list(self._singles.values()))
                return touched & keys

            try:
                self._touched = touched
                self._batches[mark] = keys
                self._begun += 1
                crossed()
                result = await work(crossed)
                return result, list(crossed())
            finally:
                self._touched = None
                self._batches.pop(mark, None)

        result: tuple[Any, list[Any]] = await self._in_turn(face, _BATCH, marked)
        return result

    def _met_batch(self, code: Any, begun: int) -> bool:
        """Tell whether a batch has a key, or may have had it since so many had begun."""
        return self._begun != begun or self._is_in_batch(code)

    def _is_in_batch(self, code: Any) -> bool:
        return any(code in keys for keys in list(self._batches.values()))

    async def _in_turn(self, face: Any, code: Any, work: Callable[[], Awaitable[Any]]) -> Any:
        async def outcome() -> tuple[Any, Exception | None]:
            try:
                return await work(), None
            except Exception as error:  # noqa: BLE001 - raised again for who asked, and only there
                return None, error

        while True:
            flight: Any = None
            leads = False
            try:
                flight, leads = self._flights.board(code)
                ended = await (face.lead(flight, outcome) if leads else face.wait(flight))
            except BaseException:
                if leads:
                    flight.give_up()
                raise
            finally:
                del flight
            if ended is ALONE:
                ended = await outcome()
            elif not leads or ended is ABANDONED:
                continue
            result, error = ended
            break
        try:
            if error is not None:
                raise error
            return result
        finally:
            del error, ended
