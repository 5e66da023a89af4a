"""Loading: one call per key, absence, failures, what is stale, and what is written meanwhile."""

import sys
import threading
import time

import pytest
import rocksdict  # noqa: F401  left out where it is not installed
from chained import Gate, Loader, chain, has, over, settle, shapes
from flying import Task, until

from frys_cache import (
    MISSING,
    Backpressure,
    CacheTimeout,
    ConfigurationError,
    ConsistencyManager,
    DeadlockError,
    FrysCache,
)
from frys_cache.chain.workers import Workers
from frys_cache.tiers.standin import StandInCache


class Failing(Exception):
    """What a loader raises."""


# ---- which loader is called ---------------------------------------------------------------------


@shapes()
def test_bulk_loader_is_called_once_for_a_batch(tmp_path, letters):
    """Catch a batch that is loaded key by key, or a single key that is loaded as a batch."""
    single = Loader(lambda key: key * 2)
    many = Loader(lambda keys: {key: key * 2 for key in keys if key < 8})
    with chain(letters, tmp_path, loader=single, loader_many=many) as (cache, tiers):
        assert cache[1] == 2
        assert (single.keys, many.keys) == ([1], [])
        assert cache.get_many(range(10)) == [0, 2, 4, 6, 8, 10, 12, 14, None, None]
        assert (single.keys, many.keys) == ([1], [[0, 2, 3, 4, 5, 6, 7, 8, 9]])
        assert [has(tier, 5) for tier in tiers] == [10] * len(tiers)
        cache._empty()
        if tiers:
            assert cache.get_many(range(10))[:9] == [0, 2, 4, 6, 8, 10, 12, 14, None]
            assert len(many.keys) == 1


@shapes("no tier", "stand-in")
def test_loader_alone_answers_a_batch(tmp_path, letters):
    """Catch a batch that is answered by none, or a single key that needs a single loader."""
    with chain(letters, tmp_path, loader=Loader()) as (cache, _):
        assert cache.get_many("ab") == [("loaded", "a"), ("loaded", "b")]
    many = Loader(lambda keys: {key: ("many", key) for key in keys if key != "x"})
    with chain(letters, tmp_path, loader_many=many) as (cache, _):
        assert cache["a"] == ("many", "a")
        assert cache.get("x") is None
        with pytest.raises(KeyError):
            cache["x"]
        assert many.keys == [["a"], ["x"]]
        assert cache.get_many(["a", "x", "b", "b"], 0) == [("many", "a"), 0, *[("many", "b")] * 2]
        assert many.keys == [["a"], ["x"], ["b"]]


def test_backend_loads_as_a_loader_does(tmp_path):
    """Catch a backend that is written to and never read."""

    class Table:
        def __init__(self):
            self.rows = {"a": 1}
            self.loads = []

        def load(self, key):
            self.loads.append(key)
            return self.rows.get(key, MISSING)

        def load_many(self, keys):
            self.loads.append(list(keys))
            return {key: self.rows[key] for key in keys if key in self.rows}

        def store(self, key, value):
            self.rows[key] = value

        def delete(self, key):
            self.rows.pop(key, None)

    for letters in ("", "u"):
        table = Table()
        with chain(letters, tmp_path, backend=table) as (cache, _):
            assert cache["a"] == 1
            assert cache.get("b") is None
            cache["b"] = 2
            assert cache["b"] == 2
            assert cache.get_many("abcd", 0) == [1, 2, 0, 0]
            assert table.loads == ["a", "b", ["c", "d"]]


@shapes("no tier", "stand-in")
def test_counter_over_a_backend_goes_on(tmp_path, letters):
    """Catch a counter that begins anew because memory has forgotten it."""

    class Rows(dict):
        load = lambda self, key: self.get(key, MISSING)  # noqa: E731
        store = dict.__setitem__

        def delete(self, key):
            self.pop(key, None)

    rows = Rows()
    with chain(letters, tmp_path, backend=rows) as (cache, _):
        assert [cache.incr("n"), cache.incr("n", 2), cache.incr("n")] == [1, 3, 4]
        assert rows == {"n": 4}
        assert cache["n"] == 4
        cache.put("m", 1, ttl=50)
        cache.incr("m")
        assert 49 < cache.ttl_of("m") <= 50


# ---- absence ------------------------------------------------------------------------------------


@shapes()
def test_none_is_a_value_and_missing_is_none(tmp_path, letters):
    """Catch a None that is loaded again, or an absence that is."""
    loader = Loader(lambda key: None if key == "none" else MISSING)
    with chain(letters, tmp_path, loader=loader) as (cache, tiers):
        for _ in range(2):
            assert cache["none"] is None
            assert cache.get("absent", "default") == "default"
            assert cache.get_many(["absent", "none"], "default") == ["default", None]
            with pytest.raises(KeyError):
                cache["absent"]
        assert loader.keys == ["none", "absent"]
        assert "none" in cache
        assert "absent" not in cache
        assert cache.health()["source"].negatives == 5
        assert cache.stats().entries == 1
        for tier in tiers:
            tier.tier._tier
            assert tier.tier._tier.read_one(tier.codec.key("absent")) is not None
        cache["absent"] = 1
        assert cache["absent"] == 1
        assert cache.get_many(["absent"]) == [1]
        cache._forget("absent")
        if tiers:
            assert cache["absent"] == 1
        assert cache.delete("absent") == bool(tiers)
        assert cache.get("absent") is None
        assert loader.keys == ["none", "absent", "absent"]


WRITES = {
    "put": lambda cache: cache.put("a", 1),
    "put_many": lambda cache: cache.put_many({"a": 1}),
    "add": lambda cache: cache.add("a", 1),
    "setdefault": lambda cache: cache.setdefault("a", 1),
    "get_or_set": lambda cache: cache.get_or_set("a", lambda: 1),
    "incr": lambda cache: cache.incr("a"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=list(WRITES))
@shapes("no tier", "stand-in", "stand-in, disk")
def test_write_ends_a_known_absence(tmp_path, letters, write):
    """Catch a key that was written and is still called absent."""
    with chain(letters, tmp_path, loader=lambda key: MISSING) as (cache, tiers):
        assert cache.get("a") is None
        write(cache)
        assert cache["a"] == 1
        assert "a" in cache
        if tiers:
            cache._forget("a")
            assert cache["a"] == 1
        assert cache.get_many(["a"]) == [1]


def test_absence_is_known_for_its_own_time(tmp_path):
    """Catch an absence that is never looked at again, or one that is although it was not to be."""
    for read in (lambda cache: cache.get("a"), lambda cache: cache.get_many(["a"])[0]):
        loader = Loader(lambda key: MISSING)
        with chain("u", tmp_path, loader=loader, negative_ttl=0.05) as (cache, _):
            read(cache), read(cache)
            assert loader.keys == ["a"]
            time.sleep(0.06)
            read(cache)
            assert loader.keys == ["a", "a"]
        loader = Loader(lambda key: MISSING)
        with chain("u", tmp_path, loader=loader, negative_ttl=0) as (cache, tiers):
            read(cache), read(cache)
            assert loader.keys == ["a", "a"]
            assert tiers[0].tier._tier._records == {}


def test_absence_outlives_a_restart_and_is_counted(tmp_path):
    """Catch a source that is asked anew for every absence after a restart."""
    with FrysCache(10, persistent=tmp_path / "db", loader=lambda key: MISSING) as cache:
        assert cache.get("a") is None
    with FrysCache(10, persistent=tmp_path / "db", loader=pytest.fail) as cache:
        assert cache.get("a") is None
        assert cache.get_many(["a"]) == [None]
        assert cache.health()["persistent"].negatives == 2
        assert cache.stats().tiers["persistent"].hits == 0


# ---- C-26: a loader that fails, recurses, hangs --------------------------------------------------


@shapes("no tier", "stand-in")
def test_error_of_a_loader_reaches_all_who_wait(tmp_path, letters):
    """Catch a follower that waits for ever, gets None, or loads again."""

    def fail(key):
        raise Failing(key)

    gate = Gate(fail)
    with chain(letters, tmp_path, loader=gate) as (cache, _):
        tasks = [Task(cache.get, "a") for _ in range(5)]
        assert gate.entered.wait(10)
        until(lambda: followers(cache) == 4)
        gate.open.set()
        for task in tasks:
            with pytest.raises(Failing):
                task.outcome()
        assert gate.keys == ["a"]
        assert cache.health()["source"].faults == 1
        with pytest.raises(Failing):
            cache.get_many(["a", "b"])
        gate.answer = lambda key: "well"
        assert cache["a"] == "well"


def followers(cache):
    """Return how many threads wait for the flights of a cache."""
    from frys_cache import flight_ring

    mine = set(map(id, cache._flights._under_way))
    return sum(id(waits[-1]) in mine for waits in list(flight_ring.waiting.values()))


@pytest.mark.parametrize("timeout", [None, 20])
@shapes("no tier", "stand-in")
def test_loader_that_asks_for_its_own_key_is_told(tmp_path, letters, timeout):
    """Catch a thread that waits for itself, also where a worker loads."""
    loader = Loader()
    with chain(letters, tmp_path, loader=loader, loader_timeout=timeout) as (cache, _):
        loader.answer = lambda key: cache["b" if key == "a" else "a"]
        with pytest.raises(DeadlockError):
            cache.get("a")
        with pytest.raises(DeadlockError):
            cache.get_or_set("c", lambda: cache.get_or_set("c", lambda: 1))
        loader.answer = lambda key: key if key == "z" else cache["z"]
        assert cache["a"] == "z"


def test_loader_that_asks_for_its_own_batch_is_told(tmp_path):
    """Catch a bulk loader that waits for itself."""
    many = Loader(lambda keys: {})
    with chain("", tmp_path, loader_many=many) as (cache, _):
        many.answer = lambda keys: dict(zip(keys, cache.get_many(reversed(keys)), strict=True))
        with pytest.raises(DeadlockError):
            cache.get_many("ab")


@pytest.mark.parametrize("bulk", [False, True])
def test_who_waits_for_another_leaves_at_the_lock_timeout(tmp_path, bulk):
    """Catch a loader that hangs, and with it all who ask for its key."""
    gate = Gate(lambda key: dict.fromkeys(key, "slow") if bulk else "slow")
    with chain("u", tmp_path, lock_timeout=0.02, **{"loader_many" if bulk else "loader": gate}) as (
        cache,
        _,
    ):
        read = (lambda: cache.get_many("ab")[0]) if bulk else (lambda: cache["a"])
        task = Task(read)
        assert gate.entered.wait(10)
        gate.entered.clear()
        other = Task(read)
        assert gate.entered.wait(10)  # it has left, and loads itself
        gate.open.set()
        assert [task.outcome(), other.outcome()] == ["slow", "slow"]
        assert len(gate.keys) >= 2


@pytest.mark.parametrize("bulk", [False, True])
def test_load_that_takes_too_long_is_a_timeout_and_is_kept(tmp_path, bulk):
    """Catch a caller that waits as long as the loader likes, or a late value that is lost."""
    gate = Gate(lambda key: dict.fromkeys(key, "slow") if bulk else "slow")
    with chain(
        "u", tmp_path, loader_timeout=0.02, **{"loader_many" if bulk else "loader": gate}
    ) as (cache, tiers):
        with pytest.raises(CacheTimeout, match="loader_timeout"):
            cache.get_many("ab") if bulk else cache["a"]
        gate.open.set()
        until(lambda: cache.peek("a") == "slow")
        settle(cache)
        assert has(tiers[0], "a") == "slow"


def test_load_within_its_timeout_needs_a_free_worker(tmp_path):
    """Catch a timeout that is not kept because nobody is there to load."""
    gate = Gate()
    with chain("", tmp_path, loader=gate, loader_timeout=20) as (cache, _):
        cache.manager._workers = Workers(limit=1, queue=1)
        tasks = [Task(cache.get, "a")]
        assert gate.entered.wait(10)
        tasks.append(Task(cache.get, "b"))
        until(lambda: cache.manager._workers.queued == 1)
        with pytest.raises(Backpressure, match="1 workers"):
            cache.get("c")
        gate.open.set()
        assert [task.outcome()[1] for task in tasks] == ["a", "b"]
        assert cache["c"] == ("loaded", "c")


def test_timeout_that_the_loader_raises_is_its_own(tmp_path):
    """Catch an error of a loader that is taken for one of the cache."""
    mine = CacheTimeout("of another cache")

    def fail(key):
        raise mine

    for timeout in (None, 20):
        with chain("", tmp_path, loader=fail, loader_timeout=timeout) as (cache, _):
            with pytest.raises(CacheTimeout) as caught:
                cache["a"]
            assert caught.value is mine


# ---- C-27: one load ------------------------------------------------------------------------------


def in_threads(count, act):
    """Call something in many threads at once; return what it returned."""
    before = threading.stack_size(256 * 1024)
    try:
        tasks = [Task(act) for _ in range(count)]
    finally:
        threading.stack_size(before)
    return tasks


MANY = 1_000 if getattr(sys, "_is_gil_enabled", lambda: True)() else 200


@pytest.mark.parametrize("read", ["get", "get_or_set", "get_many", "bulk"])
def test_many_threads_that_miss_one_key_load_it_once(tmp_path, read):
    """Catch a stampede."""
    many = 100 if read != "get" else MANY
    gate = Gate(lambda key: dict.fromkeys(key, "value") if read == "bulk" else "value")
    with chain("u", tmp_path, **{"loader_many" if read == "bulk" else "loader": gate}) as (
        cache,
        _,
    ):

        def act():
            if read == "get":
                return cache["a"]
            if read == "get_or_set":
                return cache.get_or_set("a", lambda: gate("a"))
            return cache.get_many(["a"])[0]

        tasks = in_threads(many, act)
        assert gate.entered.wait(30)
        until(lambda: followers(cache) > many // 2)
        gate.open.set()
        assert {task.outcome() for task in tasks} == {"value"}
        assert len(gate.keys) == 1
        assert cache.health()["source"].hits == 1


@pytest.mark.parametrize("read", ["get", "bulk"])
def test_thread_that_looked_before_a_load_landed_does_not_load_again(tmp_path, read):
    """Catch a second load by who missed before the first one ended, and boards after it."""
    loader = Loader(lambda key: dict.fromkeys(key, "value") if read == "bulk" else "value")
    with chain("u", tmp_path, **{"loader_many" if read == "bulk" else "loader": loader}) as (
        cache,
        tiers,
    ):
        tier = tiers[0].tier._tier
        reading = type(tier).read

        def slowly(keys):
            found = reading(tier, keys)
            del tier.read
            assert cache["a"] == "value"  # another thread is faster
            return found

        tier.read = slowly
        assert (cache["a"] if read == "get" else cache.get_many("ab")[0]) == "value"
        loads = [key for key in loader.keys if "a" in key]
        assert len(loads) == 1


def test_batch_and_single_reads_share_their_loads(tmp_path):
    """Catch a batch that loads what a single read is loading, or the other way round."""
    single, many = Gate(), Gate(lambda keys: {key: ("many", key) for key in keys})
    with chain("u", tmp_path, loader=single, loader_many=many) as (cache, _):
        first = Task(cache.get, "a")
        assert single.entered.wait(10)
        batch = Task(cache.get_many, ["a", "b", "c"])
        assert many.entered.wait(10)
        last = Task(cache.get, "b")
        until(lambda: followers(cache) == 1)
        many.open.set()
        assert last.outcome() == ("many", "b")
        single.open.set()
        assert first.outcome() == ("loaded", "a")
        assert batch.outcome() == [("loaded", "a"), ("many", "b"), ("many", "c")]
        assert (single.keys, many.keys) == (["a"], [["b", "c"]])


def test_get_or_set_gets_no_absence_of_the_loader(tmp_path):
    """Catch a MISSING that reaches a caller of get_or_set, who gave a factory."""
    gate = Gate(lambda key: MISSING)
    with chain("u", tmp_path, loader=gate) as (cache, _):
        task = Task(cache.get, "a")
        assert gate.entered.wait(10)
        other = Task(cache.get_or_set, "a", lambda: "made")
        until(lambda: followers(cache) == 1)
        gate.open.set()
        assert task.outcome() is None
        assert other.outcome() == "made"
        assert cache["a"] == "made"


def test_memoized_call_asks_no_loader(tmp_path):
    """Catch a memoized function whose key is given to the loader of its cache."""
    with chain("ud", tmp_path, loader=pytest.fail, loader_many=pytest.fail) as (cache, tiers):
        calls = []
        double = cache.memoize(lambda number: calls.append(number) or number * 2, name="double")
        assert [double(1), double(1), double(2)] == [2, 2, 4]
        cache._empty()
        assert [double(1), double(2)] == [2, 4]
        assert calls == [1, 2]
        assert double.refresh(1) == 2
        assert calls == [1, 2, 1]
        assert has(tiers[1], double.cache_key(1)) == 2


# ---- what cannot be ------------------------------------------------------------------------------


def test_bad_arguments_are_refused():
    """Catch a loader that is found out only when it is called."""

    async def load(key):
        return key

    class Table:
        def load(self, key): ...
        def store(self, key, value): ...
        def delete(self, key): ...

    class Async(Table):
        async def load(self, key): ...
        async def store(self, key, value): ...

    for name in ("loader", "loader_many"):
        with pytest.raises(TypeError, match=f"{name} must be callable"):
            FrysCache(10, **{name: 5})
        with pytest.raises(ConfigurationError, match="pass one of them"):
            FrysCache(10, backend=Table(), **{name: len})
        with pytest.raises(ConfigurationError, match="async"):
            FrysCache(10, **{name: load})
    with pytest.raises(ConfigurationError, match="twice"):
        FrysCache(10, backend=Table(), consistency=ConsistencyManager("write-through", Table()))
    with pytest.raises(ConfigurationError, match="async"):
        FrysCache(10, backend=Async())
    with pytest.raises(ConfigurationError, match="no store and no delete"):
        FrysCache(10, backend=type("Half", (), {"load": len})())
    with pytest.raises(ConfigurationError, match="durability"):
        FrysCache(10, backend=Table(), consistency="write-back")
    with pytest.raises(ConfigurationError, match=r"'write-through'.*'refresh-ahead'"):
        FrysCache(10, consistency="write-sometimes")
    with pytest.raises(ConfigurationError, match="CACHE_ASIDE"):
        FrysCache(10, backend=Table(), consistency="cache-aside")
    with pytest.raises(ConfigurationError, match="REFRESH_AHEAD"):
        FrysCache(10, consistency="refresh-ahead")
    for rules in (
        {"jitter": 1},
        {"negative_ttl": -1},
        {"stale_ttl": -1},
        {"soft_timeout": -1},
        {"loader_timeout": -1},
        {"lock_timeout": -1},
        {"refresh_ahead": 1.5},
        {"refresh_ahead": "sometimes"},
        {"mode": "lenient"},
    ):
        with pytest.raises(ConfigurationError):
            FrysCache(10, loader=len, **rules)
    upper, lower = StandInCache("x", namespace="a"), StandInCache("y", namespace="b")
    with pytest.raises(ConfigurationError, match="namespace"):
        over([upper, lower])
