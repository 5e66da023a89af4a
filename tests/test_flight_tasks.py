"""One load per key among tasks and threads: followers, cancellation, loops that end."""

import asyncio
import contextlib
import gc
import threading
import weakref

import pytest
from flying import (
    TIMEOUT,
    Broken,
    Task,
    board_elsewhere,
    fresh_flights,
    load,
    load_async,
    never,
    only,
    tasks_waiting,
    until,
    until_async,
    waiters,
    within,
)

from frys_cache import flight_ring as ring
from frys_cache.errors import CacheTimeout
from frys_cache.flight import ABANDONED
from frys_cache.tiers.face import ASYNC, SYNC, run_sync

flights = pytest.fixture(fresh_flights)
elsewhere = pytest.fixture(board_elsewhere)


# Followers


def test_many_threads_and_tasks_of_two_loops_load_once(flights):
    """Catch a second load, and a thread or a task that is never told."""
    threads, tasks = 200, 1000
    loads = []

    def all_wait():
        under_way = list(flights._under_way)
        return under_way and waiters() + tasks_waiting(under_way[0]) == threads + 2 * tasks

    async def loader():
        loads.append(1)
        await until_async(all_wait)
        return "value"

    def blocking():
        loads.append(1)
        until(lambda: waiters() + tasks_waiting(only(flights)) == threads + 2 * tasks - 1)
        return "value"

    async def main():
        return await asyncio.gather(*[load_async(flights, "key", loader) for _ in range(tasks)])

    loops = [Task(asyncio.run, main()) for _ in range(2)]
    asking = [Task(load, flights, "key", blocking) for _ in range(threads)]
    outcomes = [loop.outcome() for loop in loops]
    assert outcomes == [["value"] * tasks] * 2
    assert {task.outcome() for task in asking} == {"value"}
    assert loads == [1]


def test_ten_thousand_tasks_wait_without_threads_and_wake_in_turns(flights, elsewhere):
    """Catch a thread for each task that waits, and an end that holds up the loop."""
    flight, _ = elsewhere("key")
    served = []

    async def follow():
        served.append(await ASYNC.wait(flight))

    async def main():
        tasks.extend(asyncio.create_task(follow()) for _ in range(10_000))
        await until_async(lambda: tasks_waiting(flight) == 10_000)
        assert threading.active_count() == before
        assert len(flight._on_end) == 1
        gc.collect()
        Task(flight.land, "value")
        most = done = 0
        while len(served) < 10_000:
            await asyncio.sleep(0)
            most, done = max(most, len(served) - done), len(served)
        return most

    tasks = []
    before = threading.active_count()
    assert asyncio.run(main()) <= 200
    assert served == ["value"] * 10_000
    assert flight._on_end == {}


def test_follower_that_comes_while_others_wake_is_served(flights, elsewhere):
    """Catch a task that joins those whose waking is over."""
    flight, _ = elsewhere("key")

    async def follow(more):
        value = await ASYNC.wait(flight)
        return value if not more else await follow(more - 1)

    async def main():
        tasks = [asyncio.create_task(follow(number % 3)) for number in range(500)]
        await until_async(lambda: tasks_waiting(flight) == 500)
        flight.land("value")
        return await asyncio.gather(*tasks)

    assert within(TIMEOUT, main()) == ["value"] * 500


def test_failure_is_the_same_exception_for_all(flights):
    """Catch a copy, a wrapper, and a follower that loads again."""
    error = Broken()

    async def loader():
        await until_async(lambda: tasks_waiting(only(flights)) == 5)
        raise error

    async def main():
        asking = [load_async(flights, "key", loader) for _ in range(5)]
        return await asyncio.gather(*asking, return_exceptions=True)

    assert all(outcome is error for outcome in within(TIMEOUT, main()))


def test_on_end_calls_once_and_not_what_was_taken_back(flights):
    """Catch a second call, one that is left out, and an end that fails with what it calls."""
    flight, _ = flights.board("key")
    called = []
    flight.on_end(lambda: called.append("first"))
    flight.on_end(lambda: called.append("gone"))()
    flight.on_end(lambda: 1 / 0)
    leave = flight.on_end(lambda: called.append("last"))
    flight.land(1)
    leave()
    flight.abandon()
    assert called == ["first", "last"]
    flight.on_end(lambda: called.append("late"))()
    assert called == ["first", "last", "late"]
    assert flight._on_end == {}


def test_on_end_without_room_on_the_stack_is_called_all_the_same(flights):
    """Catch a task that is never told, because the load came to the limit of the stack."""
    flight, _ = flights.board("key")
    told = threading.Event()
    called = []

    def tell():
        if not called:
            called.append(1)
            raise RecursionError
        told.set()

    flight.on_end(tell)
    flight.land(1)
    assert told.wait(TIMEOUT)


def test_on_end_races_with_the_end_every_one_is_called_once(flights):
    """Catch a function that comes while the flight ends, and is called twice or never."""

    def race():
        flight, _ = flights.board("key")
        called = []
        task = Task(lambda: [flight.on_end(lambda at=at: called.append(at)) for at in range(50)])
        until(lambda: called or flight._on_end or not task.is_alive())
        flight.land(1)
        task.outcome()
        until(lambda: len(called) >= 50)
        assert sorted(called) == list(range(50))

    for _ in range(200):
        race()


# Cancellation


def test_cancelled_leader_its_load_goes_on_for_the_others(flights):
    """Catch followers that are cancelled with the task which asked first, and a second load."""
    loads = []

    async def loader():
        loads.append(1)
        await until_async(lambda: tasks_waiting(only(flights)) == 3)
        return "value"

    async def main():
        leader = asyncio.create_task(load_async(flights, "key", loader))
        await until_async(lambda: loads)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        gc.collect()
        return await asyncio.gather(*[load_async(flights, "key", loader) for _ in range(3)])

    assert within(TIMEOUT, main()) == ["value"] * 3
    assert loads == [1]


def test_cancelled_load_a_follower_leads_anew(flights):
    """Catch a flight that nobody leads, and followers that are cancelled with it."""
    loads = []

    async def loader():
        loads.append(asyncio.current_task())
        await (never() if len(loads) == 1 else asyncio.sleep(0))
        return "value"

    async def main():
        asking = [asyncio.create_task(load_async(flights, "key", loader)) for _ in range(4)]
        await until_async(lambda: flights._under_way and tasks_waiting(only(flights)) == 4)
        loads[0].cancel()
        return await asyncio.gather(*asking, return_exceptions=True)

    first, *others = within(TIMEOUT, main())
    assert isinstance(first, asyncio.CancelledError)
    assert others == ["value"] * 3
    assert len(loads) == 2


def test_load_cancelled_before_its_first_step_is_abandoned(flights):
    """Catch a `finally` that is never entered."""

    async def main():
        flight, _ = flights.board("key")
        before = asyncio.all_tasks()
        assert ASYNC.start(flight, never)
        (task,) = asyncio.all_tasks() - before
        task.cancel()
        return await ASYNC.wait(flight)

    assert within(TIMEOUT, main()) is ABANDONED


def test_cancelled_followers_leave_nothing(flights, elsewhere):
    """Catch what a flight, a loop or a thread keeps of a task that has gone."""
    flight, _ = elsewhere("key")

    async def cancel(tasks):
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return weakref.ref(tasks[0])

    async def some_leave():
        tasks = [asyncio.create_task(ASYNC.wait(flight)) for _ in range(100)]
        await until_async(lambda: tasks_waiting(flight) == 100)
        return await cancel(tasks[:-1]), tasks[-1]

    async def main():
        seen, last = await some_leave()
        await asyncio.sleep(0)
        gc.collect()
        assert seen() is None
        assert tasks_waiting(flight) == 1
        await cancel([last])
        assert flight._on_end == {}
        flight.land("value")
        return await ASYNC.wait(flight)

    assert within(TIMEOUT, main()) == "value"


@pytest.mark.parametrize("end", ["close", "throw"])
@pytest.mark.parametrize("leads", [True, False])
def test_cancelled_at_any_step_nothing_is_left(flights, elsewhere, end, leads):
    """Catch a wait that cannot be left at one of its steps, and a flight that stays under way."""

    async def loader():
        for _ in range(3):
            await asyncio.sleep(0)
        return "value"

    async def step(coroutine, steps, flight):
        for number in range(steps):
            future = coroutine.send(None)
            if number < steps - 1:
                if not leads:
                    flight.land("value")
                future._asyncio_future_blocking = False
                await asyncio.wait([future])

    async def main(steps):
        flight, _ = flights.board("mine") if leads else elsewhere("theirs")
        coroutine = ASYNC.lead(flight, loader) if leads else ASYNC.wait(flight)
        try:
            await step(coroutine, steps, flight)
        except RuntimeError as error:  # what becomes of a StopIteration
            return error.__cause__.value == "value"
        if end == "close":
            coroutine.close()
        else:
            with pytest.raises(asyncio.CancelledError):
                coroutine.throw(asyncio.CancelledError())
        if leads and steps:
            assert await ASYNC.wait(flight) == "value"
        flight.abandon()
        assert flight._on_end == {}
        return False

    steps = 0
    while not within(TIMEOUT, main(steps)):
        steps += 1
    assert steps == 2


# Loops that end


def lead_in_a_loop(flights, started, finish):
    """Lead in the loop of a thread that ends while the load is under way."""

    async def main():
        asyncio.create_task(load_async(flights, "key", never))  # noqa: RUF006 - left behind
        await asyncio.sleep(0.01)
        started.set()
        await until_async(finish)

    asyncio.run(main())


def test_loop_that_ends_leaves_its_load_to_a_thread(flights):
    """Catch threads that wait for a load whose loop is gone."""
    started = threading.Event()
    loop = Task(lead_in_a_loop, flights, started, lambda: waiters() == 3)
    assert started.wait(TIMEOUT)
    loads = []
    tasks = [Task(load, flights, "key", lambda: loads.append(1) or "value") for _ in range(3)]
    assert [task.outcome() for task in tasks] == ["value"] * 3
    assert 1 <= len(loads) <= 3
    loop.outcome()


@pytest.mark.parametrize("how", ["close", "forget"])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_loop_that_nobody_runs_any_more_leaves_its_load(flights, how):
    """Catch a cache that keeps a loop alive, and with it a load that goes on no more."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    leader = loop.create_task(load_async(flights, "key", never))
    follower = loop.create_task(load_async(flights, "key", never))
    loop.run_until_complete(asyncio.sleep(0.01))
    del leader, follower
    flight = only(flights)
    gc.collect()
    assert tasks_waiting(flight) == 2
    task = Task(load, flights, "key", lambda: "value")
    until(lambda: waiters() == 1)
    if how == "close":
        loop.close()
    del loop
    gc.collect()
    assert task.outcome() == "value"


def test_loop_closed_under_a_follower_lets_the_flight_end(flights):
    """Catch an end that fails because a follower cannot be told."""
    flight, _ = flights.board("key")
    loop = asyncio.new_event_loop()
    task = loop.create_task(ASYNC.wait(flight))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    flight.land("value")
    assert flight._on_end == {}
    task._log_destroy_pending = False


# Time


def test_wait_longer_than_allowed_raises_cachetimeout(flights, elsewhere):
    """Catch a limit that is not kept, or one that ends the flight for others."""
    flight, _ = elsewhere("key")
    assert flight.wait(0) is False
    assert flight.wait(0.001) is False
    for limit in (0, 0.001, -1):
        with pytest.raises(CacheTimeout, match="no result within"):
            run_sync(SYNC.wait(flight, limit))
        with pytest.raises(CacheTimeout, match="no result within"):
            asyncio.run(ASYNC.wait(flight, limit))
    assert flight._on_end == ring.waiting == {}
    task = Task(flight.wait, TIMEOUT)
    until(lambda: waiters() == 1)
    flight.land("value")
    assert task.outcome() is True
    assert run_sync(SYNC.wait(flight, 0)) == asyncio.run(ASYNC.wait(flight, 0)) == "value"


# Garbage


def test_tasks_and_their_errors_leave_no_garbage(flights):
    """Catch a cycle of a flight, its exception and the frames of those who wait."""
    seen = []

    async def loader():
        await until_async(lambda: tasks_waiting(only(flights)) == 4)
        error = Broken()
        seen.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    async def ask():
        with contextlib.suppress(Broken):
            await load_async(flights, "key", loader)

    async def main():
        await asyncio.gather(*[ask() for _ in range(4)])
        await asyncio.sleep(0)
        gc.collect()
        gc.disable()
        try:
            await asyncio.gather(*[ask() for _ in range(4)])
            await asyncio.sleep(0)
            return [ref() for ref in seen]
        finally:
            gc.enable()

    assert within(TIMEOUT, main()) == [None, None]
