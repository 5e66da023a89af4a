"""How an algorithm that is written once, as coroutines, runs in threads and on an event loop.

The algorithm takes a face and awaits only what the face offers.  The face of threads blocks where
that of an event loop suspends, so one step takes a coroutine from its start to its end: no loop, no
queue, no second copy of the algorithm.  Cost: a coroutine and one step, 0.4 us.
Not chosen: generated twins, which are two algorithms to read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, Protocol, TypeVar

from frys_cache.errors import CacheTimeout

__all__ = ["AsyncFace", "SyncFace", "run_sync"]

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Awaited(Protocol[T_co]):
    """What a face can wait for."""

    def wait(self, timeout: float | None = None) -> object:
        """Block the calling thread until the end, at most so many seconds; False: still not."""
        ...

    def result(self) -> T_co:
        """Return or raise what the end has brought."""
        ...


def run_sync(coro: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends and return its result.

    What it raises passes unchanged, but for StopIteration, which the interpreter turns into a
    RuntimeError in every coroutine.  RuntimeError if it suspends: it is closed and not resumed.

    >>> async def answer():
    ...     return 42
    >>> run_sync(answer())
    42
    """
    try:
        coro.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coro.close()
    raise RuntimeError(f"{getattr(coro, '__qualname__', coro)} suspended under the sync face")


class SyncFace:
    """Wait by blocking, so that a coroutine that awaits it never suspends.  It has no state.

    >>> class Landed:
    ...     def wait(self): pass
    ...     def result(self): return "value"
    >>> run_sync(SyncFace().wait(Landed()))
    'value'
    """

    __slots__ = ()

    async def wait(self, flight: Awaited[T], timeout: float | None = None) -> T:
        """Block until the flight has ended and give its result; CacheTimeout."""
        try:
            if timeout is None:
                flight.wait()
            elif flight.wait(timeout) is False:
                raise CacheTimeout(f"no result within {timeout} s")
            return flight.result()
        finally:
            # The traceback of what is raised holds this frame, and the flight what is raised.
            del flight

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that may block, here and now."""
        return function(*args, **kwargs)

    async def sleep(self, seconds: float) -> None:
        """Block for a time."""
        time.sleep(seconds)


class AsyncFace:
    """Wait by suspending, so that the event loop goes on meanwhile.  It has no state.

    What blocks runs in a thread of the loop's own pool, with the context of whoever asks.  A task
    that is cancelled leaves at once; what it had called is carried to its end.

    >>> import asyncio
    >>> asyncio.run(AsyncFace().call(max, 1, 2))
    2
    """

    __slots__ = ()

    async def wait(self, flight: Awaited[T], timeout: float | None = None) -> T:
        """Suspend until the flight has ended and give its result; CacheTimeout."""
        try:
            if timeout is None:
                await self.call(flight.wait)
            elif await self.call(flight.wait, timeout) is False:
                raise CacheTimeout(f"no result within {timeout} s")
            return flight.result()
        finally:
            del flight

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that may block, in a thread."""
        # Here, for it takes longer to import than all of this package.
        from asyncio import to_thread

        return await to_thread(function, *args, **kwargs)

    async def sleep(self, seconds: float) -> None:
        """Suspend for a time."""
        from asyncio import sleep

        await sleep(seconds)
