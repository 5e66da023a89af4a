"""A tier that fails on purpose in the place of a disk, and a stand-in that compresses."""

import pytest
import rocksdict  # noqa: F401  left out where it is not installed

from frys_cache import CacheClosed, ConfigurationError, FrysCache, PersistentCache, TierUnavailable
from frys_cache.testing import FaultyTier
from frys_cache.tiers.standin import StandInCache


def test_persistent_cache_over_a_faulty_tier_works_and_fails(tmp_path):
    """Catch a wrapper that lacks what a cache on disk uses of its tier."""
    with PersistentCache(tmp_path / "db") as disk:
        disk.tier = tier = FaultyTier(disk.tier)
        disk["a"] = 1
        disk.put_many({"b": 2, "c": 3})
        assert (disk["a"], disk.get_many("bcd")) == (1, [2, 3, None])
        assert disk.add("d", 4)
        assert disk.incr("d") == 5
        assert list(disk) == list("abcd")
        assert len(disk) == 4
        tier.break_down()
        with pytest.raises(TierUnavailable):
            disk["a"]
        with pytest.raises(TierUnavailable):
            disk["a"] = 2
        tier.heal()
        assert disk["a"] == 1
        cache = FrysCache(10, persistent=disk)
        assert cache.get("b") == 2
        tier.break_down()
        assert cache.get("c") is None
        assert cache.health()["persistent"].faults == 1
        tier.heal()
        assert cache.get("c") == 3
        assert tier.corrupt == 0
        cache.close()
        disk.clear()
        assert len(disk) == 0


def test_stand_in_cache_is_what_a_chain_takes():
    """Catch a stand-in whose parts do not fit each other."""
    cache = StandInCache("remote", namespace="users", ttl=5, compression=True)
    assert (cache.name, cache.ttl, cache.codec.namespace) == ("remote", 5, "users")
    code = cache.codec.key("ada")
    version = cache.versions.next()
    record = cache.codec.encode(code, "x" * 10_000, version, 0)
    assert len(record) < 1_000
    assert cache.tier.put_one(code, record, version, 0)
    assert cache.codec.decode(code, cache.tier.read_one(code))[0] == "x" * 10_000
    cache.close()
    cache.close()
    with pytest.raises(CacheClosed):
        cache.tier.read_one(code)
    with pytest.raises(ConfigurationError):
        StandInCache(ttl=-1)
