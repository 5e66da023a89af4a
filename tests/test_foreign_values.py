"""Values whose destructor, or any other method, uses the cache cannot break, hang or crash it."""

import contextlib
import gc
from contextlib import nullcontext as nothing

import pytest
from child import run_quietly
from hostile import GIVES_UP, MEDDLING, OnDelete, SameHash, hostile_cache
from kinds import every_class, every_policy

LEAVING = {
    "eviction": lambda cache: cache.put("new", 1),
    "eviction by a batch": lambda cache: cache.put_many((n, n) for n in range(20)),
    "overwrite": lambda cache: cache.put("a", 1),
    "overwrite by a batch": lambda cache: cache.put_many({"a": 1, "b": 2, "c": 3}),
    "update": lambda cache: cache.update(a=1, b=2),
    "replace": lambda cache: cache.replace("a", 1),
    "delete": lambda cache: cache.delete("a"),
    "del": lambda cache: cache.pop("a", None),
    "delete_many": lambda cache: cache.delete_many("abc"),
    "popitem": lambda cache: cache.popitem(),
    "clear": lambda cache: cache.clear(),
    "init": lambda cache: cache.__init__(3),
}
DESTROYING = {
    **MEDDLING,
    "read itself": lambda cache: cache.get_many("abc"),
    "put itself back": lambda cache: cache.put("a", OnDelete(lambda: None)),
    "many": lambda cache: [cache.put(number, number) for number in range(300)],
}


@every_policy
@pytest.mark.parametrize("leave", LEAVING.values(), ids=list(LEAVING))
@pytest.mark.parametrize("destroy", DESTROYING.values(), ids=list(DESTROYING))
def test_value_whose_destructor_uses_the_cache_breaks_nothing(make, leave, destroy):
    """Catch a value that is released while the cache is half changed: a crash, hang or overflow."""
    ran = []

    def act():
        ran.append(1)
        destroy(cache)
        cache._check()
        assert len(cache) <= 3

    cache = make(3)
    for name in "abc":
        cache[name] = OnDelete(act)
    # A second __init__ refuses to go on where destructors fill what it has emptied.
    with contextlib.suppress(RuntimeError) if leave is LEAVING["init"] else nothing():
        leave(cache)
    assert len(cache) <= 3
    cache._check()
    assert ran
    cache.clear()
    assert len(ran) >= 3
    cache._check()
    cache = None


@every_policy
def test_key_whose_destructor_uses_the_cache_breaks_nothing(make):
    """Catch a key that is released while its place is still linked."""

    class Key:
        def __del__(self):
            cache.put_many((number, number) for number in range(10))
            list(cache.items())

    cache = make(3)
    for _ in range(50):
        cache[Key()] = Key()
        assert len(cache) <= 3
        cache._check()
    cache.clear()
    cache._check()


@every_policy
def test_destructors_that_put_each_other_end(make):
    """Catch a chain of evictions in destructors that goes over the bound."""
    left = iter(range(200))

    def again():
        if next(left, None) is not None:
            cache[object()] = OnDelete(again)

    cache = make(2)
    for _ in range(3):
        cache[object()] = OnDelete(again)
    for _ in range(300):
        cache[object()] = None
    assert len(cache) == 2
    assert next(left, None) is None
    cache._check()


@every_class
def test_destructor_while_the_cache_itself_is_destroyed_breaks_nothing(cls):
    """Catch a cache that can be used while its own destructor releases the values."""
    seen = []

    class Last:
        def __init__(self, cache):
            self.cache = cache

        def __del__(self):
            self.cache.put("again", 1)
            seen.append((len(self.cache) <= 5, list(self.cache.items())))
            self.cache.clear()

    for _ in range(5):
        cache = cls(5)
        for name in "abcde":
            cache[name] = Last(cache)
        del cache
        gc.collect()
    assert len(seen) == 25


@every_policy
def test_iteration_during_which_keys_compare_and_meddle_ends(make):
    """Catch set operations of a view that crash when a comparison changes the cache."""
    for meddle in MEDDLING.values():
        cache = hostile_cache(make)
        for key in [key for key in cache if isinstance(key, SameHash)]:
            key.on_compare = lambda cache=cache, meddle=meddle: meddle(cache)
        others = {SameHash("x"), SameHash(2), "plain"}
        for combine in (
            lambda cache=cache, others=others: cache.keys() & others,
            lambda cache=cache, others=others: cache.keys() | others,
            lambda cache=cache: cache.items() ^ {(SameHash("x"), 1)},
        ):
            with GIVES_UP:
                combine()
            cache._check()


@every_policy
def test_equality_during_which_the_cache_changes_breaks_nothing(make):
    """Catch a comparison of caches that walks what a value's __eq__ has changed."""

    class Value:
        def __eq__(self, other):
            cache.clear()
            other_cache.put_many((number, number) for number in range(20))
            return True

    for _ in range(3):
        cache, other_cache = make(8), make(8)
        for name in "abcdefgh":
            cache[name] = other_cache[name] = None
            cache[name] = Value()
        assert isinstance(cache == other_cache, bool)
        cache._check()
        other_cache._check()


@every_policy
def test_repr_during_which_the_cache_changes_breaks_nothing(make):
    """Catch a repr that walks what a value's __repr__ has changed."""

    class Value:
        def __repr__(self):
            cache.clear()
            cache.put_many((number, number) for number in range(20))
            gc.collect()
            return "value"

    cache = make(8)
    for name in "abcdefgh":
        cache[name] = Value()
    assert repr(cache).startswith(type(cache).__name__)
    cache._check()


@every_class
def test_total_size_whose_sizeof_uses_the_cache_breaks_nothing(cls):
    """Catch a sum of sizes that walks what a __sizeof__ has changed."""

    class Value:
        def __sizeof__(self):
            cache.clear()
            cache.update(a=1)
            return 50

    cache = cls(8)
    for name in "abcdefgh":
        cache[name] = Value()
    assert cache.stats().total_size >= 0
    cache._check()


@pytest.mark.parametrize("cls", ["MemoryCache", "FrysCache"])
def test_deep_nesting_is_freed_without_deep_recursion(cls):
    """Catch a destructor that goes one stack frame deeper for each cache inside a cache."""
    run_quietly(
        """
        import gc, sys
        import frys_cache

        cls = getattr(frys_cache, sys.argv[1])

        def nested(wrap, depth=100_000):
            cache = cls(1)
            for _ in range(depth):
                outer = cls(1)
                outer["inner"] = wrap(cache)
                cache = outer
            return cache

        class Sub(cls):
            pass

        for wrap in (lambda c: c, lambda c: [c], lambda c: (c, 1), lambda c: {"c": c}):
            cache = nested(wrap)
            del cache
            cache = nested(wrap)
            cache.clear()
            cache = nested(wrap)
            cache["other"] = 1
            cache = nested(wrap)
            gc.collect()
            cache["inner"] = cache
            del cache
            gc.collect()
        cls = Sub
        cache = nested(lambda c: c)
        del cache
        """,
        cls,
    )


@pytest.mark.parametrize("cls", ["MemoryCache", "FrysCache"])
def test_deep_nesting_raises_recursion_error_where_it_must(cls):
    """Catch a repr, comparison, copy or pickle that overflows the stack of C."""
    run_quietly(
        """
        import copy, pickle, sys
        import frys_cache

        cls = getattr(frys_cache, sys.argv[1])

        def nested(depth=100_000):
            cache = cls(1)
            for _ in range(depth):
                outer = cls(1)
                outer["inner"] = cache
                cache = outer
            return cache

        one, other = nested(), nested()
        for deep in (
            lambda: repr(one),
            lambda: one == other,
            lambda: copy.deepcopy(one),
            lambda: pickle.dumps(one),
        ):
            try:
                deep()
            except RecursionError:
                pass
            else:
                raise SystemExit("no RecursionError")
            one._check()
        """,
        cls,
    )
