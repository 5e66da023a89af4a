"""Token and fill: what a slow read brings goes in only if the key was not touched since."""

import pytest
from hostile import Recorder, SameHash

from frys_cache import EvictionCause, FrysCache, MemoryCache, ValueTooLarge
from frys_cache.testing import FakeClock


def test_token_holds_until_the_key_is_touched():
    """Catch a fill that is refused without a reason, or a second fill that overwrites."""
    cache = FrysCache(5)
    token = cache._token("a")
    assert isinstance(token, int)
    assert cache._token("a") == token
    cache.get("a")
    cache.peek("a")
    list(cache)
    assert cache._fill("a", 1, None, None, token) is True
    assert cache["a"] == 1
    cache._check()


TOUCHES = {
    "put": lambda cache: cache.put("a", 1),
    "setitem": lambda cache: cache.__setitem__("a", 1),
    "add": lambda cache: cache.add("a", 1),
    "incr": lambda cache: cache.incr("a"),
    "setdefault": lambda cache: cache.setdefault("a", 1),
    "update": lambda cache: cache.update(a=1),
    "put_many": lambda cache: cache.put_many({"b": 1, "a": 1}),
    "put_many of strangers' keys": lambda cache: cache.put_many([(SameHash(1), 1), ("a", 1)]),
    "clear": lambda cache: cache.clear(),
    "delete of an absent key": lambda cache: cache.delete("a"),
    "delete_many of an absent key": lambda cache: cache.delete_many(["a"]),
    "pop of an absent key": lambda cache: cache.pop("a", None),
    "put and delete": lambda cache: (cache.put("a", 1), cache.delete("a")),
    "put and del": lambda cache: (cache.put("a", 1), cache.__delitem__("a")),
    "put and pop": lambda cache: (cache.put("a", 1), cache.pop("a")),
    "put and popitem": lambda cache: (cache.put("a", 1), cache.popitem()),
    "put and delete_many": lambda cache: (cache.put("a", 1), cache.delete_many(["a"])),
    "put and clear": lambda cache: (cache.put("a", 1), cache.clear()),
    "put_many and evict": lambda cache: (
        cache.put_many([("a", 1)]),
        cache.put_many((number, number) for number in range(10)),
    ),
}


@pytest.mark.parametrize("touch", TOUCHES.values(), ids=list(TOUCHES))
def test_fill_after_the_key_was_touched_is_refused(touch):
    """Catch a slow read from below that overwrites, or brings back, what has changed meanwhile."""
    cache = FrysCache(5)
    token = cache._token("a")
    touch(cache)
    before = list(cache.items())
    assert cache._fill("a", "stale", None, None, token) is False
    assert list(cache.items()) == before
    assert cache._fill("a", "fresh", None, None, cache._token("a")) in (True, False)
    cache._check()


@pytest.mark.parametrize("touch", ["overwrite", "replace", "delete", "del", "pop", "popitem"])
def test_fill_after_a_present_key_was_touched_is_refused(touch):
    """Catch a token taken beside an old value that survives the value."""
    cache = FrysCache(5)
    cache["a"] = 1
    token = cache._token("a")
    {
        "overwrite": lambda: cache.put("a", 2),
        "replace": lambda: cache.replace("a", 2),
        "delete": lambda: cache.delete("a"),
        "del": lambda: cache.__delitem__("a"),
        "pop": lambda: cache.pop("a"),
        "popitem": lambda: cache.popitem(),
    }[touch]()
    assert cache._fill("a", "stale", None, None, token) is False
    assert cache.peek("a") in (None, 2)


def test_eviction_does_not_refuse_a_fill():
    """Catch a token that an eviction outdates: the key has not changed below."""
    cache = FrysCache(2, policy="lru")
    cache["a"] = 1
    token = cache._token("a")
    cache.update(b=2, c=3)
    assert "a" not in cache
    assert cache._fill("a", 1, None, None, token) is True
    cache._check()


def test_strangers_writes_seldom_refuse_a_fill():
    """Catch a token per cache instead of one per key, or so few that strangers always meet."""
    filled = 0
    for number in range(1000):
        cache = FrysCache(100)
        token = cache._token(f"key-{number}")
        cache.put_many((f"other-{number}-{step}", step) for step in range(10))
        filled += cache._fill(f"key-{number}", 1, None, None, token)
    assert filled > 900


def test_fill_obeys_the_bound_and_tells_the_eviction():
    """Catch a fill that goes past the bound or the listener."""
    listener = Recorder()
    cache = FrysCache(2, policy="lru", on_evict=listener)
    cache.update(a=1, b=2)
    assert cache._fill("c", 3, None, None, cache._token("c"))
    assert list(cache) == ["b", "c"]
    assert listener.events == [("a", 1, EvictionCause.EVICTED)]
    cache._check()


@pytest.mark.parametrize(
    "arguments",
    [("deadline", None), (True, None), (None, "version"), (None, 1), (1, 1)],
)
def test_fill_with_what_does_not_exist_yet_raises(arguments):
    """Catch a deadline or a version that is taken and ignored."""
    cache = FrysCache(5)
    with pytest.raises(TypeError):
        cache._fill("a", 1, *arguments, cache._token("a"))
    assert len(cache) == 0


def test_fill_with_deadline_expires_then():
    """Catch a promotion that prolongs a life, or forgets to end it."""
    clock = FakeClock(100.0)
    cache = MemoryCache(5, ttl=1000, clock=clock)
    assert cache._fill("a", 1, 102.5, None, cache._token("a"))
    assert cache._fill("b", 2, 50.0, None, cache._token("b"))
    assert cache._fill("c", 3, None, None, cache._token("c"))
    assert cache.ttl_of("a") == 2.5
    assert cache.ttl_of("c") is None
    clock.advance(2.5)
    assert list(cache) == ["c"]
    with pytest.raises(ValueError, match="finite"):
        cache._fill("d", 1, float("nan"), None, cache._token("d"))
    cache._check()


def test_token_and_fill_of_odd_keys():
    """Catch a token that needs a plain key."""
    cache = FrysCache(10)
    for key in (None, (1, "x"), SameHash(1), 1.5, b"x", -1, -2):
        assert cache._fill(key, repr(key), None, None, cache._token(key))
        assert cache[key] == repr(key)
    with pytest.raises(TypeError, match="unhashable"):
        cache._token([])
    with pytest.raises(TypeError, match="unhashable"):
        cache._fill([], 1, None, None, 0)
    cache._check()


def test_refill_replaces_what_is_there_while_the_token_holds():
    """Catch a refill that is refused because the key is there, or that lets a second one in."""
    clock = FakeClock(100.0)
    cache = MemoryCache(5, ttl=1000, clock=clock)
    for before in (False, True):
        token = cache._token("a")
        assert ("a" in cache) is before
        assert cache._refill("a", before, 102.5, token) is True
        assert cache["a"] is before
        assert cache.ttl_of("a") == 2.5
        assert cache._refill("a", "second", None, token) is False
        assert cache["a"] is before
    assert cache._refill("a", "for ever", None, cache._token("a"))
    assert cache.ttl_of("a") is None
    cache._check()


@pytest.mark.parametrize("touch", TOUCHES.values(), ids=list(TOUCHES))
def test_refill_after_the_key_was_touched_is_refused(touch):
    """Catch a slow read from below that overwrites, or brings back, what has changed meanwhile."""
    cache = FrysCache(5)
    token = cache._token("a")
    touch(cache)
    before = list(cache.items())
    assert cache._refill("a", "stale", None, token) is False
    assert list(cache.items()) == before
    cache._check()


def test_refill_too_heavy_is_refused_and_the_replaced_value_is_told():
    """Catch a refill that goes past the bound of bytes or the listener."""
    listener = Recorder()
    cache = MemoryCache(max_size_bytes=100, on_evict=listener)
    cache["a"] = b"x" * 10
    with pytest.raises(ValueTooLarge):
        cache._refill("a", b"y" * 200, None, cache._token("a"))
    assert cache["a"] == b"x" * 10
    assert cache._refill("a", b"z" * 20, None, cache._token("a"))
    assert listener.events == [("a", b"x" * 10, EvictionCause.REPLACED)]
    with pytest.raises(TypeError, match="unhashable"):
        cache._refill([], 1, None, 0)
    cache._check()
