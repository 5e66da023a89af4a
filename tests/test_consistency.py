"""The strategies: who is written when, what is acknowledged, and what a failure leaves behind.

Each case has a journal of the calls, in their order, of a backend and one or two tiers.  After a
failure every level is asked for itself: none may have a value older than the last acknowledged one,
or, as if it had been acknowledged, one whose write has failed.
"""

import threading
import warnings
from dataclasses import replace
from datetime import timedelta

import pytest
import rocksdict  # noqa: F401  left out where it is not installed
from chained import over
from tiered import disk_of, open_cache

from frys_cache import (
    MISSING,
    CacheTimeout,
    ConfigurationError,
    ConsistencyManager,
    ConsistencyStrategy,
    FrysCache,
    PersistentCache,
    TierUnavailable,
    WriteError,
    WriteUnknown,
)
from frys_cache.errors import IntegrityError
from frys_cache.testing import FaultyTier
from frys_cache.tiers.face import SYNC, run_sync
from frys_cache.tiers.standin import StandInCache

WRITES = ("put_one", "write", "drop", "swap")


class Refused(Exception):
    """What the backend raises."""


class Recorded:
    """A tier that writes down what it is asked to change."""

    def __init__(self, tier, name, calls):
        self.__dict__.update(_tier=tier, _name=name, _calls=calls)

    def __getattr__(self, name):
        found = getattr(self._tier, name)
        if name not in WRITES:
            return found

        def call(*arguments):
            self._calls.append(f"{self._name}.{name}")
            return found(*arguments)

        return call

    def __setattr__(self, name, value):
        setattr(self._tier, name, value)


class Backend:
    """A backend of rows that writes down its calls, and fails when `trouble` says so."""

    def __init__(self, calls=None):
        self.calls = [] if calls is None else calls
        self.rows = {}
        self.trouble = None  # "before", "after"
        self.poison = set()

    def _do(self, name, key, work):
        self.calls.append(f"backend.{name}")
        if self.trouble == "before" or key in self.poison:
            raise Refused(key)
        work()
        if self.trouble == "after":
            raise Refused(key)

    def load(self, key):
        return self.rows.get(key, MISSING)

    def store(self, key, value):
        self._do("store", key, lambda: self.rows.__setitem__(key, value))

    def delete(self, key):
        self._do("delete", key, lambda: self.rows.pop(key, None))


class Chain:
    """A cache over so many tiers and perhaps a backend, all of which write down their calls."""

    def __init__(self, count, backend, strategy="write-through", **options):
        self.calls = []
        self.backend = Backend(self.calls) if backend else None
        self.levels = [StandInCache(name) for name in ("upper", "lower")[2 - count :]]
        self.faults = {}
        for level in self.levels:
            self.faults[level.name] = FaultyTier(level.tier)
            level.tier = Recorded(self.faults[level.name], level.name, self.calls)
        if strategy == "write-back":
            strategy = ConsistencyManager(strategy, durability="memory", max_delay=3600)
        if self.backend is not None:
            options["backend"] = self.backend
        self.cache = over(self.levels, consistency=strategy, **options)

    def below(self, name, key="a"):
        """Return what the tier of this name has, whatever the chain thinks of it."""
        (level,) = (one for one in self.levels if one.name == name)
        code = level.codec.key(key)
        record = self.faults[name]._tier.read_one(code)
        return MISSING if record is None else level.codec.decode(code, record)[0]

    def took(self, act):
        """Return what was called meanwhile."""
        self.calls.clear()
        act(self.cache)
        return list(self.calls)

    def reads(self, key="a"):
        """Return what is read with memory and without."""
        here = self.cache.get(key, MISSING)
        self.cache._forget(key)
        return here, self.cache.get(key, MISSING)


# ---- order ----------------------------------------------------------------------------------------

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


# ---- what fails -----------------------------------------------------------------------------------

CHANGES = {
    "put": lambda cache: cache.put("a", "new"),
    "put_many": lambda cache: cache.put_many({"a": "new"}),
    "replace": lambda cache: cache.replace("a", "new"),
    "delete": lambda cache: cache.delete("a"),
    "pop": lambda cache: cache.pop("a"),
}
NEW = {"put": "new", "put_many": "new", "replace": "new", "delete": MISSING, "pop": MISSING}


@pytest.mark.parametrize("trouble", ["before", "after"])
@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("strategy", ["write-through", "write-around", "refresh-ahead"])
@pytest.mark.parametrize("change", CHANGES)
def test_backend_that_fails_leaves_no_level_that_may_be_wrong(change, strategy, count, trouble):
    """Catch an old value that is shown although the backend has the new one, or the reverse."""
    chain = Chain(count, True, strategy)
    chain.cache.put("a", "old")
    assert chain.cache["a"] == "old"
    chain.backend.trouble = trouble
    with pytest.raises((Refused, WriteError)) as caught:
        CHANGES[change](chain.cache)
    if change == "put_many":
        assert list(caught.value.failed) == ["a"]
    else:
        assert caught.type is Refused
    chain.backend.trouble = None
    assert chain.cache.peek("a") is None
    for level in chain.levels:
        assert chain.below(level.name) is MISSING
    expected = "old" if trouble == "before" else NEW[change]
    assert chain.reads() == (expected, expected)


@pytest.mark.parametrize("step", ["error", "error-after"])
@pytest.mark.parametrize("fails", ["upper", "lower"])
@pytest.mark.parametrize("backend", [True, False])
@pytest.mark.parametrize("strategy", ["write-through", "write-around", "cache-aside"])
@pytest.mark.parametrize("change", ["put", "put_many", "delete"])
def test_tier_that_fails_is_not_believed(change, strategy, backend, fails, step):
    """Catch a level that shows what it had before an acknowledged write that it refused."""
    if strategy == "cache-aside" and backend:
        return
    chain = Chain(2, backend, strategy)
    chain.cache.put("a", "old")
    assert chain.cache["a"] == "old"
    # The change, and the try to settle it at once.
    chain.faults[fails]._faults.script = iter([step, "error"])
    CHANGES[change](chain.cache)
    assert chain.cache.health()[fails].doubted == 1
    expected = NEW[change]
    if strategy == "write-around" and not backend and fails == "lower" and change != "delete":
        expected = MISSING  # nobody else has it
    assert chain.reads()[1] == expected
    for level in chain.cache.manager._levels:
        level.doubts._tried = 0.0  # a second is over
        assert level.codec.key("a") not in level.doubts
    assert chain.reads()[1] == expected
    assert chain.below(fails) in (MISSING, NEW[change])
    assert chain.cache.health()[fails].doubted == 0


@pytest.mark.parametrize("step", ["error", "error-after"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("strategy", ["write-through", "write-around", "cache-aside"])
def test_strict_chain_raises_where_its_lowest_tier_fails(strategy, change, step):
    """Catch a value above that the authority has not, or an old one that it has replaced."""
    chain = Chain(2, False, strategy, mode="strict")
    chain.cache.put("a", "old")
    assert chain.cache["a"] == "old"
    operation = {"put": "put_one", "put_many": "write", "delete": "drop"}.get(change, "swap")
    chain.faults["lower"]._faults.operations = frozenset([operation])
    chain.faults["lower"]._faults.script = iter([step])
    with pytest.raises(WriteError) as caught:
        CHANGES[change](chain.cache)
    assert list(caught.value.failed) == ["a"]
    assert isinstance(caught.value.failed["a"], TierUnavailable)
    assert chain.cache.peek("a") is None
    assert chain.below("upper") is MISSING
    expected = "old" if step == "error" else NEW[change]
    assert chain.reads() == (expected, expected)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("change", ["put", "put_many", "delete"])
def test_write_whose_outcome_is_unknown_says_so(change, count):
    """Catch a timeout that passes for a failure, and the old value that is shown after it."""
    chain = Chain(count, False, mode="strict")
    chain.cache.put("a", "old")
    chain.faults["lower"]._faults.script = iter([CacheTimeout("too slow")])
    with pytest.raises(WriteUnknown) as caught:
        CHANGES[change](chain.cache)
    assert isinstance(caught.value, WriteError)
    assert chain.cache.peek("a") is None
    if count == 2:
        assert chain.below("upper") is MISSING


def test_decision_of_unknown_outcome_leaves_no_old_value_above():
    """Catch an upper tier that shows the old value in turns with the new one below."""
    chain = Chain(2, False)
    chain.cache.put("a", 1)
    chain.faults["lower"]._faults.operations = frozenset(["swap"])
    chain.faults["lower"]._faults.script = iter(["error-after"])
    with pytest.raises(WriteError):
        chain.cache.incr("a")
    assert chain.below("upper") is MISSING
    assert chain.reads() == (2, 2)


def test_older_write_that_ends_late_settles_no_doubt():
    """Catch a tier that is believed again since an older write than the one it refused came through."""
    chain = Chain(1, False)
    level = chain.cache.manager._levels[0]
    code = level.codec.key("a")
    older = chain.cache.manager._next()
    level.doubts.add([code], chain.cache.manager._next())
    level.doubts.discard([code], older)
    assert code in level.doubts.keys
    level.doubts.discard([code], chain.cache.manager._next())
    assert code not in level.doubts.keys


def test_load_settles_no_doubt_of_a_later_write():
    """Catch a loaded value that comes late and makes the record of before believed."""
    chain = Chain(1, True)
    chain.cache.put("a", "first")
    chain.cache.clear()

    def write_meanwhile(key):
        value = chain.backend.rows[key]
        lower = chain.faults["lower"]
        chain.cache.put("a", "second")
        lower._faults.script = iter(["error", "error"])
        chain.cache.put("a", "third")
        return value

    order = chain.cache.manager._order
    chain.cache.manager._order = replace(order, function=write_meanwhile)
    chain.cache.get("a")
    chain.cache.manager._order = order
    chain.cache._forget("a")
    assert chain.reads() == ("third", "third")


def test_load_during_a_put_does_not_put_back_the_old_value():
    """Catch a loaded value whose version is newer than that of the put that came after it."""
    loading, stored = threading.Event(), threading.Event()

    class Slow(Backend):
        def load(self, key):
            value = super().load(key)
            if self.slow:
                loading.set()
                assert stored.wait(10)
            return value

        def store(self, key, value):
            if self.slow:
                reader.start()
                assert loading.wait(10)
            super().store(key, value)
            stored.set()

    backend = Slow()
    backend.slow = False
    lower = StandInCache("lower")
    cache = over([lower], backend=backend)
    cache.put("a", "old")
    cache.clear()
    reader = threading.Thread(target=cache.get, args=("a",))
    backend.slow = True
    cache.put("a", "new")
    reader.join(10)
    backend.slow = False
    cache._forget("a")
    assert cache["a"] == "new"
    code = lower.codec.key("a")
    assert lower.codec.decode(code, lower.tier.read_one(code))[0] == "new"


def test_read_after_a_put_joins_no_load_from_before_it():
    """Catch a flight that began before a put and is joined after it, since memory evicted the key."""
    loading, go_on = threading.Event(), threading.Event()

    class Slow(Backend):
        def load(self, key):
            value = super().load(key)
            if key == "a" and not go_on.is_set():
                loading.set()
                assert go_on.wait(10)
            return value

    backend = Slow()
    with FrysCache(1, backend=backend, policy="lru") as cache:
        reader = threading.Thread(target=cache.get, args=("a",))
        reader.start()
        assert loading.wait(10)
        cache.put("a", "new")
        cache.put("b", "evicts it")
        assert cache.peek("a") is None
        threading.Timer(0.2, go_on.set).start()
        assert cache["a"] == "new"
        reader.join(10)


def test_reader_below_a_put_finds_nothing_newer_than_memory_has():
    """Catch a new value, found past an upper tier that failed, before an old one from memory."""
    chain = Chain(2, False)
    chain.cache.put("a", "old")
    seen = []

    def look():
        seen.append(chain.below("lower"))
        # As a reader that has looked into memory before.
        seen.append(run_sync(chain.cache.manager.read(SYNC, chain.cache, "a")))
        seen.append(chain.cache["a"])
        yield "ok"

    chain.faults["upper"]._faults.operations = frozenset(["put_one"])
    chain.faults["upper"]._faults.script = look()
    chain.cache.put("a", "new")
    assert seen == ["new", "old", "old"]
    assert chain.cache.manager._changing.codes == {}
    assert chain.reads() == ("new", "new")


def test_batch_that_was_overtaken_below_is_the_newest_above_too():
    """Catch two tiers of which each has the value of another batch."""
    chain = Chain(2, False)
    manager = chain.cache.manager
    code = chain.levels[1].codec.key("a")

    def overtake():
        version = manager._next()
        for level, fault in zip(chain.levels, chain.faults.values(), strict=True):
            record = level.codec.encode(code, "other", version, 0)
            assert fault._tier.write([(code, record)]) == []
        yield "ok"

    chain.faults["lower"]._faults.script = overtake()
    chain.cache.put_many({"a": "batch"})
    assert chain.below("lower") == chain.below("upper") == "batch"


def test_put_many_reports_the_keys_that_failed():
    """Catch a batch that says nothing of which keys the backend has, or forgets the others."""
    chain = Chain(2, True)
    chain.cache.put_many(dict.fromkeys("abcd", "old"))
    chain.backend.poison = {"b", "d"}
    with pytest.raises(WriteError, match=r"2 of 4 keys") as caught:
        chain.cache.put_many(dict.fromkeys("abcd", "new"))
    assert sorted(caught.value.failed) == ["b", "d"]
    assert {type(error) for error in caught.value.failed.values()} == {Refused}
    found = dict.fromkeys("ac", "new") | dict.fromkeys("bd", "old")
    assert chain.backend.rows == found
    assert dict(zip("abcd", chain.cache.get_many("abcd"), strict=True)) == found
    chain.cache._empty()
    assert dict(zip("abcd", chain.cache.get_many("abcd"), strict=True)) == found


def test_damaged_record_of_a_tier_does_not_stop_a_write():
    """Catch a write that fails since what it replaces cannot be read."""
    chain = Chain(2, False)
    chain.faults["upper"]._faults.script = iter([IntegrityError("damaged")])
    chain.cache.put("a", "new")
    assert chain.reads()[1] == "new"


# ---- races ----------------------------------------------------------------------------------------


def test_concurrent_puts_of_one_key_end_alike_everywhere():
    """Catch a backend that ends with one value, and a tier or memory with another."""
    chain = Chain(1, True)
    gate = threading.Barrier(8)

    def put(number):
        for n in range(200):
            gate.wait()
            chain.cache.put("a", (number, n))
            if gate.wait() == 0:
                stored = chain.backend.rows["a"]
                found.append((chain.cache.get("a"), chain.below("lower"), stored))

    found = []
    threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 200
    assert [each for each in found if len(set(each)) > 1] == []


def test_concurrent_puts_leave_no_other_value_to_be_given_stale():
    """Catch a value beside memory that another write, which came later, has replaced."""
    chain = Chain(1, True, stale_ttl=60)
    beside = threading.Barrier(2)
    look_after = chain.cache.manager._look_after

    def slowly(key, value, life, token):
        if value == "first":
            beside.wait(10)
            beside.wait(10)
        return look_after(key, value, life, token)

    chain.cache.manager._look_after = slowly
    first = threading.Thread(target=chain.cache.put, args=("a", "first"), kwargs={"ttl": 60})
    first.start()
    beside.wait(10)
    chain.cache.put("a", "second", ttl=60)
    beside.wait(10)
    first.join(10)
    assert chain.reads() == ("second", "second")


# ---- write-back through the cache -----------------------------------------------------------------


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
            with PersistentCache(tmp_path / "other") as another:
                with pytest.raises(ConfigurationError, match="one cache"):
                    FrysCache(10, persistent=another, consistency=rules)
        with FrysCache(10, persistent=disk):
            with pytest.raises(ConfigurationError, match="namespace"):
                FrysCache(10, persistent=disk, consistency=ConsistencyManager("write-back"))


def test_journal_left_behind_is_told_of(tmp_path):
    """Catch writes that nobody will ever send, and nobody says so."""
    backend = Backend()
    backend.trouble = "before"
    cache, _ = waiting(tmp_path, backend)
    cache.update(a=1, b=2)
    report = cache.close(0.1)
    assert report.left == 2
    with pytest.warns(RuntimeWarning, match="2 writes wait in the journal"):
        open_cache(tmp_path).close()
    backend.trouble = None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache, _ = waiting(tmp_path, backend)
    assert cache.get_many(["a", "b"]) == [1, 2]
    cache.flush(10)
    assert backend.rows == {"a": 1, "b": 2}
    cache.close()


# ---- arguments ------------------------------------------------------------------------------------


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
