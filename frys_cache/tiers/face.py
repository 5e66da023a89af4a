"""How an algorithm that is written once, as coroutines, runs in threads and on an event loop.

The algorithm takes a face and awaits only what the face offers.  The face of threads blocks where
that of an event loop suspends, so one step takes a coroutine from its start to its end: no loop, no
queue, no second copy of the algorithm.  Cost: a coroutine and one step, 0.4 us; on an event loop
75 us for a load, where a shielded task alone takes 22.

A task that leads must not take its followers along when it goes.  So a load on an event loop runs
in a task of its own, and is entered before that task is made: however it ends, cancelled before its
first step, closed by the collector because its loop is gone, its `finally` ends the flight.

Not chosen: generated twins, which are two algorithms to read; `asyncio.shield` around a task of the
caller's, which the end of the caller's loop leaves to nobody.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from functools import partial
from threading import get_ident
from types import GeneratorType, coroutine
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, TypeVar, cast

from frys_cache.errors import CacheTimeout, ConfigurationError
from frys_cache.flight import ABANDONED, ALONE, Alone, Flight
from frys_cache.flight_ring import NOBODY, Load, current
from frys_cache.tiers.waking import YEAR, Awaited, group_of, keep, settle

if TYPE_CHECKING:
    from asyncio import Task

__all__ = [
    "ASYNC",
    "SYNC",
    "AsyncFace",
    "Awaited",
    "Fatal",
    "SyncFace",
    "Workers",
    "is_awaitable",
    "run_sync",
]

P = ParamSpec("P")
T = TypeVar("T")

_OF_COROUTINE = 0x100  # inspect.CO_ITERABLE_COROUTINE


class Fatal(Exception):
    """What a load behind the back of who asked raises for an exception that is no Exception.

    The flight brings `cause`, to whoever waits; no worker and no event loop ends with it.
    """

    def __init__(self, cause: BaseException) -> None:
        super().__init__(cause)
        self.cause = cause


class Workers(Protocol):
    """Threads for what need not be waited for."""

    def submit(self, job: Callable[[], object]) -> bool:
        """Run a job in one of the threads; False: there is no room for it."""
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


def is_awaitable(value: object) -> bool:
    """Return whether `await` takes a value.

    >>> is_awaitable(1)
    False
    """
    if isinstance(value, GeneratorType):
        return bool(value.gi_code.co_flags & _OF_COROUTINE)
    return hasattr(type(value), "__await__")


@coroutine
def _entered() -> Generator[None, None, None]:
    """Suspend once: whoever has stepped a coroutine to here is sure that it has begun."""
    yield


async def _fly(flight: Flight, load: Callable[[], Awaitable[Any]], leader: Load | None) -> None:
    """Run a load and end its flight with what it brings, and in any case."""
    try:
        await _entered()
        if leader is None:
            flight.hand_over()
        else:
            current.set(leader)
        flight.land(await load())
    except Exception as error:  # noqa: BLE001 - the flight brings it to whoever waits
        flight.fail(error.cause if isinstance(error, Fatal) else error)
    finally:
        flight.abandon()
        # The error's traceback holds this frame, and the flight the error.
        del flight, load


def _begin(
    flight: Flight, load: Callable[[], Awaitable[Any]], leader: Load | None
) -> Coroutine[Any, Any, None]:
    """Return the rest of a load, which ends its flight even if it is never run."""
    rest = _fly(flight, load, leader)
    rest.send(None)
    # Not before: until it has begun, an interrupt leaves the flight to who has boarded.
    flight.hand_over(NOBODY if leader is None else leader)
    return rest


def _launch(flight: Flight, load: Callable[[], Awaitable[Any]]) -> Task[None]:
    """Let a task of its own lead, which the running event loop keeps until it is done."""
    from asyncio import get_running_loop

    rest = _begin(flight, load, Load(get_ident()))
    try:
        loop = get_running_loop()
        task = loop.create_task(rest)
        if not task.done():
            timer = loop.call_later(YEAR, keep, task)
            task.add_done_callback(lambda _: timer.cancel())
    except BaseException:
        rest.close()
        raise
    return task


def _called(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, StopIteration | None]:
    """Call a function, and return a StopIteration, which no future of asyncio takes."""
    try:
        return function(*args, **kwargs), None
    except StopIteration as stopped:
        return None, stopped


def _late(seconds: float | None) -> CacheTimeout:
    """Return what to raise when the time is over."""
    return CacheTimeout(
        f"no result within {seconds} s; the load goes on: ask again later, or allow more time"
    )


class SyncFace:
    """Wait by blocking, so that a coroutine that awaits it never suspends.  It has no state.

    >>> from frys_cache.flight import Flights
    >>> flight, leads = Flights().board("key")
    >>> flight.land("value")
    >>> run_sync(SyncFace().wait(flight))
    'value'
    """

    __slots__ = ()

    blocks: Final = True

    async def wait(self, flight: Awaited[T], timeout: float | None = None) -> T | Alone:
        """Block until the flight has ended and give its result; `ALONE`: load without a flight.

        CacheTimeout when `timeout` seconds are over, DeadlockError if it can never end.
        """
        try:
            ended = flight.wait(timeout)
            if ended is ALONE:
                return ALONE
            if ended is False:
                raise _late(timeout)
            return flight.result()
        finally:
            # The traceback of what is raised holds this frame, and the flight what is raised.
            del flight

    async def call(self, function: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> Any:
        """Call a function that may block, here and now; ConfigurationError if it is async."""
        result = function(*args, **kwargs)
        if is_awaitable(result):
            if isinstance(result, (Coroutine, GeneratorType)):
                result.close()
            raise ConfigurationError(
                f"{function!r} is async: it needs an event loop; give a function that returns the "
                "value itself"
            )
        return result

    async def lead(self, flight: Flight, load: Callable[[], Awaitable[T]]) -> T:
        """Load, here and now, and end the flight with what that brings, which is returned too.

        An Exception goes to the followers as well; an interrupt leaves the flight to one of them.
        """
        try:
            value = await load()
            flight.land(value)
            return value
        except Exception as error:
            flight.fail(error)
            raise
        finally:
            flight.abandon()
            del flight, load

    def start(self, flight: Flight, load: Callable[[], Awaitable[Any]], workers: Workers) -> bool:
        """Let a worker lead; False if there is no room: the flight has been abandoned.

        A job that the workers drop abandons it too.
        """
        rest = _begin(flight, load, None)
        room = False
        try:
            room = workers.submit(partial(run_sync, rest))
        finally:
            if not room:
                with suppress(ValueError):  # an interrupt came when a worker had it already
                    rest.close()
        return room

    def ends_load(self, error: BaseException) -> bool:
        """Tell whether an exception came from outside into a load; none does without a loop."""
        return False

    async def all(self, coros: list[Coroutine[Any, Any, T]]) -> list[T]:
        """Run coroutines one after the other; the first exception ends it."""
        try:
            return [await coro for coro in coros]
        finally:
            for coro in coros:
                coro.close()

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

    blocks: Final = False

    async def wait(self, flight: Awaited[T], timeout: float | None = None) -> T:
        """Suspend until the flight has ended and give its result.

        CacheTimeout when `timeout` seconds are over, DeadlockError if it can never end.
        """
        # Here, for it takes longer to import than all of this package.
        from asyncio import get_running_loop

        loop = get_running_loop()
        group = future = leave = timer = None
        try:
            if isinstance(flight, Flight):
                leave = flight.follow()
            group = group_of(flight, loop)
            if not group.over:
                future = group.join()
                if timeout is not None:
                    timer = loop.call_later(min(max(timeout, 0), YEAR), settle, future, False)
                if not await future:
                    raise _late(timeout)
            return flight.result()
        finally:
            if leave is not None:
                leave()
            if timer is not None:
                timer.cancel()
            if group is not None and future is not None:
                group.leave(future)
            del flight, group

    async def call(self, function: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> Any:
        """Call a function: await it if it is async, else run it in a thread."""
        from asyncio import to_thread
        from inspect import iscoroutinefunction

        if iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__):
            return await function(*args, **kwargs)
        result, stopped = await to_thread(_called, function, args, kwargs)
        if stopped is not None:
            raise stopped
        return await result if is_awaitable(result) else result

    async def lead(self, flight: Flight, load: Callable[[], Awaitable[T]]) -> T:
        """Load in a task of its own, end the flight with what that brings, and return it.

        To cancel the caller does not cancel the load.  If the task of the load is cancelled, or its
        event loop goes, the flight is left to one of its followers.
        """
        try:
            task = _launch(flight, load)
            value: T = await self.wait(flight)
            if value is ABANDONED and task.done():
                # Raise what has cut the load short.
                task.result()
            return value
        finally:
            del flight, load

    def start(
        self, flight: Flight, load: Callable[[], Awaitable[Any]], workers: Workers | None = None
    ) -> bool:
        """Let a task of the running event loop lead; the workers are not needed."""
        _launch(flight, load)
        return True

    def ends_load(self, error: BaseException) -> bool:
        """Tell whether an exception came from outside into a load: its task is being cancelled."""
        from asyncio import CancelledError, current_task

        if isinstance(error, CancelledError):
            task = current_task()
            return task is None or task.cancelling() > 0
        return isinstance(error, GeneratorExit)

    async def all(self, coros: list[Coroutine[Any, Any, T]]) -> list[T]:
        """Run coroutines beside each other; when all have ended, raise the first exception."""
        from asyncio import gather

        ended = await gather(*coros, return_exceptions=True)
        for one in ended:
            if isinstance(one, BaseException):
                raise one
        return cast(list[T], ended)

    async def sleep(self, seconds: float) -> None:
        """Suspend for a time."""
        from asyncio import sleep

        await sleep(seconds)


SYNC: Final = SyncFace()
ASYNC: Final = AsyncFace()
