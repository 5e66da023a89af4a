"""Whatever allocation fails, the cache stays whole and holds what it held."""

import contextlib

import pytest
from hostile import Recorder, SameHash
from kinds import every_kind

from frys_cache.testing import ReferenceCache


class Refused(Exception):
    """The operation under test was refused memory."""


@contextlib.contextmanager
def failing_after(cache, granted):
    """Let `granted` allocations of the cache succeed and all later ones fail."""
    cache._fail_allocation_after(granted)
    try:
        yield
    except MemoryError as error:
        raise Refused from error
    finally:
        cache._fail_allocation_after(-1)


SINGLE = {
    "getitem": lambda cache: cache[3],
    "get": lambda cache: cache.get(3),
    "peek": lambda cache: cache.peek(3),
    "contains": lambda cache: 3 in cache,
    "put a new key": lambda cache: cache.put("new", 1),
    "put an old key": lambda cache: cache.put(3, "new"),
    "put the same value": lambda cache: cache.put(3, cache.peek(3)),
    "setitem": lambda cache: cache.__setitem__("new", 1),
    "add": lambda cache: cache.add("new", 1),
    "replace": lambda cache: cache.replace(3, "new"),
    "incr a new key": lambda cache: cache.incr("new"),
    "incr an old key": lambda cache: cache.incr(3),
    "setdefault": lambda cache: cache.setdefault("new", 1),
    "delete": lambda cache: cache.delete(3),
    "delitem": lambda cache: cache.__delitem__(3),
    "pop": lambda cache: cache.pop(3),
    "popitem": lambda cache: cache.popitem(),
    "clear": lambda cache: cache.clear(),
    "get_many": lambda cache: cache.get_many(list(range(100))),
    "token": lambda cache: cache._token(3),
    "iterate": lambda cache: list(cache.items()),
    "reversed": lambda cache: list(reversed(cache)),
    "repr": lambda cache: repr(cache),
    "equality": lambda cache: cache == {},
    "copy": lambda cache: len(cache.copy()),
    "stats": lambda cache: cache.stats(),
    "colliding key": lambda cache: cache.put(SameHash("new"), 1),
}
PAIRS = [(key, f"new {key}") for key in (*range(5), *range(100, 160), *range(3), *range(100, 103))]
BATCHES = {
    "put_many of a list": lambda cache: cache.put_many(PAIRS),
    "put_many of a dict": lambda cache: cache.put_many(dict(PAIRS)),
    "put_many of a generator": lambda cache: cache.put_many(pair for pair in PAIRS),
    "update": lambda cache: cache.update(PAIRS),
    "ior": lambda cache: cache.__ior__(dict(PAIRS)),
    "delete_many": lambda cache: cache.delete_many([2, 3, "absent", 5, 3, 7]),
}
# Full, so that a new key evicts; with room, so that the table may have to grow.
BOUNDS = [8, 10_000]


def cache_of_eight(make, bound, listener):
    cache = make(bound, on_evict=listener)
    cache.put_many((number, 1000 + number) for number in range(8))
    return cache


@every_kind
@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("heard", [True, False], ids=["heard", "unheard"])
@pytest.mark.parametrize("operate", SINGLE.values(), ids=list(SINGLE))
def test_single_operation_without_memory_changes_nothing(make, bound, heard, operate):
    """Catch an operation that changes first and allocates then."""
    for granted in range(50):
        listener = Recorder()
        cache = cache_of_eight(make, bound, listener if heard else None)
        before = list(cache.items())
        try:
            with failing_after(cache, granted):
                operate(cache)
        except Refused:
            assert list(cache.items()) == before
            assert listener.events == []
            cache._check()
            operate(cache)
            cache._check()
        else:
            cache._check()
            return
    pytest.fail("fifty allocations were not enough for one operation")


def states(make, bound, pairs=None, keys=None):
    """Yield (content, events) as they are after none, one, two, ... steps of a batch."""
    listener = Recorder()
    model = cache_of_eight(
        lambda n, on_evict: ReferenceCache(n, policy=make.policy, on_evict=on_evict),
        bound,
        listener,
    )
    yield list(model.items()), []
    for key, value in pairs or ():
        model.put(key, value)
        yield list(model.items()), list(listener.events)
    for key in keys or ():
        model.delete(key)
        yield list(model.items()), list(listener.events)


@every_kind
@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("name", BATCHES)
def test_batch_without_memory_stops_between_two_keys(make, bound, name):
    """Catch a batch that leaves half a step behind, or events that do not fit what it did."""
    if name == "delete_many":
        allowed = list(states(make, bound, keys=[2, 3, "absent", 5, 3, 7]))
    elif name in ("put_many of a dict", "ior"):
        allowed = list(states(make, bound, pairs=dict(PAIRS).items()))
    else:
        allowed = list(states(make, bound, pairs=PAIRS))
    for granted in range(300):
        listener = Recorder()
        cache = cache_of_eight(make, bound, listener)
        try:
            with failing_after(cache, granted):
                BATCHES[name](cache)
        except Refused:
            assert (list(cache.items()), listener.events) in allowed
            cache._check()
        else:
            assert (list(cache.items()), listener.events) == allowed[-1]
            cache._check()
            return
    pytest.fail("three hundred allocations were not enough for one batch")


@every_kind
def test_growth_without_memory_keeps_every_entry(make):
    """Catch a table or an array that is lost, or half moved, when it cannot grow."""
    for granted in range(100):
        cache = make(10**6)
        stored = 0
        try:
            with failing_after(cache, granted):
                for number in range(20_000):
                    cache[number] = str(number)
                    stored += 1
        except Refused:
            pass
        assert len(cache) == stored
        cache._check()
        assert cache.get_many(range(stored)) == [str(number) for number in range(stored)]
        cache.put_many((number, str(number)) for number in range(stored, stored + 1000))
        assert list(cache) == list(range(stored + 1000)) or stored == 0 or make.policy != "fifo"
        cache._check()
        if stored == 20_000:
            return
    pytest.fail("a hundred allocations were not enough for twenty thousand entries")


@every_kind
def test_full_cache_works_on_without_any_memory(make):
    """Catch an eviction that needs memory: at its bound a cache only trades places."""
    cache = make(100)
    cache.put_many((number, None) for number in range(1000))
    cache._fail_allocation_after(0)
    try:
        for number in range(1000):
            cache[number] = number
            cache.get(number)
        cache.put_many((number, number) for number in range(500))
        kept = sorted(cache)
        for number in kept[50:]:
            del cache[number]
    finally:
        cache._fail_allocation_after(-1)
    assert sorted(cache) == kept[:50]
    if make.policy in ("lru", "fifo"):
        assert kept == list(range(400, 500))
    cache._check()


@every_kind
def test_listener_that_runs_out_of_memory_loses_no_event(make):
    """Catch an operation nested in a listener that fails and takes the queue with it."""

    def nested(key, value, cause):
        if key != 0:
            return
        cache._fail_allocation_after(0)
        try:
            for number in range(100, 200):
                cache[number] = number
                done.append(number)
        except MemoryError:
            pass
        finally:
            cache._fail_allocation_after(-1)

    done = []
    listener = Recorder(nested)
    cache = make(4, on_evict=listener)
    for number in range(5):
        cache[number] = number
    cache._check()
    told = [key for key, _, _ in listener.events]
    assert sorted([*told, *cache]) == sorted([*range(5), *done])
