"""Threads and loads for the tests of flights, and what must hold when a test is over."""

import asyncio
import inspect
import textwrap
import threading
import time

from frys_cache import flight_ring as ring
from frys_cache.flight import ABANDONED, Flights
from frys_cache.tiers.face import ASYNC

TIMEOUT = 60


class Broken(Exception):
    """What a loader raises; unlike the builtin ones it can be referred to weakly."""


def load(flights, key, loader):
    """Return what loader() gives for a key, from whichever thread loads it."""
    while True:
        flight, leads = flights.board(key)
        try:
            if leads:
                value = loader()
                flight.land(value)
                return value
            value = flight.join()
            if value is not ABANDONED:
                return value
        except Exception as error:
            if leads:
                flight.fail(error)
            raise
        finally:
            if leads:
                flight.abandon()
            del flight


async def load_async(flights, key, loader):
    """Return what await loader() gives for a key, from whichever thread or task loads it."""
    while True:
        flight, leads = flights.board(key)
        try:
            value = await (ASYNC.lead(flight, loader) if leads else ASYNC.wait(flight))
        finally:
            del flight
        if value is not ABANDONED:
            return value


# For the processes that some tests start.
LOAD = textwrap.indent(inspect.getsource(load), 8 * " ").lstrip()


class Task(threading.Thread):
    """A thread whose `outcome` waits for it, and returns or raises what its function did."""

    def __init__(self, function, *args):
        super().__init__(daemon=True)
        self.work = (function, args)
        self.value = self.error = None
        self.start()

    def run(self):
        function, args = self.work
        del self.work
        try:
            self.value = function(*args)
        except BaseException as error:
            self.error = error
        del function, args

    def outcome(self):
        self.join(TIMEOUT)
        assert not self.is_alive(), "a thread hangs"
        if self.error is not None:
            raise self.error
        return self.value


def until(condition):
    """Wait until a condition holds that nothing announces: that a thread is blocked."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.001)


def waiters():
    """Return how many threads wait for a flight that is under way."""
    waits = list(ring.waiting.values())
    return sum(flights[-1]._gate is not None for flights in waits)


def tasks_waiting(flight):
    """Return how many tasks wait for a flight."""
    groups = [callback.args[0]() for callback in list(flight._on_end.values())]
    return sum(len(group._futures) for group in groups if group is not None)


async def until_async(condition):
    """Wait, without blocking the loop, until a condition holds that nothing announces."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        await asyncio.sleep(0.001)


async def never():
    await asyncio.get_running_loop().create_future()


def only(flights):
    """Return the one flight that is under way."""
    (flight,) = flights._under_way
    return flight


def of(flights, key):
    """Return the flight of a key, None if there is none under way."""
    return next((flight for flight in list(flights._under_way) if flight._key == key), None)


def within(seconds, coroutine):
    """Run a coroutine to its end, which has to come soon."""
    return asyncio.run(asyncio.wait_for(coroutine, seconds))


def fresh_flights():
    """Fixture: the flights of one cache; afterwards none may be left, and nobody may wait."""
    made = Flights()
    yield made
    assert made._under_way == {}
    assert ring.waiting == {}


def board_elsewhere(flights):
    """Fixture: a function that boards in a thread of its own, which then stays to the end."""
    done = threading.Event()
    tasks = []

    def board(key, flights=flights):
        boarded = threading.Event()
        result = []

        def lead():
            result.extend(flights.board(key))
            boarded.set()
            done.wait(TIMEOUT)

        tasks.append(Task(lead))
        assert boarded.wait(TIMEOUT)
        return result

    yield board
    done.set()
    for task in tasks:
        task.outcome()
