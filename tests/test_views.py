"""Views look at the cache as it is now; iterators at what was there, minus what has gone."""

import contextlib
from collections.abc import ItemsView, Iterator, KeysView, Mapping, MappingView, Set, ValuesView

import pytest
from kinds import every_kind


def filled(make, names="abcd", bound=10):
    cache = make(bound)
    cache.update({name: place for place, name in enumerate(names)})
    return cache


WAYS = {
    "iter": iter,
    "keys": lambda cache: iter(cache.keys()),
    "values": lambda cache: iter(cache.values()),
    "items": lambda cache: iter(cache.items()),
    "reversed": reversed,
    "reversed keys": lambda cache: reversed(cache.keys()),
    "reversed values": lambda cache: reversed(cache.values()),
    "reversed items": lambda cache: reversed(cache.items()),
}
every_way = pytest.mark.parametrize("walk", WAYS.values(), ids=list(WAYS))


@every_kind
def test_views_are_those_of_collections_abc(make):
    """Catch a method that returns a list."""
    cache = filled(make)
    assert isinstance(cache.keys(), KeysView)
    assert isinstance(cache.values(), ValuesView)
    assert isinstance(cache.items(), ItemsView)
    for view in (cache.keys(), cache.values(), cache.items()):
        assert isinstance(view, MappingView)
        assert len(view) == 4
        assert isinstance(iter(view), Iterator)
        assert isinstance(reversed(view), Iterator)
    assert isinstance(cache.keys(), Set)
    assert isinstance(cache.items(), Set)


@every_kind
def test_view_follows_the_cache(make):
    """Catch a view that is a snapshot."""
    cache = filled(make)
    keys, values, items = cache.keys(), cache.values(), cache.items()
    cache["e"] = 4
    del cache["a"]
    assert list(keys) == list("bcde")
    assert list(values) == [1, 2, 3, 4]
    assert list(items) == list(zip("bcde", [1, 2, 3, 4], strict=True))
    assert len(keys) == len(values) == len(items) == 4
    cache.clear()
    assert list(keys) == list(values) == list(items) == []


@every_kind
def test_view_reversed_is_the_other_way(make):
    """Catch views that differ in their order."""
    cache = filled(make)
    cache.get("b")
    for view in (cache.keys(), cache.values(), cache.items()):
        assert list(reversed(view)) == list(view)[::-1]
    assert list(cache.items()) == list(zip(cache.keys(), cache.values(), strict=True))
    assert list(reversed(cache)) == list(cache)[::-1]


@every_kind
def test_key_view_is_a_set(make):
    """Catch a set operation that is missing or gives another answer than that of dict."""
    cache, plain = filled(make), dict.fromkeys("abcd")
    for other in (set("cdef"), {"c": 1, "x": 2}.keys(), set(), frozenset("abcd"), set("ab")):
        assert cache.keys() & other == plain.keys() & other
        assert cache.keys() | other == plain.keys() | other
        assert cache.keys() - other == plain.keys() - other
        assert cache.keys() ^ other == plain.keys() ^ other
        assert other & cache.keys() == other & plain.keys()
        assert other - cache.keys() == other - plain.keys()
        assert (cache.keys() <= other) == (plain.keys() <= other)
        assert (cache.keys() > other) == (plain.keys() > other)
        assert (cache.keys() == other) == (plain.keys() == other)
        assert cache.keys().isdisjoint(other) == plain.keys().isdisjoint(other)
    assert cache.keys() == plain.keys()
    assert "a" in cache.keys()  # noqa: SIM118 - the view is what is asked
    assert "z" not in cache.keys()  # noqa: SIM118


@every_kind
def test_item_view_is_a_set_of_pairs(make):
    """Catch an item view that looks at keys alone."""
    cache = filled(make)
    plain = dict(cache)
    assert cache.items() == plain.items()
    assert cache.items() & {("a", 0), ("b", 5)} == {("a", 0)}
    assert cache.items() - {("a", 0)} == {("b", 1), ("c", 2), ("d", 3)}
    assert cache.items() | {("e", 4)} == plain.items() | {("e", 4)}
    assert ("a", 0) in cache.items()
    assert ("a", 1) not in cache.items()
    assert ("z", 0) not in cache.items()
    for odd in ("a", ("a",), ("a", 0, 0), 5, None):
        # Either answer will do: collections.abc.ItemsView raises.
        with contextlib.suppress(TypeError, ValueError):
            assert odd not in cache.items()


@every_kind
def test_value_view_finds_equal_and_identical_values(make):
    """Catch a value view that asks NaN whether it equals itself."""
    cache = make(5)
    nan = float("nan")
    cache.update(a=nan, b=[1, 2], c=None)
    assert nan in cache.values()
    assert [1, 2] in cache.values()
    assert None in cache.values()
    assert 5 not in cache.values()


@every_kind
def test_view_keeps_its_cache_and_tells_it(make):
    """Catch a view that outlives its cache, and a repr that fails."""
    keys = filled(make).keys()
    assert list(keys) == list("abcd")
    assert repr(keys)
    mapping = getattr(keys, "mapping", None)
    assert mapping is None or isinstance(mapping, Mapping)


@every_kind
@every_way
def test_iterator_does_not_show_what_came_later(make, walk):
    """Catch an iterator that never ends while the loop inserts."""
    cache = filled(make, bound=1000)
    steps = 0
    for _ in walk(cache):
        steps += 1
        cache[f"new-{steps}"] = steps
        cache[f"newer-{steps}"] = steps
    assert steps == 4
    assert len(cache) == 12


@every_kind
@every_way
def test_iterator_skips_what_has_gone(make, walk):
    """Catch an iterator that shows a dead entry or stops at one."""
    cache = filled(make, "abcdefgh")
    walked = list(walk(cache))
    iterator = walk(cache)
    assert next(iterator) == walked[0]
    order = list(cache) if walked[0] in ("a", 0, ("a", 0)) else list(reversed(cache))
    cache.delete_many([order[0], order[1], order[2], order[7]])
    assert list(iterator) == walked[3:7]
    assert list(iterator) == []


@every_kind
@every_way
def test_iterator_skips_what_has_gone_and_come_again(make, walk):
    """Catch an iterator that takes a new entry in an old entry's place for the old one."""
    cache = filled(make)
    iterator = walk(cache)
    first = next(iterator)
    gone = [key for key in cache if key != str(first)]
    for key in "abcd":
        if first not in (key, cache[key], (key, cache[key])):
            del cache[key]
    for place in range(len(gone)):
        cache[f"other-{place}"] = place
    cache.update(dict.fromkeys("abcd", 9))
    assert list(iterator) == []


@every_kind
@every_way
def test_iterator_lives_through_clear_and_eviction(make, walk):
    """Catch an iterator that follows a link into a freed entry."""
    for ruin in (
        lambda cache: cache.clear(),
        # Each of them so often that it is worth more than what was there.
        lambda cache: cache.put_many((number // 20, number) for number in range(2000)),
        lambda cache: [cache.popitem() for _ in range(len(cache))],
    ):
        cache = filled(make, bound=4)
        iterator = walk(cache)
        next(iterator)
        ruin(cache)
        assert list(iterator) == []
        cache._check()


@every_kind
def test_iterator_shows_the_current_value(make):
    """Catch an iterator that copied the values."""
    cache = filled(make)
    values, items = iter(cache.values()), iter(cache.items())
    cache.update(dict.fromkeys("abcd", "new"))
    assert list(values) == ["new"] * 4
    assert list(items) == [(key, "new") for key in "abcd"]


@every_kind
@every_way
def test_iterator_keeps_its_order_while_hits_move_entries(make, walk):
    """Catch an iterator that shows an entry twice, or never, because a hit moved it."""
    cache = filled(make, "abcdefgh")
    expected = list(walk(cache))
    shown = []
    for thing in walk(cache):
        shown.append(thing)
        cache.get("a")
        cache.get("h")
        cache.get("d")
    assert shown == expected


@every_kind
@every_way
def test_iterator_lives_longer_than_its_cache_has_a_name(make, walk):
    """Catch an iterator that does not hold what it walks."""
    iterator = walk(filled(make))
    assert len(list(iterator)) == 4


@every_kind
@every_way
def test_iterator_of_an_empty_cache_ends_and_stays_ended(make, walk):
    """Catch an iterator that comes alive again."""
    cache = make(5)
    iterator = walk(cache)
    assert list(iterator) == []
    cache["a"] = 1
    assert list(iterator) == []
    iterator = walk(cache)
    assert len(list(iterator)) == 1
    cache["b"] = 2
    assert list(iterator) == []


@every_kind
@every_way
def test_iterator_may_be_dropped_half_way(make, walk):
    """Catch an iterator whose end only its last step would note."""
    cache = filled(make)
    for _ in range(1000):
        next(walk(cache))
    cache["e"] = 5
    cache.clear()
    cache._check()


@every_kind
@every_way
def test_many_iterators_at_once_do_not_disturb_each_other(make, walk):
    """Catch a walk that is kept in the cache instead of in the iterator."""
    cache = filled(make)
    expected = list(walk(cache))
    one, other = walk(cache), walk(cache)
    assert [pair for _ in expected for pair in (next(one), next(other))] == [
        thing for thing in expected for _ in range(2)
    ]
