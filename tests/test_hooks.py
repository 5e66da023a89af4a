"""The four hooks: how a chain of tiers hears of what happens in memory, and answers its misses."""

import pytest
from child import run_quietly
from hostile import Recorder, SameHash

from frys_cache import MISSING, EvictionCause, FrysCache
from frys_cache._core import HOOK_EVICT, HOOK_MISS, HOOK_REMOVE, HOOK_WRITE

ALL = HOOK_MISS | HOOK_WRITE | HOOK_REMOVE | HOOK_EVICT


class Chained(FrysCache):
    """A cache that writes down what its hooks are told; `below` answers misses."""

    def __init__(self, max_entries, hooks=ALL, **options):
        super().__init__(max_entries, **options)
        self.calls = []
        self.below = {}
        self.seen = []
        self.failure = None
        self._hooks = hooks

    def _note(self, *call):
        self.calls.append(call)
        self.seen.append(dict(self.items()))
        if self.failure is not None:
            raise self.failure

    def _on_miss(self, key):
        self._note("miss", key)
        return self.below.get(key, MISSING)

    def _on_write(self, key, value, life, version):
        self._note("write", key, value)

    def _on_remove(self, keys):
        self._note("remove", keys)

    def _on_evict(self, key, value, cause):
        self._note("evict", key, value, cause)

    def told(self, name):
        """Return the calls of one hook, and forget all."""
        calls = [call[1:] for call in self.calls if call[0] == name]
        self.calls.clear()
        self.seen.clear()
        return calls


def test_hooks_have_distinct_flags():
    """Catch two hooks that share a bit."""
    assert len({HOOK_MISS, HOOK_WRITE, HOOK_REMOVE, HOOK_EVICT}) == 4
    assert ALL.bit_count() == 4


def test_hooks_are_off_until_asked_for():
    """Catch a hook that is called although its flag is not set."""
    cache = Chained(1, hooks=0)
    assert FrysCache(1)._hooks == 0
    cache["a"] = 1
    cache["b"] = 2
    cache.get("absent")
    del cache["b"]
    cache.clear()
    assert cache.calls == []


@pytest.mark.parametrize("hook", [HOOK_MISS, HOOK_WRITE, HOOK_REMOVE, HOOK_EVICT])
def test_each_flag_enables_its_hook_alone(hook):
    """Catch a flag that switches another hook on, or one that needs a neighbour."""
    names = {HOOK_MISS: "miss", HOOK_WRITE: "write", HOOK_REMOVE: "remove", HOOK_EVICT: "evict"}
    cache = Chained(1, hooks=hook)
    cache["a"] = 1
    cache["b"] = 2
    cache.get("absent")
    del cache["b"]
    assert {call[0] for call in cache.calls} == {names[hook]}


def test_on_miss_answers_for_memory():
    """Catch a read that does not ask below, or does not take the answer."""
    cache = Chained(5)
    cache.below = {"a": "low a", "none": None}
    cache["m"] = "memory"
    cache.calls.clear()
    assert cache["a"] == "low a"
    assert cache.get("a") == "low a" or "a" in cache
    assert cache.get("none", "default") is None
    assert cache.get("absent", "default") == "default"
    with pytest.raises(KeyError) as caught:
        cache["absent"]
    assert caught.value.args == ("absent",)
    assert cache.get_many(["m", "none", "absent"], 7) == ["memory", None, 7]
    assert cache["m"] == "memory"
    assert ("m",) not in cache.told("miss")


def test_on_miss_is_not_asked_by_what_looks_at_memory_only():
    """Catch a look at memory that goes below."""
    cache = Chained(5)
    cache.below = {"a": 1}
    cache.peek("a")
    len(cache)
    list(cache.items())
    repr(cache)
    cache == {}
    cache.copy()
    cache.stats()
    assert cache.told("miss") == []


def test_on_miss_hit_below_counts_as_a_miss_of_memory():
    """Catch a memory tier that claims the hits of the tiers below it."""
    cache = Chained(5)
    cache.below = {"a": 1}
    assert cache.get("a") == 1
    assert (cache.stats().hits, cache.stats().misses) == (0, 1)


def test_on_miss_that_fills_is_asked_once():
    """Catch a value that is asked for again although it was filled in."""

    class Filling(Chained):
        def _on_miss(self, key):
            token = self._token(key)
            self._note("miss", key)
            assert self._fill(key, f"value of {key}", None, None, token)
            return f"value of {key}"

    cache = Filling(5)
    assert [cache["a"], cache.get("a"), *cache.get_many(["a", "b", "b"])] == [
        *["value of a"] * 3,
        *["value of b"] * 2,
    ]
    assert cache.told("miss") == [("a",), ("b",)]
    assert list(cache) == ["a", "b"]
    assert cache.told("write") == []
    cache._check()


def test_on_miss_that_raises_is_heard_by_the_reader():
    """Catch a failure below that looks like a miss."""
    cache = Chained(5)
    cache["m"] = 1
    cache.failure = LookupError("below")
    for read in (
        lambda: cache["a"],
        lambda: cache.get("a", 5),
        lambda: cache.get_many(["m", "a"]),
    ):
        with pytest.raises(LookupError, match="below"):
            read()
    assert list(cache) == ["m"]
    cache._check()


def test_on_miss_that_changes_the_cache_breaks_nothing():
    """Catch a batch that goes on with places from before its hook ran."""

    class Meddling(Chained):
        def _on_miss(self, key):
            self.clear()
            self.put_many((number, number) for number in range(20))
            return f"value of {key}"

    cache = Meddling(8, hooks=HOOK_MISS)
    cache.update(a=1, b=2)
    keys = ["a", "x", "b", SameHash(1), "y", 19, *range(100, 140)]
    answers = cache.get_many(keys)
    assert answers[0] == 1
    assert answers[1] == "value of x"
    assert len(answers) == len(keys)
    assert len(cache) <= 8
    cache._check()


def test_on_miss_sees_no_half_filled_list():
    """Catch a batch whose unfinished answer the collector can already show: reading it crashes."""
    run_quietly(
        """
        import gc
        from frys_cache import FrysCache, MISSING
        from frys_cache._core import HOOK_MISS

        class Curious(FrysCache):
            def _on_miss(self, key):
                for thing in gc.get_objects():
                    if type(thing) is list:
                        list(thing)
                return MISSING

        cache = Curious(5)
        cache._hooks = HOOK_MISS
        cache["b"] = 1
        assert cache.get_many(["a", "b", "c"], 7) == [7, 1, 7]
        """
    )


def test_missing_is_asked_after_the_tiers_below():
    """Catch a __missing__ that hides what the tiers hold."""

    class Both(Chained):
        def __missing__(self, key):
            return "from missing"

    cache = Both(5)
    cache.below = {"a": "from below"}
    assert cache["a"] == "from below"
    assert cache["b"] == "from missing"
    assert cache.get("b") is None


WRITES = {
    "setitem": lambda cache: cache.__setitem__("a", 5),
    "put": lambda cache: cache.put("a", 5),
    "set": lambda cache: cache.set("a", 5),
    "update": lambda cache: cache.update(a=5),
    "put_many": lambda cache: cache.put_many({"a": 5}),
    "put_many of an iterator": lambda cache: cache.put_many(iter([("a", 5)])),
    "ior": lambda cache: cache.__ior__({"a": 5}),
}
NEW_ONLY = {
    "add": lambda cache: cache.add("a", 5),
    "setdefault": lambda cache: cache.setdefault("a", 5),
    "incr": lambda cache: cache.incr("a", 5),
}
OLD_ONLY = {
    "replace": lambda cache: cache.replace("a", 5),
    "incr": lambda cache: cache.incr("a", 4),
}


@pytest.mark.parametrize(
    ("write", "old"),
    [
        *((write, old) for write in WRITES.values() for old in (False, True)),
        *((write, False) for write in NEW_ONLY.values()),
        *((write, True) for write in OLD_ONLY.values()),
    ],
)
def test_on_write_comes_before_memory_changes(write, old):
    """Catch a memory that is newer than the tier below it, or a write that goes past it."""
    cache = Chained(5)
    if old:
        cache["a"] = 1
    before = dict(cache.items())
    cache.told("write")
    write(cache)
    assert cache.seen[:1] == [before] or cache.calls[0][0] == "miss"
    assert cache.told("write") == [("a", 5)]
    assert dict(cache.items()) == {"a": 5}


@pytest.mark.parametrize("write", [*WRITES.values(), *NEW_ONLY.values(), *OLD_ONLY.values()])
def test_on_write_that_raises_leaves_memory_as_it_was(write):
    """Catch a memory that keeps what the tier below refused."""
    for old in (False, True):
        cache = Chained(1, hooks=HOOK_WRITE)
        cache["a" if old else "b"] = 1
        before = dict(cache.items())
        cache.told("write")
        cache.failure = OSError("disk full")
        try:
            write(cache)
        except OSError as error:
            failure = str(error)
        else:
            failure = "disk full" if not cache.told("write") else "swallowed"
        assert failure == "disk full"
        assert dict(cache.items()) == before
        cache._check()


def test_on_write_is_not_called_where_nothing_is_written():
    """Catch a refused add or replace that reaches the tier below."""
    cache = Chained(5)
    cache["a"] = 1
    cache.told("write")
    assert cache.add("a", 2) is False
    assert cache.replace("absent", 2) is False
    assert cache.setdefault("a", 2) == 1
    cache.get("a")
    assert cache.told("write") == []


def test_on_write_that_writes_itself_breaks_nothing():
    """Catch a write that goes on with a place from before its hook ran."""

    class Meddling(Chained):
        def _on_write(self, key, value, life, version):
            if value != "inner":
                self.clear()
                self.put_many((number, "inner") for number in range(20))

    cache = Meddling(8, hooks=HOOK_WRITE)
    for write in WRITES.values():
        write(cache)
        assert cache.peek("a") == 5
        assert len(cache) == 8
        cache._check()


REMOVALS = {
    "del": lambda cache: cache.__delitem__("a"),
    "delete": lambda cache: cache.delete("a"),
    "pop": lambda cache: cache.pop("a"),
    "pop with default": lambda cache: cache.pop("a", None),
    "popitem": lambda cache: cache.popitem(),
    "delete_many": lambda cache: cache.delete_many(["a"]),
}


@pytest.mark.parametrize("remove", REMOVALS.values(), ids=list(REMOVALS))
def test_on_remove_comes_before_memory_changes(remove):
    """Catch a removal that the tiers below never hear of, or hear of too late."""
    cache = Chained(5)
    cache.update(a=1, b=2)
    cache.told("remove")
    remove(cache)
    assert ("remove", ["a"]) in cache.calls
    place = cache.calls.index(("remove", ["a"]))
    assert cache.seen[place] == {"a": 1, "b": 2}
    assert dict(cache.items()) == {"b": 2}


def test_on_remove_of_all_is_told_as_none():
    """Catch a clear that lists a million keys, or none."""
    cache = Chained(5)
    cache.update(a=1, b=2)
    cache.told("remove")
    cache.clear()
    assert cache.calls[0] == ("remove", None)
    assert cache.seen[0] == {"a": 1, "b": 2}
    assert len(cache) == 0


def test_on_remove_of_many_is_told_with_a_list():
    """Catch a batch that goes below key by key."""
    cache = Chained(5)
    cache.update(a=1, b=2, c=3)
    cache.told("remove")
    assert cache.delete_many(iter(["a", "c"])) == 2
    assert cache.told("remove") == [(["a", "c"],)]


@pytest.mark.parametrize("remove", [*REMOVALS.values(), lambda cache: cache.clear()])
def test_on_remove_that_raises_leaves_memory_as_it_was(remove):
    """Catch a key that is gone from memory and comes back from below."""
    cache = Chained(5, hooks=HOOK_REMOVE)
    cache.update(a=1, b=2)
    cache.failure = OSError("disk gone")
    with pytest.raises(OSError, match="disk gone"):
        remove(cache)
    assert dict(cache.items()) == {"a": 1, "b": 2}
    cache._check()


def test_on_evict_hears_what_a_listener_hears():
    """Catch two queues that disagree."""
    listener = Recorder()
    cache = Chained(2, policy="lru", on_evict=listener)
    cache.update(a=1, b=2, c=3)
    cache["c"] = 4
    del cache["c"]
    cache.clear()
    expected = [
        ("a", 1, EvictionCause.EVICTED),
        ("c", 3, EvictionCause.REPLACED),
        ("c", 4, EvictionCause.DELETED),
        ("b", 2, EvictionCause.CLEARED),
    ]
    assert cache.told("evict") == expected
    assert listener.events == expected


def test_fill_calls_no_write_hook():
    """Catch a value that is written back to where it came from."""
    cache = Chained(5)
    assert cache._fill("a", 1, None, None, cache._token("a"))
    assert cache.told("write") == []
