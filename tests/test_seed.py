"""The code blocks of the specification, in Python: a test for each, with its effect in a cache."""

from frys_cache import CompositePolicy, FrysCache, LruPolicy, MemoryCache, TtlPolicy
from frys_cache.testing import FakeClock


def test_ttl_policy():
    """Catches "TTL Policy": an object that is accepted and then forgotten."""
    clock = FakeClock()
    cache = MemoryCache(10, policy=TtlPolicy(3600), clock=clock)
    cache["a"] = 1
    assert cache.ttl_of("a") == 3600
    clock.advance(3599)
    assert cache["a"] == 1
    clock.advance(1)
    assert "a" not in cache
    assert FrysCache(10, policy=TtlPolicy(3600)).policies.ttl == 3600


def test_lru_policy():
    """Catches "LRU Policy": an object that another policy is taken for."""
    cache = FrysCache(2, policy=LruPolicy())
    cache.update(a=1, b=2)
    assert cache["a"] == 1
    cache["c"] = 3
    assert dict(cache.items()) == {"a": 1, "c": 3}
    assert cache.policy == "lru"


def test_composite_policies():
    """Catches "Composite Policies": one half of the object that is lost."""
    clock = FakeClock()
    cache = MemoryCache(2, policy=CompositePolicy.lru_with_ttl(1800), clock=clock)
    cache.update(a=1, b=2)
    assert cache["a"] == 1
    cache["c"] = 3
    assert dict(cache.items()) == {"a": 1, "c": 3}
    clock.advance(1800)
    assert len(cache) == 0
