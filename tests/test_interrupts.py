"""Interrupts at every moment at which the interpreter lets one in: nothing stays under way.

CPython looks for signals when a function of Python begins and when a call of C ends.  A profiler is
called at the same moments, so one that raises at the n-th of them is an interrupt there.
"""

import sys
import time

import pytest
from chained import over

from frys_cache import MISSING
from frys_cache.chain.changing import Change, Marked
from frys_cache.tiers.standin import StandInCache

# The interpreter says so of a coroutine that is interrupted before its first step.
pytestmark = pytest.mark.filterwarnings(
    "ignore:coroutine .* was never awaited:RuntimeWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


class Rows(dict):
    """A backend."""

    def load(self, key):
        return self.get(key, MISSING)

    def load_many(self, keys):
        return {key: self.get(key, key) for key in keys}

    store = dict.__setitem__

    def delete(self, key):
        self.pop(key, None)


class Interrupt(BaseException):
    pass


def interrupted(moment, operation, *arguments):
    """Run an operation, and interrupt it at a moment; tell whether it lasted so long."""
    left = [moment]

    def profile(frame, event, argument):
        if event not in ("call", "c_return"):
            return
        # A destructor has nobody to raise to: what comes there comes a moment later.
        # What the pool of workers does about an interrupt is its own matter.
        if frame.f_code.co_name == "__del__" or argument is sys.setprofile:
            return
        if frame.f_code.co_filename.endswith(("workers.py", "threading.py")):
            return
        left[0] -= 1
        if left[0] == 0:
            raise Interrupt

    sys.setprofile(profile)
    try:
        operation(*arguments)
    except Interrupt:
        pass
    finally:
        sys.setprofile(None)
    return left[0] <= 0


def under_way(cache):
    manager = cache.manager
    turns = manager._turns
    return [
        *cache._flights._under_way,
        *turns._flights._under_way,
        *turns._singles,
        *turns._batches,
        *manager._changing.codes,
        *([] if turns._touched is None else ["touched"]),
    ]


def settled(condition, seconds=5):
    """Wait for what goes on behind the back of who asked."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "something is under way that nobody leads"
        time.sleep(0.0001)


LOADS = {
    "loader": {"loader": lambda key: key},
    "timeout": {"loader": lambda key: key, "loader_timeout": 60},
    "bulk": {"loader_many": lambda keys: {key: key for key in keys}},
    "bulk timeout": {"loader_many": lambda keys: {key: key for key in keys}, "loader_timeout": 60},
}


@pytest.mark.parametrize("name", LOADS)
def test_interrupt_at_any_moment_of_a_load_leaves_no_flight(name):
    """Catch a key that can never be loaded again, since who led its load was interrupted."""
    cache = over([], **LOADS[name])
    moment, went_on = 0, True
    while went_on:
        moment += 1
        went_on = interrupted(moment, cache.get_many, [(moment, 1), (moment, 2)])
        settled(lambda cache=cache: not under_way(cache))
    assert moment > 20
    cache.close()


def test_interrupt_at_any_moment_of_a_stale_load_leaves_no_flight():
    """Catch the same where the load goes on behind the back of who asked."""
    for loads in (LOADS["loader"], LOADS["bulk"]):
        cache = over([], stale_ttl=1000, memory={"ttl": 0.001}, **loads)
        moment, went_on = 0, True
        while went_on:
            moment += 1
            keys = [(moment, 1), (moment, 2)]
            assert cache.get_many(keys) == keys
            settled(lambda cache=cache, keys=keys: not any(key in cache for key in keys))
            went_on = interrupted(moment, cache.get_many, keys)
            settled(lambda cache=cache: not under_way(cache))
        assert moment > 20
        cache.close()


WRITES = {
    "put": lambda cache, key: cache.put(key, 1),
    "put_many": lambda cache, key: cache.put_many({key: 1, (key, 2): 2}),
    "delete": lambda cache, key: cache.delete(key),
    "add": lambda cache, key: cache.add(key, 1),
}


@pytest.mark.parametrize("letters", ["", "u", "ul"])
@pytest.mark.parametrize("name", WRITES)
def test_interrupt_at_any_moment_of_a_write_leaves_no_turn(name, letters):
    """Catch a key that can never be written again, since who wrote it was interrupted."""
    tiers = [StandInCache(letter) for letter in letters]
    cache = over(tiers, backend=Rows())
    moment, went_on = 0, True
    while went_on:
        moment += 1
        cache.get(moment)
        went_on = interrupted(moment, WRITES[name], cache, moment)
        settled(lambda cache=cache: not under_way(cache))
        assert not cache._is_writing(moment)
    assert moment > 20
    cache.close()


@pytest.mark.parametrize("kind", [Change, Marked])
def test_interrupt_when_a_change_is_made_is_silent(kind, monkeypatch):
    """Catch a destructor that complains of what its object has never had."""
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    kind.__new__(kind)
    assert told == []
