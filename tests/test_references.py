"""No reference is lost or kept: counted one by one, and by cycles that must die."""

import gc
import sys
import weakref

import pytest
from hostile import OnDelete, SameHash
from kinds import every_class, every_kind

from frys_cache import MISSING, MemoryCache

ROUNDS = 10_000


class Thing:
    """Something that can be referred to weakly, and hold anything."""


def swallow(error, call):
    """Make a call that raises `error`, and drop the error with all it refers to."""
    try:
        call()
    except error:
        return
    raise AssertionError(f"{error.__name__} was expected")


# Each leaves the cache as it found it: two keys of its own, and not `k`.
STEADY = {
    "hit": lambda c, k, v, d: (c.put(k, v), c[k], c.get(k), c.get(k, d), c.peek(k), c.delete(k)),
    "miss": lambda c, k, v, d: (c.get(k), c.get(k, d), c.peek(k, d), k in c, c.get_many([k], d)),
    "raising miss": lambda c, k, v, d: (
        swallow(KeyError, lambda: c[k]),
        swallow(KeyError, lambda: c.pop(k)),
        swallow(KeyError, lambda: c.__delitem__(k)),
    ),
    "overwrite": lambda c, k, v, d: (c.put(k, v), c.put(k, d), c.put(k, d), c.delete(k)),
    "setitem and del": lambda c, k, v, d: (c.__setitem__(k, v), c.__delitem__(k)),
    "add": lambda c, k, v, d: (c.add(k, v), c.add(k, d), c.pop(k)),
    "replace": lambda c, k, v, d: (c.replace(k, v), c.put(k, v), c.replace(k, d), c.pop(k, d)),
    "setdefault": lambda c, k, v, d: (c.setdefault(k, v), c.setdefault(k, d), c.delete(k)),
    "pop": lambda c, k, v, d: (c.put(k, v), c.pop(k), c.pop(k, d), c.pop(k, v)),
    "popitem": lambda c, k, v, d: (c.clear(), c.put(k, v), c.popitem()),
    "evict": lambda c, k, v, d: (c.put(k, v), c.put("x", v), c.put("y", d), c.put("z", k)),
    "clear": lambda c, k, v, d: (c.put(k, v), c.put("x", k), c.clear()),
    "get_many": lambda c, k, v, d: (c.put(k, v), c.get_many([k, "x", k], d), c.delete(k)),
    "get_many of an iterator": lambda c, k, v, d: c.get_many(iter([k, v, d]), d),
    "put_many": lambda c, k, v, d: (c.put_many([(k, v), (k, d)]), c.delete_many([k, k, v])),
    "put_many of a dict": lambda c, k, v, d: (c.put_many({k: v}), c.delete_many((k,))),
    "put_many of an iterator": lambda c, k, v, d: (c.put_many(iter([(k, v)])), c.delete(k)),
    "evicting put_many": lambda c, k, v, d: c.put_many([(k, v), (v, d), (d, k), ("x", v)]),
    "failing put_many": lambda c, k, v, d: (
        swallow(ValueError, lambda: c.put_many([(k, v), (v, k), (k,)])),
        c.clear(),
    ),
    "failing batch": lambda c, k, v, d: (
        swallow(TypeError, lambda: c.get_many([k, [], v], d)),
        swallow(TypeError, lambda: c.delete_many([k, [], v])),
        swallow(TypeError, lambda: c.put_many([(k, v), ([], v)])),
        c.clear(),
    ),
    "update": lambda c, k, v, d: (c.update([(k, v)], word=d), c.delete(k), c.delete("word")),
    "ior and or": lambda c, k, v, d: (c.__ior__({k: v}), c | {k: d}, {k: d} | c, c.delete(k)),
    "iterate": lambda c, k, v, d: (
        c.put(k, v),
        list(c),
        list(c.items()),
        list(c.values()),
        list(reversed(c)),
        next(iter(c.items())),
        c.delete(k),
    ),
    "views": lambda c, k, v, d: (
        c.put(k, v),
        k in c.keys(),  # noqa: SIM118 - the view is what is asked
        (k, v) in c.items(),
        v in c.values(),
        c.keys() & {k},
        c.delete(k),
    ),
    "compare": lambda c, k, v, d: (c.put(k, v), c == {k: v}, c == 5, c.delete(k)),
    "copy": lambda c, k, v, d: (c.put(k, v), c.copy(), c.__copy__(), c.delete(k)),
    "reduce": lambda c, k, v, d: (c.put(k, v), c.__reduce_ex__(4), c.delete(k)),
    "repr": lambda c, k, v, d: (c.put(k, v), repr(c), c.delete(k)),
    "statistics": lambda c, k, v, d: (c.put(k, v), c.stats(), c.cache_info(), c.delete(k)),
    "fromkeys": lambda c, k, v, d: type(c).fromkeys([k, v], d),
    "token and fill": lambda c, k, v, d: (c._fill(k, v, None, None, c._token(k)), c.delete(k)),
    "refused fill": lambda c, k, v, d: (
        token := c._token(k),
        c.put(k, d),
        c._fill(k, v, None, None, token),
        c.delete(k),
    ),
    "unhashable key": lambda c, k, v, d: (
        swallow(TypeError, lambda: c.put([k], v)),
        swallow(TypeError, lambda: c.get([k], d)),
        swallow(TypeError, lambda: c.pop([k], d)),
    ),
    "bad arguments": lambda c, k, v, d: (
        swallow(TypeError, lambda: c.put(k)),
        swallow(TypeError, lambda: c.get(k, d, v)),
        swallow(TypeError, lambda: c.put(k, v, ttl=d)),
        swallow(TypeError, lambda: c.pop(k, d, v)),
    ),
    "init again": lambda c, k, v, d: (c.put(k, v), c.__init__(2), c.put(k, v), c.clear()),
}


def count_around(use, key, cache):
    """Return how the counts of key, value and default changed over many rounds of `use`."""
    value, default = Thing(), Thing()
    for _ in range(10):
        use(cache, key, value, default)
    cache.clear()
    gc.collect()
    before = [sys.getrefcount(thing) for thing in (key, value, default)]
    for _ in range(ROUNDS):
        use(cache, key, value, default)
    cache.clear()
    gc.collect()
    after = [sys.getrefcount(thing) for thing in (key, value, default)]
    return [late - early for early, late in zip(before, after, strict=True)]


@pytest.mark.parametrize("heard", [True, False], ids=["heard", "unheard"])
@pytest.mark.parametrize("use", STEADY.values(), ids=list(STEADY))
def test_method_in_a_loop_keeps_no_reference(heard, use):
    """Catch one INCREF too many, or too few, on any path of a method."""
    listener = (lambda key, value, cause: None) if heard else None
    for key in ("".join(["plain", " key"]), SameHash("key")):
        cache = MemoryCache(2, on_evict=listener)
        assert count_around(use, key, cache) == [0, 0, 0]
        cache._check()


@every_class
@pytest.mark.parametrize("use", STEADY.values(), ids=list(STEADY))
def test_method_in_a_loop_keeps_no_memory(cls, use):
    """Catch a leak of what is not counted above: numbers, tuples, exceptions, iterators."""
    cache = cls(2)
    key, value, default = "".join(["k", "ey"]), Thing(), Thing()

    def blocks():
        for _ in range(2000):
            use(cache, key, value, default)
        cache.clear()
        gc.collect()
        return sys.getallocatedblocks()

    blocks()
    first = blocks()
    growth = blocks() - first
    assert growth < 500, f"{growth} blocks in 2,000 rounds"


@every_class
def test_incr_in_a_loop_keeps_no_number(cls):
    """Catch an increment that loses its old value."""
    cache = cls(2)
    number = 10**20
    before = sys.getrefcount(number)
    for _ in range(ROUNDS):
        cache["n"] = number
        cache.incr("n", number)
        cache.incr("absent", number)
        cache.clear()
    assert sys.getrefcount(number) == before


@every_class
def test_sentinels_and_types_are_not_used_up(cls):
    """Catch a borrowed singleton that is given back."""
    cache = cls(2, on_evict=lambda *event: None)
    things = (MISSING, cls, type(cache.keys()))
    before = [sys.getrefcount(thing) for thing in things]
    for number in range(ROUNDS):
        cache[number] = MISSING
        cache.get("absent", MISSING)
        cache.keys()
        cache.copy()
    after = [sys.getrefcount(thing) for thing in things]
    cache.clear()
    assert all(abs(late - early) < 10 for early, late in zip(before, after, strict=True))


def tie_value(cache):
    cache["self"] = cache


def tie_list(cache):
    cache["list"] = [cache]


def tie_key(cache):
    key = Thing()
    key.cache = cache
    cache[key] = 1


def tie_tuple_key(cache):
    thing = Thing()
    thing.cache = cache
    cache[(1, thing)] = 1


def tie_late_dict(cache):
    content = {}  # the collector does not yet track an empty dict
    cache["dict"] = content
    gc.collect()
    content["cache"] = cache


def tie_overwritten(cache):
    cache["a"] = 1
    cache["a"] = [cache]
    cache["b"] = [1]
    cache["b"] = 2


def tie_after_atoms(cache):
    cache.put_many((number, number) for number in range(1000))
    cache.put_many([("x", cache), ("y", 1)])
    cache.delete("y")


def tie_setdefault(cache):
    cache.setdefault("s", []).append(cache)


def tie_fill(cache):
    cache._fill("f", [cache], None, None, cache._token("f"))


def tie_attribute(cache):
    cache.attribute = cache


def tie_iterator(cache):
    cache["a"] = 1
    cache["iterator"] = iter(cache)


def tie_view_iterator(cache):
    cache["a"] = 1
    iterator = reversed(cache.items())
    next(iterator)
    cache["iterator"] = iterator


def tie_view(cache):
    cache["view"] = cache.items()


def tie_method(cache):
    cache["method"] = cache.get


def tie_copy(cache):
    cache["a"] = [cache]
    cache["copy"] = cache.copy()


TIES = {name[4:]: tie for name, tie in list(globals().items()) if name.startswith("tie_")}


@every_kind
@pytest.mark.parametrize("tie", TIES.values(), ids=list(TIES))
def test_cycle_through_the_cache_is_collected(make, tie):
    """Catch a reference that the collector is not shown, or a cache it does not track."""

    class Sub(make.cls):
        pass

    cache = Sub(2000, policy=make.policy)
    tie(cache)
    witness = Thing()
    cache["witness"] = witness
    dead = weakref.ref(cache), weakref.ref(witness)
    cache._check()
    del cache, witness
    gc.collect()
    assert [reference() for reference in dead] == [None, None]


@every_class
def test_cycle_through_the_listener_is_collected(cls):
    """Catch a listener that is not shown to the collector."""

    def tied():
        cache = cls(1, on_evict=lambda *event: cache)
        cache.update(a=1, b=2)
        return weakref.ref(cache)

    dead = tied()
    gc.collect()
    assert dead() is None


@every_class
def test_cycle_of_two_caches_is_collected(cls):
    """Catch a cache that is cleared before what refers to it is found."""
    one, other = cls(2), cls(2)
    one["other"], other["one"] = other, one
    dead = weakref.ref(one), weakref.ref(other)
    del one, other
    gc.collect()
    assert [reference() for reference in dead] == [None, None]


@every_class
def test_collector_sees_all_content(cls):
    """Catch a collector that is shown less than the cache holds, once it holds a container."""
    cache = cls(10)
    thing, key = [1], (Thing(),)
    cache["a"], cache[key] = thing, 5
    referents = gc.get_referents(cache)
    assert any(one is thing for one in referents)
    assert any(one is key for one in referents)
    assert any(one is cache for one in gc.get_referrers(thing))
    cache.clear()
    assert not any(one is thing for one in gc.get_referents(cache))


@every_class
def test_collector_during_iteration_and_changes_breaks_nothing(cls):
    """Catch a collection that meets a half changed store."""
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        cache = cls(20)
        for number in range(2000):
            cache[number] = [cache, number]
            cache.put_many((number + step, {"n": cache}) for step in range(3))
            assert len(list(cache.items())) == len(cache)
            if number % 100 == 0:
                cache.clear()
    finally:
        gc.set_threshold(*threshold)
    cache._check()


@every_class
def test_finalizer_in_a_dead_cycle_may_use_the_cache(cls):
    """Catch a collection that clears a cache which its finalizers still use."""
    seen = []

    class Last:
        def __init__(self, cache):
            self.cache = cache

        def __del__(self):
            self.cache["again"] = len(seen)
            self.cache.get("a")
            seen.append(list(self.cache))

    for _ in range(20):
        cache = cls(5)
        for name in "abcdefgh":
            cache[name] = Last(cache)
        cache["own"] = cache
        del cache
    gc.collect()
    gc.collect()
    assert len(seen) == 20 * 8


@every_class
def test_finalizer_may_bring_the_cache_back(cls):
    """Catch a cache that was emptied although a finalizer saved it."""
    saved = []

    class Saviour:
        def __init__(self, cache):
            self.cache = cache

        def __del__(self):
            saved.append(self.cache)

    cache = cls(5)
    cache["a"] = 1
    cache["saviour"] = Saviour(cache)
    del cache
    gc.collect()
    assert saved[0]["a"] == 1
    saved[0]["b"] = 2
    saved[0]._check()
    saved.clear()
    gc.collect()


@every_class
def test_dropping_a_cache_releases_everything_at_once(cls):
    """Catch entries that wait for the collector."""
    gone = []
    cache = cls(100)
    for number in range(100):
        cache[SameHash(number)] = OnDelete(lambda: gone.append(1))
    gc.disable()
    try:
        del cache
        assert len(gone) == 100
    finally:
        gc.enable()


@every_class
def test_view_and_iterator_keep_what_they_need_and_no_more(cls):
    """Catch an iterator that pins removed values for as long as it lives."""
    cache = cls(100)
    thing = Thing()
    dead = weakref.ref(thing)
    cache["a"] = 1
    cache["thing"] = thing
    del thing
    iterator = iter(cache.items())
    assert next(iterator) == ("a", 1)
    cache.delete("thing")
    gc.collect()
    assert dead() is None
    assert list(iterator) == []
