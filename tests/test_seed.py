"""The code blocks of the specification, in Python: a test for each, with its effect in a cache."""

from datetime import timedelta

import pytest
import rocksdict  # noqa: F401  left out where it is not installed

from frys_cache import (
    MISSING,
    CacheBuilder,
    CacheError,
    CompositePolicy,
    ConsistencyManager,
    ConsistencyStrategy,
    EvictionPolicy,
    FrysCache,
    KeyTooLarge,
    LruPolicy,
    MemoryCache,
    TtlPolicy,
)
from frys_cache.testing import FakeClock


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Run in a folder of its own: the paths of the specification are relative."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_quick_start(folder, capsys):
    """Catches "Quick Start": a tier, a ttl or a compression that is said and not made."""
    cache = (
        CacheBuilder()
        .with_memory_lru(1000)
        .with_persistent("./cache.db")
        .with_ttl(timedelta(seconds=3600))
        .with_compression(True)
        .build()
    )
    cache.put(b"user:123", b"{'name': 'Alice'}")
    if (data := cache.get(b"user:123")) is not None:
        print(f"Found user: {data.decode()}")
    assert capsys.readouterr().out == "Found user: {'name': 'Alice'}\n"

    assert (cache.maxsize, cache.policy) == (1000, "lru")
    assert 3590 < cache.ttl_of(b"user:123") <= 3600
    cache.close()
    assert (folder / "cache.db").is_dir()
    with FrysCache(10, persistent="./cache.db") as again:
        assert again[b"user:123"] == b"{'name': 'Alice'}"
        assert 3590 < again.ttl_of(b"user:123") <= 3600


def test_memory_cache():
    """Catches "Memory Cache": one of two bounds that is lost on the way."""
    cache = (
        CacheBuilder()
        .max_entries(5000)
        .max_size_bytes(100 * 1024 * 1024)  # 100 MB
        .eviction_policy(EvictionPolicy.LRU)
        .build()
    )
    cache.update({number: bytes(100) for number in range(6000)})
    assert len(cache) == 5000
    cache["large"] = bytes(99 * 1024 * 1024)
    assert len(cache) == 5000
    cache["larger"] = bytes(100 * 1024 * 1024 - 100)
    assert list(cache) == ["larger"]
    assert cache.policy == "lru"


def test_persistent_cache(folder):
    """Catches "Persistent Cache": a bound of memory that is asked for, a level that is ignored."""
    cache = (
        CacheBuilder().with_persistent("./cache.db").with_compression(True).compression_level(5)
    ).build()
    text = "again and again " * 1000
    cache["text"] = text
    assert cache.maxsize == 64 * 1024 * 1024
    cache.close()
    with CacheBuilder().with_persistent("./cache.db").build() as again:
        assert again["text"] == text
        disk = again.tiers["persistent"]
        assert len(disk.tier.read_one(disk.codec.key("text"))) < len(text) / 10


def test_error_handling(folder, capsys):
    """Catches "Error Handling": an error that cannot be told from a miss, or says no sizes."""
    with FrysCache(1000, persistent="./cache.db") as cache:
        cache.put(b"key", b"data")
        for key in (b"key", b"missing_key", b"k" * 100_000):
            try:
                data = cache.get(key)
                print(f"Found: {data!r}" if data is not None else "Key not found")
            except KeyTooLarge as error:
                print(f"Key too large: {error.size} > {error.max_size}")
            except CacheError as error:
                print(f"Cache error: {error}")
        cache.close()
        try:
            cache.get(b"key")
        except CacheError as error:
            print(f"Cache error: {error}")
    assert capsys.readouterr().out.splitlines() == [
        "Found: b'data'",
        "Key not found",
        "Key too large: 100001 > 65536",
        "Cache error: the cache has been closed",
    ]


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


class Rows:
    """A backend: a dict that says what was asked of it."""

    def __init__(self):
        self.rows = {}

    def load(self, key):
        return self.rows.get(key, MISSING)

    def store(self, key, value):
        self.rows[key] = value

    def delete(self, key):
        self.rows.pop(key, None)


def test_write_through():
    """Catches "Write-Through": a write that is in one of cache and backend only."""
    consistency = ConsistencyManager(ConsistencyStrategy.WRITE_THROUGH)
    backend = Rows()
    cache = FrysCache(10, consistency=consistency, backend=backend)
    cache["a"] = 1
    assert backend.rows == {"a": 1}
    assert dict(cache) == {"a": 1}


def test_write_back(folder):
    """Catches "Write-Back": a write that waits for the backend, or never gets there."""
    backend = Rows()
    consistency = ConsistencyManager(ConsistencyStrategy.WRITE_BACK, backend, max_delay=3600)
    with FrysCache(10, persistent="./cache.db", consistency=consistency) as cache:
        cache["a"] = 1
        assert cache["a"] == 1
        assert backend.rows == {}
        cache.flush()
        assert backend.rows == {"a": 1}


def test_cache_aside():
    """Catches "Cache-Aside": a cache that writes the store of the application."""
    consistency = ConsistencyManager(ConsistencyStrategy.CACHE_ASIDE)
    store = {"a": 1}
    cache = FrysCache(10, consistency=consistency)
    version = cache.begin("a")
    cache.put("a", store["a"], version=version)
    assert cache["a"] == 1
    version = cache.begin("a")
    old = store["a"]
    store["a"] = 2
    cache.delete("a")
    cache.put("a", old, version=version)
    assert "a" not in cache
    assert store == {"a": 2}
