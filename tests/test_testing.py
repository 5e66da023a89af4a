"""What is shipped for tests is held to a few answers worked out by hand."""

import math

import pytest

from frys_cache import ConfigurationError, EvictionCause
from frys_cache.testing import FakeClock, ReferenceCache


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
