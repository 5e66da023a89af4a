"""`PersistentCache` is a mapping that outlives its process."""

import gc
import math
import random
import threading
import weakref
from collections.abc import MutableMapping
from datetime import timedelta

import pytest
import rocksdict  # noqa: F401 - the cache cannot do without it
import zstandard  # noqa: F401

from frys_cache import (
    CacheClosed,
    ConfigurationError,
    KeyNotStable,
    KeyTooLarge,
    Pickle,
    SerializationError,
    ValueTooLarge,
)
from frys_cache.codec.compression import name_of
from frys_cache.tiers.persistent import PersistentCache

NOW = 1_700_000_000_000


class Moved:
    """A cache whose time the test moves."""

    def __init__(self, path, **options):
        self.now = NOW
        self.cache = PersistentCache(path, **options)
        clock = self.cache.tier.wall
        # Forget what the real clock said.
        clock._ahead, clock.wall, clock.steady = 0, (lambda: self.now), (lambda: 0)
        self.cache.tier.sweeper.stop()


@pytest.fixture
def cache(tmp_path):
    """Give an empty cache."""
    with PersistentCache(tmp_path / "db") as cache:
        yield cache


@pytest.fixture
def moved(tmp_path):
    """Give a cache and its time."""
    moved = Moved(tmp_path / "db")
    with moved.cache:
        yield moved


VALUES = [None, True, 0, -1, 1 << 80, 1.5, "", "text", b"", b"\0\xff", [1, "2"], {"a": (1, 2)}]


def test_values_come_back_as_they_were_after_a_reopening(tmp_path):
    """Catch a cache that is not persistent, or changes the type of what it keeps."""
    with PersistentCache(tmp_path / "db") as cache:
        for number, value in enumerate(VALUES):
            cache[number] = value
        cache["large"] = "x" * 1_000_000
    with PersistentCache(tmp_path / "db") as cache:
        for number, value in enumerate(VALUES):
            assert cache[number] == value
            assert type(cache[number]) is type(value)
        assert cache["large"] == "x" * 1_000_000
        assert len(cache) == len(VALUES) + 1


def test_mapping_behaves_as_a_dict(cache):
    """Catch a method of a mapping that is missing or means something else."""
    assert isinstance(cache, MutableMapping)
    assert cache.get("a") is None
    assert cache.get("a", 7) == 7
    with pytest.raises(KeyError) as caught:
        cache["a"]
    assert caught.value.args == ("a",)
    with pytest.raises(KeyError):
        del cache["a"]
    cache["a"] = None
    assert cache["a"] is None
    assert cache.get("a", 7) is None
    assert "a" in cache
    assert "b" not in cache
    assert cache.setdefault("a", 5) is None
    assert cache.setdefault("b", 5) == 5
    cache.update({"c": 3}, d=4)
    cache.update([("e", 5)])
    assert list(cache) == list(cache.keys()) == ["a", "b", "c", "d", "e"]
    assert list(cache.values()) == [None, 5, 3, 4, 5]
    assert dict(cache.items()) == dict(cache) == {"a": None, "b": 5, "c": 3, "d": 4, "e": 5}
    assert cache == {"a": None, "b": 5, "c": 3, "d": 4, "e": 5}
    assert len(cache) == 5
    assert cache.pop("c") == 3
    assert cache.pop("c", 8) == 8
    with pytest.raises(KeyError):
        cache.pop("c")
    assert cache.popitem() == ("a", None)
    del cache["b"]
    cache.clear()
    assert len(cache) == 0
    assert not cache
    with pytest.raises(KeyError):
        cache.popitem()


def test_keys_equal_in_python_are_one(cache):
    """Catch a key that is another after it was written down."""
    cache[1] = "one"
    assert cache[True] == cache[1.0] == "one"
    cache["1"], cache[b"1"], cache[None], cache[(1, "a")] = "str", "bytes", "none", "tuple"
    assert len(cache) == 5
    assert set(cache) == {1, "1", b"1", None, (1, "a")}
    with pytest.raises(KeyNotStable):
        cache[object()]
    with pytest.raises(KeyNotStable):
        cache[object()] = 1


def test_add_replace_delete_tell_what_was_there(cache):
    """Catch a conditional write that is none."""
    assert not cache.replace("a", 1)
    assert cache.add("a", 1)
    assert not cache.add("a", 2)
    assert cache["a"] == 1
    assert cache.replace("a", 3)
    assert cache["a"] == 3
    assert cache.delete("a")
    assert not cache.delete("a")
    assert cache.add("a", 4)


def test_incr_adds_ints_only(moved):
    """Catch a counter that concatenates, or gets a new life with each count."""
    cache = moved.cache
    assert cache.incr("n") == 1
    assert cache.incr("n", 9) == 10
    assert cache.incr("n", -20) == cache["n"] == -10
    cache["s"] = "text"
    with pytest.raises(TypeError, match="text"):
        cache.incr("s")
    with pytest.raises(TypeError):
        cache.incr("n", 1.5)
    cache.put("t", 1, ttl=10)
    moved.now += 4_000
    assert cache.incr("t") == 2
    assert cache.ttl_of("t") == 6


def test_many_keys_at_once(cache):
    """Catch a batch that loses its order, its gaps or its repetitions."""
    cache.put_many({"a": 1, "b": 2})
    cache.put_many([("c", 3), ("c", 4)])
    cache.put_many([])
    assert cache.get_many(["c", "x", "a", "c"]) == [4, None, 1, 4]
    assert cache.get_many(iter(["x", "b"]), "-") == ["-", 2]
    assert cache.get_many([]) == []
    assert cache.delete_many(["a", "x", "a", "b"]) == 2
    assert cache.delete_many([]) == 0
    assert list(cache) == ["c"]
    assert cache.stats().hits == 4
    assert cache.stats().misses == 2


def test_put_many_that_fails_stores_nothing(cache):
    """Catch half a batch."""
    with pytest.raises(TypeError):
        cache.put_many([("a", 1), ("b", object())])
    assert len(cache) == 0


def test_ttl_is_kept_exactly(moved):
    """Catch an entry that lives a moment longer, or a life that a read prolongs."""
    cache = moved.cache
    cache.put("a", 1, ttl=2)
    cache.put("b", 2, ttl=timedelta(minutes=1))
    cache.put("c", 3, ttl=None)
    assert cache.ttl_of("a") == 2
    assert cache.ttl_of("b") == 60
    assert cache.ttl_of("c") is None
    moved.now += 1_999
    assert cache.get_many(["a", "b"]) == [1, 2]
    moved.now += 1
    assert cache.get("a") is None
    assert "a" not in cache
    assert cache.get_many(["a", "b"]) == [None, 2]
    assert list(cache) == ["b", "c"]
    assert len(cache) == 2
    assert not cache.delete("a")
    assert not cache.touch("a")
    assert not cache.replace("a", 1)
    with pytest.raises(KeyError):
        cache.ttl_of("a")
    with pytest.raises(KeyError):
        cache.pop("a")
    assert cache.add("a", 5)
    assert cache.touch("b", 5)
    assert cache.ttl_of("b") == 5
    assert cache.touch("b", None)
    assert cache.ttl_of("b") is None


def test_ttl_of_the_cache_is_the_default(tmp_path):
    """Catch a default that is forgotten by one of the ways to write."""
    moved = Moved(tmp_path / "db", ttl=10)
    cache = moved.cache
    cache["a"] = 1
    cache.put_many({"b": 1})
    cache.add("c", 1)
    cache.incr("d")
    cache.setdefault("e", 1)
    cache.put("f", 1, ttl=None)
    assert [cache.ttl_of(key) for key in "abcdef"] == [10, 10, 10, 10, 10, None]
    moved.now += 10_000
    assert list(cache) == ["f"]
    cache.close()


def test_ttl_survives_a_reopening(tmp_path):
    """Catch a life that begins anew with each process."""
    first = Moved(tmp_path / "db")
    first.cache.put("a", 1, ttl=10)
    first.cache.close()
    second = Moved(tmp_path / "db")
    second.now = NOW + 9_999
    assert second.cache["a"] == 1
    second.now = NOW + 10_000
    assert "a" not in second.cache
    second.cache.close()


@pytest.mark.parametrize("ttl", [0, -1, math.inf, math.nan, timedelta(0)])
def test_ttl_that_cannot_be_is_refused(cache, tmp_path, ttl):
    """Catch an entry that is dead when it is born."""
    for call in (
        lambda: cache.put("a", 1, ttl=ttl),
        lambda: cache.put_many({"a": 1}, ttl=ttl),
        lambda: cache.add("a", 1, ttl=ttl),
        lambda: cache.touch("a", ttl),
    ):
        with pytest.raises(ValueError, match="ttl must be a finite number of seconds above 0"):
            call()
    with pytest.raises(ConfigurationError, match="ttl"):
        PersistentCache(tmp_path / "other", ttl=ttl)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"ttl": "1"}, TypeError, "ttl must be seconds"),
        ({"ttl": True}, TypeError, "ttl must be seconds"),
        ({"compression": 1}, TypeError, "compression must be a bool"),
        ({"compression_level": 0}, ConfigurationError, "1 to 22"),
        ({"compression_level": "3"}, TypeError, "compression_level"),
        ({"max_size_bytes": 0}, ConfigurationError, "max_size_bytes must be at least 1"),
        ({"max_size_bytes": 1.5}, TypeError, "max_size_bytes must be None or an int"),
        ({"serializer": object()}, TypeError, "serializer must be"),
        ({"namespace": ""}, ConfigurationError, "namespace"),
        ({"namespace": "n" * 256}, ConfigurationError, "namespace"),
        ({"namespace": 5}, TypeError, "namespace"),
        ({"on_locked": "wait"}, ConfigurationError, "'raise', 'memory-only', 'secondary'"),
        ({"on_corrupt": "ignore"}, ConfigurationError, "'quarantine', 'raise'"),
        ({"admission": "never"}, ConfigurationError, "'always', 'second-hit', 'on-evict'"),
        ({"admission": []}, ConfigurationError, "admission"),
        ({"min_free_bytes": -1}, ConfigurationError, "min_free_bytes"),
        ({"warm_on_open": None}, TypeError, "warm_on_open must be a bool"),
    ],
)
def test_argument_that_cannot_be_is_refused_before_a_file_is_made(tmp_path, options, error, words):
    """Catch a directory, or a lock, that an opening which cannot succeed leaves behind."""
    with pytest.raises(error, match=words):
        PersistentCache(tmp_path / "db", **options)
    assert list(tmp_path.iterdir()) == []


def test_path_that_is_none_is_refused():
    """Catch a database in a directory named None."""
    for path in (None, 5, b"bytes"):
        with pytest.raises(TypeError):
            PersistentCache(path)


def test_limits_are_told_before_anything_is_written(cache):
    """Catch a key or value that is stored and cannot be found."""
    with pytest.raises(KeyTooLarge) as caught:
        cache["k" * 70_000] = 1
    assert caught.value.size == 70_001
    with pytest.raises(KeyTooLarge):
        cache.get("k" * 70_000)
    with pytest.raises(ValueTooLarge):
        cache["key"] = b"x" * (9 << 20)
    assert len(cache) == 0


def test_closed_raises_everywhere(tmp_path):
    """Catch a method that answers, crashes or hangs after the end."""
    cache = PersistentCache(tmp_path / "db")
    cache["a"] = 1
    assert not cache.closed
    cache.close()
    cache.close()
    assert cache.closed
    assert repr(cache) == f"PersistentCache({str(tmp_path / 'db')!r}, namespace='default', closed)"
    for call in (
        lambda: cache["a"],
        lambda: cache.get("a"),
        lambda: cache.peek("a"),
        lambda: "a" in cache,
        lambda: cache.put("a", 1),
        lambda: cache.update(a=1),
        lambda: cache.add("a", 1),
        lambda: cache.replace("a", 1),
        lambda: cache.delete("a"),
        lambda: cache.incr("a"),
        lambda: cache.touch("a"),
        lambda: cache.ttl_of("a"),
        lambda: cache.pop("a", None),
        lambda: cache.popitem(),
        lambda: cache.setdefault("a"),
        lambda: cache.get_many(["a", "b"]),
        lambda: cache.put_many({"a": 1}),
        lambda: cache.delete_many(["a"]),
        lambda: cache.clear(),
        lambda: len(cache),
        lambda: list(cache),
        lambda: list(cache.items()),
        lambda: list(cache.scan("a")),
        lambda: cache.compact(),
        lambda: cache.flush(),
        lambda: cache.stats(),
        lambda: cache.snapshot(tmp_path / "copy"),
    ):
        with pytest.raises(CacheClosed):
            call()


def test_forgotten_cache_gives_its_lock_back(tmp_path):
    """Catch a cache that only close() can end."""
    cache = PersistentCache(tmp_path / "db", max_size_bytes=1 << 20)
    cache.put("a", 1, ttl=100)
    gone, tier = weakref.ref(cache), weakref.ref(cache.tier)
    thread = cache.tier.sweeper._thread
    del cache
    gc.collect()
    assert gone() is None
    thread.join(10)
    assert not thread.is_alive()
    assert tier() is None
    with PersistentCache(tmp_path / "db") as cache:
        assert cache["a"] == 1


def test_namespaces_share_a_database_and_nothing_else(tmp_path):
    """Catch an entry of one namespace that another shows, counts or clears."""
    path = tmp_path / "db"
    with PersistentCache(path, namespace="a") as a, PersistentCache(path, namespace="ab") as ab:
        assert a.tier is ab.tier
        a["b1"], a["k"], ab["1"], ab["k"] = 1, 2, 3, 4
        assert dict(a) == {"b1": 1, "k": 2}
        assert dict(ab) == {"1": 3, "k": 4}
        a.clear()
        assert dict(a) == {}
        assert dict(ab) == {"1": 3, "k": 4}
        a.close()
        assert ab["k"] == 4
    with PersistentCache(path, namespace="ab") as ab:
        assert dict(ab) == {"1": 3, "k": 4}


def test_bound_is_one_for_all_caches_of_a_path(tmp_path):
    """Catch a bound that the second cache of a path ignores."""
    path = tmp_path / "db"
    with PersistentCache(path, max_size_bytes=1 << 20) as cache:
        for other in (None, 1 << 21):
            with pytest.raises(ConfigurationError, match="max_size_bytes is one for all"):
                PersistentCache(path, namespace="other", max_size_bytes=other)
        with PersistentCache(path, namespace="other", max_size_bytes=1 << 20) as other:
            other["a"] = 1
        cache["a"] = 1
        assert cache.stats().entries == 2


def test_scan_gives_what_begins_so_in_order(cache):
    """Catch a prefix that is taken for a pattern, or mixes str and bytes."""
    cache.update(dict.fromkeys(("user:1", "user:2", "user:10", "users", "a", b"user:1", 5), 1))
    assert list(cache.scan("user:")) == ["user:1", "user:10", "user:2"]
    assert list(cache.scan(b"user")) == [b"user:1"]
    assert list(cache.scan("nothing")) == []
    assert len(list(cache.scan())) == 7
    with pytest.raises(TypeError, match="prefix"):
        cache.scan(5)


def test_iteration_while_entries_come_and_go_ends(cache):
    """Catch an iteration that raises, or shows one entry twice."""
    cache.update({f"{n:04d}": n for n in range(600)})
    seen = []
    for key in cache:
        seen.append(key)
        cache.pop(f"{(int(key) + 1) % 600:04d}" if int(key) % 2 else "none", None)
        cache["-" + key] = 1
    assert len(seen) == len(set(seen))
    assert {f"{n:04d}" for n in range(1, 600, 2)} <= set(seen)


def test_stats_count_what_happens(moved):
    """Catch a peek that counts, or an expired entry that counts as a hit."""
    cache = moved.cache
    cache.put("a", 1, ttl=1)
    cache["b"] = 2
    cache.get("a")
    cache.get("b")
    cache.get("x")
    cache.peek("a")
    assert "a" in cache
    moved.now += 1_000
    cache.get("a")
    cache.tier.sweep()
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.expirations, stats.corrupt) == (2, 2, 1, 0)
    assert stats.size_on_disk > 0
    assert stats.hit_ratio == 0.5
    assert stats.evictions == 0


def test_bounded_cache_keeps_the_newest(tmp_path):
    """Catch a bound that is not passed on to the tier."""
    with PersistentCache(tmp_path / "db", max_size_bytes=50_000, compression=False) as cache:
        for n in range(1_000):
            cache[n] = b"x" * 200
        stats = cache.stats()
        assert stats.total_size <= 50_000
        assert stats.entries == len(cache) > 150
        assert stats.evictions == 1_000 - stats.entries
        assert cache.get(999) is not None
        with pytest.raises(ValueTooLarge):
            cache[999] = b"x" * 50_000
        assert cache[999] == b"x" * 200


def test_admission_second_hit_stores_at_the_second_time(tmp_path):
    """Catch a policy that lets everything in, or leaves an old value behind."""
    with PersistentCache(tmp_path / "db", admission="second-hit") as cache:
        cache["a"] = 1
        assert "a" not in cache
        cache["a"] = 2
        assert cache["a"] == 2
        cache["a"] = 3
        assert cache["a"] == 3
        cache.put_many({"a": 4, "b": 1})
        assert dict(cache) == {"a": 4}
    with PersistentCache(tmp_path / "db", admission="second-hit") as cache:
        cache["a"] = 5
        assert cache["a"] == 5


@pytest.mark.parametrize(
    ("name", "stored", "evicted"), [("always", True, False), ("on-evict", False, True)]
)
def test_admission_is_asked_by_who_stands_above(tmp_path, name, stored, evicted):
    """Catch entries that are written both when they are stored and when they are evicted."""
    with PersistentCache(tmp_path / "db", admission=name) as cache:
        assert cache.admission.admits(b"key") is stored
        assert cache.admission.admits(b"key", evicted=True) is evicted
        cache["a"] = 1
        assert cache["a"] == 1


def test_snapshot_is_a_cache_of_its_own(tmp_path):
    """Catch a copy that changes with the original, or lacks what was not flushed."""
    with PersistentCache(tmp_path / "db", max_size_bytes=1 << 20) as cache:
        cache.update(dict.fromkeys(range(100), "x" * 100))
        cache.snapshot(tmp_path / "copy")
        with pytest.raises(ConfigurationError, match="exists"):
            cache.snapshot(tmp_path / "copy")
        cache[0] = "changed"
        with PersistentCache(tmp_path / "copy") as copy:
            assert copy[0] == "x" * 100
            assert len(copy) == 100
            copy.clear()
        assert len(cache) == 100


def test_compact_and_flush_keep_everything(cache):
    """Catch a compaction that loses what is in memory only."""
    cache.update({n: n for n in range(1_000)})
    for n in range(0, 1_000, 2):
        del cache[n]
    cache.compact()
    cache.flush()
    assert list(cache) == list(range(1, 1_000, 2))


def test_dictionary_is_kept_and_used_again(tmp_path):
    """Catch values that nobody can read after a restart, or a dictionary that is learned twice."""
    words = [f"word{n * 7919 % 1000}" for n in range(300)]
    value = lambda n: " ".join(random.Random(n).choices(words, k=60))  # noqa: E731
    with PersistentCache(tmp_path / "db") as cache:
        for n in range(2_500):
            cache[n] = value(n)
        compressor = cache.tier.compressors[3, True]
        assert compressor.settle(60)
        name = compressor.dictionary_id
        assert name
        cache["with"] = value(1)
    with PersistentCache(tmp_path / "db", compression_level=5) as cache:
        assert cache.tier.compressors[5, True].dictionary_id == name
        assert cache["with"] == value(1)
        assert cache[7] == value(7)
    with PersistentCache(tmp_path / "db", compression=False) as cache:
        assert cache.get("with") is None
        cache["with"] = "plain"
    with PersistentCache(tmp_path / "db") as cache:
        assert cache["with"] == "plain"
        assert cache[7] == value(7)


def test_warm_on_open_reads_and_counts_nothing(tmp_path):
    """Catch a warming that looks like use."""
    with PersistentCache(tmp_path / "db") as cache:
        cache.update(dict.fromkeys(range(500), "x" * 1000))
    with PersistentCache(tmp_path / "db", warm_on_open=True) as cache:
        assert (cache.stats().hits, cache.stats().misses) == (0, 0)
        assert cache[499] == "x" * 1_000


def test_threads_lose_no_update(cache):
    """Catch two threads that both read, both add and both write."""
    won = []

    def work(number):
        for n in range(200):
            cache.incr("n")
            if cache.add(f"once{n}", number):
                won.append(n)
            if cache.pop(f"once{n - 1}", None) is not None:
                won.append(n - 1)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert cache["n"] == 800
    # Each add that won made an entry that one pop, or nobody, has taken.
    left = [key for key in cache if key != "n"]
    assert len(won) % 2 == len(left) % 2


@pytest.mark.parametrize("bound", [None, 20_000])
def test_destructor_that_uses_the_cache_waits_for_nobody(tmp_path, bound):
    """Catch a lock held while the collector runs a destructor that wants the same one."""
    with PersistentCache(tmp_path / "db", max_size_bytes=bound) as cache:

        class Cycle:
            def __init__(self):
                self.me = self

            def __del__(self):
                if not cache.closed:
                    cache.put("key", 1, ttl=60)
                    cache.delete("other")

        before = gc.get_threshold()
        gc.set_threshold(5, 1, 1)
        try:
            for n in range(500):
                Cycle()
                cache.put("key", n, ttl=60)
                cache.put_many({"key": n, "other": n}, ttl=60)
                cache.incr("n")
                cache.put(n, "x" * 100)
        finally:
            gc.set_threshold(*before)
            gc.collect()
        assert cache["n"] > 0


def test_value_whose_encoding_uses_the_cache_is_stored(tmp_path):
    """Catch user code that runs under a lock, where it would wait for itself."""
    from frys_cache.codec.pickles import Pickle

    with PersistentCache(tmp_path / "db", serializer=Pickle(secret=b"s" * 32)) as cache:
        Nosy.cache = cache
        cache["a"] = Nosy()
        assert isinstance(cache["a"], Nosy)
        assert cache.add("b", Nosy())
        assert cache.replace("b", Nosy())
        assert cache.touch("b", 50)
        assert isinstance(cache.pop("b"), Nosy)
        assert cache["during"] == 5
        Nosy.cache = None


class Nosy:
    """Pickled, it writes to the very cache it is stored in."""

    cache = None

    def __reduce__(self):
        self.cache["during"] = 5
        self.cache.pop("b", None) if "never" in self.cache else None
        return Nosy, ()


def test_signed_values_use_no_dictionary(tmp_path):
    """Catch a genuine signature over a frame that another dictionary unpacks to other bytes."""
    serializer = Pickle(secret=b"0123456789abcdef")
    with PersistentCache(tmp_path / "db", serializer=serializer) as cache:
        for number in range(3_000):
            cache[number] = [f"a value that would make a good dictionary {number}"] * 3
        (compressor,) = cache.tier.compressors.values()
        assert compressor.settle(10)
        assert compressor.dictionary_id == 0
        assert cache.tier.rocks.get("meta", b"dictionary") is None
        assert cache[7][0].endswith("7")


@pytest.mark.parametrize("newest", [b"", b"\xff" * 5, b"none"])
def test_dictionary_that_is_damaged_is_not_used(tmp_path, newest):
    """Catch a cache that cannot be opened, or values that only a damaged dictionary unpacks."""
    with PersistentCache(tmp_path / "db") as cache:
        cache["a"] = "text " * 100
        dictionary = b"\x37\xa4\x30\xecnot a dictionary"
        name = name_of(dictionary).to_bytes(4, "big")
        for stored, content in ((newest, b"other"), (name, dictionary)):
            cache.tier.rocks.write(
                [("meta", b"dictionary:" + stored, content), ("meta", b"dictionary", stored)]
            )
            cache.close()
            cache = PersistentCache(tmp_path / "db")
            assert cache["a"] == "text " * 100
            assert cache.tier.compressors[3, True].dictionary_id == 0
        cache.close()


def test_update_with_keywords_is_one_batch(cache):
    """Catch an update that is refused and half stored."""
    with pytest.raises(SerializationError):
        cache.update({"a": 1}, b=object())
    assert len(cache) == 0
