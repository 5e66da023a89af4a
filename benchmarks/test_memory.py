"""All contenders on the same questions, as tables: `pytest benchmarks --benchmark-only`.

Every test times 1,000 operations, so microseconds in a table read as nanoseconds per operation.
The loop itself is in every row, named "empty" where it is shown alone; gate.py takes it off.
"""

import itertools

import pytest
from contenders import contenders
from timing import BATCH, EACH, FRESH, compile_loop
from workloads import SMALL, make_keys, make_values, pair_of_values, twins

pytest.importorskip("pytest_benchmark")

FOUND = contenders()
KEYS = {kind: make_keys(kind, SMALL) for kind in ("bytes", "str", "int")}
VALUES = make_values(SMALL)
BY_HAND = {"get_many": "[c[k] for k in b]", "put_many": "for k, v in b.items(): c[k] = v"}


def untimed(template, statement):
    """Compile a loop without its own clock: here pytest-benchmark has one."""
    return compile_loop(template, statement, clock=int)


def having(operation):
    """Parametrize a test over every contender that has `operation`."""
    return pytest.mark.parametrize("name", [n for n in FOUND if operation in FOUND[n].ops])


def every_key(benchmark, name, operation, question, kind="bytes", asked=None):
    """Time one operation on each of 1,000 keys that are there."""
    benchmark.group = f"{question} ({kind} keys)"
    contender = FOUND[name]
    cache = contender.filled(KEYS[kind], VALUES)
    loop = untimed(EACH, contender.ops[operation])
    benchmark(loop, cache, [(asked or KEYS[kind], object())])


@pytest.mark.parametrize("kind", KEYS)
def test_empty(benchmark, kind):
    benchmark.group = f"hit: c[k] ({kind} keys)"
    benchmark(untimed(EACH, "pass"), None, [(KEYS[kind], None)])


@pytest.mark.parametrize("kind", KEYS)
@having("getitem")
def test_hit(benchmark, name, kind):
    every_key(benchmark, name, "getitem", "hit: c[k]", kind)


@having("getitem")
def test_hit_by_equal_key(benchmark, name):
    every_key(benchmark, name, "getitem", "hit by an equal key: c[k]", asked=twins(KEYS["bytes"]))


@pytest.mark.parametrize("kind", KEYS)
@having("get")
def test_get(benchmark, name, kind):
    every_key(benchmark, name, "get", "get: c.get(k)", kind)


@having("get")
def test_get_miss(benchmark, name):
    if name == "lru_cache":
        pytest.skip("a miss inserts")
    every_key(benchmark, name, "get", "miss: c.get(k)", asked=make_keys("bytes", SMALL, seed=1))


@pytest.mark.parametrize("kind", KEYS)
@having("set")
def test_overwrite(benchmark, name, kind):
    if name == "lru_cache":
        pytest.skip("cannot overwrite")
    benchmark.group = f"overwrite: c[k] = v ({kind} keys)"
    contender = FOUND[name]
    cache = contender.filled(KEYS[kind], VALUES)
    loop = untimed(EACH, contender.ops["set"])
    values = pair_of_values()
    benchmark(lambda: loop(cache, [(KEYS[kind], next(values))]))


@pytest.mark.parametrize("kind", KEYS)
@having("contains")
def test_contains(benchmark, name, kind):
    every_key(benchmark, name, "contains", "contains: k in c", kind)


@having("set")
def test_insert_and_evict(benchmark, name):
    """`dict` starts each 1,000 empty, and is freed; the others stay full and evict for each key."""
    benchmark.group = "insert + evict: c[k] = v (new bytes keys)"
    contender = FOUND[name]
    keys = make_keys("bytes", 4 * SMALL, seed=2)
    streams = itertools.cycle([[keys[at : at + SMALL]] for at in range(0, len(keys), SMALL)])
    cache = contender.filled(KEYS["bytes"], VALUES, SMALL)
    loop = untimed(FRESH, contender.ops["set"])
    make = dict if name == "dict" else lambda: cache
    benchmark(lambda: loop(make, next(streams), None))


def in_batches(benchmark, name, operation, first, second, question):
    """Time one batch of 1,000; by hand where the library has no such operation."""
    benchmark.group = question
    contender = FOUND[name]
    native = name != "dict" and operation in contender.ops
    loop = untimed(BATCH, contender.ops[operation] if native else BY_HAND[operation])
    cache = contender.filled(KEYS["bytes"], VALUES)
    batches = itertools.cycle([(first,), (second,)])
    benchmark(lambda: loop(cache, next(batches)))


@having("getitem")
def test_get_many(benchmark, name):
    keys = KEYS["bytes"]
    in_batches(benchmark, name, "get_many", keys, keys, "batch: get_many, or a comprehension")


@having("getitem")
def test_put_many(benchmark, name):
    first = dict(zip(KEYS["bytes"], VALUES, strict=True))
    second = dict(zip(KEYS["bytes"], make_keys("str", SMALL), strict=True))
    in_batches(benchmark, name, "put_many", first, second, "batch: put_many, or a loop")
