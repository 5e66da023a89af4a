"""Batches answer what the same single calls answer, in the same order."""

import pytest
from hostile import Recorder
from kinds import every_kind

from frys_cache import MISSING, EvictionCause

SIZES = [0, 1, 2, 31, 32, 33, 63, 64, 65, 1000, 30_000]


@every_kind
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [str, int, bytes, tuple], ids=lambda kind: kind.__name__)
def test_get_many_is_aligned_with_its_keys(make, size, kind):
    """Catch a batch that mixes up places at the edge of a block of keys."""
    name = {
        str: str,
        int: int,
        bytes: lambda number: b"%d" % number,
        tuple: lambda number: (number, "x"),
    }[kind]
    cache = make(2 * size + 1)
    keys = [name(number) for number in range(size)]
    cache.put_many((key, place) for place, key in enumerate(keys) if place % 3)
    answer = cache.get_many(keys, -1)
    assert answer == [place if place % 3 else -1 for place in range(size)]
    assert cache.stats().hits == sum(1 for place in range(size) if place % 3)
    assert cache.stats().requests == size
    cache._check()


@every_kind
def test_get_many_of_mixed_types_and_duplicates(make):
    """Catch a fast path chosen by the first key alone."""
    cache = make(10)
    cache.put_many({"a": 1, b"a": 2, 3: 3, None: 4, (5,): 5, 6.5: 6})
    keys = ["a", b"a", 3, 3.0, None, (5,), 6.5, "a", "absent", True, "a"]
    assert cache.get_many(keys) == [1, 2, 3, 3, 4, 5, 6, 1, None, None, 1]
    assert cache.get_many(keys, default=MISSING)[8] is MISSING


@every_kind
def test_get_many_takes_any_iterable(make):
    """Catch a batch that wants a list, or that reads a generator twice."""
    cache = make(10)
    cache.put_many({"a": 1, "b": 2})
    for keys in (["a", "b"], ("a", "b"), iter("ab"), "ab", {"a": 0, "b": 0}, (k for k in "ab")):
        assert cache.get_many(keys) == [1, 2]
    for walk in (lambda: cache, cache.keys):
        expected = list(cache.values())  # the order of victims, which reading may change
        assert sorted(expected) == [1, 2]
        assert cache.get_many(walk()) == expected
    assert cache.get_many([]) == []
    assert cache.get_many({"a"}) == [1]


@every_kind
@pytest.mark.parametrize("keys", [None, 5, object()])
def test_batches_of_no_iterable_raise(make, keys):
    """Catch a batch that takes anything for an empty one."""
    cache = make(3)
    cache["a"] = 1
    for batch in (cache.get_many, cache.put_many, cache.delete_many):
        with pytest.raises(TypeError):
            batch(keys)
    assert dict(cache) == {"a": 1}


@every_kind
@pytest.mark.parametrize("size", SIZES)
def test_put_many_leaves_what_single_puts_leave(make, size):
    """Catch a batch that evicts at another time than its single puts would."""
    pairs = [(f"key-{number * 31 % (size + 1)}", number) for number in range(size)]
    for bound in (1, 7, size + 1):
        batch, single = make(bound), make(bound)
        assert batch.put_many(pairs) is None
        for key, value in pairs:
            single.put(key, value)
        assert list(batch.items()) == list(single.items())
        assert batch.stats().evictions == single.stats().evictions
        assert batch.stats().inserts == single.stats().inserts
        batch._check()


@every_kind
def test_put_many_takes_mappings_pairs_and_caches(make):
    """Catch a batch that knows only dicts."""

    class Duck:
        def keys(self):
            return ["a", "b"]

        def __getitem__(self, key):
            return key * 2

    other = make(5)
    other.update(a="aa", b="bb")
    for source in (
        {"a": "aa", "b": "bb"},
        [("a", "aa"), ["b", "bb"]],
        (pair for pair in [("a", "aa"), ("b", "bb")]),
        zip("ab", ["aa", "bb"], strict=True),
        other,
        other.items(),
        Duck(),
        {"a": "aa", "b": "bb"}.items(),
    ):
        cache = make(5)
        cache.put_many(source)
        assert dict(cache) == {"a": "aa", "b": "bb"}
        cache._check()


@every_kind
def test_put_many_of_itself_changes_nothing(make):
    """Catch a batch that walks the order which it moves; it must end."""
    cache = make(5)
    cache.update(a=1, b=2, c=3)
    cache.put_many(cache)
    cache.update(cache)
    cache.put_many(cache.items())
    cache |= cache
    assert dict(cache.items()) == {"a": 1, "b": 2, "c": 3}
    if make.policy != "auto":  # where a second use moves an entry behind those of one use
        assert list(cache) == ["a", "b", "c"]
    cache._check()


@every_kind
@pytest.mark.parametrize(
    ("bad", "error"), [((1, 2, 3), ValueError), ((1,), ValueError), (5, TypeError)], ids=str
)
def test_put_many_of_no_pair_raises(make, bad, error):
    """Catch a batch that reads beyond a pair, or takes half of one."""
    for write in ("put_many", "update"):
        cache = make(5)
        cache["old"] = 1
        with pytest.raises(error):
            getattr(cache, write)([("new", 2), bad])
        assert cache["old"] == 1
        assert set(cache) <= {"old", "new"}
        cache._check()


@every_kind
def test_put_many_of_a_failing_source_raises_its_error(make):
    """Catch a batch that swallows what its source raises."""

    def failing():
        yield "new", 2
        raise LookupError("source")

    for write in ("put_many", "update"):
        cache = make(5)
        cache["old"] = 1
        with pytest.raises(LookupError, match="source"):
            getattr(cache, write)(failing())
        assert cache["old"] == 1
        cache._check()


@every_kind
def test_update_is_that_of_dict(make):
    """Catch an update without keywords, or one that names its argument."""
    cache = make(9)
    cache.update()
    cache.update({"a": 1}, b=2)
    cache.update([("c", 3)], a=10)
    cache.update(self=4, other=5, items=6)
    assert dict(cache) == {"a": 10, "b": 2, "c": 3, "self": 4, "other": 5, "items": 6}
    with pytest.raises(TypeError):
        cache.update({}, {})
    with pytest.raises(TypeError):
        cache.update(5)


@every_kind
@pytest.mark.parametrize("size", SIZES)
def test_delete_many_counts_what_it_removed(make, size):
    """Catch a batch that counts absent or repeated keys."""
    cache = make(size + 1)
    cache.put_many((number, number) for number in range(size))
    gone = [*range(0, size, 2), *range(0, size, 2), "absent", -5]
    assert cache.delete_many(gone) == len(range(0, size, 2))
    assert list(cache) == list(range(1, size, 2))
    cache._check()
    assert cache.delete_many(iter([])) == 0
    assert cache.delete_many(cache) == len(range(1, size, 2))
    assert len(cache) == 0
    cache._check()


@every_kind
def test_batches_tell_events_in_their_order(make):
    """Catch a batch that tells its events sorted by cause or not at all."""
    listener = Recorder()
    cache = make(3, on_evict=listener)
    cache.put_many([("a", 1), ("b", 2), ("a", 3), ("c", 4), ("d", 5)])
    first = ({"a", "b", "c"} - set(cache)).pop()
    assert make.policy in ("auto", "s3fifo") or first == ("a" if make.policy == "fifo" else "b")
    other = "c" if "c" in cache else "b"
    value = {"a": 3, "b": 2, "c": 4}
    assert listener.events == [
        ("a", 1, EvictionCause.REPLACED),
        (first, value[first], EvictionCause.EVICTED),
    ]
    listener.events.clear()
    assert cache.delete_many(["d", "absent", other]) == 2
    assert listener.events == [
        ("d", 5, EvictionCause.DELETED),
        (other, value[other], EvictionCause.DELETED),
    ]


@every_kind
def test_clear_empties_and_stays_usable(make):
    """Catch counters that underflow after clear, or a table that is not whole again."""
    cache = make(100)
    for _ in range(3):
        cache.put_many((number, number) for number in range(500))
        cache.clear()
        assert len(cache) == 0
        assert list(cache) == []
        assert cache.get(5) is None
        cache._check()
        cache.clear()
    cache["a"] = 1
    assert list(cache.items()) == [("a", 1)]
    cache._check()
