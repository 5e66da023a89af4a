"""What each method of a memory cache answers, counts and moves, one key or many."""

import random
import sys

import pytest
from hostile import SameHash
from kinds import every_kind, every_queue

from frys_cache import MISSING, CacheInfo, CacheStats, EvictionPolicy

UNHASHABLE = [[], {}, set()]


def counts(cache):
    """Return (hits, misses)."""
    return cache.stats().hits, cache.stats().misses


@every_kind
def test_get_hit_and_miss_answers(make):
    """Catch a get that loses the default, or takes None for a miss."""
    cache = make(3)
    cache["none"] = None
    cache[None] = "value of None"
    assert cache.get("none", "default") is None
    assert cache["none"] is None
    assert cache.get(None) == "value of None"
    assert cache.get("absent") is None
    assert cache.get("absent", "default") == "default"
    assert cache.get("absent", default=5) == 5


@every_kind
@pytest.mark.parametrize("key", ["absent", b"absent", 5, None, (1, 2), 1.5, SameHash("absent")])
def test_getitem_miss_raises_keyerror_with_the_key(make, key):
    """Catch a KeyError that does not tell which key; a tuple must not be spread into arguments."""
    cache = make(3)
    for read in (cache.__getitem__, cache.pop, cache.__delitem__):
        with pytest.raises(KeyError) as caught:
            read(key)
        assert caught.value.args == (key,)


@every_kind
def test_put_returns_none_and_set_is_put(make):
    """Catch a put that returns something a caller could rely upon."""
    cache = make(3)
    assert cache.put("a", 1) is None
    assert cache.set("b", 2) is None
    cache.put(key="c", value=3)
    assert list(cache.items()) == [("a", 1), ("b", 2), ("c", 3)]


@every_kind
def test_equal_keys_of_different_types_are_one_key(make):
    """Catch a fast path by exact type that tells 1, True and 1.0 apart; the first key stays."""
    cache = make(5)
    cache[1] = "int"
    cache[True] = "bool"
    cache[1.0] = "float"
    assert len(cache) == 1
    assert cache[1] == cache[True] == cache[1.0] == "float"
    assert [type(key) for key in cache] == [int]


@every_kind
def test_unequal_keys_that_look_alike_are_different_keys(make):
    """Catch a comparison by bytes, by hash alone (-1 and -2 share one) or by repr."""
    keys = [1, "1", b"1", None, "None", "", b"", (), 0, -1, -2, "a", b"a", ("a",), 0.5]
    cache = make(len(keys))
    for place, key in enumerate(keys):
        cache[key] = place
    assert [cache[key] for key in keys] == list(range(len(keys)))
    cache._check()


@every_kind
def test_strings_of_every_width_compare_by_content(make):
    """Catch a byte compare that ignores the width of a str's characters."""
    keys = ["", "a", "\x61\x00", "\xe9", "e\u0301", "\u20ac", "\U0001f600", "a" * 1000, "a" * 1001]
    cache = make(100)
    for place, key in enumerate(keys):
        cache[key] = place
        cache[key.encode()] = -place
    for place, key in enumerate(keys):
        fresh = "".join(list(key))
        assert cache[fresh] == place
        assert cache[bytes(bytearray(fresh.encode()))] == -place
    assert len(cache) == 2 * len(keys)


@every_kind
def test_subclasses_of_str_bytes_and_int_may_have_their_own_equality(make):
    """Catch a fast path for str that is taken for a subclass that compares otherwise."""

    class Folded(str):
        __slots__ = ()

        def __eq__(self, other):
            return str.lower(self) == str.lower(other)

        def __hash__(self):
            return hash(str.lower(self))

    cache = make(5)
    cache["key"] = "plain"
    assert cache.get(Folded("KEY")) == "plain"
    assert cache.get("KEY") is None
    cache[Folded("OTHER")] = "folded"
    assert cache.get("other") == "folded"


@every_kind
def test_int_keys_of_every_size_are_found(make):
    """Catch a fast path for ints that overflows, or that takes the hash for the number."""
    modulus = sys.hash_info.modulus
    keys = [0, 1, -1, -2, 2**30, 2**31, 2**62, 2**63, 2**64, -(2**63), modulus, modulus + 1, 10**50]
    cache = make(100)
    for key in keys:
        cache[key] = str(key)
    for key in keys:
        assert cache[int(str(key))] == str(key)
    assert len(cache) == len(keys)
    cache._check()


@every_kind
@pytest.mark.parametrize("key", UNHASHABLE, ids=repr)
def test_unhashable_key_raises_typeerror_and_loses_nothing(make, key):
    """Catch a method that swallows the error of hashing, or changes something before it."""
    cache = make(2)
    cache.update(a=1, b=2)
    for use in (
        lambda: cache[key],
        lambda: cache.get(key),
        lambda: cache.peek(key),
        lambda: key in cache,
        lambda: cache.put(key, 1),
        lambda: cache.__setitem__(key, 1),
        lambda: cache.add(key, 1),
        lambda: cache.replace(key, 1),
        lambda: cache.incr(key),
        lambda: cache.setdefault(key, 1),
        lambda: cache.delete(key),
        lambda: cache.__delitem__(key),
        lambda: cache.pop(key),
        lambda: cache.pop(key, None),
        lambda: cache.get_many([key]),
        lambda: cache.put_many([(key, 1)]),
        lambda: cache.update([(key, 1)]),
        lambda: cache.delete_many([key]),
    ):
        with pytest.raises(TypeError, match="unhashable"):
            use()
        assert list(cache.items()) == [("a", 1), ("b", 2)]
        cache._check()


@every_kind
def test_add_and_replace_write_only_where_they_should(make):
    """Catch an add that overwrites, or a replace that inserts."""
    cache = make(3)
    assert cache.replace("a", 1) is False
    assert "a" not in cache
    assert cache.add("a", 1) is True
    assert cache.add("a", 2) is False
    assert cache["a"] == 1
    assert cache.replace("a", 3) is True
    assert cache["a"] == 3


@every_kind
def test_add_refused_evicts_nothing(make):
    """Catch an add that makes room before it looks."""
    cache = make(1)
    cache["a"] = 1
    assert cache.add("a", 2) is False
    assert cache.replace("b", 2) is False
    assert list(cache.items()) == [("a", 1)]
    assert cache.stats().evictions == 0


@every_kind
def test_incr_absent_starts_at_zero_and_never_overflows(make):
    """Catch a counter that starts at one, or that is cut to a machine word."""
    cache = make(9)
    assert cache.incr("n") == 1
    assert cache.incr("n", 41) == 42
    assert cache.incr("n", -2) == cache["n"] == 40
    assert cache.incr("other", delta=5) == 5
    assert cache.incr("bool", True) == 1
    assert type(cache["bool"]) is int
    cache["big"] = 2**63 - 1
    assert cache.incr("big") == 2**63
    assert cache.incr("big", 2**70) == 2**63 + 2**70


@every_kind
def test_incr_of_no_number_raises_and_changes_nothing(make):
    """Catch an incr that stores before it has looked, or that adds what is no int."""
    cache = make(3)
    cache.update(text="x", float=1.5, none=None)
    for key in ("text", "float", "none"):
        with pytest.raises(TypeError, match="incr"):
            cache.incr(key)
    for delta in ("x", 0.5, None):
        with pytest.raises(TypeError, match="incr"):
            cache.incr("absent", delta)
    assert dict(cache.items()) == {"text": "x", "float": 1.5, "none": None}
    assert cache.stats().inserts == 3


@every_kind
def test_setdefault_found_and_absent(make):
    """Catch a setdefault that overwrites, or forgets None as its default."""
    cache = make(3)
    assert cache.setdefault("a", 1) == 1
    assert cache.setdefault("a", 2) == 1
    assert cache.setdefault("b") is None
    assert dict(cache) == {"a": 1, "b": None}


@every_kind
def test_delete_and_pop_answer_what_was_there(make):
    """Catch a removal that says the wrong thing or leaves the entry."""
    cache = make(4)
    cache.update(a=1, b=None, c=3, d=4)
    assert cache.delete("a") is True
    assert cache.delete("a") is False
    assert cache.pop("b", "default") is None
    assert cache.pop("b", "default") == "default"
    assert cache.pop("c") == 3
    del cache["d"]
    assert len(cache) == 0
    assert not cache
    cache._check()


@every_kind
def test_pop_with_bad_arguments_raises(make):
    """Catch a pop that takes any number of arguments."""
    cache = make(3)
    with pytest.raises(TypeError):
        cache.pop()
    with pytest.raises(TypeError):
        cache.pop("a", 1, 2)


@every_kind
def test_popitem_takes_the_next_victim(make):
    """Catch a popitem that takes the newest, as that of a dict does."""
    cache = make(3)
    cache.update(a=1, b=2, c=3)
    assert cache.get("a") == 1
    # One use leaves its place to none of the queues but sieve.
    first = ("a", 1) if make.policy in ("fifo", "s3fifo") else ("b", 2)
    if make.policy == "s3fifo":
        first = (next(iter(cache)), cache.peek(next(iter(cache))))
    assert cache.popitem() == first
    assert make.policy == "s3fifo" or cache.popitem() == (("b", 2) if first[0] == "a" else ("c", 3))
    if len(cache) == 2:
        cache.popitem()
    assert len(cache) == 1
    cache.popitem()
    with pytest.raises(KeyError):
        cache.popitem()


@every_kind
def test_two_equal_caches_pop_equally(make):
    """Catch a victim order that depends on addresses or on the table's layout."""
    keys = [f"key-{number * 7919 % 500}" for number in range(500)]
    one, other = make(500), make(500)
    for key in keys:
        one[key] = other["".join(list(key))] = key
    assert [one.popitem() for _ in keys] == [other.popitem() for _ in keys]


@every_kind
def test_bound_is_never_exceeded(make):
    """Catch a cache that evicts after it has inserted, or one too late."""
    cache = make(3)
    for number in range(50):
        cache[number] = number
        assert len(cache) == min(number + 1, 3)
        cache._check()
    assert 49 in cache
    assert make.policy in ("auto", "s3fifo") or list(cache) == [47, 48, 49]
    assert cache.stats().evictions == 47
    assert cache.stats().inserts == 50


@every_kind
@pytest.mark.parametrize("heard", [True, False], ids=["heard", "unheard"])
@pytest.mark.parametrize("kind", ["str", "bytes", "int", "float"])
def test_plain_keys_that_come_and_go_keep_the_table_whole(make, heard, kind):
    """Catch a slot that is taken although a freed one lies nearer to the key's home."""
    dice = random.Random(1)
    name = {"str": str, "bytes": lambda number: b"%d" % number, "int": int, "float": float}[kind]
    keys = [name(number) for number in range(100)]
    listener = (lambda key, value, cause: None) if heard else None
    cache = make(64, on_evict=listener)
    for _ in range(5000):
        key, gone = dice.choice(keys), dice.choice(keys)
        cache[key] = key
        assert cache[key] == key
        if dice.random() < 0.6:
            cache.pop(gone, None)
            assert gone not in cache
        cache._check()
    assert all(cache.get(key, key) == key for key in keys)


@every_queue
def test_order_after_use_is_that_of_the_policy(make):
    """Catch a read that moves nothing under lru, or something under fifo."""
    cache = make(4)
    cache.update(a=1, b=2, c=3, d=4)
    order = list("abcd")
    for used, use in [
        ("a", lambda: cache["a"]),
        ("b", lambda: cache.get("b")),
        ("ca", lambda: cache.get_many(["c", "a"])),
        ("b", lambda: cache.setdefault("b", 0)),
        ("d", lambda: cache.put("d", 4)),
        ("c", lambda: cache.__setitem__("c", 5)),
        ("a", lambda: cache.replace("a", 5)),
        ("b", lambda: cache.incr("b")),
        ("dc", lambda: cache.put_many([("d", 1), ("c", 2)])),
        ("ab", lambda: cache.update(a=1, b=1)),
        ("d", lambda: cache.__ior__({"d": 1})),
    ]:
        use()
        if make.policy != "fifo":
            for key in used:
                order.remove(key)
                order.append(key)
        assert list(cache) == order
        assert list(reversed(cache)) == order[::-1]
        cache._check()


@every_kind
def test_looking_moves_and_counts_nothing(make):
    """Catch a look (`in`, peek, iteration, len, repr, ==, stats) that counts as a use."""
    cache = make(3)
    cache.update(a=1, b=2, c=3)
    before = cache.stats()
    assert "a" in cache
    assert "z" not in cache
    assert cache.peek("a") == 1
    assert cache.peek("z", 7) == 7
    assert cache.peek("z") is None
    assert len(cache) == cache.currsize == 3
    assert sorted(cache) == list("abc")
    assert sorted(cache.values()) == [1, 2, 3]
    assert dict(cache.items()) == {"a": 1, "b": 2, "c": 3}
    assert "a" in cache.keys()  # noqa: SIM118 - the view is what is asked
    assert ("a", 1) in cache.items()
    assert 1 in cache.values()
    assert cache == {"a": 1, "b": 2, "c": 3}
    assert repr(cache)
    assert cache.cache_info()
    assert cache.add("a", 9) is False
    assert cache.stats() == before
    assert list(cache) == list("abc")


@every_kind
def test_counters_count_reads_only(make):
    """Catch a counter that moves on a write, or misses a way of reading."""
    cache = make(3)
    assert cache.stats().hit_ratio == 0.0
    cache["a"] = 1
    cache.add("b", 2)
    cache.replace("a", 3)
    cache.incr("a")
    cache.pop("b")
    assert counts(cache) == (0, 0)
    assert cache["a"] == 4
    with pytest.raises(KeyError):
        cache["z"]
    cache.get("a")
    cache.get("z")
    assert cache.get_many(["a", "z", "a"]) == [4, None, 4]
    cache.setdefault("a", 0)
    assert counts(cache) == (5, 3)
    stats = cache.stats()
    assert isinstance(stats, CacheStats)
    assert stats.requests == 8
    assert stats.hit_ratio == 5 / 8
    assert stats.entries == 1
    assert stats.expirations == stats.listener_errors == 0
    assert stats.tiers["memory"].hits == 5


@every_kind
def test_stats_are_frozen_and_pure(make):
    """Catch stats that change what they report, or that a caller can change."""
    cache = make(3)
    cache["a"] = 1
    cache.get("a")
    first = cache.stats()
    assert [cache.stats() for _ in range(4)] == [first] * 4
    with pytest.raises(AttributeError):
        first.hits = 5
    cache.get("a")
    assert first.hits == 1


@every_kind
def test_total_size_grows_with_content(make):
    """Catch a size that is not that of keys and values."""
    cache = make(3)
    assert cache.stats().total_size == 0
    cache["a"] = b"x" * 100_000
    assert 100_000 <= cache.stats().total_size < 102_000
    cache["a"] = b""
    assert cache.stats().total_size < 2_000


@every_kind
def test_cache_info_is_that_of_functools(make):
    """Catch another order of the four fields."""
    cache = make(3)
    cache["a"] = 1
    cache.get("a")
    cache.get("z")
    cache.get("z")
    assert cache.cache_info() == CacheInfo(1, 2, 3, 1) == (1, 2, 3, 1)
    assert cache.cache_info()._fields == ("hits", "misses", "maxsize", "currsize")
    assert (cache.maxsize, cache.currsize) == (3, 1)


@every_kind
def test_bound_and_policy_cannot_be_assigned(make):
    """Catch a bound that changes behind the store's back."""
    cache = make(3)
    for name in ("maxsize", "currsize", "policy"):
        with pytest.raises(AttributeError):
            setattr(cache, name, 5)
    assert EvictionPolicy(cache.policy) in set(EvictionPolicy)
    assert type(cache.policy) is str


def test_missing_is_falsy_and_one():
    """Catch a sentinel that is truthy, or that a copy doubles."""
    import copy
    import pickle

    assert not MISSING
    assert copy.deepcopy(MISSING) is MISSING
    assert pickle.loads(pickle.dumps(MISSING)) is MISSING
    assert "MISSING" in repr(MISSING)
