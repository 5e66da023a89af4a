"""What is shipped for tests is held to a few answers worked out by hand."""

import math
from array import array
from datetime import timedelta

import pytest

from frys_cache import ConfigurationError, EvictionCause, ValueTooLarge
from frys_cache.testing import FakeClock, ReferenceCache
from frys_cache.types import DEFAULT

POLICIES = ["lru", "fifo", "lfu", "slru", "size", "sieve", "s3fifo", "arc"]
every_policy = pytest.mark.parametrize("policy", POLICIES)


def recording(*args, **options):
    """Return a cache and the list of (key, value, cause's name) that it tells of."""
    events = []
    told = lambda key, value, cause: events.append((key, value, cause.name))  # noqa: E731
    return ReferenceCache(*args, on_evict=told, **options), events


def by_value(key, value):
    """Weigh an entry: its value is its weight."""
    return value


def test_clock_advanced_adds_up():
    """Catch a clock that forgets a step."""
    clock = FakeClock(10)
    clock.advance(0.25)
    clock.advance(0)
    clock.advance(1)
    assert clock() == 11.25
    assert isinstance(clock(), float)


@pytest.mark.parametrize("seconds", [-1, -0.001, math.inf, math.nan])
def test_clock_bad_step_raises_and_stands_still(seconds):
    """Catch a clock that goes backwards or nowhere."""
    clock = FakeClock(5)
    with pytest.raises(ValueError, match="seconds"):
        clock.advance(seconds)
    assert clock() == 5


def test_reference_lru_read_saves_entry():
    """Catch a model whose lru is a fifo."""
    cache = ReferenceCache(2, policy="lru")
    cache["a"] = 1
    cache["b"] = 2
    assert cache["a"] == 1
    cache["c"] = 3
    assert cache.order() == ["a", "c"]


def test_reference_fifo_read_and_overwrite_save_nothing():
    """Catch a model whose fifo is an lru."""
    cache = ReferenceCache(2, policy="fifo")
    cache["a"] = 1
    cache["b"] = 2
    assert cache["a"] == 1
    cache["a"] = 10
    cache["c"] = 3
    assert cache.order() == ["b", "c"]


def test_reference_events_come_once_with_key_value_and_cause():
    """Catch a model that tells too much, too little or the wrong cause."""
    events = []
    cache = ReferenceCache(2, on_evict=lambda *event: events.append(event))
    cache.update(a=1, b=2)
    cache["a"] = 10
    cache["a"] = 10
    cache["c"] = 3
    del cache["a"]
    cache.clear()
    assert events == [
        ("a", 1, EvictionCause.REPLACED),
        ("b", 2, EvictionCause.EVICTED),
        ("a", 10, EvictionCause.DELETED),
        ("c", 3, EvictionCause.CLEARED),
    ]


def test_reference_nested_write_in_listener_is_told_after():
    """Catch a model whose listener runs inside itself."""
    events = []

    def listener(key, value, cause):
        events.append((key, cause.name))
        if key == "a":
            cache.delete("b")
            events.append("the listener returns")

    cache = ReferenceCache(2, on_evict=listener)
    cache.update(a=1, b=2)
    cache["c"] = 3
    assert events == [("a", "EVICTED"), "the listener returns", ("b", "DELETED")]


def test_reference_listener_raises_is_counted():
    """Catch a model that lets a listener's exception out."""
    cache = ReferenceCache(1, on_evict=lambda *event: 1 / 0)
    cache["a"] = 1
    cache["b"] = 2
    assert cache.stats().listener_errors == 1
    assert cache.order() == ["b"]


def test_reference_iterator_shows_what_was_there_and_still_is():
    """Catch a model whose iterator shows entries of later."""
    cache = ReferenceCache(9)
    cache.update(a=1, b=2, c=3, d=4)
    items = iter(cache.items())
    assert next(items) == ("a", 1)
    del cache["b"]
    del cache["c"]
    cache["c"] = 30
    cache["d"] = 40
    cache["e"] = 5
    assert list(items) == [("d", 40)]


@pytest.mark.parametrize("bound", [0, -1, 1.5, True, None, "8"])
def test_reference_bad_bound_raises(bound):
    """Catch a model without a bound."""
    with pytest.raises(ConfigurationError):
        ReferenceCache(bound)


def test_reference_check_sees_a_broken_order():
    """Catch a check that checks nothing."""
    cache = ReferenceCache(3)
    cache.update(a=1, b=2)
    cache._order.remove(cache._entries["a"])
    with pytest.raises(AssertionError, match="recount"):
        cache._check()


# ---- the policies --------------------------------------------------------------------------------


def test_reference_lfu_least_used_goes_and_among_equals_least_recently():
    """Catch a model that counts wrong, or breaks ties by arrival."""
    cache = ReferenceCache(3, policy="lfu")
    cache.update(a=1, b=2, c=3)
    cache["a"], cache["c"], cache["b"]
    assert cache.order() == ["a", "c", "b"]  # two uses each
    cache["a"] = 10
    assert cache.order() == ["c", "b", "a"]
    cache["d"] = 4
    assert cache.order() == ["d", "b", "a"]
    cache["e"] = 5  # a newcomer is used once, whatever went before it
    assert cache.order() == ["e", "b", "a"]


def test_reference_lfu_removed_entry_comes_back_as_newcomer():
    """Catch a model that remembers the uses of what has left."""
    cache = ReferenceCache(2, policy="lfu")
    cache.update(a=1, b=2)
    cache["a"], cache["a"], cache["b"]
    del cache["a"]
    cache["a"] = 1
    assert cache.order() == ["a", "b"]


def test_reference_slru_hit_promotes_and_overflow_goes_back():
    """Catch a model that promotes newcomers, or loses what protected has no room for."""
    cache = ReferenceCache(5, policy="slru")  # protected: 4
    cache.update(dict.fromkeys("abcde", 0))
    cache["b"], cache["a"]
    assert cache.order() == ["c", "d", "e", "b", "a"]
    cache["b"]  # within protected it is an lru
    assert cache.order() == ["c", "d", "e", "a", "b"]
    cache["c"], cache["d"]
    assert cache.order() == ["e", "a", "b", "c", "d"]
    cache["e"]  # the fifth: the oldest goes to the young end of probation
    assert cache.order() == ["a", "b", "c", "d", "e"]
    cache["f"] = 0
    assert cache.order() == ["f", "b", "c", "d", "e"]
    cache["f"] = 1
    cache["b"]
    assert cache.order() == ["c", "d", "e", "f", "b"]


def test_reference_slru_demoted_entry_goes_to_the_young_end():
    """Catch a model that puts what comes back before older entries."""
    cache = ReferenceCache(3, policy="slru")  # protected: 2
    cache.update(a=1, b=2, c=3)
    cache["a"], cache["b"]
    assert cache.order() == ["c", "a", "b"]
    cache["d"] = 4
    cache["d"]
    assert cache.order() == ["a", "b", "d"]
    cache["a"]
    assert cache.order() == ["b", "d", "a"]


def test_reference_slru_by_bytes_protects_four_fifths_of_them():
    """Catch a model that counts entries where bytes are the bound."""
    cache = ReferenceCache(max_size_bytes=10, policy="slru", sizeof=by_value)
    cache.update(a=3, b=3, c=3)
    cache["a"], cache["b"]
    assert cache.order() == ["c", "a", "b"]
    cache["c"]  # 9 > 8
    assert cache.order() == ["a", "b", "c"]
    cache["b"] = 4  # protected holds c=3, b=4, and a goes
    assert cache.order() == ["a", "c", "b"]
    cache["b"] = 6  # too much: c goes back, and a is evicted for the bound
    assert cache.order() == ["c", "b"]
    cache["b"] = 9  # too much by itself: it goes back, and c is evicted
    assert cache.order() == ["b"]
    cache["z"] = 0
    assert cache.order() == ["b", "z"]


def test_reference_slru_overwrite_too_heavy_for_protected_evicts_the_others():
    """Catch a model that finds no victim, or takes the entry that is written."""
    cache = ReferenceCache(max_size_bytes=20, policy="slru", sizeof=by_value)
    cache.update(a=4, b=4, c=4)
    cache["a"], cache["b"], cache["c"]
    cache["d"] = 8
    assert cache.order() == ["d", "a", "b", "c"]
    cache["d"] = 17  # over 16: everything is sent back, the oldest first, and itself last
    assert cache.order() == ["d"]


def test_reference_size_rank_is_uses_and_cost_by_weight():
    """Catch a model that ranks by weight alone."""
    cache = ReferenceCache(9, max_size_bytes=10**6, policy="size", sizeof=by_value)
    cache.put("a", 4)  # 1/4
    cache.put("b", 4, cost=4)  # 1
    cache.put("c", 8, cost=4)  # 1/2
    cache.put("d", 0)  # 1, weighing 1 at least
    assert cache.order() == ["a", "c", "b", "d"]
    cache["a"], cache["a"]  # 3/4
    assert cache.order() == ["c", "a", "b", "d"]
    cache.put("b", 10, cost=3)  # 2 uses * 3 / 10
    assert cache.order() == ["c", "b", "a", "d"]


def test_reference_size_age_rises_with_evictions_only():
    """Catch a model where old favourites stay for ever, or that ages for other reasons."""
    cache = ReferenceCache(2, max_size_bytes=10**6, policy="size", sizeof=by_value)
    cache.put("a", 2)
    cache.put("b", 1)
    assert cache.popitem() == ("a", 2)
    cache.put("a", 2)
    del cache["a"]
    cache.put("a", 2)  # 1/2: nothing has aged
    assert cache.order() == ["a", "b"]
    cache.put("c", 2)  # a goes, the age is 1/2, so c has 1 as b has, which was used before
    assert cache.order() == ["b", "c"]
    cache.put("d", 4)  # b goes, the age is 1: 5/4
    assert cache.order() == ["c", "d"]
    cache["c"]  # 1 + 2/2
    assert cache.order() == ["d", "c"]


@every_policy
def test_reference_capacity_of_one_keeps_the_last(policy):
    """Catch a policy that has no victim, or no room, at the smallest bound."""
    cache, events = recording(1, policy=policy)
    for key in "abc":
        cache[key] = key
        assert cache[key] == key
        cache[key] = key.upper()
        cache._check()
    assert cache.order() == ["c"]
    assert [event for event in events if event[2] == "EVICTED"] == [
        ("a", "A", "EVICTED"),
        ("b", "B", "EVICTED"),
    ]
    assert cache.stats().evictions == 2


@every_policy
def test_reference_overwrite_with_more_evicts_others(policy):
    """Catch an overwrite that evicts what it writes, which every policy would take first here."""
    cache, events = recording(max_size_bytes=10, policy=policy, sizeof=by_value)
    cache.put("a", 2, cost=0)
    cache.put("b", 2)
    cache["b"], cache["b"]
    cache.put("c", 2)
    cache["c"], cache["c"]
    cache.put("a", 9, cost=0)
    assert cache.order() == ["a"]
    assert events[0] == ("a", 2, "REPLACED")
    assert sorted(events[1:]) == [("b", 2, "EVICTED"), ("c", 2, "EVICTED")]
    assert (cache.currsize, cache.stats().evictions, cache.stats().inserts) == (9, 2, 3)


@every_policy
def test_reference_copy_keeps_order_and_what_stands_behind_it(policy):
    """Catch a copy that ranks its entries anew: then the two would soon differ."""
    cache, events = recording(5, max_size_bytes=10**6, policy=policy, sizeof=by_value)
    for key, value, uses in [("a", 3, 2), ("b", 1, 0), ("c", 5, 4), ("d", 2, 1), ("e", 4, 3)]:
        cache[key] = value
        cache.get_many([key] * uses)
    cache["f"] = 2
    seen = list(events)
    both = cache | {"g": 1}
    copied = cache.copy()
    assert events == seen
    assert cache.order() == copied.order() != both.order()
    cache["g"] = 1
    assert cache.order() == both.order()
    copied["g"] = 1
    for key in "hijkl":
        for one in (cache, both, copied):
            one[key] = 2
            one.get(one.order()[2])
        assert cache.order() == copied.order() == both.order()
    assert copied.stats().hits == 5


# ---- weights -------------------------------------------------------------------------------------


class Sized:
    def __init__(self, nbytes):
        self.nbytes = nbytes

    def __sizeof__(self):
        return 1000


@pytest.mark.parametrize(
    ("thing", "size"),
    [
        (b"abc", 3),
        (bytearray(5), 5),
        ("", 0),
        ("abc", 3),
        ("\xe9a", 2),
        ("\u0100a", 4),
        ("\uffff", 2),
        ("\U00010000a", 8),
        (memoryview(array("i", [1, 2])), 8),
        (Sized(7), 7),
        (Sized(0), 0),
    ],
)
def test_reference_payload_is_the_default_weight(thing, size):
    """Catch a weight that counts headers where data is known, or half of wide text."""
    cache = ReferenceCache(max_size_bytes=2000)
    cache[b""] = thing
    assert (cache.currsize, cache.stats().total_size) == (size, size)


@pytest.mark.parametrize("nbytes", [-1, True, 7.0, None])
def test_reference_odd_nbytes_is_not_believed(nbytes):
    """Catch a weight taken from an attribute that means something else."""
    cache = ReferenceCache(max_size_bytes=2000)
    cache[b""] = Sized(nbytes)
    assert cache.currsize >= 1000


def test_reference_both_bounds_hold():
    """Catch a model that looks at one bound only."""
    cache, events = recording(3, max_size_bytes=10, sizeof=by_value)
    cache.update(a=1, b=1, c=1, d=1)
    assert cache.order() == ["b", "c", "d"]
    cache["e"] = 9
    assert cache.order() == ["d", "e"]
    assert (cache.maxsize, cache.currsize, cache.stats().total_size) == (3, 2, 10)
    assert [key for key, _, _ in events] == ["a", "b", "c"]


def test_reference_size_is_bytes_where_only_bytes_are_bounded():
    """Catch a size that is told in another unit than its bound."""
    cache = ReferenceCache(max_size_bytes=10, sizeof=by_value)
    cache.update(a=3, b=0)
    assert (cache.maxsize, cache.currsize, len(cache)) == (10, 3, 2)
    assert cache.cache_info() == (0, 0, 10, 3)


def test_reference_too_heavy_value_raises_and_changes_nothing():
    """Catch a model that makes room before it looks, or drops the old value."""
    cache, events = recording(max_size_bytes=10, sizeof=by_value)
    cache.update(a=5, b=5)
    for key in ("a", "c"):
        with pytest.raises(ValueTooLarge) as caught:
            cache[key] = 11
        assert (caught.value.size, caught.value.max_size) == (11, 10)
    assert dict(cache.items()) == {"a": 5, "b": 5}
    assert cache.order() == ["a", "b"]
    assert events == []
    assert cache.add("a", 11) is cache.replace("c", 11) is False
    with pytest.raises(ValueTooLarge):
        cache.put_many({"c": 1, "d": 11, "e": 1})
    assert cache.order() == ["b", "c"]


@pytest.mark.parametrize("cost", [-1, math.inf, math.nan])
def test_reference_bad_cost_raises(cost):
    """Catch a cost that no rank can be made of."""
    cache = ReferenceCache(3, policy="size")
    with pytest.raises(ValueError, match="cost"):
        cache.put("a", 1, cost=cost)
    assert not cache


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_size_bytes": 0},
        {"max_size_bytes": 1.5},
        {"max_entries": 3, "max_size_bytes": -1},
        {"max_entries": 3, "sizeof": by_value},
        {"max_entries": 3, "ttl": 0},
        {"max_entries": 3, "ttl": -1},
        {"max_entries": 3, "idle": math.nan},
        {"max_entries": 3, "policy": "nonsense"},
    ],
)
def test_reference_bad_options_raise(options):
    """Catch a model that takes what the cache refuses."""
    with pytest.raises(ConfigurationError):
        ReferenceCache(**options)


# ---- time ----------------------------------------------------------------------------------------


def timed(**options):
    """Return a clock, a cache on it, and the list of its events."""
    clock = FakeClock(100)
    return clock, *recording(8, clock=clock, **options)


def test_reference_entry_expires_at_its_deadline():
    """Catch a model that is late, or tells of an expiry twice or never."""
    clock, cache, events = timed(ttl=2)
    cache["a"] = 1
    cache.put("b", 2, ttl=timedelta(seconds=3))
    cache.put("c", 3, ttl=None)
    clock.advance(1.5)
    assert [cache.ttl_of(key) for key in "abc"] == [0.5, 1.5, None]
    clock.advance(0.5)
    assert "a" not in cache
    assert events == [("a", 1, "EXPIRED")]
    assert cache.get("a") is cache.peek("a") is None
    clock.advance(1000)
    assert cache.order() == ["c"]
    assert events == [("a", 1, "EXPIRED"), ("b", 2, "EXPIRED")]
    stats = cache.stats()
    assert (stats.expirations, stats.evictions, stats.misses) == (2, 0, 1)


@pytest.mark.parametrize(
    "look",
    [
        len,
        list,
        repr,
        lambda cache: cache.stats(),
        lambda cache: cache.currsize,
        lambda cache: cache.cache_info(),
        lambda cache: cache.copy(),
        lambda cache: cache.pop("a", None),
        lambda cache: cache.touch("a"),
        lambda cache: cache.get_many("a"),
        lambda cache: cache.delete_many("a"),
        lambda cache: cache.put_many({}),
        lambda cache: cache.clear(),
        lambda cache: cache.replace("a", 2),
    ],
)
def test_reference_any_operation_ends_what_is_over(look):
    """Catch an operation that still sees an expired entry, or removes it for another cause."""
    clock, cache, events = timed(ttl=2)
    cache["a"] = 1
    clock.advance(2)
    look(cache)
    assert events == [("a", 1, "EXPIRED")]
    assert cache.stats().expirations == 1


def test_reference_expired_entries_make_room_before_the_bound_does():
    """Catch a model that evicts a live entry beside a dead one."""
    clock, cache, events = timed()
    for number in range(8):
        cache.put(number, number, ttl=1 if number == 5 else None)
    clock.advance(1)
    cache["new"] = 0
    assert events == [(5, 5, "EXPIRED")]
    assert 0 in cache


def test_reference_overwrite_resets_ttl_and_incr_keeps_it():
    """Catch an overwrite that inherits a deadline, or a counter that never ends."""
    clock, cache, _ = timed(ttl=10)
    cache.put("a", 1, ttl=2)
    cache.put("n", 1, ttl=2)
    clock.advance(1)
    cache["a"] = 2
    assert cache.incr("n") == 2
    assert cache.incr("new") == 1
    assert [cache.ttl_of(key) for key in ("a", "n", "new")] == [10, 1, 10]
    cache.put_many({"a": 3, "b": 4}, ttl=None)
    assert cache.ttl_of("a") is cache.ttl_of("b") is None
    assert cache.add("a", 5, ttl=1) is False
    assert cache.replace("a", 5, ttl=1) is True
    assert cache.ttl_of("a") == 1


def test_reference_idle_entry_expires_unless_used():
    """Catch a look that counts as a use, or a use that does not."""
    clock, cache, _ = timed(idle=2)
    uses = {
        "get": lambda: cache.get("get"),
        "get_many": lambda: cache.get_many(["get_many"]),
        "setdefault": lambda: cache.setdefault("setdefault"),
        "put": lambda: cache.put("put", 2),
        "incr": lambda: cache.incr("incr"),
        "touch": lambda: cache.touch("touch"),
    }
    cache.update({**dict.fromkeys(uses, 1), "looked at": 1})
    clock.advance(1)
    for use in uses.values():
        use()
    assert "looked at" in cache
    assert cache.peek("looked at") == 1
    list(cache.items())
    assert {cache.ttl_of(key) for key in uses} == {2}
    assert cache.ttl_of("looked at") == 1
    clock.advance(1)
    assert set(cache) == set(uses)
    assert cache.stats().expirations == 1


def test_reference_ttl_of_is_the_smaller_of_ttl_and_idle():
    """Catch an idle time that a ttl replaces, or the other way round."""
    clock, cache, _ = timed(ttl=3, idle=2)
    cache["a"] = 1
    assert cache.ttl_of("a") == 2
    clock.advance(1.5)
    cache["a"]
    assert cache.ttl_of("a") == 1.5
    cache.touch("a", None)
    assert cache.ttl_of("a") == 2
    with pytest.raises(KeyError, match="absent"):
        cache.ttl_of("absent")


def test_reference_touch_is_a_hit_for_the_policy_only():
    """Catch a touch that counts, or one that moves nothing."""
    clock, cache, _ = timed(ttl=3)
    cache.update(a=1, b=2)
    clock.advance(1)
    assert cache.touch("a", 9) is True
    assert cache.touch("absent") is False
    assert cache.order() == ["b", "a"]
    assert [cache.ttl_of(key) for key in "ab"] == [9, 2]
    assert cache.touch("a", DEFAULT)
    assert cache.ttl_of("a") == 3
    assert (cache.stats().hits, cache.stats().misses) == (0, 0)


@pytest.mark.parametrize("ttl", [0, -1, math.inf, math.nan, timedelta(0)])
def test_reference_bad_ttl_raises_and_stores_nothing(ttl):
    """Catch a ttl of which nobody knows what it means."""
    _, cache, _ = timed()
    cache["a"] = 1
    for call in (cache.put, cache.add, cache.replace):
        with pytest.raises(ValueError, match="duration"):
            call("a" if call == cache.replace else "b", 2, ttl=ttl)
    with pytest.raises(ValueError, match="duration"):
        cache.touch("a", ttl)
    with pytest.raises(ValueError, match="duration"):
        cache.put_many({}, ttl=ttl)
    assert dict(cache.items()) == {"a": 1}


def test_reference_copy_keeps_remaining_time():
    """Catch a copy that gives its entries a new life."""
    clock, cache, _ = timed(ttl=3, idle=2.5)
    cache["a"] = 1
    cache.put("b", 2, ttl=1)
    clock.advance(0.75)
    copied, both = cache.copy(), cache | {"c": 3}
    assert [copied.ttl_of(key) for key in "ab"] == [1.75, 0.25]
    assert [both.ttl_of(key) for key in "abc"] == [1.75, 0.25, 2.5]
    clock.advance(0.25)
    assert [one.order() for one in (cache, copied, both)] == [["a"], ["a"], ["a", "c"]]


def test_reference_iterator_skips_what_has_expired_meanwhile():
    """Catch an iterator that shows the dead."""
    clock, cache, events = timed()
    for number in range(3):
        cache.put(number, number, ttl=1 if number == 1 else None)
    walk = iter(cache)
    assert next(walk) == 0
    clock.advance(1)
    assert list(walk) == [2]
    assert events == [(1, 1, "EXPIRED")]
