"""Coroutines that run without a loop: `run_sync` and the face that blocks."""

import asyncio
import contextvars
import functools
import gc
import threading
import time
import types
import weakref

import pytest

from frys_cache.errors import ConfigurationError
from frys_cache.flight import ABANDONED, Flights
from frys_cache.tiers.face import ASYNC, SYNC, AsyncFace, SyncFace, is_awaitable, run_sync


class Broken(Exception):
    """What a coroutine raises; unlike the builtin ones it can be referred to weakly."""


class Suspends:
    """An awaitable that gives control away, as only an event loop could take it."""

    def __await__(self):
        yield


class Ended:
    """Something to wait for that has ended already."""

    def __init__(self, value=None, error=None):
        self.value = value
        self.error = error

    def wait(self, timeout=None):
        return True

    def on_end(self, callback):
        callback()

    def result(self):
        if self.error is not None:
            raise self.error
        return self.value


@pytest.mark.parametrize("value", [None, 1, (1, 2), StopIteration(3), ABANDONED], ids=repr)
def test_run_sync_result_is_returned_as_it_is(value):
    """Catch a result that StopIteration unpacks or replaces on its way."""

    async def answer():
        return value

    async def outer():
        return await answer()

    assert run_sync(answer()) is value
    assert run_sync(outer()) is value


def test_run_sync_exception_passes_unchanged():
    """Catch an exception that is wrapped, copied or chained."""
    error = Broken()

    async def fail():
        raise error

    with pytest.raises(Broken) as caught:
        run_sync(fail())
    assert caught.value is error
    assert error.__cause__ is error.__context__ is None


def test_run_sync_suspending_coroutine_is_closed_and_refused():
    """Catch a coroutine that is left half run, with its `finally` still to come."""
    steps = []

    async def lingering():
        try:
            await Suspends()
        finally:
            steps.append("closed")

    with pytest.raises(RuntimeError, match=r"lingering suspended under the sync face"):
        run_sync(lingering())
    assert steps == ["closed"]


@pytest.mark.parametrize("value", [None, "value", (1, 2)])
def test_sync_face_wait_gives_the_result(value):
    """Catch a face that gives back the flight, or None for a value."""
    assert run_sync(SyncFace().wait(Ended(value))) is value


def test_sync_face_wait_blocks_until_the_flight_lands():
    """Catch a face that suspends, or reads the result before there is one."""
    flight, _ = Flights().board("key")
    results = []
    started = threading.Event()

    def follow():
        started.set()
        results.append(run_sync(SyncFace().wait(flight)))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    assert started.wait(30)
    assert results == []
    flight.land("value")
    thread.join(30)
    assert results == ["value"]


def test_sync_face_wait_failure_leaves_no_cycle():
    """Catch a frame in the traceback that holds the flight that holds the exception."""

    def fail():
        ended = Ended(error=Broken())
        with pytest.raises(Broken) as caught:
            run_sync(SyncFace().wait(ended))
        assert caught.value is ended.error
        ended.error = None
        return weakref.ref(caught.value)

    class Holder(Ended):
        def result(self):
            try:
                raise self.error
            finally:
                del self

    def fail_and_hold():
        error = Broken()
        try:
            run_sync(SyncFace().wait(Holder(error=error)))
        except Broken:
            return weakref.ref(error)
        finally:
            del error

    fail()
    gc.collect()
    gc.disable()
    try:
        assert fail_and_hold()() is None
    finally:
        gc.enable()


# ---- one algorithm, two faces -------------------------------------------------------------------


async def both(face, flight):
    """Await all that a face offers."""
    await face.sleep(0.001)
    return await face.wait(flight), await face.call(divmod, 7, 2)


def run(face, coroutine):
    """Run a coroutine as the face needs it."""
    return run_sync(coroutine) if isinstance(face, SyncFace) else asyncio.run(coroutine)


@pytest.mark.parametrize("face", [SyncFace(), AsyncFace()], ids=["sync", "async"])
def test_face_runs_the_same_algorithm(face):
    """Catch a face that lacks something, or returns something else."""
    assert run(face, both(face, Ended("value"))) == ("value", (3, 1))


@pytest.mark.parametrize("face", [SyncFace(), AsyncFace()], ids=["sync", "async"])
def test_face_error_of_a_call_or_a_flight_passes_unchanged(face):
    """Catch an exception that is wrapped on its way."""
    error = Broken()

    def fail():
        raise error

    for coroutine in (face.call(fail), face.wait(Ended(error=error))):
        with pytest.raises(Broken) as caught:
            run(face, coroutine)
        assert caught.value is error


def test_async_face_lets_the_loop_go_on():
    """Catch a wait that blocks the loop, or one that a flight of another thread never wakes."""
    flights = Flights()
    flight, _ = flights.board("key")
    steps = []

    async def lead():
        while len(steps) < 5:
            steps.append(len(steps))
            await asyncio.sleep(0.001)
        flight.land("landed")

    async def main():
        return await asyncio.gather(AsyncFace().wait(flight), lead())

    assert asyncio.run(main()) == ["landed", None]


def test_async_face_calls_with_the_context_of_the_caller():
    """Catch user code in a thread that has lost its context variables."""
    name = contextvars.ContextVar("name", default="lost")

    async def main():
        name.set("kept")
        return await AsyncFace().call(name.get), await AsyncFace().call(threading.get_ident)

    kept, thread = asyncio.run(main())
    assert kept == "kept"
    assert thread != threading.get_ident()


def test_async_face_cancelled_leaves_at_once():
    """Catch a cancelled task that stays until what it waits for has ended."""
    gate = threading.Event()

    async def main():
        task = asyncio.create_task(AsyncFace().call(gate.wait, 10))
        await asyncio.sleep(0.01)
        task.cancel()
        started = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        spent = time.monotonic() - started
        gate.set()
        return spent

    assert asyncio.run(main()) < 5


# ---- what is called -----------------------------------------------------------------------------


async def double(value):
    await asyncio.sleep(0)
    return 2 * value, threading.get_ident()


class Doubling:
    """A callable whose call is a coroutine."""

    async def __call__(self, value):
        return await double(value)


@types.coroutine
def double_of_old(value):
    return (yield from double(value).__await__())


ASYNC_FUNCTIONS = [double, functools.partial(double), Doubling(), Doubling().__call__]
RETURNING = [lambda value: double(value), functools.partial(Doubling()), double_of_old]


@pytest.mark.parametrize("function", ASYNC_FUNCTIONS + RETURNING, ids=lambda f: type(f).__name__)
def test_async_face_awaits_what_is_async_on_its_loop(function):
    """Catch a coroutine that is returned for a value, or run by another thread."""
    assert asyncio.run(ASYNC.call(function, 21)) == (42, threading.get_ident())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("function", ASYNC_FUNCTIONS + RETURNING, ids=lambda f: type(f).__name__)
def test_sync_face_refuses_what_is_async(function):
    """Catch a coroutine that is stored for a value, or left behind unawaited."""
    with pytest.raises(ConfigurationError, match="is async: it needs an event loop"):
        run_sync(SYNC.call(function, 21))
    gc.collect()


def test_is_awaitable_generator_is_no_coroutine():
    """Catch a generator, which is a fine value, taken for an old coroutine."""
    assert not is_awaitable(value for value in ())
    assert not is_awaitable(None)


def test_async_face_stopiteration_of_a_function_does_not_hang():
    """Catch a future that refuses the exception, so that whoever waits is never told."""

    async def main():
        return await asyncio.wait_for(ASYNC.call(next, iter(())), 30)

    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(main())


# ---- who leads ----------------------------------------------------------------------------------


class Workers:
    """Threads that are started as jobs come; as many jobs as there is room for."""

    def __init__(self, room):
        self.room = room
        self.threads = []

    def submit(self, job):
        if len(self.threads) >= self.room:
            return False
        self.threads.append(threading.Thread(target=job))
        self.threads[-1].start()
        return True


async def fail():
    raise Broken


async def interrupt():
    raise KeyboardInterrupt


async def answer():
    return "value"


@pytest.mark.parametrize("face", [SYNC, ASYNC], ids=["sync", "async"])
def test_lead_ends_the_flight_with_what_the_load_brings(face):
    """Catch a flight that stays under way, or an interrupt that goes to the followers."""
    flights = Flights()
    flight, _ = flights.board("key")
    assert run(face, face.lead(flight, answer)) == flight.join() == "value"
    flight, _ = flights.board("key")
    with pytest.raises(Broken) as caught:
        run(face, face.lead(flight, fail))
    with pytest.raises(Broken) as joined:
        flight.join()
    assert caught.value is joined.value
    flight, _ = flights.board("key")
    with pytest.raises(KeyboardInterrupt):
        run(face, face.lead(flight, interrupt))
    assert flight.join() is ABANDONED
    assert flights._under_way == {}


def test_sync_start_a_worker_leads():
    """Catch a ring seen, or missed, because the wrong thread is thought to lead."""
    flight, _ = Flights().board("key")
    go = threading.Event()
    leaders = []

    async def load():
        leaders.append((flight._leader, threading.get_ident()))
        go.wait(30)
        return "value"

    workers = Workers(1)
    assert SYNC.start(flight, load, workers)
    assert flight.wait(0) is False
    go.set()
    assert flight.join() == "value"
    assert leaders[0][0] == leaders[0][1] == workers.threads[0].ident
    workers.threads[0].join()


def test_sync_start_failure_reaches_the_followers_and_not_the_worker():
    """Catch a worker that dies of what a load raises."""
    flight, _ = Flights().board("key")
    jobs = []
    SYNC.start(flight, fail, types.SimpleNamespace(submit=lambda job: jobs.append(job) or True))
    jobs.pop()()
    with pytest.raises(Broken):
        flight.join()


def test_sync_start_without_room_or_dropped_is_abandoned():
    """Catch a flight that nobody leads, for there was no worker or it was closed."""
    flights = Flights()
    flight, _ = flights.board("key")
    assert not SYNC.start(flight, answer, Workers(0))
    assert flight.join() is ABANDONED
    flight, _ = flights.board("key")
    with pytest.raises(AttributeError):
        SYNC.start(flight, answer, None)
    assert flight.join() is ABANDONED
    flight, _ = flights.board("key")
    jobs = []
    assert SYNC.start(
        flight, answer, types.SimpleNamespace(submit=lambda job: not jobs.append(job))
    )
    assert not flight.ended
    jobs.clear()
    gc.collect()
    assert flight.join() is ABANDONED


def test_async_start_a_task_leads():
    """Catch a load in the background that is collected before its end."""
    flight, _ = Flights().board("key")

    async def load():
        await asyncio.sleep(0.01)
        return "value"

    async def main():
        assert ASYNC.start(flight, load, Workers(0))
        gc.collect()
        return await ASYNC.wait(flight)

    assert asyncio.run(main()) == "value"


def test_async_start_without_a_loop_is_abandoned():
    """Catch a flight that nobody leads, for there is no loop to lead it."""
    flight, _ = Flights().board("key")
    with pytest.raises(RuntimeError, match="no running event loop"):
        ASYNC.start(flight, answer)
    assert flight.join() is ABANDONED
