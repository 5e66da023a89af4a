"""What attackers have found: each test here crashed, hung, leaked or lied before it was mended."""

import copy

import pytest
from child import run_quietly

from frys_cache import MISSING, ConfigurationError, FrysCache, MemoryCache
from frys_cache._core import HOOK_EVICT, HOOK_REMOVE, HOOK_WRITE


def test_get_many_of_a_list_that_another_thread_clears_does_not_crash():
    """Catch a fallback that goes back to the list after the GIL was given away."""
    run_quietly(
        """
        import threading, time
        from frys_cache import MemoryCache

        N = 200_000
        c = MemoryCache(N)
        c.update(dict.fromkeys(range(2, N), 0))
        c[1.0] = "one"  # equal to a plain key: it has to be asked
        keys = []
        start = threading.Event()

        def shorten():
            start.wait()
            while keys:
                keys.clear()
                time.sleep(0)

        for _ in range(40):
            keys[:] = [*range(2, N), 1]
            start.clear()
            t = threading.Thread(target=shorten)
            t.start()
            start.set()
            values = c.get_many(keys)
            assert len(values) in (0, N - 1), len(values)
            t.join()
        """
    )


def test_large_get_many_shows_the_collector_no_half_filled_list():
    """Catch a result with holes that a memory profiler on another thread can read."""
    run_quietly(
        """
        import gc, threading
        from frys_cache import MemoryCache

        N = 200_000
        c = MemoryCache(N)
        keys = list(range(N))
        c.put_many(dict.fromkeys(keys, 0))
        done = []

        def get():
            for _ in range(30):
                c.get_many(keys)
            done.append(True)

        t = threading.Thread(target=get)
        t.start()
        while not done:
            for o in gc.get_objects():
                if type(o) is list and len(o) == N:
                    sum(x is None for x in o)
        t.join()
        """
    )


def test_first_init_waits_for_readers_without_the_gil():
    """Catch a table that is freed under a large get_many of an unfinished object."""
    run_quietly(
        """
        import threading
        from frys_cache import MemoryCache

        keys = tuple(range(500_000))
        for _ in range(20):
            c = MemoryCache.__new__(MemoryCache)
            t = threading.Thread(target=c.get_many, args=(keys,))
            t.start()
            c.__init__(5)
            t.join()
            c._check()
        """
    )


def test_write_in_an_early_after_fork_handler_does_not_hang():
    """Catch a fork that is noticed later than the handlers of others run."""
    run_quietly(
        """
        import os, threading, time

        cache = None
        os.register_at_fork(after_in_child=lambda: cache is not None and cache.clear())
        from frys_cache import MemoryCache

        N = 200_000
        cache = MemoryCache(N)
        cache.put_many(dict.fromkeys(range(N), 0))
        keys = tuple(range(N))
        going = True

        def read():
            while going:
                cache.get_many(keys)

        t = threading.Thread(target=read)
        t.start()
        for _ in range(10):
            time.sleep(0.01)
            child = os.fork()
            if child == 0:
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        going = False
        t.join()
        """
    )


def test_incr_of_a_stored_missing_is_a_type_error():
    """Catch absence told by a sentinel that can be stored: it looped for ever."""
    cache = MemoryCache(4)
    cache["a"] = MISSING
    with pytest.raises(TypeError, match="Missing"):
        cache.incr("a")
    assert ("a", MISSING) in cache.items()


def test_incr_does_not_ask_an_overridden_peek():
    """Catch a loop that a subclass's peek keeps going."""

    class Peeking(MemoryCache):
        def peek(self, key, default=None):
            return int("1000")

    cache = Peeking(4)
    cache["a"] = 1
    assert cache.incr("a") == 2


@pytest.mark.parametrize("nbytes", [-1, -(2**70), "many"])
def test_stats_of_a_value_with_impossible_nbytes_falls_back(nbytes):
    """Catch a size that is taken for an error code, or that wraps."""
    value = type("Sized", (), {"nbytes": nbytes})()
    cache = MemoryCache(3)
    cache["a"] = value
    assert cache.stats().total_size > 0


def test_stats_adds_sizes_beyond_64_bits():
    """Catch a sum that overflows."""
    huge = type("Sized", (), {"nbytes": 2**62})
    cache = MemoryCache(9)
    cache.update({key: huge() for key in range(5)})
    assert cache.stats().total_size >= 5 * 2**62
    cache["more"] = type("Sized", (), {"nbytes": 2**70})()
    assert cache.stats().total_size > 2**70


def test_policy_that_claims_to_equal_all_is_not_believed():
    """Catch a name that is compared by its own rules: the policy was NULL."""

    class Any(str):
        __hash__ = str.__hash__

        def __eq__(self, other):
            return True

    with pytest.raises(ConfigurationError, match="bogus"):
        MemoryCache(3, policy=Any("bogus"))


def test_bound_that_denies_being_small_is_checked_by_its_number():
    """Catch a bound of 0 let in by an overridden comparison: the first put wrote out of bounds."""

    class Evil(int):
        def __lt__(self, other):
            return False

    with pytest.raises(ConfigurationError):
        MemoryCache(Evil(0))
    cache = MemoryCache(Evil(2))
    cache.update(a=1, b=2, c=3)
    assert len(cache) == 2
    assert type(cache.maxsize) is int


def test_view_of_nothing_is_a_type_error():
    """Catch a view that takes None for a cache."""
    for view in (MemoryCache(3).keys(), MemoryCache(3).values(), MemoryCache(3).items()):
        with pytest.raises(TypeError):
            iter(type(view)(None))
    assert 5 not in MemoryCache(3).items()
    assert MemoryCache(3).items() & [1] == set()


def test_union_tells_nobody_and_calls_no_hook():
    """Catch a copy that is made by emptying one that listens: it cleared the tiers below."""
    told = []

    class Hooked(FrysCache):
        def _on_write(self, key, value, life, version):
            told.append(("write", key))

        def _on_remove(self, keys):
            told.append(("remove", keys))

        def _on_evict(self, key, value, cause):
            told.append(("evict", key))

    cache = Hooked(3, policy="lru", on_evict=lambda *event: told.append(event))
    cache.update(a=1, b=2)
    cache._hooks = HOOK_WRITE | HOOK_REMOVE | HOOK_EVICT
    left = {"x": 1, "a": 0} | cache
    right = cache | {"x": 1, "y": 2}
    copied = copy.copy(cache)
    copied.__setstate__(cache.__getstate__())
    assert told == []
    assert dict(left) == {"x": 1, "a": 1, "b": 2}
    assert dict(right) == {"b": 2, "x": 1, "y": 2}
    assert left._hooks == cache._hooks
    del left["x"]
    assert told == [("remove", ["x"]), ("evict", "x"), ("x", 1, "deleted")]


def test_listener_that_makes_the_cache_anew_hears_of_all_that_has_left():
    """Catch events that are lost because the listener is looked up when it is too late."""
    heard = []

    def listener(key, value, cause):
        heard.append(key)
        if len(heard) == 1:
            cache.__init__(7)

    cache = MemoryCache(9, on_evict=listener)
    cache.update(dict.fromkeys("abcde", 0))
    cache.clear()
    assert heard == list("abcde")
    cache["x"] = 1
    del cache["x"]
    assert heard == list("abcde")


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [("on_evict", 5, TypeError), ("hooks", 32, ValueError), ("max_entries", "x", ValueError)],
)
def test_state_with_garbage_is_refused(option, value, error):
    """Catch a pickle that switches on what does not exist."""
    cache = MemoryCache(3)
    options, entries, attributes = cache.__getstate__()
    options[option] = value
    with pytest.raises(error):
        MemoryCache.__new__(MemoryCache).__setstate__((options, entries, attributes))


def test_copy_of_a_subclass_that_forbids_attributes_works():
    """Catch attributes that are restored through the subclass's own __setattr__."""

    class Frozen(MemoryCache):
        def __setattr__(self, name, value):
            raise AttributeError(name)

    cache = Frozen(3)
    cache.__dict__.update({"x": 1, 5: 2})
    assert copy.copy(cache).__dict__ == {"x": 1, 5: 2}


def test_missing_is_looked_up_as_dict_does():
    """Catch a __missing__ of the metaclass, and one that is no plain function."""

    class Meta(type):
        def __missing__(cls, key):
            return "meta"

    with pytest.raises(KeyError):
        Meta("Cache", (MemoryCache,), {})(3)["a"]

    class Static(MemoryCache):
        @staticmethod
        def __missing__(key):
            return key * 2

    assert Static(3)["a"] == "aa"


def test_repr_after_a_failing_name_still_shows_the_content():
    """Catch a mark of recursion that stays when the name of the class raises."""

    class Meta(type):
        @property
        def __name__(cls):
            raise RuntimeError("no name")

    cache = Meta("Cache", (MemoryCache,), {})(3)
    cache["a"] = 1
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no name"):
            repr(cache)
    assert cache._check() is None


def test_popitem_with_a_hook_costs_the_same_in_a_large_cache():
    """Catch a victim that is found by listing all entries."""

    class Hooked(FrysCache):
        def _on_remove(self, keys):
            self.removed.append(keys)

        removed = []

    cache = Hooked(100_000)
    cache.put_many(dict.fromkeys(range(100_000), 0))
    cache._hooks = HOOK_REMOVE
    for number in range(20_000):  # listing all would take minutes
        assert cache.popitem() == (number, 0)
    assert len(Hooked.removed) == 20_000
