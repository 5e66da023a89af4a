"""Turns: writes of one key to a backend and the tiers do not cross, single ones and batches."""

import threading

from chained import over

from frys_cache import MISSING
from frys_cache.chain.turns import Turns
from frys_cache.tiers.face import SYNC, run_sync
from frys_cache.tiers.standin import StandInCache


def single(turns, code, work):
    async def coroutine(crossed):
        return work()

    return run_sync(turns.single(SYNC, code, coroutine))


def batch(turns, codes, work):
    async def coroutine(crossed):
        return work()

    return run_sync(turns.batch(SYNC, codes, coroutine))


def test_turns_of_nobody_else_cross_nothing():
    """Catch a write that takes itself for another."""
    turns = Turns()
    assert single(turns, "a", lambda: 1) == (1, False)
    assert batch(turns, ["a", "b"], lambda: 2) == (2, [])
    assert single(turns, "a", lambda: 3) == (3, False)


def test_batch_is_told_of_single_writes_beside_it():
    """Catch a batch that leaves in the tiers what the backend has no more."""
    turns = Turns()

    def beside():
        assert single(turns, "a", lambda: 1) == (1, True)
        assert single(turns, "other", lambda: 1) == (1, False)

    assert batch(turns, ["a", "b"], beside) == (None, ["a"])


def test_single_write_is_told_of_a_batch_that_began_and_ended_within_it():
    """Catch the reverse."""
    turns = Turns()
    assert single(turns, "a", lambda: batch(turns, ["a"], lambda: 2)) == ((2, ["a"]), True)


def test_turn_that_fails_is_over():
    """Catch an exception that leaves a key, or all batches, locked."""
    turns = Turns()
    for attempt in (single, batch):
        for _ in range(2):
            try:
                attempt(turns, "a", lambda: 1 // 0)
            except ZeroDivisionError:
                pass
            else:
                raise AssertionError
    assert single(turns, "a", lambda: 1) == (1, False)
    assert turns._singles == {}
    assert turns._batches == {}


class Slow:
    """A backend that lets other threads in before it answers."""

    def __init__(self):
        self.rows = {}

    def load(self, key):
        return self.rows.get(key, MISSING)

    def store(self, key, value):
        self.rows[key] = value
        threading.Event().wait(0.0005)

    def store_many(self, values):
        for key, value in values.items():
            self.store(key, value)

    def delete(self, key):
        threading.Event().wait(0.0005)
        self.rows.pop(key, None)


def test_backend_and_tiers_end_with_the_same_value():
    """Catch puts, removals and batches that cross between the backend and the tiers."""
    backend, tier = Slow(), StandInCache()
    cache = over([tier], backend=backend)
    keys = ["a", "b", "c"]

    def run(number):
        for n in range(12):
            value = f"{number}:{n}"
            if number % 3 == 0:
                cache.put_many(dict.fromkeys(keys, value))
            elif number % 3 == 1:
                cache[keys[n % 3]] = value
            elif n % 2:
                cache.delete(keys[n % 3])
            else:
                cache.put(keys[n % 3], value)

    for _ in range(4):
        threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for key in keys:
            stored = backend.rows.get(key, MISSING)
            record = tier.tier.read_one(tier.codec.key(key))
            if record is not None and not record[1] & 3:
                assert tier.codec.decode(tier.codec.key(key), record)[0] == stored
            assert cache.peek(key, stored) == stored
