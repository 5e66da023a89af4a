"""Bounds by bytes: what weighs how much, what goes, what is refused."""

import gc
import pickle
import sys

import pytest

from frys_cache import ConfigurationError, EvictionCause, FrysCache, MemoryCache, ValueTooLarge

POLICIES = ["lru", "fifo", "lfu", "slru", "size", "sieve", "s3fifo", "arc"]


class Odd:
    """An object whose nbytes is what it is told."""

    def __init__(self, nbytes):
        self.nbytes = nbytes


def test_default_weights_are_payloads():
    """Catch an object weighed by its header, or by something that lies."""
    wide = memoryview(bytes(24)).cast("d")
    for value, weight in (
        (b"1234", 4),
        ("1234", 4),
        ("é", 1),
        ("日本", 4),
        ("😀", 4),
        (bytearray(7), 7),
        (wide, 24),
        (Odd(100), 100),
        (5, sys.getsizeof(5)),
        (Odd(-1), None),
        (Odd("x"), None),
        ([1, 2], sys.getsizeof([1, 2])),
    ):
        cache = MemoryCache(max_size_bytes=10**6)
        cache[b""] = value
        expected = sys.getsizeof(value) if weight is None else weight
        assert cache.currsize == cache.stats().total_size == expected, value
        cache._check()


@pytest.mark.parametrize("policy", POLICIES)
def test_bytes_bound_holds_after_every_write(policy):
    """Catch a bound that is broken by an insert, by a growing overwrite, or for a moment."""
    seen = []
    cache = MemoryCache(
        max_size_bytes=100,
        policy=policy,
        sizeof=lambda key, value: value,
        on_evict=lambda *event: seen.append(cache.currsize),
    )
    for step in range(500):
        cache[step * 7 % 13] = step * 31 % 60
        assert cache.currsize == sum(cache.values()) <= 100
        assert step * 7 % 13 in cache
        cache._check()
    assert max(seen) <= 100


def test_both_bounds_hold():
    """Catch a cache that looks at one of its bounds only."""
    cache = MemoryCache(3, max_size_bytes=100, sizeof=lambda key, value: value)
    cache.update(a=1, b=1, c=1, d=1)
    assert list(cache) == ["b", "c", "d"]
    cache["e"] = 99
    assert list(cache) == ["d", "e"]
    assert (cache.maxsize, cache.currsize) == (3, 2)
    assert cache.stats().total_size == 100


def test_only_bytes_maxsize_and_currsize_are_bytes():
    """Catch a unit that does not fit the bound."""
    cache = FrysCache(max_size_bytes=1000)
    cache["key"] = b"value"
    assert (cache.maxsize, cache.currsize, len(cache)) == (1000, 8, 1)
    assert cache.cache_info() == (0, 0, 1000, 8)


@pytest.mark.parametrize("policy", POLICIES)
def test_too_heavy_is_refused_and_nothing_changes(policy):
    """Catch a refusal that has evicted first, or that lost the old value."""
    cache = MemoryCache(max_size_bytes=10, policy=policy)
    cache["a"] = b"12345"
    cache["b"] = b"123"
    before = list(cache.items())
    for write in (cache.__setitem__, cache.put, cache.add, cache.setdefault):
        with pytest.raises(ValueTooLarge) as caught:
            write("new", b"123456789")
        assert (caught.value.size, caught.value.max_size) == (12, 10)
    with pytest.raises(ValueTooLarge):
        cache["a"] = bytes(10)
    with pytest.raises(ValueTooLarge):
        cache.put_many({"b": bytes(10)})
    with pytest.raises(ValueTooLarge):
        cache._fill("c", bytes(10), None, None, cache._token("c"))
    assert list(cache.items()) == before
    cache["a"] = bytes(9)
    assert list(cache) == ["a"]
    cache._check()


def test_growing_and_shrinking_overwrite():
    """Catch a weight that is added and not replaced, and events out of order."""
    events = []
    cache = MemoryCache(max_size_bytes=10, on_evict=lambda k, v, why: events.append((k, why)))
    cache["a"] = b"123"
    cache["b"] = b"1"
    cache["b"] = b"12345"
    assert cache.currsize == 10
    cache["b"] = b""
    assert cache.currsize == 5
    cache["a"] = b"123456789"
    assert list(cache) == ["a"]
    assert events == [
        ("b", EvictionCause.REPLACED),
        ("b", EvictionCause.REPLACED),
        ("a", EvictionCause.REPLACED),
        ("b", EvictionCause.EVICTED),
    ]
    cache._check()


@pytest.mark.parametrize("policy", POLICIES)
def test_overwrite_never_evicts_itself(policy):
    """Catch a policy whose next victim is the entry that grows."""
    cache = MemoryCache(max_size_bytes=10, policy=policy, sizeof=lambda key, value: value)
    cache.update(a=2, b=2, c=2)
    cache["a"] = 8
    assert cache["a"] == 8
    assert cache.currsize <= 10
    cache["a"] = 10
    assert list(cache) == ["a"]
    cache._check()


def test_sizeof_answers_are_checked_and_nothing_changes():
    """Catch a weight that is no number, and a change made before it was known."""
    answer = [3]

    def sizeof(key, value):
        if isinstance(answer[0], Exception):
            raise answer[0]
        return answer[0]

    cache = MemoryCache(max_size_bytes=10, sizeof=sizeof)
    cache["a"] = 1
    for bad, error in (
        (-1, ValueError),
        (1.5, TypeError),
        ("3", TypeError),
        (None, TypeError),
        (KeyError("mine"), KeyError),
        (10**30, ValueTooLarge),
    ):
        answer[0] = bad
        for write in (
            lambda: cache.__setitem__("a", 2),
            lambda: cache.put("b", 2),
            lambda: cache.put_many([("b", 2)]),
            lambda: cache.incr("a"),
        ):
            with pytest.raises(error):
                write()
    assert cache.items() == {("a", 1)}
    assert cache.currsize == 3
    answer[0] = 0
    cache.update(dict.fromkeys(range(100)))
    assert (len(cache), cache.currsize) == (101, 3)
    cache._check()


def test_sizeof_that_uses_the_cache_is_safe():
    """Catch a weigher called while a structure is half changed."""
    cache = MemoryCache(max_size_bytes=100, sizeof=lambda key, value: meddle(key))

    def meddle(key):
        cache.get(key)
        cache.pop(key - 1, None)
        if key % 5 == 0 and key:
            cache.clear()
        return 10

    for key in range(50):
        cache[key] = key
        cache._check()
    assert cache.currsize <= 100


def test_getsizeof_of_a_subclass_is_honoured():
    """Catch a cachetools subclass whose weights are ignored."""

    class Weighed(MemoryCache):
        def getsizeof(self, value):
            return len(value) + 1

    cache = Weighed(max_size_bytes=10)
    cache["long key that does not count"] = b"1234"
    assert cache.currsize == 5
    cache["b"] = b"12345"
    assert list(cache) == ["b"]


def test_size_policy_prefers_small_and_costly():
    """Catch GDSF that forgets size, cost or use."""
    cache = MemoryCache(max_size_bytes=100, policy="size", sizeof=lambda key, value: value)
    cache["big"] = 60
    cache["small"] = 10
    cache["new"] = 40
    assert "small" in cache
    assert "big" not in cache
    cache = MemoryCache(max_size_bytes=100, policy="size", sizeof=lambda key, value: value)
    cache.put("dear", 60, cost=1000)
    cache.put("cheap", 30)
    cache["new"] = 40
    assert list(cache) == ["new", "dear"]
    cache._check()


def test_impossible_costs_raise():
    """Catch a cost that makes the order of the heap meaningless."""
    cache = MemoryCache(5, policy="size")
    for bad in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="cost"):
            cache.put("a", 1, cost=bad)
    for bad in (True, "1", None):
        with pytest.raises(TypeError, match="cost"):
            cache.put("a", 1, cost=bad)
    assert len(cache) == 0
    cache.put("a", 1, cost=0)


def test_impossible_bounds_raise():
    """Catch a bound that is none."""
    for bad in (0, -1, 1.5, True, "9", float("nan")):
        with pytest.raises(ConfigurationError, match="max_size_bytes"):
            MemoryCache(max_size_bytes=bad)
    with pytest.raises(ConfigurationError, match="sizeof needs max_size_bytes"):
        MemoryCache(5, sizeof=lambda key, value: 1)
    with pytest.raises(TypeError, match="sizeof"):
        MemoryCache(max_size_bytes=5, sizeof=5)
    with pytest.raises(ConfigurationError, match="max_entries or max_size_bytes"):
        MemoryCache()
    assert MemoryCache(max_size_bytes=10**30).maxsize == 10**30


@pytest.mark.parametrize("policy", POLICIES)
def test_copies_keep_weights_order_and_standing(policy):
    """Catch a copy that weighs anew, or whose victims come in another order."""
    weights = iter(range(1, 1000))
    cache = MemoryCache(
        50, max_size_bytes=10_000, policy=policy, sizeof=lambda key, value: next(weights)
    )
    for key in range(40):
        cache.put(key, key, cost=key % 7 + 1)
    for key in list(range(0, 40, 3)) * 2 + list(range(0, 40, 7)):
        cache[key]
    twin = cache.copy()
    assert twin.currsize == cache.currsize
    assert twin.stats().total_size == cache.stats().total_size
    assert list(twin) == list(cache)
    twin._check()
    twin[100] = cache[100] = 1
    for key in (1, 2, 3, 6, 9, 1):
        assert (key in twin, twin.get(key)) == (key in cache, cache.get(key))
    assert [twin.popitem()[0] for _ in range(30)] == [cache.popitem()[0] for _ in range(30)]


@pytest.mark.parametrize("policy", POLICIES)
def test_pickle_keeps_victim_order(policy):
    """Catch use counts, ranks or segments lost on the way."""
    cache = MemoryCache(20, max_size_bytes=1000, policy=policy)
    for key in "abcdefghijklmnopqrstuvwxyz":
        cache.put(key, key.encode() * (ord(key) % 5), cost=2)
    for key in "zyxwzyxzyacac":
        cache.get(key)
    twin = pickle.loads(pickle.dumps(cache))
    assert list(twin) == list(cache)
    twin["new"] = cache["new"] = b"x"
    assert list(twin) == list(cache)
    twin._check()


@pytest.mark.parametrize("count", range(12))
@pytest.mark.parametrize("policy", POLICIES)
def test_failing_allocation_leaves_weighed_cache_whole(policy, count):
    """Catch a write that stops half way when there is no memory left."""
    cache = MemoryCache(
        max_size_bytes=64, policy=policy, ttl=60, sizeof=lambda key, value: value % 16
    )
    cache._fail_allocation_after(count)
    failed = 0
    for step in range(300):
        try:
            cache[step % 37] = step * 7
        except MemoryError:
            failed += 1
        cache._check()
    cache._fail_allocation_after(-1)
    cache[1] = 5
    assert cache[1] == 5
    cache._check()


@pytest.mark.parametrize("policy", POLICIES)
def test_copy_while_the_collector_empties_the_cache(policy):
    """Catch a standing read from a place whose entry, or whole store, has just gone."""

    class Bomb:
        def __del__(self):
            cache.clear()

    cache = MemoryCache(5000, max_size_bytes=10**6, policy=policy, ttl=100, idle=50)
    cache.put_many((key, b"x") for key in range(2000))
    before = gc.get_threshold()
    bomb = Bomb()
    bomb.cycle = bomb
    try:
        gc.set_threshold(1)
        del bomb
        twin = cache.copy()
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert len(cache) == 0
    assert all(value == b"x" for value in twin.values())
    twin._check()
    cache._check()
