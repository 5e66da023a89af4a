"""No reference is lost or kept, whatever a method is asked: counted one by one."""

import gc
import sys

import pytest
from hostile import SameHash
from kinds import every_class

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
