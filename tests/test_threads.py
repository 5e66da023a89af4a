"""Threads that share a cache never break it, its bound, or the tie between a key and its value.

Each test hammers for half a second; FRYS_SOAK=1 gives each twenty.
"""

import contextlib
import itertools
import os
import random
import threading
import time

import pytest
from hostile import SameHash
from kinds import every_kind, maker

SECONDS = 20.0 if os.environ.get("FRYS_SOAK") == "1" else 0.5
# More keys than that are looked up with the GIL released.
LARGE = 50_000


def hammer(*workers, seconds=SECONDS):
    """Run each worker(stop) in a thread of its own for a while; raise what any of them raised.

    A worker loops until `stop()` is true.  A thread that does not come back is a hang.
    """
    errors = []
    end = time.monotonic() + seconds
    ready = threading.Barrier(len(workers))

    def stop():
        return bool(errors) or time.monotonic() >= end

    def run(worker):
        try:
            ready.wait(60)
            worker(stop)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(worker,), daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 120)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    if errors:
        raise errors[0]


def belongs(key, value):
    """Return whether a value was stored under this key and no other."""
    return value is None or value[0] == key


@every_kind
def test_hammered_cache_keeps_its_bound_and_its_pairs(make):
    """Catch a race of any two operations: a lost link, a bound passed, a value of another key."""
    cache = make(64)
    keys = [f"key-{number}" for number in range(200)]

    def read(stop):
        dice = random.Random(1)
        while not stop():
            for _ in range(50):
                key = dice.choice(keys)
                assert belongs(key, cache.get(key))
                assert len(cache) <= 64
            block = dice.sample(keys, 40)
            assert all(map(belongs, block, cache.get_many(block)))

    def write(stop):
        dice = random.Random(2)
        while not stop():
            for _ in range(50):
                key = dice.choice(keys)
                cache[key] = (key, dice.random())
                assert len(cache) <= 64
            cache.put_many((key, (key, 0)) for key in dice.sample(keys, 40))
            key = dice.choice(keys)
            assert belongs(key, cache.setdefault(key, (key, 1)))

    def remove(stop):
        dice = random.Random(3)
        while not stop():
            for _ in range(20):
                key = dice.choice(keys)
                assert belongs(key, cache.pop(key, None))
                cache.delete(dice.choice(keys))
            assert cache.delete_many(dice.sample(keys, 10)) <= 10
            with contextlib.suppress(KeyError):
                assert belongs(*cache.popitem())
            if dice.random() < 0.05:
                cache.clear()

    def look(stop):
        while not stop():
            assert all(belongs(key, value) for key, value in cache.items())
            assert len(list(cache)) <= 64
            assert len(list(reversed(cache.values()))) <= 64
            repr(cache)
            assert cache.stats().entries <= 64
            assert all(belongs(key, value) for key, value in cache.copy().items())

    hammer(read, read, write, write, remove, look)
    cache._check()
    assert len(cache) <= 64


@every_kind
def test_large_batch_beside_writers_answers_with_its_own_values(make):
    """Catch a look-up without the GIL in a table that a writer moves, or frees."""
    cache = make(LARGE + 1000)
    keys = [f"key-{number}" for number in range(LARGE)]
    cache.put_many((key, (key, 0)) for key in keys)
    rounds = []

    def read_all(stop):
        while not stop():
            assert all(map(belongs, keys, cache.get_many(keys)))
            rounds.append(1)

    def write(stop):
        dice = random.Random(4)
        while not stop():
            key = dice.choice(keys)
            cache[key] = (key, dice.random())
            cache.delete(dice.choice(keys))
            cache[f"new-{dice.randrange(5000)}"] = (None, 0)
            assert len(cache) <= LARGE + 1000

    def get(stop):
        dice = random.Random(5)
        while not stop():
            key = dice.choice(keys)
            assert belongs(key, cache.get(key))
            cache.peek(key)

    hammer(read_all, read_all, write, get)
    assert rounds
    cache._check()


@pytest.mark.parametrize("kind", ["memory-lru", "memory-fifo"])
def test_large_batch_beside_every_kind_of_change_ends(kind):
    """Catch a writer that waits for ever for a reader, or a reader for a writer."""
    make = maker(kind)
    cache = make(LARGE)
    keys = [f"key-{number}" for number in range(LARGE)]
    cache.put_many(dict.fromkeys(keys, 0))

    def read_all(stop):
        while not stop():
            assert len(cache.get_many(keys)) == LARGE

    changes = [
        lambda turn: cache.clear(),
        lambda turn: cache.put_many(dict.fromkeys(keys[:2000], turn)),
        lambda turn: cache.delete_many(keys[1000:1500]),
        lambda turn: cache.update(dict.fromkeys(keys, turn)),
        lambda turn: cache.pop("key-3", None),
        lambda turn: cache.add("key-4", turn),
        lambda turn: cache.incr("key-5"),
        lambda turn: cache.put(SameHash(turn), 1),
        lambda turn: list(cache.items()),
        lambda turn: cache.copy(),
        lambda turn: cache and cache.popitem(),
    ]

    def change(stop):
        for turn in itertools.count():
            if stop():
                break
            changes[turn % len(changes)](turn)
            assert len(cache) <= LARGE

    hammer(read_all, read_all, change)
    cache._check()


@pytest.mark.parametrize("kind", ["memory-lru", "memory-fifo"])
def test_growth_beside_large_batches_loses_nothing(kind):
    """Catch a table that grows under a reader without the GIL."""
    make = maker(kind)
    cache = make(10**7)
    keys = [f"key-{number}" for number in range(LARGE)]
    written = []

    def read_all(stop):
        while not stop():
            assert all(map(belongs, keys, cache.get_many(keys)))

    def grow(stop):
        number = 0
        while not stop() and number < 500_000:
            key = f"key-{number}"
            cache[key] = (key, number)
            number += 1
        written.append(number)

    hammer(read_all, read_all, grow)
    assert len(cache) == written[0]
    assert list(cache.keys() - {f"key-{number}" for number in range(written[0])}) == []
    cache._check()


@every_kind
def test_iteration_beside_changes_never_raises_and_ends(make):
    """Catch an iterator that raises or runs on when another thread changes the cache."""
    cache = make(500)
    cache.put_many((number, number) for number in range(500))

    def iterate(stop):
        while not stop():
            for walk in (iter, reversed):
                for view in (cache, cache.keys(), cache.values(), cache.items()):
                    assert sum(1 for _ in walk(view)) <= 500
            assert all(key == value for key, value in cache.items())

    def change(stop):
        dice = random.Random(6)
        while not stop():
            number = dice.randrange(1000)
            cache[number] = number
            cache.delete(dice.randrange(1000))
            cache.get(dice.randrange(1000))
            if dice.random() < 0.001:
                cache.clear()

    hammer(iterate, iterate, change, change)
    cache._check()


@every_kind
def test_listener_under_threads_hears_of_everything_once(make):
    """Catch an event that is lost or told twice when threads evict at the same time."""
    told = []
    cache = make(16, on_evict=lambda key, value, cause: told.append(value))
    stored = [[], [], []]

    def write(mine, seed):
        def run(stop):
            dice = random.Random(seed)
            while not stop():
                value = (seed, len(mine))
                mine.append(value)
                cache[dice.randrange(40)] = value
                if dice.random() < 0.1:
                    cache.pop(dice.randrange(40), None)
                assert len(cache) <= 16

        return run

    hammer(*(write(mine, seed) for seed, mine in enumerate(stored)))
    assert sorted([*told, *cache.values()]) == sorted(itertools.chain(*stored))
    cache._check()


@every_kind
def test_incr_under_threads_stays_a_number(make):
    """Catch an increment that stores half a result; the sum itself is not promised."""
    cache = make(4)

    def count(stop):
        while not stop():
            assert cache.incr("n") > 0
            cache.incr("other", 2)

    hammer(count, count, count, seconds=SECONDS / 2)
    assert cache["n"] > 0
    assert cache["other"] % 2 == 0
    cache._check()


@every_kind
def test_foreign_comparisons_under_threads_break_nothing(make):
    """Catch a comparison that gives the GIL away and comes back to another table."""
    cache = make(8)

    def use(seed):
        def run(stop):
            dice = random.Random(seed)
            pause = lambda: time.sleep(0)  # noqa: E731
            while not stop():
                key = SameHash(dice.randrange(12), on_compare=pause)
                dice.choice([cache.get, cache.delete, lambda key: cache.put(key, key.name)])(key)
                assert len(cache) <= 8

        return run

    hammer(use(1), use(2), use(3))
    cache._check()
    assert all(key.name == value for key, value in cache.items())


@every_kind
def test_add_under_threads_succeeds_once_for_each_key(make):
    """Catch an add that two threads both win."""
    cache = make(10**6)
    won = [[], []]

    def add(mine):
        def run(stop):
            number = 0
            while not stop() and number < 10**5:
                if cache.add(f"key-{number}", mine):
                    mine.append(number)
                number += 1

        return run

    hammer(*map(add, won), seconds=SECONDS / 2)
    assert len(won[0]) + len(won[1]) == len(cache) == len(set(won[0]) | set(won[1]))
    cache._check()


@pytest.mark.parametrize("kind", ["memory-lru", "frys-auto"])
def test_many_caches_made_and_dropped_by_threads(kind):
    """Catch state shared between caches that one of them frees."""
    make = maker(kind)

    def churn(stop):
        while not stop():
            caches = [make(8, on_evict=lambda *event: None) for _ in range(20)]
            for number in range(200):
                caches[number % 20][number] = caches[number % 7]
            iterators = [iter(cache) for cache in caches]
            del caches
            for iterator in iterators:
                list(iterator)

    hammer(churn, churn, churn, seconds=SECONDS / 2)
