"""Rings of loads over tasks and threads raise; on the thread of its own loop one loads alone."""

import asyncio
import functools
import gc
import threading
import time

import pytest
from flying import (
    TIMEOUT,
    Task,
    fresh_flights,
    load,
    load_async,
    never,
    of,
    only,
    tasks_waiting,
    until,
    until_async,
    waiters,
    within,
)

from frys_cache._core import MemoryCache
from frys_cache.errors import DeadlockError
from frys_cache.flight import ALONE, Flights
from frys_cache.tiers.face import ASYNC, SYNC, run_sync

flights = pytest.fixture(fresh_flights)


# Rings


def raises_deadlock(flights, *coroutines):
    """Run coroutines on one loop, of which at least one has to find the ring at once."""

    async def main():
        return await asyncio.gather(*coroutines, return_exceptions=True)

    started = time.monotonic()
    outcomes = within(TIMEOUT, main())
    assert time.monotonic() - started < 1
    assert any(isinstance(outcome, DeadlockError) for outcome in outcomes), outcomes
    return outcomes


def test_own_key_of_a_task_raises(flights):
    """Catch a loader that waits for itself: directly, in a child task, in a thread, on its loop."""

    async def direct():
        return await load_async(flights, "key", direct)

    async def gathered():
        return await asyncio.gather(load_async(flights, "key", direct), asyncio.sleep(0))

    async def in_thread():
        return await ASYNC.call(load, flights, "key", int)

    async def on_the_loop():
        return load(flights, "key", int)

    async def through_another():
        return await load_async(flights, "other", direct)

    for loader in (direct, gathered, in_thread, on_the_loop):
        outcomes = raises_deadlock(flights, load_async(flights, "key", loader))
        assert "asks for its own key" in str(outcomes[0])
    outcomes = raises_deadlock(flights, load_async(flights, "key", through_another))
    assert "waits for a load that this task leads" in str(outcomes[0])


@pytest.mark.parametrize("how", ["tasks", "sync in a thread", "child tasks"])
def test_ring_of_tasks_raises(flights, how):
    """Catch tasks that wait for each other, themselves or by what they have called."""

    async def ask(mine, others):
        async def loader():
            await until_async(lambda: len(flights._under_way) == 2)
            if how == "tasks":
                return await load_async(flights, others, never)
            if how == "child tasks":
                return await asyncio.gather(asyncio.create_task(load_async(flights, others, never)))
            return await ASYNC.call(load, flights, others, int)

        return await load_async(flights, mine, loader)

    raises_deadlock(flights, ask("a", "b"), ask("b", "a"))


@pytest.mark.parametrize("last", ["thread", "task"])
def test_ring_of_a_thread_and_a_task_raises(flights, last):
    """Catch a ring that only one kind of those who wait can see."""

    async def loader():
        await until_async(lambda: of(flights, "b") is not None)
        if last == "task":
            await until_async(lambda: waiters() == 1)
        return await load_async(flights, "b", never)

    def blocking():
        until(lambda: of(flights, "a") is not None)
        if last == "thread":
            until(lambda: tasks_waiting(of(flights, "b")) == 1)
        return load(flights, "a", int)

    task = Task(load, flights, "b", blocking)
    raises_deadlock(flights, load_async(flights, "a", loader))
    with pytest.raises(DeadlockError):
        task.outcome()


def test_chain_of_tasks_and_threads_is_waited_for(flights):
    """Catch loads that wait one for the next and are taken for a ring."""

    async def loader(depth):
        if depth >= 6:
            return "value"
        if depth % 2:
            return await ASYNC.call(load, flights, depth + 1, lambda: deeper(depth + 1))
        return await load_async(flights, depth + 1, functools.partial(loader, depth + 1))

    def deeper(depth):
        return asyncio.run(load_async(flights, depth + 1, functools.partial(loader, depth + 1)))

    async def main():
        asking = [load_async(flights, 0, functools.partial(loader, 0)) for _ in range(5)]
        return await asyncio.gather(*asking)

    assert within(TIMEOUT, main()) == ["value"] * 5


# On the thread of the loop


def test_sync_wait_on_the_thread_of_the_loop_is_alone(flights):
    """Catch a thread that waits for the event loop that it runs itself."""

    async def main():
        go = asyncio.Event()
        leader = asyncio.create_task(load_async(flights, "key", go.wait))
        await asyncio.sleep(0)
        flight = only(flights)
        assert flight.join() is ALONE
        assert flight.wait() is ALONE
        assert run_sync(SYNC.wait(flight)) is ALONE
        assert flights.board("key") == (flight, False)
        # Through another thread, whose load waits for this loop.
        other = Task(load, flights, "other", flight.join)
        await until_async(lambda: waiters() == 1)
        assert flights.board("other")[0].join() is ALONE
        go.set()
        assert await leader is True
        return await ASYNC.call(other.outcome)

    assert within(TIMEOUT, main()) is True


def test_loop_thread_that_blocks_counts_as_a_wait_of_its_loads(flights):
    """Catch a thread that asks for a load whose loop is blocked by a wait for this very thread."""
    asked = threading.Event()

    def loader():
        asked.set()
        until(lambda: waiters() == 1)
        return of(flights, "key").join()

    async def main():
        leader = asyncio.create_task(load_async(flights, "key", asyncio.Event().wait))
        await asyncio.sleep(0)
        task = Task(load, flights, "theirs", loader)
        assert asked.wait(TIMEOUT)
        with pytest.raises(DeadlockError):
            of(flights, "theirs").join()
        with pytest.raises(DeadlockError):
            task.outcome()
        leader.cancel()

    within(TIMEOUT, main())


def test_memory_cache_on_the_thread_of_the_loop_loads_alone():
    """Catch a `get_or_set` that blocks the loop which it waits for, or loses what it loads."""
    cache = MemoryCache(10)

    def flights_of_cache():
        made = [each for each in gc.get_objects() if isinstance(each, Flights)]
        return next(each for each in made if of(each, "first") is not None)

    flights = cache.get_or_set("first", flights_of_cache)

    async def main():
        go = asyncio.Event()
        leaders = [
            asyncio.create_task(ASYNC.lead(flights.board(key)[0], go.wait))
            for key in ("key", "other")
        ]
        await asyncio.sleep(0)
        assert cache.get_or_set("key", lambda: "alone") == "alone"
        assert cache["key"] == "alone"
        with pytest.raises(ZeroDivisionError):
            cache.get_or_set("other", lambda: 1 / 0)
        go.set()
        return await asyncio.gather(*leaders)

    assert within(TIMEOUT, main()) == [True, True]
