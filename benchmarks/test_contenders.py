"""Every adapter does what its table says: a statement that does nothing would win every race."""

import pytest
from contenders import contenders
from timing import BATCH, EACH, compile_loop
from workloads import make_keys, make_values

FOUND = contenders()
KEYS = make_keys("bytes", 100)
VALUES = make_values(100)
WRITES = [(n, op) for n in FOUND for op in ("set", "put_many", "put_pairs") if op in FOUND[n].ops]


def value_of(contender, cache, key):
    """Return the value in whatever form this library gives it."""
    scope = {"c": cache, "k": key}
    return eval(contender.ops.get("getitem", contender.ops["get"]), scope)


def expected(contender, value):
    """Return what a lookup gives: theine (value, found), lru_cache what its function returned."""
    return {"theine": (value, True), "lru_cache": True}.get(contender.name, value)


@pytest.mark.parametrize("name", FOUND)
def test_filled_with_all_keys_finds_every_one(name):
    """A hit that is a miss would be timed as a hit."""
    contender = FOUND[name]
    cache = contender.filled(KEYS, VALUES)
    for key, value in zip(KEYS, VALUES, strict=True):
        assert value_of(contender, cache, key) == expected(contender, value)


@pytest.mark.parametrize(("name", "operation"), WRITES)
def test_write_over_existing_keys_changes_the_values(name, operation):
    """lru-dict takes a list of pairs in update() and does nothing with it."""
    contender = FOUND[name]
    cache = contender.filled(KEYS, VALUES)
    fresh = object()
    if operation == "set":
        compile_loop(EACH, contender.ops[operation])(cache, [(KEYS, fresh)])
    else:
        pairs = [(key, fresh) for key in KEYS]
        batch = dict(pairs) if operation == "put_many" else pairs
        compile_loop(BATCH, contender.ops[operation])(cache, (batch,))
    if name != "lru_cache":
        assert value_of(contender, cache, KEYS[0]) == expected(contender, fresh)


# theine and moka-py evict later, at a time of their own.
@pytest.mark.parametrize("name", sorted(FOUND.keys() - {"dict", "lru_cache", "theine", "moka-py"}))
def test_insert_beyond_capacity_evicts_as_many(name):
    """A cache that grows instead of evicting would win the insertion for nothing."""
    cache = FOUND[name].filled(KEYS, VALUES, capacity=10)
    assert len(cache) == 10


@pytest.mark.parametrize("name", [n for n in FOUND if "get_many" in FOUND[n].ops])
def test_get_many_returns_the_values_in_order(name):
    """The batch figure compares with a comprehension, so the result has to be the same list."""
    contender = FOUND[name]
    cache = contender.filled(KEYS, VALUES)
    assert eval(contender.ops["get_many"], {"c": cache, "b": KEYS}) == VALUES
