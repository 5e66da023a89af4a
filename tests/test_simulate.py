"""`simulate`: the hits of the real cache, Belady's ceiling, lru in one pass, and bad arguments."""

import gc
import random
import sys
import threading
from array import array
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frys_cache import (
    ConfigurationError,
    EvictionPolicy,
    MemoryCache,
    SimulationResult,
    ValueTooLarge,
    _core,
    simulate,
)
from frys_cache._core import POLICIES
from frys_cache.simulation import SIMULATED, Trace

SEED = 20_261_124


def requests(count=30_000, keys=3_000):
    """Return keys of which few are popular, near 0 and at the ends of what an int of 64 bits is."""
    chance = random.Random(SEED)
    places = [0, -(2**63), 2**63 - keys, 2**61 - keys // 2, -20]
    numbers = [int(chance.paretovariate(0.5)) % keys for _ in range(count)]
    return [places[number % 5] + number for number in numbers]


def sizes_for(keys):
    """Return the size of each request: some change, some are 0, few are very large."""
    chance = random.Random(SEED + 1)
    usual = {key: chance.choice((0, 1, 7, 50, 200, 4_000)) for key in sorted(set(keys))}
    return [chance.randrange(300) if chance.random() < 0.03 else usual[key] for key in keys]


KEYS = requests()
SIZES = sizes_for(KEYS)


def drive(cache, keys, sizes):
    """Use a cache as its user does; return its hits."""
    hits = 0
    for key, size in zip(keys, sizes, strict=True):
        if key in cache:
            hits += cache[key] is not None
        else:
            with suppress(ValueTooLarge):
                cache[key] = size
    return hits


def real(policy, keys, sizes, **bounds):
    """Return hits and evictions of a MemoryCache with the seed that `simulate` takes."""
    _core._fix_seeds(SEED)
    try:
        cache = MemoryCache(policy=policy, **bounds)
        hits = drive(cache, keys, sizes)
        cache._check()
        return hits, cache.stats().evictions
    finally:
        _core._fix_seeds(random.SystemRandom().getrandbits(64))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("entries", [1, 2, 50, 400, 5_000])
def test_hits_by_entries_are_those_of_a_real_cache(policy, entries):
    """Catch a simulated step, hash or seed that is not the real cache's."""
    # "size" weighs entries without a bound too.  All weigh the same, and by a power of two, so that
    # nothing is rounded otherwise than where each weighs 1.
    keys = [key for key in KEYS if policy != "size" or sys.getsizeof(key) == sys.getsizeof(1)]
    same = [bytes(256 - sys.getsizeof(1))] * len(keys)
    found = simulate(keys, policy=policy, max_entries=entries, seed=SEED)
    assert (found.hits, found.evictions) == real(policy, keys, same, max_entries=entries)
    assert found.hits > 0
    assert found.requests == len(keys) == found.hits + found.misses


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    "bounds",
    [
        {"max_size_bytes": 500},
        {"max_size_bytes": 20_000},
        {"max_size_bytes": 20_000, "max_entries": 90},
    ],
    ids=str,
)
def test_hits_by_bytes_are_those_of_a_real_cache(policy, bounds):
    """Catch weights that are not taken over, objects too heavy that are kept, a wrong bound."""
    found = simulate(KEYS, policy=policy, sizes=SIZES, seed=SEED, **bounds)
    sizeof = lambda key, size: size  # noqa: E731
    assert (found.hits, found.evictions) == real(policy, KEYS, SIZES, sizeof=sizeof, **bounds)
    assert found.total_size == sum(SIZES)
    assert 0 < found.byte_hit_ratio < 1


def test_hit_size_counts_the_bytes_of_hits():
    """Catch bytes of misses among those of hits, or a hit that stores what it found."""
    found = simulate([1, 2, 1, 1, 2], policy="lru", sizes=[5, 7, 5, 6, 9], max_size_bytes=13)
    # What is found stays as large as it was stored, so that nothing has to go.
    assert (found.hits, found.hit_size, found.total_size) == (3, 20, 32)
    assert found.byte_hit_ratio == 20 / 32
    assert found.evictions == 0


@pytest.mark.parametrize("policy", SIMULATED)
def test_kinds_of_keys_give_the_same(policy):
    """Catch a buffer that is read with a wrong width, sign or stride, and equal keys told apart."""
    keys = [key & 0xFFF for key in KEYS[:8_000]]
    expected = simulate(keys, policy=policy, max_entries=64)
    kinds = [array(code, keys) for code in "iIqQlL"]
    kinds += [tuple(keys), iter(keys), map(int, keys), memoryview(array("q", keys))]
    kinds += [memoryview(array("q", [n for key in keys for n in (key, -7)]))[::2]]
    for kind in kinds:
        assert simulate(kind, policy=policy, max_entries=64) == expected
    negative = array("i", [-key for key in keys])
    assert simulate(negative, policy=policy, max_entries=64) == simulate(
        [-key for key in keys], policy=policy, max_entries=64
    )


def test_other_keys_are_numbered_by_equality():
    """Catch keys told apart that are equal, as 1 and True, or taken for one that are not."""
    keys = ["a", 1, True, 1.0, (1,), "1", b"1", None, (1,), 2**70, 2**70]
    found = simulate(keys, policy="lru", max_entries=100)
    assert found.hits == 4
    large = array("Q", [2**64 - 1, 2**63, 2**64 - 1, 2**63 - 1])
    assert simulate(large, policy="lru", max_entries=100).hits == 1


def test_hostile_key_cannot_change_the_trace_that_is_read():
    """Catch memory written past its end when hashing a key makes the list of keys longer."""
    keys = []

    class Grows:
        def __hash__(self):
            keys.extend(range(1_000))
            return 1

    keys += [Grows(), "a", "a"]
    assert simulate(keys, policy="lru", max_entries=5).requests == 3


def test_policy_is_a_name_or_a_member():
    """Catch a member of the enum that is not its name."""
    by_name = simulate(KEYS[:500], policy="slru", max_entries=9)
    assert simulate(KEYS[:500], policy=EvictionPolicy.SLRU, max_entries=9) == by_name
    assert by_name.policy == "slru"
    assert by_name.bound == 9


def test_result_is_frozen_and_counts_right():
    """Catch a ratio that divides by nothing, and a bound of the wrong unit."""
    empty = simulate([], policy="lru", max_entries=3, sizes=[])
    assert (empty.requests, empty.hits, empty.hit_ratio, empty.byte_hit_ratio) == (0, 0, 0.0, 0.0)
    assert simulate([], policy="opt", max_entries=3).hits == 0
    found = simulate([1, 1, 1, 2], policy="lru", max_entries=3)
    assert isinstance(found, SimulationResult)
    assert (found.hits, found.misses, found.hit_ratio, found.byte_hit_ratio) == (2, 2, 0.5, None)
    assert simulate([1], policy="lru", sizes=[1], max_size_bytes=8).bound == 8
    with pytest.raises(AttributeError):
        found.hits = 3


@pytest.mark.parametrize("policy", [*SIMULATED, "opt"])
def test_seed_decides_the_result(policy):
    """Catch a result that differs from run to run with one seed."""
    runs = {simulate(KEYS, policy=policy, max_entries=77, seed=seed) for seed in (5, 5, 5 + 2**64)}
    assert len(runs) == 1


BAD = [
    ({"keys": 5}, TypeError, "not iterable"),
    ({"keys": [1, [2], 3]}, TypeError, r"keys\[1\] is no key: unhashable type: 'list'"),
    ({"policy": "mru"}, ConfigurationError, r"unknown policy 'mru'; known are lru, fifo, .*, opt"),
    ({"policy": None}, ConfigurationError, "unknown policy None"),
    (
        {"max_entries": None},
        ConfigurationError,
        "needs a bound: pass max_entries or max_size_bytes",
    ),
    ({"max_entries": 0}, ConfigurationError, "max_entries must be an int of at least 1, not 0"),
    ({"max_entries": 1.5}, ConfigurationError, "max_entries must be an int of at least 1, not 1.5"),
    ({"max_size_bytes": 5}, ConfigurationError, "max_size_bytes needs sizes"),
    ({"sizes": [1, 2], "max_size_bytes": -1}, ConfigurationError, "max_size_bytes must be an int"),
    ({"sizes": [1]}, ValueError, "keys and sizes differ in length: 2 and 1"),
    ({"sizes": [1, -2]}, ValueError, r"sizes\[1\] must be from 0 to 2\*\*63 - 1, not -2"),
    ({"sizes": array("q", [1, -2])}, ValueError, r"sizes\[1\] must be 0 or more, not -2"),
    ({"sizes": array("i", [-1, 2])}, ValueError, r"sizes\[0\] must be 0 or more, not -1"),
    ({"sizes": [1, 2**63]}, ValueError, r"sizes\[1\] must be from 0 to 2\*\*63 - 1"),
    ({"sizes": [2**62, 2**62]}, ValueError, r"add up to more than 2\*\*63 - 1 bytes at sizes\[1\]"),
    ({"sizes": array("Q", [1, 2**63])}, ValueError, r"add up to more .* at sizes\[1\]"),
    ({"sizes": [1, 2.0]}, TypeError, r"sizes\[1\] must be an int, not float"),
    ({"sizes": [True, 2]}, TypeError, r"sizes\[0\] must be an int, not bool"),
    ({"sizes": array("d", [1, 2])}, TypeError, r"sizes\[0\] must be an int, not float"),
    ({"seed": "x"}, TypeError, "seed must be an int, not str"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD, ids=[str(case[0]) for case in BAD])
def test_bad_argument_is_refused_by_name(change, error, message):
    """Catch an argument that is taken silently, or a message that does not say which and why."""
    arguments = {"keys": [1, 2], "policy": "lru", "max_entries": 2} | change
    with pytest.raises(error, match=message):
        simulate(arguments.pop("keys"), **arguments)


def most_hits(keys, entries, held=frozenset()):
    """Return the most hits of a cache that stores what it missed: every choice is tried."""
    if not keys:
        return 0
    key, *rest = keys
    if key in held:
        return 1 + most_hits(rest, entries, held)
    if len(held) < entries:
        return most_hits(rest, entries, held | {key})
    return max(most_hits(rest, entries, held - {gone} | {key}) for gone in held)


@given(st.lists(st.integers(0, 5), max_size=11), st.integers(1, 4))
def test_opt_is_the_best_of_all_choices(keys, entries):
    """Catch an optimum that is not one."""
    assert simulate(keys, policy="opt", max_entries=entries).hits == most_hits(keys, entries)


@given(st.lists(st.integers(0, 40), max_size=400), st.integers(1, 30))
def test_no_policy_is_above_opt(keys, entries):
    """Catch a ceiling with a hole, or a policy that counts a miss as a hit."""
    ceiling = simulate(keys, policy="opt", max_entries=entries).hits
    for policy in SIMULATED:
        assert simulate(keys, policy=policy, max_entries=entries).hits <= ceiling


@pytest.mark.parametrize("bytes_", [1_000, 10_000, 100_000])
def test_opt_by_bytes_is_above_every_policy_on_a_real_mix(bytes_):
    """Catch a clairvoyant heuristic that is worse than what knows nothing of the future."""
    ceiling = simulate(KEYS, policy="opt", sizes=SIZES, max_size_bytes=bytes_).hits
    for policy in SIMULATED:
        assert simulate(KEYS, policy=policy, sizes=SIZES, max_size_bytes=bytes_).hits < ceiling


@given(st.lists(st.integers(-30, 30), max_size=300))
def test_lru_in_one_pass_is_lru_at_every_size(keys):
    """Catch a stack distance that is off by one at some size."""
    trace = Trace(keys)
    sizes = list(range(1, 65))
    assert trace.lru_hits(sizes) == [trace.simulate("lru", size).hits for size in sizes]


def test_lru_in_one_pass_takes_sizes_in_any_order():
    """Catch hits that are given to another size than asked for."""
    trace = Trace(KEYS)
    assert trace.lru_hits([900, 3, 10**9, 3]) == [
        trace.simulate("lru", size).hits for size in (900, 3, 10**9, 3)
    ]
    assert Trace([]).lru_hits([1, 2]) == [0, 0]


def test_trace_is_simulated_by_many_threads_at_once():
    """Catch state that is shared between runs, or made twice when two threads ask for it first."""
    every = (*SIMULATED, "opt")
    expected = {policy: simulate(KEYS, policy=policy, max_entries=99) for policy in every}
    for _ in range(5):
        trace, found, start = Trace(KEYS), [], threading.Barrier(8)

        def work(trace=trace, found=found, start=start):
            start.wait()
            for policy in every:
                found.append(trace.simulate(policy, 99))
            assert trace.unique == len(set(KEYS))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8 * len(expected)
        assert all(result == expected[result.policy] for result in found)


def test_progress_is_told_and_can_end_a_run():
    """Catch a run that cannot be ended, or keeps its memory when it is."""
    keys = array("q", range(1_000_000))
    for policy in ("lru", "opt"):
        heard = []
        Trace(keys).simulate(policy, 10, progress=heard.append)
        assert heard == sorted(heard)
        assert heard[-1] == len(keys)
        assert len(heard) > 3

        def stop(done):
            raise KeyError(done)

        with pytest.raises(KeyError):
            Trace(keys).simulate(policy, 10, progress=stop)
    with pytest.raises(KeyError):
        Trace(keys).lru_hits([5], progress=stop)


def test_keys_may_be_changed_after_they_were_read():
    """Catch a trace that looks at memory which is no longer what it was."""
    keys = array("q", [1, 2, 1, 2])
    trace = Trace(keys)
    keys[:] = array("q", [5, 6, 7, 8])
    keys.extend(range(1_000))  # also: the buffer is not held
    gc.collect()
    assert trace.simulate("lru", 2).hits == 2
    assert len(trace) == 4


def test_numbered_trace_does_not_depend_on_what_its_keys_are():
    """Catch a result that is another one for keys of another kind, or for other hashes."""
    names = [f"key {key}" for key in KEYS]
    for policy in SIMULATED:
        found = {Trace(keys, numbered=True).simulate(policy, 300) for keys in (KEYS, names)}
        assert len(found) == 1


def test_traces_are_made_once_and_freed():
    """Catch memory that is not given back, and a second __init__ that would change a trace."""
    trace = _core._Trace([1, 2], None, False)
    with pytest.raises(RuntimeError, match="made once"):
        trace.__init__([3], None, False)
    for bad in ([1, 2, []], [1, 2]):
        with pytest.raises((TypeError, ValueError)):
            _core._Trace(bad, [1], False)
