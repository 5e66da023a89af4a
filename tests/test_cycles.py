"""Cycles through a cache die, finalizers in them may use it, and the collector sees all it must."""

import gc
import weakref

import pytest
from hostile import OnDelete, SameHash
from kinds import every_class, every_kind


class Thing:
    """Something that can be referred to weakly, and hold anything."""


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
