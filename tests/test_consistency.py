"""The strategies: who is written when, what is acknowledged, and how a write-back waits."""

import pickle
import warnings
from datetime import timedelta
from pathlib import Path

import pytest
import rocksdict  # noqa: F401  left out where it is not installed
from child import run
from recorded import Backend, Chain
from tiered import disk_of, open_cache

from frys_cache import (
    MISSING,
    CacheManager,
    CacheTimeout,
    ConfigurationError,
    ConsistencyManager,
    ConsistencyStrategy,
    FrysCache,
    PersistentCache,
    SerializationError,
    ValueTooLarge,
)
from frys_cache.tiers.standin import StandInCache

# ---- order --------------------------------------------------------------------------------------

ORDERS = {
    ("write-through", 1, False): ["lower.put_one"],
    ("write-through", 2, False): ["lower.put_one", "upper.put_one"],
    ("write-through", 1, True): ["backend.store", "lower.put_one"],
    ("write-through", 2, True): ["backend.store", "lower.put_one", "upper.put_one"],
    ("cache-aside", 2, False): ["lower.put_one", "upper.put_one"],
    ("write-around", 1, False): ["lower.put_one"],
    ("write-around", 2, False): ["lower.put_one", "upper.drop"],
    ("write-around", 1, True): ["backend.store", "lower.drop"],
    ("write-around", 2, True): ["backend.store", "lower.drop", "upper.drop"],
    ("refresh-ahead", 2, True): ["backend.store", "lower.put_one", "upper.put_one"],
    ("write-back", 2, False): [],
    ("write-back", 2, True): [],
}


@pytest.mark.parametrize("case", ORDERS, ids=str)
def test_put_goes_through_the_levels_in_order(case):
    """Catch a level that is ahead of the one below it, or of the backend."""
    strategy, count, backend = case
    chain = Chain(count, backend, strategy)
    assert chain.took(lambda cache: cache.put("a", 1)) == ORDERS[case]
    assert (chain.cache.peek("a") is None) == (strategy == "write-around")
    assert chain.reads() == (1, 1)
    batch = [call.replace("put_one", "write") for call in ORDERS[case]]
    assert chain.took(lambda cache: cache.put_many({"a": 2})) == batch
    assert chain.reads() == (2, 2)


@pytest.mark.parametrize("case", ORDERS, ids=str)
def test_removal_goes_through_the_levels_in_order(case):
    """Catch a key that comes back from a level that was asked later than the one above it."""
    strategy, count, backend = case
    chain = Chain(count, backend, strategy)
    waits = strategy == "write-back"
    drops = [f"{name}.drop" for name in ("lower", "upper")[:count]]
    for remove in (lambda cache: cache.delete("a"), lambda cache: cache.__delitem__("a")):
        chain.cache.put("a", 1)
        chain.cache.get("a")  # of what is in a backend alone nobody knows
        calls = chain.took(remove)
        assert calls == ([] if waits else [*(["backend.delete"] if backend else []), *drops])
        assert chain.reads() == (MISSING, MISSING)


@pytest.mark.parametrize("case", ORDERS, ids=str)
def test_decision_goes_the_way_of_a_put(case):
    """Catch a tier that shows what the backend has not taken yet, or a backend that is not told."""
    strategy, count, backend = case
    chain = Chain(count, backend, strategy)
    lasting = strategy != "write-around" or not backend
    acts = {
        "add": lambda cache: cache.add("a", 1),
        "replace": lambda cache: cache.replace("a", 2),
        "incr": lambda cache: cache.incr("a", 3),
        "pop": lambda cache: cache.pop("a"),
    }
    after = {"add": 1, "replace": 2, "incr": 5, "pop": MISSING}
    for name, act in acts.items():
        if name != "add" and not lasting:
            chain.cache.get("a")  # only what was loaded is in a tier
        calls = chain.took(act)
        if backend and strategy != "write-back":
            assert calls[0] == ("backend.delete" if name == "pop" else "backend.store")
            assert chain.backend.rows.get("a", MISSING) == after[name]
        elif not backend and strategy != "write-back":
            assert calls[0] == "lower.swap"
        assert chain.reads() == (after[name],) * 2


def test_touch_of_a_chain_with_a_backend_changes_the_tiers_alone():
    """Catch a value that is stored anew for a longer life only."""
    chain = Chain(2, True)
    chain.cache.put("a", 1, ttl=10)
    assert "backend.store" not in chain.took(lambda cache: cache.touch("a", 60))
    chain.cache._forget("a")
    assert 59 < chain.cache.ttl_of("a") <= 60


def test_counter_without_a_tier_goes_on():
    """Catch a counter that begins anew since memory forgot it, and no tier has it."""
    backend = Backend()
    with FrysCache(10, backend=backend) as cache:
        assert [cache.incr("n"), cache.incr("n"), cache.incr("n", 2)] == [1, 2, 4]
        assert backend.rows == {"n": 4}
    rules = ConsistencyManager("write-back", backend, durability="memory")
    with FrysCache(10, consistency=rules) as cache:
        for expected in (1, 2, 3):
            assert cache.incr("m") == expected
            cache.flush(10)
            assert backend.rows["m"] == expected


def test_batch_of_a_chain_without_own_fetches_is_read():
    """Catch a tier that only keeps the contract and cannot be read in a batch."""
    chain = Chain(2, False)
    chain.cache.update(a=1, b=2)
    chain.cache._empty()
    assert chain.cache.get_many(["b", "x", "a"]) == [2, None, 1]


# ---- write-back through the cache ---------------------------------------------------------------


def waiting(tmp_path, backend, **rules):
    rules = ConsistencyManager("write-back", backend, **{"max_delay": 3600, **rules})
    return open_cache(tmp_path, consistency=rules), rules


def test_write_back_is_acknowledged_before_the_backend_knows(tmp_path):
    """Catch a put that waits for the backend, or one that is not read before it is sent."""
    backend = Backend()
    cache, _ = waiting(tmp_path, backend)
    cache.put("a", 1)
    cache.put_many({"b": 2, "c": 3})
    assert cache.incr("b", 5) == 7
    assert cache.add("a", 9) is False
    assert cache.delete("c") is True
    assert backend.calls == []
    assert dict(disk_of(cache).items()) == {}
    cache._empty()
    assert cache.get_many(["a", "b", "c"]) == [1, 7, None]
    health = cache.health()["persistent"]
    assert (health.dirty, health.dead_letters) == (3, 0)
    assert health.dirty_bytes > 0
    assert health.oldest_dirty > 0
    report = cache.flush(10)
    assert (report.written, report.left) == (3, 0)
    assert backend.rows == {"a": 1, "b": 7}
    assert dict(disk_of(cache).items()) == {"a": 1, "b": 7}
    assert cache.health()["persistent"].dirty == 0
    cache.close()


def test_write_sent_while_its_key_is_written_again(tmp_path):
    """Catch a put that a batch on its way makes invisible, or takes for sent (C-17)."""
    cache = None

    class During(Backend):
        def store(self, key, value):
            if value == 1:
                cache.put(key, 2)
                cache._forget(key)
                seen.append(cache.get(key))
            super().store(key, value)

    backend, seen = During(), []
    cache, _ = waiting(tmp_path, backend)
    cache.put("a", 1)
    cache.flush(10)
    seen.append(cache.get("a"))
    cache.flush(10)
    assert seen == [2, 2]
    assert backend.rows == {"a": 2}
    assert disk_of(cache)["a"] == 2
    cache.close()


def test_poison_key_is_set_aside_and_can_be_sent_again(tmp_path):
    """Catch one refused key that takes 99 along, or is dropped without a word (C-18)."""
    backend, told = Backend(), []
    backend.poison = {"k50"}
    cache, rules = waiting(tmp_path, backend, max_attempts=3, on_dead_letter=told.append)
    cache.put_many({f"k{n}": n for n in range(100)})
    report = cache.flush(20)
    assert (report.written, report.dead, report.left) == (99, 1, 0)
    assert len(backend.rows) == 99
    (letter,) = rules.dead_letters()
    assert told == [letter]
    assert (letter.key, letter.value, letter.attempts) == ("k50", 50, 3)
    assert "Refused" in letter.error
    assert cache.health()["persistent"].dead_letters == 1
    assert rules.retry_dead_letters() == 1
    assert cache["k50"] == 50
    backend.poison = set()
    cache.flush(10)
    assert backend.rows["k50"] == 50
    assert rules.dead_letters() == []
    cache.close()


def test_second_cache_beside_a_write_back_is_refused(tmp_path):
    """Catch two caches over one namespace of which one does not see what waits in the other."""
    backend = Backend()
    with PersistentCache(tmp_path / "db") as disk:
        rules = ConsistencyManager("write-back", backend)
        with FrysCache(10, persistent=disk, consistency=rules):
            for other in ("write-through", ConsistencyManager("write-back", Backend())):
                with pytest.raises(ConfigurationError, match="namespace"):
                    FrysCache(10, persistent=disk, consistency=other)
            another = PersistentCache(tmp_path / "other")
            with another, pytest.raises(ConfigurationError, match="one cache"):
                FrysCache(10, persistent=another, consistency=rules)
        before = FrysCache(10, persistent=disk)
        with before, pytest.raises(ConfigurationError, match="namespace"):
            FrysCache(10, persistent=disk, consistency=ConsistencyManager("write-back"))


def test_journal_left_behind_is_told_of(tmp_path):
    """Catch writes that nobody will ever send, and nobody says so."""
    backend = Backend()
    backend.trouble = "before"
    cache, _ = waiting(tmp_path, backend)
    cache.update(a=1, b=2)
    report = cache.close(0.1)
    assert report.left == 2
    with pytest.raises(ConfigurationError, match="2 writes wait in the journal"):
        open_cache(tmp_path)
    backend.trouble = None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache, _ = waiting(tmp_path, backend)
    assert cache.get_many(["a", "b"]) == [1, 2]
    cache.flush(10)
    assert backend.rows == {"a": 1, "b": 2}
    cache.close()


# ---- arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "error", "says"),
    [
        (["write-behind"], {}, ConfigurationError, "write-back"),
        ([None], {}, ConfigurationError, "None"),
        (["write-through", object()], {}, ConfigurationError, "load"),
        (["cache-aside", Backend()], {}, ConfigurationError, "CACHE_ASIDE"),
        (["write-back"], {"durability": "disk"}, ConfigurationError, "'host'"),
        (["write-back"], {"max_dirty_entries": 0}, ConfigurationError, "max_dirty_entries"),
        (["write-back"], {"max_dirty_entries": True}, ConfigurationError, "max_dirty_entries"),
        (["write-back"], {"max_dirty_bytes": 1.5}, ConfigurationError, "1.5"),
        (["write-back"], {"max_batch": -1}, ConfigurationError, "-1"),
        (["write-back"], {"max_attempts": 0}, ConfigurationError, "at least 1"),
        (["write-back"], {"max_delay": 0}, ConfigurationError, "above 0"),
        (["write-back"], {"max_delay": float("inf")}, ConfigurationError, "finite"),
        (["write-back"], {"max_delay": "1"}, TypeError, "seconds"),
        (["write-back"], {"put_timeout": float("nan")}, ConfigurationError, "nan"),
        (["write-back"], {"put_timeout": timedelta(0)}, ConfigurationError, "above 0"),
        (["write-back"], {"put_timeout": False}, TypeError, "bool"),
        (["write-back"], {"on_dead_letter": 3}, TypeError, "callable"),
    ],
)
def test_consistency_manager_refuses_what_cannot_be(arguments, options, error, says):
    """Catch a bound that is accepted and does something else, or a message that does not help."""
    with pytest.raises(error, match=says.replace("'", ".")):
        ConsistencyManager(*arguments, **options)


def test_strategy_that_lacks_what_it_needs_is_refused(tmp_path):
    """Catch a strategy that silently does nothing."""
    with pytest.raises(ConfigurationError, match="loader="):
        FrysCache(10, consistency="refresh-ahead", persistent=tmp_path / "db")
    with pytest.raises(ConfigurationError, match="CACHE_ASIDE"):
        FrysCache(10, consistency="cache-aside", backend=Backend())
    with pytest.raises(ConfigurationError, match="persistent="):
        FrysCache(10, consistency="write-back", backend=Backend())
    memory = ConsistencyManager("write-back", durability="memory")
    with pytest.raises(ConfigurationError, match="somewhere to write"):
        FrysCache(10, consistency=memory)
    with pytest.raises(ConfigurationError, match="twice"):
        FrysCache(10, consistency=ConsistencyManager("write-through", Backend()), backend=Backend())
    assert ConsistencyManager(ConsistencyStrategy.WRITE_AROUND).strategy == "write-around"


def test_cache_aside_takes_only_what_was_read_since_begin():
    """Catch a value read before the application wrote its store, stored after it."""
    chain = Chain(2, False, "cache-aside")
    version = chain.cache.begin("a")
    chain.cache.delete("a")  # the application has written, and says so
    chain.cache.put("a", "old", version=version)
    assert chain.reads() == (MISSING, MISSING)
    version = chain.cache.begin("a")
    chain.cache.put("a", "new", version=version)
    assert chain.reads() == ("new", "new")
    assert chain.below("lower") == chain.below("upper") == "new"


def test_tier_above_the_journal_is_refused(tmp_path):
    """Catch a level that goes on with what was sent and overwritten below it."""
    with (
        PersistentCache(tmp_path / "db") as disk,
        pytest.raises(ConfigurationError, match="first below memory"),
    ):
        CacheManager([StandInCache(), disk], consistency="write-back")


def test_journal_for_a_backend_refuses_who_would_write_past_it(tmp_path):
    """Catch an old write that comes after newer ones, in the cache and in the backend."""
    leave_in_the_journal(tmp_path, "Backend()")
    with pytest.raises(ConfigurationError, match="1 writes wait"):
        FrysCache(10, persistent=tmp_path / "db", backend=Backend())
    backend = Backend()
    rules = ConsistencyManager("write-back", backend)
    with FrysCache(10, persistent=tmp_path / "db", consistency=rules) as cache:
        assert cache["k"] == 1
    assert backend.rows == {"k": 1}
    with FrysCache(10, persistent=tmp_path / "db", backend=backend) as cache:
        cache["k"] = 2
    assert backend.rows == {"k": 2}


def test_journal_for_nobody_else_is_settled_by_whoever_opens_it(tmp_path):
    """Catch an acknowledged write that is seen again only with the same strategy."""
    leave_in_the_journal(tmp_path, "None")
    with FrysCache(10, persistent=tmp_path / "db") as cache:
        assert cache["k"] == 1
        assert disk_of(cache)["k"] == 1


def leave_in_the_journal(folder, backend):
    """Have a process die right after an acknowledged write."""
    run(
        """
        import os, signal, sys
        sys.path.insert(0, sys.argv[2])
        from recorded import Backend
        from frys_cache import ConsistencyManager, FrysCache
        rules = ConsistencyManager("write-back", eval(sys.argv[3]), max_delay=3600)
        cache = FrysCache(10, persistent=sys.argv[1], consistency=rules)
        cache["k"] = 1
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        folder / "db",
        Path(__file__).parent,
        backend,
    )


def test_consistency_manager_serves_one_cache_after_the_other(tmp_path):
    """Catch a manager that is used up by its first cache, or serves two at once."""
    rules = ConsistencyManager("write-back")
    cache = FrysCache(10, persistent=tmp_path / "a", consistency=rules)
    with pytest.raises(ConfigurationError, match="for one cache"):
        FrysCache(10, persistent=tmp_path / "b", consistency=rules)
    again = pickle.loads(pickle.dumps(rules))
    cache["k"] = 1
    cache.close()
    for one in (rules, again):
        with FrysCache(10, persistent=tmp_path / "b", consistency=one) as cache:
            cache["k"] = 1


def test_backend_that_changes_what_it_is_given_changes_nothing_here():
    """Catch keys that are forgotten nowhere since a failing backend has emptied its argument."""

    class Emptying(Backend):
        def store_many(self, values):
            while values:
                key, value = values.popitem()
                self.rows[key] = value
            raise OSError("late")

    backend = Emptying()
    cache = FrysCache(10, backend=backend)
    cache["k"] = "old"
    with pytest.raises(OSError, match="late"):
        cache.put_many({"k": "new"})
    assert cache["k"] == backend.rows["k"] == "new"


def test_write_back_refuses_a_backend_that_has_to_be_awaited():
    """Catch a coroutine that is taken for a value that has been stored."""

    class Later(Backend):
        def store(self, key, value):
            async def later():
                self.rows[key] = value

            return later()

    backend = Later()
    rules = ConsistencyManager("write-back", backend, durability="memory", max_delay=0.01)
    cache = FrysCache(10, consistency=rules)
    cache["k"] = 1
    with pytest.raises(CacheTimeout):
        cache.flush(0.1)
    assert cache.close(0.1).left == 1


@pytest.mark.parametrize("timeout", [float("nan"), -1, "x"])
def test_close_with_a_time_that_cannot_be_can_be_repeated(tmp_path, timeout):
    """Catch a cache that is half closed after a mistake, with its path locked."""
    cache = FrysCache(10, persistent=tmp_path / "db", consistency="write-back")
    for call in (cache.flush, cache.close):
        with pytest.raises((ConfigurationError, TypeError), match="timeout"):
            call(timeout)
    cache["a"] = 1
    assert cache.close(timedelta(seconds=5)).left == 0
    FrysCache(10, persistent=tmp_path / "db").close()


def test_tiers_of_a_chain_have_one_clock(tmp_path):
    """Catch a removal that is older, by the clock of its tier, than what was stored before it."""
    tiers = [StandInCache("upper"), StandInCache("lower")]
    manager = CacheManager(tiers)
    assert tiers[0].tier.versions is tiers[1].tier.versions
    assert manager._next.__self__ is tiers[0].tier.versions


@pytest.mark.parametrize(
    "value", [b"bytes", "text \u00fc \ud800", "", 7, None, [1, "a"], {"k": b"v"}]
)
def test_write_that_waits_reads_and_arrives_as_it_was(tmp_path, value):
    """Catch a record that is made otherwise on the straight path, or follows a later change."""
    backend = Backend()
    rules = ConsistencyManager("write-back", backend, max_delay=3600)
    given = pickle.loads(pickle.dumps(value))
    with FrysCache(10, persistent=tmp_path / "db", consistency=rules, ttl=3600) as cache:
        assert cache._deposit is not None
        cache["k"] = given
        if isinstance(given, list):
            given.append("later")
        cache._forget("k")
        assert cache["k"] == value
        record = cache.manager._writes.find(disk_of(cache).codec.key("k")).record
        code = disk_of(cache).codec.key("k")
        assert disk_of(cache).codec.decode(code, record)[0] == value
        assert disk_of(cache).tier.rocks.get("journal", code) == record
        assert 3590 < cache.ttl_of("k") < 3600.1
        cache.flush()
        assert backend.rows == {"k": value}
        assert disk_of(cache)["k"] == value


def test_value_that_is_too_large_or_of_no_type_does_not_wait(tmp_path):
    """Catch a write that is taken and can never be sent, on the straight path."""
    with FrysCache(
        10, persistent=tmp_path / "db", consistency="write-back", max_value_size=100
    ) as cache:
        cache["k"] = b"before"
        for value, error in ((bytes(101), ValueTooLarge), (object(), SerializationError)):
            with pytest.raises(error):
                cache["k"] = value
        assert cache["k"] == b"before"
        assert cache.health()["persistent"].dirty == 1


def test_refused_cache_leaves_its_consistency_manager_free(tmp_path):
    """Catch an async loader that is refused once the write-back is claimed for good."""
    rules = ConsistencyManager(ConsistencyStrategy.WRITE_BACK)

    async def load(key):
        return key

    with pytest.raises(ConfigurationError, match="pass plain functions"):
        FrysCache(10, persistent=tmp_path / "db", consistency=rules, loader=load)
    with FrysCache(10, persistent=tmp_path / "db", consistency=rules) as cache:
        cache["a"] = 1
        assert cache["a"] == 1
