"""A listener hears of every entry that leaves, once, after the fact, whatever it does itself."""

import gc
import sys
import weakref

import pytest
from hostile import OnDelete, Recorder
from kinds import every_class, every_kind

from frys_cache import EvictionCause

EVICTED, REPLACED, DELETED, CLEARED = (
    EvictionCause.EVICTED,
    EvictionCause.REPLACED,
    EvictionCause.DELETED,
    EvictionCause.CLEARED,
)


@pytest.fixture
def unraisable(monkeypatch):
    """Return the list of exceptions that went to sys.unraisablehook."""
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: seen.append(args.exc_type))
    return seen


REMOVALS = {
    "del": (lambda cache: cache.__delitem__("a"), DELETED),
    "pop": (lambda cache: cache.pop("a"), DELETED),
    "pop with default": (lambda cache: cache.pop("a", None), DELETED),
    "popitem": (lambda cache: cache.popitem(), DELETED),
    "delete": (lambda cache: cache.delete("a"), DELETED),
    "delete_many": (lambda cache: cache.delete_many(["a", "absent"]), DELETED),
    "clear": (lambda cache: cache.clear(), CLEARED),
    "put": (lambda cache: cache.put("a", "new"), REPLACED),
    "setitem": (lambda cache: cache.__setitem__("a", "new"), REPLACED),
    "replace": (lambda cache: cache.replace("a", "new"), REPLACED),
    "incr": (lambda cache: cache.incr("a"), REPLACED),
    "update": (lambda cache: cache.update(a="new"), REPLACED),
    "put_many": (lambda cache: cache.put_many({"a": "new"}), REPLACED),
    "ior": (lambda cache: cache.__ior__({"a": "new"}), REPLACED),
    "evicting put": (lambda cache: cache.put("b", 2), EVICTED),
    "evicting add": (lambda cache: cache.add("b", 2), EVICTED),
    "evicting setdefault": (lambda cache: cache.setdefault("b", 2), EVICTED),
    "evicting incr": (lambda cache: cache.incr("b"), EVICTED),
    "evicting put_many": (lambda cache: cache.put_many({"b": 2}), EVICTED),
}


@every_kind
@pytest.mark.parametrize(("remove", "cause"), REMOVALS.values(), ids=list(REMOVALS))
def test_every_way_out_is_told_with_its_cause(make, remove, cause):
    """Catch a way out that is not told, or told with another cause."""
    listener = Recorder()
    cache = make(1, on_evict=listener)
    cache["a"] = 300
    remove(cache)
    assert listener.events == [("a", 300, cause)]
    assert type(listener.events[0][2]) is EvictionCause
    cache._check()


@every_kind
def test_what_removes_nothing_tells_nothing(make):
    """Catch an event for an entry that stayed, or that never was."""
    listener = Recorder()
    cache = make(3, on_evict=listener)
    value = object()
    cache["a"] = value
    cache["a"] = value
    cache.put_many([("a", value), ("b", 1)])
    cache.update(a=value)
    cache.replace("a", value)
    cache.setdefault("a", 5)
    cache.add("a", 5)
    cache.get("a")
    cache.pop("absent", None)
    cache.delete("absent")
    cache.delete_many(["absent"])
    assert listener.events == []
    cache.clear()
    cache.clear()
    assert len(listener.events) == 2


@every_kind
def test_clear_tells_all_in_victim_order(make):
    """Catch a clear that tells in the order of the table."""
    listener = Recorder()
    cache = make(500, on_evict=listener)
    cache.put_many((f"key-{number}", number) for number in range(500))
    cache.get("key-100")
    order = list(cache.items())
    cache.clear()
    assert listener.events == [(key, value, CLEARED) for key, value in order]


@every_kind
def test_listener_sees_the_operation_complete(make):
    """Catch a listener that is called while the cache is half changed."""
    seen = []

    def look(key, value, cause):
        cache._check()
        seen.append((cause, key in cache, len(cache), cache.peek("c")))

    cache = make(2, on_evict=look)
    cache.update(a=1, b=2)
    cache["c"] = 3
    cache["c"] = 4
    del cache["c"]
    assert seen == [(EVICTED, False, 2, 3), (REPLACED, True, 2, 4), (DELETED, False, 1, None)]


@every_kind
def test_listener_of_a_batch_runs_after_the_batch(make):
    """Catch a batch that stops in the middle to call out."""
    seen = []
    cache = make(2, on_evict=lambda key, value, cause: seen.append(list(cache)))
    cache.put_many((number, number) for number in range(6))
    after = list(cache)
    assert after == [4, 5] or (make.policy in ("auto", "s3fifo") and 5 in after)
    assert seen == [after] * 4
    seen.clear()
    cache.delete_many(after)
    assert seen == [[], []]


@every_kind
def test_nested_operations_are_told_after_by_the_outermost_call(make):
    """Catch a listener that runs inside itself: its stack would grow with every eviction."""

    def refill(key, value, cause):
        if len(listener.events) < 1000:
            cache[len(listener.events) + 1000] = "again"

    listener = Recorder(refill)
    cache = make(2, on_evict=listener)
    cache.update(a=1, b=2, c=3)
    assert listener.deepest == 1
    assert len(listener.events) == 1000
    assert len(cache) == 2
    cache._check()


@every_kind
def test_every_object_leaves_once_or_is_still_there(make):
    """Catch an event told twice or never, where the listener itself puts, deletes and clears."""
    stored, turn = [], iter(range(10**9))

    def put(key):
        value = object()
        stored.append(id(value))
        keep.append(value)
        cache[key] = value

    def meddle(key, value, cause):
        step = next(turn)
        if step > 3000:
            return
        if step % 7 == 0:
            cache.clear()
        elif step % 3 == 0:
            cache.delete(f"key-{step % 9}")
            cache.get_many(["key-1", "key-2"])
        else:
            put(f"key-{step % 11}")

    keep = []
    listener = Recorder(meddle)
    cache = make(4, on_evict=listener)
    for number in range(300):
        put(f"key-{number % 13}")
        cache._check()
    told = [id(value) for _, value, _ in listener.events]
    alive = [id(value) for value in cache.values()]
    assert sorted(told + alive) == sorted(stored)
    assert listener.deepest == 1
    assert len(cache) <= 4


@every_kind
def test_listener_may_do_anything_to_the_cache(make):
    """Catch a cache that is locked, or half changed, while it calls out."""
    actions = [
        lambda: cache.get("a"),
        lambda: list(cache.items()),
        lambda: cache.put_many((number, number) for number in range(20)),
        lambda: cache.clear(),
        lambda: cache and cache.popitem(),
        lambda: cache.copy(),
        lambda: repr(cache),
        lambda: cache.stats(),
        lambda: cache.update(cache),
        lambda: gc.collect(0),
    ]

    def act(key, value, cause):
        if len(listener.events) < 200:
            actions[len(listener.events) % len(actions)]()

    listener = Recorder(act)
    cache = make(3, on_evict=listener)
    for number in range(100):
        cache[number % 17] = object()
        assert len(cache) <= 3
        cache._check()


@every_kind
def test_listener_that_raises_is_reported_counted_and_called_again(make, unraisable):
    """Catch a listener that is switched off by its first exception, or whose exception gets out."""
    gone = []

    def fail(key, value, cause):
        gone.append(key)
        raise LookupError("listener") if key % 2 else ZeroDivisionError

    cache = make(2, on_evict=fail)
    for number in range(6):
        cache[number] = number
    assert cache.stats().listener_errors == 4
    assert sorted([*gone, *cache]) == list(range(6))
    assert make.policy in ("auto", "s3fifo") or gone == [0, 1, 2, 3]
    assert unraisable == [LookupError if key % 2 else ZeroDivisionError for key in gone]
    cache.clear()
    assert cache.stats().listener_errors == 6
    assert len(cache) == 0
    cache._check()


@every_kind
def test_events_after_one_that_raised_are_told(make, unraisable):
    """Catch a queue that is dropped at the first exception."""

    def fail_first(key, value, cause):
        if len(listener.events) == 1:
            raise LookupError

    listener = Recorder(fail_first)
    cache = make(5, on_evict=listener)
    cache.update(a=1, b=2, c=3)
    cache.clear()
    assert [key for key, _, _ in listener.events] == ["a", "b", "c"]
    assert unraisable == [LookupError]


@every_kind
def test_operation_that_fails_tells_nothing_later(make):
    """Catch events of a failed operation, or a queue that the next call inherits."""

    class Unhashable:
        __hash__ = None

    listener = Recorder()
    cache = make(2, on_evict=listener)
    cache.update(a=1, b=2)
    for fail in (
        lambda: cache.put(Unhashable(), 1),
        lambda: cache.delete(Unhashable()),
        lambda: cache.incr("a", "x"),
        lambda: cache.update(5),
    ):
        with pytest.raises(TypeError):
            fail()
    assert listener.events == []
    cache["c"] = 3
    assert len(listener.events) == 1


@every_kind
def test_batch_that_fails_half_way_tells_what_it_did(make):
    """Catch events that are lost when a batch ends by an exception."""
    listener = Recorder()
    cache = make(1, on_evict=listener)

    def pairs():
        yield "a", 1
        yield "b", 2
        raise LookupError

    for write in (cache.update, cache.put_many):
        listener.events.clear()
        cache.clear()
        listener.events.clear()
        with pytest.raises(LookupError):
            write(pairs())
        # A batch may take all or the first few; what it has evicted was told.
        assert listener.events == ([("a", 1, EVICTED)] if "b" in cache else [])


@every_kind
def test_value_is_alive_while_it_is_told(make):
    """Catch a value that is released before its listener has seen it."""
    dead = []

    def look(key, value, cause):
        assert dead == []
        assert value.action

    cache = make(1, on_evict=look)
    cache["a"] = OnDelete(lambda: dead.append("a"))
    cache["b"] = None
    gc.collect()
    assert dead == ["a"]


@every_kind
def test_key_that_is_told_is_the_key_that_was_stored(make):
    """Catch an event with the equal key of the last call instead of the stored one."""
    listener = Recorder()
    cache = make(1, on_evict=listener)
    cache[1] = "one"
    cache[True] = "true"
    del cache[1.0]
    assert [type(key) for key, _, _ in listener.events] == [int, int]


@every_class
def test_listener_that_replaces_what_it_hears_of_ends(cls):
    """Catch a listener and a cache that feed each other for ever: the queue only grows by need."""
    rounds = []

    def put_back(key, value, cause):
        rounds.append(key)
        if len(rounds) < 5000:
            cache[key] = value

    cache = cls(2, on_evict=put_back)
    cache.update(a=1, b=2, c=3)
    assert len(rounds) == 5000
    assert len(cache) == 2
    cache._check()


@every_class
def test_listener_dies_with_its_cache(cls):
    """Catch a listener that the cache, or a queue, keeps alive."""
    listener = Recorder()
    gone = weakref.ref(listener)
    cache = cls(1, on_evict=listener)
    cache.update(a=1, b=2)
    del cache, listener
    gc.collect()
    assert gone() is None


@every_class
def test_collected_cache_tells_nothing(cls):
    """Catch a listener called from a destructor, when the cache is half gone."""
    listener = Recorder()
    cache = cls(3, on_evict=listener)
    cache["self"] = cache
    del cache
    gc.collect()
    cache = cls(3, on_evict=listener)
    cache["a"] = 1
    del cache
    assert listener.events == []
