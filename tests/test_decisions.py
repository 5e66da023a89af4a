"""What depends on whether a key is there, where memory decides: beside a backend, or alone."""

import threading
import time

import pytest
import rocksdict  # noqa: F401  left out where it is not installed
from chained import chain, over, shapes, tiers_of
from flying import Task

from frys_cache import MISSING, ConsistencyManager, FrysCache, IntegrityError
from frys_cache.testing import FaultyTier
from frys_cache.writeback.writeback import WriteBack


class Rows(dict):
    """A backend that takes its time."""

    def load(self, key):
        return self.get(key, MISSING)

    def store(self, key, value):
        time.sleep(0.0005)
        self[key] = value

    def delete(self, key):
        self.pop(key, None)


def rules_of(kind, rows):
    if kind == "write-through":
        return {"backend": rows}
    rules = ConsistencyManager("write-back", rows, durability="memory", max_delay=0.01)
    return {"consistency": rules}


KINDS = pytest.mark.parametrize("kind", ["write-through", "write-back"])


@KINDS
@shapes("no tier", "stand-in")
def test_counter_of_many_threads_loses_nothing(tmp_path, letters, kind):
    """Catch two threads that count on from one number."""
    rows = Rows()
    with chain(letters, tmp_path, **rules_of(kind, rows)) as (cache, _):

        def count():
            for _ in range(30):
                cache.incr("n")

        for task in [Task(count) for _ in range(4)]:
            task.outcome()
        assert cache["n"] == 120
        cache.flush()
        assert rows == {"n": 120}
        assert cache.incr("n") == 121


@KINDS
@shapes("no tier", "stand-in")
def test_one_of_many_adds_wins(tmp_path, letters, kind):
    """Catch two threads that are both told that their value was stored."""
    rows = Rows()
    with chain(letters, tmp_path, **rules_of(kind, rows)) as (cache, _):
        for key in range(30):
            barrier = threading.Barrier(3)

            def add(value, key=key, barrier=barrier):
                barrier.wait()
                return cache.add(key, value)

            tasks = [Task(add, value) for value in range(3)]
            won = [value for value, task in enumerate(tasks) if task.outcome()]
            assert won == [cache[key]]
            cache.flush()
            assert won == [rows[key]]
            assert cache.add(key, 5) is False
            assert cache.replace(key, 6) is True
            assert cache.pop(key) == 6
            assert cache.get(key) is None
            cache.flush()
        assert rows == {}


DECISIONS = {
    "incr": lambda cache: cache.incr("a") == 6,
    "add": lambda cache: cache.add("a", 1) is False and cache["a"] == 5,
    "replace": lambda cache: cache.replace("a", 7) and cache["a"] == 7,
    "touch": lambda cache: cache.touch("a", 50) and 49 < cache.ttl_of("a") <= 50,
    "pop": lambda cache: cache.pop("a") == 5 and "a" not in cache,
    "delete": lambda cache: cache.delete("a") and "a" not in cache,
    "setdefault": lambda cache: cache.setdefault("a", 1) == 5,
    "in": lambda cache: "a" in cache,
}


@pytest.mark.parametrize("decide", DECISIONS.values(), ids=list(DECISIONS))
@pytest.mark.parametrize("beside", ["backend", "loader"])
@shapes("no tier", "stand-in")
def test_value_that_is_due_to_be_renewed_is_still_there(tmp_path, letters, beside, decide):
    """Catch a counter that begins anew, or an add that wins, once a refresh is due."""
    source = Rows() if beside == "backend" else lambda key: 5
    with chain(letters, tmp_path, refresh_ahead=0.001, memory={"ttl": 20}, **{beside: source}) as (
        cache,
        _,
    ):
        cache["a"] = 5
        time.sleep(0.05)
        assert cache.peek("a") is None  # memory is to ask for it
        assert decide(cache)


def test_batch_that_meets_damage_is_read_key_by_key(tmp_path):
    """Catch one damaged block that hides a whole batch."""
    for loader in (None, lambda key: ("loaded", key)):
        tiers = tiers_of("ul", tmp_path)
        cache = over(tiers, **({} if loader is None else {"loader": loader}))
        cache.update(a=1, b=2)
        cache._empty()
        tier = tiers[0].tier._tier
        tiers[0].tier = FaultyTier(tier, script=[IntegrityError("block"), IntegrityError("one")])
        absent = None if loader is None else ("loaded", "c")
        assert cache.get_many("abc") == [1, 2, absent]
        cache.close()


def test_counts_in_memory_survive_what_has_been_sent(monkeypatch):
    """Catch a decision that takes the value of before for the present one, after a flush."""
    rows = {}

    class Table:
        def load(self, key):
            return rows.get(key, MISSING)

        def store(self, key, value):
            rows[key] = value

        def delete(self, key):
            rows.pop(key, None)

    rules = ConsistencyManager("write-back", Table(), durability="memory")
    cache = FrysCache(100, consistency=rules)
    change = WriteBack.change
    others = []

    async def slowly(*arguments):
        if not others:  # between what was read and what is written of it
            others.append(Task(lambda: (cache.incr("n"), cache.flush())))
            others[0].join(0.3)
        return await change(*arguments)

    monkeypatch.setattr(WriteBack, "change", slowly)
    cache.incr("n")
    others[0].outcome()
    cache.flush()
    assert (cache["n"], rows["n"]) == (2, 2)
    cache.close()
