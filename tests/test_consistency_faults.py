"""What a failure or a race leaves behind in a chain, by strategy.

After each every level is asked for itself: none may have a value older than the last acknowledged
one, or, as if it had been acknowledged, one whose write has failed.
"""

import threading
from dataclasses import replace

import pytest
from chained import over
from recorded import Backend, Chain, Refused

from frys_cache import MISSING, CacheTimeout, FrysCache, TierUnavailable, WriteError, WriteUnknown
from frys_cache.errors import IntegrityError
from frys_cache.tiers.face import SYNC, run_sync
from frys_cache.tiers.standin import StandInCache

# ---- what fails ---------------------------------------------------------------------------------

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
    chain.script(fails, [step, "error"])
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
    chain.script("lower", [step], operation)
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
    chain.script("lower", [CacheTimeout("too slow")])
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
    chain.script("lower", ["error-after"], "swap")
    with pytest.raises(WriteError):
        chain.cache.incr("a")
    assert chain.below("upper") is MISSING
    assert chain.reads() == (2, 2)


def test_older_write_that_ends_late_settles_no_doubt():
    """Catch a tier that is believed again since an older write than the refused one came."""
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
        chain.cache.put("a", "second")
        chain.script("lower", ["error", "error"])
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
    """Catch a flight from before a put that is joined after it, since memory evicted the key."""
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

    chain.script("upper", look(), "put_one")
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

    chain.script("lower", overtake())
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
    chain.script("upper", [IntegrityError("damaged")])
    chain.cache.put("a", "new")
    assert chain.reads()[1] == "new"


# ---- races --------------------------------------------------------------------------------------


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

    def slowly(memory, key, value, life, token):
        if value == "first":
            beside.wait(10)
            beside.wait(10)
        return look_after(memory, key, value, life, token)

    chain.cache.manager._look_after = slowly
    first = threading.Thread(target=chain.cache.put, args=("a", "first"), kwargs={"ttl": 60})
    first.start()
    beside.wait(10)
    chain.cache.put("a", "second", ttl=60)
    beside.wait(10)
    first.join(10)
    assert chain.reads() == ("second", "second")
