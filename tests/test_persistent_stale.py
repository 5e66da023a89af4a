"""A stale record in a `PersistentCache`: kept for who serves it, absent for everybody else."""

import pytest
import rocksdict  # noqa: F401 - the cache cannot do without it
import zstandard  # noqa: F401

from frys_cache import FrysCache
from frys_cache.codec.entry import Codec
from frys_cache.tiers.persistent import PersistentCache

NOW = 1_700_000_000_000


@pytest.fixture(params=[None, 1 << 20], ids=["unbounded", "bounded"])
def cache(request, tmp_path):
    """Give a cache whose time stands still.

    `stale` has been stale for 5 s and is kept for 5 more, `fresh` becomes stale in 5 s.
    """
    with PersistentCache(tmp_path / "db", max_size_bytes=request.param) as cache:
        clock = cache.tier.wall
        clock._ahead, clock.wall, clock.steady = 0, (lambda: NOW), (lambda: 0)
        cache.tier.sweeper.stop()
        store(cache, "stale", 1, NOW + 5_000, NOW - 5_000)
        store(cache, "fresh", 2, NOW + 9_000, NOW + 5_000)
        cache["plain"] = 3
        yield cache


def store(cache, key, value, hard, fresh):
    """Store a value with two ends."""
    code = cache.codec.key(key)
    version = cache.tier.versions.next()
    record = cache.codec.encode(code, value, version, hard, fresh_ms=fresh)
    assert cache.tier.put_one(code, record, version, hard)


def record_of(cache, key):
    """Return what the tier has for a key."""
    return cache.tier.read_one(cache.codec.key(key))


def test_stale_is_absent_wherever_one_looks(cache):
    """Catch a method that looks at the hard end only."""
    assert "stale" not in cache
    assert "fresh" in cache
    assert cache.get("stale", "none") == cache.peek("stale", "none") == "none"
    assert cache.get_many(["stale", "fresh", "plain"]) == [None, 2, 3]
    assert list(cache) == list(cache.scan()) == ["fresh", "plain"]
    assert dict(cache.items()) == {"fresh": 2, "plain": 3}
    assert sorted(cache.values()) == [2, 3]
    assert len(cache) == 2
    assert [key for _, key in cache.versions_of()] == ["fresh", "plain"]
    assert cache.ttl_of("fresh") == 5.0
    with pytest.raises(KeyError):
        cache.ttl_of("stale")
    with pytest.raises(KeyError):
        cache["stale"]


def test_stale_is_still_there_for_who_asks_the_record(cache):
    """Catch a tier that throws away at the fresh end what it was to keep until the hard one."""
    cache.tier.sweep()
    code = cache.codec.key("stale")
    record = cache.tier.fetch(code)
    assert cache.codec.decode(code, record)[0] == 1
    assert cache.codec.ends(record)[1:] == (NOW - 5_000, NOW + 5_000, 0)


def test_stale_is_replaced_as_if_absent(cache):
    """Catch an `add` that a stale record refuses, or that never ends because of it."""
    assert not cache.replace("stale", 9)
    assert cache.add("stale", 9)
    assert cache["stale"] == 9
    assert not cache.add("fresh", 9)
    assert cache.replace("fresh", 9)
    assert cache.ttl_of("fresh") is None


def test_incr_of_stale_begins_anew(cache):
    """Catch a sum that goes on from a value that is over."""
    assert cache.incr("stale", 5) == 5
    assert cache.ttl_of("stale") is None
    assert cache.incr("fresh", 5) == 7
    assert cache.ttl_of("fresh") == 5.0


def test_touch_of_stale_is_false_and_leaves_it(cache):
    """Catch a stale value that is made fresh without having been loaded."""
    before = record_of(cache, "stale")
    assert cache.touch("stale", 60) is False
    assert record_of(cache, "stale") == before
    assert cache.touch("fresh", 60) is True
    assert cache.ttl_of("fresh") == 60.0


def test_setdefault_of_stale_stores_the_default(cache):
    """Catch a loop between a read that finds nothing and an add that finds something."""
    assert cache.setdefault("stale", 9) == 9
    assert cache.setdefault("fresh", 9) == 2


def test_pop_and_delete_of_stale_remove_it_and_say_absent(cache):
    """Catch a removed value that is served stale, and a removal that claims what was not there."""
    assert cache.pop("stale", "none") == "none"
    assert record_of(cache, "stale") is None
    store(cache, "stale", 1, NOW + 5_000, NOW - 5_000)
    with pytest.raises(KeyError):
        cache.pop("stale")
    assert record_of(cache, "stale") is None
    store(cache, "stale", 1, NOW + 5_000, NOW - 5_000)
    assert cache.delete("stale") is False
    assert record_of(cache, "stale") is None
    store(cache, "stale", 1, NOW + 5_000, NOW - 5_000)
    assert cache.delete_many(["stale", "fresh", "none"]) == 1
    assert cache.popitem() == ("plain", 3)
    with pytest.raises(KeyError):
        cache.popitem()


def test_chain_that_knows_nothing_of_staleness_takes_it_for_a_miss(cache):
    """Catch a value that a plain cache over the same path serves after its time."""
    with FrysCache(10, persistent=cache) as front:
        assert front.get("stale") is None
        assert "stale" not in front
        assert front.get("fresh") == 2
        assert 4 < front.ttl_of("fresh") < 5.1
        assert front.get_many(["stale", "plain"]) == [None, 3]
        assert front.add("stale", 7)
        assert front["stale"] == 7


def test_damaged_area_is_absent_and_removed(cache):
    """Catch a damaged extension area that makes a cache fail, or that stays for ever."""
    code = cache.codec.key("bad")
    record = bytearray(Codec().encode(code, 1, cache.tier.versions.next(), 0, fresh_ms=NOW + 1))
    record[22:24] = b"\x01\x07"
    cache.tier.write([(code, bytes(record))])
    assert cache.get("bad") is None
    assert cache.corrupt == 1
    assert record_of(cache, "bad") is None
