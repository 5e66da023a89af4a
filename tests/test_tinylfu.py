"""The default policy under long work, attack, and copying; its model says whether it decides right.

`test_memory_stateful.py` compares every step with the model for small caches; here the work is long
enough for counters to be halved and shadows to be judged.
"""

import copy
import pickle
import random

import pytest
from conftest import SOAK
from test_golden import NUMBERED as TRACE
from test_golden import NUMBERS

from frys_cache import FrysCache, MemoryCache
from frys_cache._core import _fix_seeds
from frys_cache._tinylfu_model import seed_of
from frys_cache.testing import ReferenceCache

ALL_64 = 2**64 - 1


def seeded(number, *args, **options):
    """Make a cache whose seed follows from a number."""
    _fix_seeds(number)
    return MemoryCache(*args, policy="tinylfu", **options)


def state(cache):
    """Return the options of a cache's state, and the uses that it knows of each key."""
    options, entries, _ = cache.__getstate__()
    return options, {key: standing[0] for key, *_, standing in entries}


def weigh(key, value):
    """Weigh an entry by its key, at most 6."""
    return key % 7


@pytest.mark.parametrize(
    ("entries", "size", "heard", "periods"),
    [
        (1, None, False, 30),
        (7, None, True, 30),
        (50, None, False, 30),
        (300, None, True, 4),
        (None, 600, False, 10),
        (100, 600, True, 1),
    ],
)
def test_long_work_is_that_of_the_model(entries, size, heard, periods):
    """Catch any victim that the description would not choose, on any way through the engine."""
    options = {} if size is None else {"max_size_bytes": size, "sizeof": weigh}
    # Without a listener a write takes other ways through the engine.
    listener = (lambda key, value, cause: None) if heard else None
    cache = seeded(3, entries, on_evict=listener, **options)
    model = ReferenceCache(entries, policy="tinylfu", seed=seed_of(3), **options)
    halvings = []
    halve = model._order.sketch.halve
    model._order.sketch.halve = lambda: (halvings.append(1), halve())
    dice = random.Random(5)
    requests = TRACE + TRACE[:10_000] if SOAK else TRACE[:15_000]
    for step, key in enumerate(requests):
        found = cache.get(key)
        assert found == model.get(key), step
        if found is None or step % 50 == 0:
            cache[key] = model[key] = key
        if dice.random() < 0.01:
            del cache[key], model[key]
        if step % 1000 == 0:
            assert cache.popitem() == model.popitem()
        if step % 200 == 0:
            assert list(cache) == model.order(), step
            cache._check()
    assert list(cache) == model.order()
    assert cache.stats().hits == model.stats().hits
    learned = state(cache)[0]["learned"]
    assert learned == (model._order.main.draw, model._order.main.share)
    assert halvings
    assert model._order.periods > periods


@pytest.mark.parametrize(
    "options", [{"max_size_bytes": 10**6}, {"max_size_bytes": 10**6, "max_entries": 50}]
)
def test_window_finds_its_size_under_bytes_too(options):
    """Catch shadows that are never made, since a full cache needs no more memory for entries."""
    if "max_entries" in options:
        cache = seeded(1, sizeof=weigh, **options)
    else:
        cache = seeded(1, sizeof=lambda key, value: 10**6 // 50, **options)
    for key in TRACE:
        cache.setdefault(key, key)
    assert len(cache) == 50
    assert state(cache)[0]["learned"][1] == 0.01  # best against its scan and loops


# ---- attacks ----


def unscramble(number):
    """Return what `_scramble` makes this of."""
    number ^= number >> 31 ^ number >> 62
    number = number * pow(0x94D049BB133111EB, -1, 2**64) & ALL_64
    number ^= number >> 27 ^ number >> 54
    number = number * pow(0xBF58476D1CE4E5B9, -1, 2**64) & ALL_64
    number ^= number >> 30 ^ number >> 60
    return (number - 0x9E3779B97F4A7C15) & ALL_64


def crafted(count):
    """Return ints that share all their counters in a sketch whose seed is 0."""
    dice = random.Random(1)
    keys = []
    while len(keys) < count:
        key = unscramble(dice.getrandbits(64) & ~0x1F1F1F1F0000FFFF)
        key -= 2**64 if key >= 2**63 else 0
        if hash(key) == key:  # not beyond what hashes to itself
            keys.append(key)
    return keys


def test_crafted_keys_do_not_steer_a_cache_whose_seed_is_unknown():
    """Catch a sketch without a seed: a few crafted keys make any key look popular."""
    victim, *flood = crafted(40)
    for number in (unscramble(0), 1, 2, 3, 4, 5):  # the first makes the seed 0
        cache = seeded(number, 50)
        cache[victim] = 1
        for key in flood:
            cache[key] = 1
        _, uses = state(cache)
        for key in range(100):  # as everybody else asks
            for _ in range(4):
                cache[key] = 1
        options, _ = state(cache)
        held = sum(key in cache for key in flood)
        assert (options["seed"] == 0) is (number == unscramble(0))
        if options["seed"] == 0:
            assert (uses[victim], held) == (15, len(flood))
        else:
            assert uses[victim] <= 3
            assert held == 0


@pytest.mark.parametrize("number", range(5))
def test_flood_of_keys_that_come_once_leaves_what_is_warm(number):
    """Catch admission that lets in whatever comes: lru keeps none of these."""
    cache = seeded(number, 100)
    for _ in range(10):
        for key in range(80):
            cache.setdefault(key, key)
    for key in range(1000, 4000):
        cache[key] = key
    assert sum(key in cache for key in range(80)) >= 76
    assert len(cache) == 100
    cache._check()


def test_warm_key_cannot_be_kept_out_for_ever():
    """Catch a cache where whoever makes the victims popular keeps out what others ask for."""
    admitted = 0
    cache = seeded(1, 10)
    for key in range(10):
        for _ in range(20):
            cache[key] = key
    for turn in range(3000):
        for key in range(10):
            cache.get(key)  # the attacker
        cache["wanted"] = 1
        cache[f"once-{turn}"] = cache[f"once more-{turn}"] = 1
        admitted += "wanted" in cache
        cache.pop("wanted", None)
        for key in range(10):
            cache.setdefault(key, key)
    assert 3 <= admitted <= 300


# ---- copies ----

COPIES = {
    "copy": lambda cache: cache.copy(),
    "deepcopy": copy.deepcopy,
    "pickle": lambda cache: pickle.loads(pickle.dumps(cache)),
}
every_copy = pytest.mark.parametrize("duplicate", COPIES.values(), ids=list(COPIES))


@every_copy
@pytest.mark.parametrize("size", [7, 50, 300])
def test_copy_carries_what_was_learned(duplicate, size):
    """Catch a copy that counts, or chooses its window, anew, or stands in another order."""
    cache = seeded(9, size)
    shares = set()
    for step, key in enumerate(TRACE):
        if cache.get(key) is None:
            cache[key] = key
        if step % 1500 == 700 or step % 1500 < 3:
            twin = duplicate(cache)
            ours, theirs = state(cache), state(twin)
            assert theirs[0]["learned"] == ours[0]["learned"]
            assert theirs[0]["seed"] == ours[0]["seed"]
            assert all(theirs[1][key] >= uses for key, uses in ours[1].items())
            assert sum(theirs[1].values()) <= sum(ours[1].values()) + len(cache)
            assert list(twin) == list(cache)
            twin._check()
            shares.add(ours[0]["learned"][1])
            for key in TRACE[step : step + 50]:  # goes on with the same share
                twin[key] = key
            assert state(twin)[0]["learned"][1] == ours[0]["learned"][1]
            twin._check()
    twin = duplicate(cache)
    assert [twin.popitem() for _ in range(size)] == [cache.popitem() for _ in range(size)]
    assert len(shares) > 1


def changed(cache, learned=None, memo=None):
    """Return a cache's state with other learned values, or other standings of its entries."""
    options, entries, attributes = cache.__getstate__()
    options = options | ({} if learned is None else {"learned": learned})
    if memo is not None:
        entries = [(*entry[:-1], memo) for entry in entries]
    return options, entries, attributes


GOOD = (1, 0.0, 0.0, 0.0, 0, 0)


@pytest.mark.parametrize(
    ("learned", "memo"),
    [
        ((5, float("nan")), None),
        ((5, float("inf")), None),
        ((5, -1.0), None),
        ((ALL_64, 0.5), None),
        ((0, 0), None),
        (None, (ALL_64, 0.0, 0.0, 0.0, 2, 255)),
        (None, (0, float("nan"), float("inf"), -1.0, 255, 255)),
        (None, (15, 0.0, 0.0, 0.0, 1, 0)),
        (None, (15, 0.0, 0.0, 0.0, 3, 7)),
    ],
)
@pytest.mark.parametrize("cls", [MemoryCache, FrysCache])
def test_state_that_nobody_could_have_learned_is_harmless(cls, learned, memo):
    """Catch a share that is no share, or counts beyond any counter, taken as they are."""
    cache = cls(20, policy="tinylfu")
    cache.put_many((number, number) for number in range(30))
    share = state(cache)[0]["learned"][1]
    twin = cls.__new__(cls)
    twin.__setstate__(changed(cache, learned, memo))
    twin._check()
    assert twin == cache
    assert state(twin)[0]["learned"][1] == share
    assert all(uses <= 15 for uses in state(twin)[1].values())
    dice = random.Random(1)
    for step in range(12_000):  # others are asked for, and nobody asks for what is there
        number = dice.randrange(100, 130)
        twin[number] = number
        if step % 100 == 0:
            twin._check()
    # None of the old ones, even if all of them came as protected.
    assert all(number >= 100 for number in twin)
    assert len(twin) == 20


@pytest.mark.parametrize(
    ("learned", "memo", "error"),
    [
        (("draw", 0.1), None, TypeError),
        ((1, "share"), None, TypeError),
        ((-1, 0.1), None, OverflowError),
        ((2**64, 0.1), None, OverflowError),
        ((1,), None, ValueError),
        (None, (-1, *GOOD[1:]), OverflowError),
        (None, (2**64, *GOOD[1:]), OverflowError),
        (None, ("uses", *GOOD[1:]), TypeError),
        (None, (*GOOD[:4], 256, 0), OverflowError),
        (None, GOOD[:5], ValueError),
        (None, None, TypeError),
    ],
)
def test_state_of_wrong_types_raises_and_leaves_a_whole_cache(learned, memo, error):
    """Catch garbage that is read as numbers, or that leaves half a cache behind."""
    cache = seeded(1, 20)
    cache.put_many((number, number) for number in range(30))
    twin = MemoryCache.__new__(MemoryCache)
    given = (None, None, None) if learned is memo is None else changed(cache, learned, memo)
    with pytest.raises(error):
        twin.__setstate__(given)
    twin._check()
    twin.__setstate__(cache.__getstate__())
    assert list(twin.items()) == list(cache.items())
    twin._check()


def test_clear_forgets_what_was_learned():
    """Catch counters that outlive the entries, so that what comes next is kept out."""
    cache = seeded(1, 50)
    for key in TRACE[:5000]:
        cache.setdefault(key, key)
    cache.clear()
    cache._check()
    cache.put_many((number, number) for number in range(1, len(NUMBERS)))
    assert max(state(cache)[1].values()) <= 3
    assert len(cache) == 50
