"""Keys whose comparison or hash runs code of its own cannot break, hang or crash the cache."""

import random
from fractions import Fraction

import pytest
from child import run_quietly
from hostile import (
    GIVES_UP,
    OPERATIONS,
    READING,
    SameHash,
    every_meddling,
    every_operation,
    hostile_cache,
)
from kinds import every_policy, every_queue


@every_policy
@every_meddling
def test_key_that_meddles_in_comparison_breaks_nothing(make, meddle):
    """Catch a probe that goes on in a table which a comparison has changed."""
    for operation in OPERATIONS.values():
        for name in (0, 3, "absent"):
            cache = hostile_cache(make)
            key = SameHash(name, on_compare=lambda cache=cache: meddle(cache))
            with GIVES_UP:
                operation(cache, key, 7)
            cache._check()
            assert len(cache) <= 8
            key.on_compare = None
            cache.put(key, 9)
            assert cache[key] == 9
            cache._check()


@every_policy
@every_meddling
def test_stored_key_that_meddles_in_comparison_breaks_nothing(make, meddle):
    """Catch a key that is released while it is being compared with."""
    for operation in OPERATIONS.values():
        cache = make(8)
        for number in range(4):
            cache[SameHash(number)] = number
        for key in list(cache):
            key.on_compare = lambda cache=cache: meddle(cache)
        key = None
        with GIVES_UP:
            operation(cache, SameHash("absent"), 7)
        with GIVES_UP:
            operation(cache, SameHash(2), 7)
        cache._check()
        assert len(cache) <= 8


@every_policy
@every_meddling
def test_key_that_meddles_in_hash_breaks_nothing(make, meddle):
    """Catch a place that is looked up before the key's hash was asked for."""
    for operation in OPERATIONS.values():
        cache = hostile_cache(make)
        operation(cache, SameHash(1, on_hash=lambda cache=cache: meddle(cache)), 7)
        cache._check()
        assert len(cache) <= 8


@every_policy
def test_write_during_whose_comparison_the_cache_is_cleared_is_kept(make):
    """Catch a write that is lost, or goes to a place which is no longer the key's."""
    for name in (0, 3, "absent"):
        for write in ("setitem", "put", "put_many", "update"):
            cache = hostile_cache(make)
            key = SameHash(name, on_compare=cache.clear)
            OPERATIONS[write](cache, key, 7)
            key.on_compare = None
            assert list(cache.items()) == [(key, 7)]


@every_policy
def test_read_during_whose_comparison_the_key_is_deleted_answers_one_or_the_other(make):
    """Catch a read of a value that was released."""
    for read in READING[:5]:
        cache = hostile_cache(make)
        key = SameHash(2)
        key.on_compare = lambda cache=cache: cache.delete(SameHash(2))
        answer = OPERATIONS[read](cache, key, "default")
        assert answer in (2, "default", None, True, False, [2], ["default"])


@every_policy
def test_tuple_that_leaves_while_it_is_compared_is_kept_until_the_end(make):
    """Catch a stored key that is released in the middle of its own comparison."""
    touched = []

    class Spy(SameHash):
        __hash__ = SameHash.__hash__

        def __eq__(self, other):
            touched.append(self)
            return True

    def leave_and_take_its_place(cache, junk):
        cache.clear()
        junk.extend((Spy("x"), Spy("y"), Spy("z")) for _ in range(100))

    for operation in OPERATIONS.values():
        cache, junk = make(8), []
        cache[(SameHash(1), SameHash(2), SameHash(3))] = 5
        act = lambda cache=cache, junk=junk: leave_and_take_its_place(cache, junk)  # noqa: E731
        operation(cache, (SameHash(1, on_compare=act), SameHash(2), SameHash(3)), 7)
        assert len(junk) == 100
        assert touched == []
        cache._check()


@pytest.mark.parametrize("kind", ["memory-lru", "memory-fifo", "frys-auto"])
def test_key_that_inserts_at_every_comparison_ends(kind):
    """Catch a lookup that starts again for ever, because every comparison changes the table."""
    run_quietly(
        """
        import itertools, sys
        from frys_cache import FrysCache, MemoryCache

        kind, _, policy = sys.argv[1].partition("-")
        cls = MemoryCache if kind == "memory" else FrysCache
        count = itertools.count()

        class Key:
            def __init__(self, name): self.name = name
            def __hash__(self): return 5
            def __eq__(self, other):
                global busy
                if not busy:
                    busy = True
                    try:
                        cache[Key(next(count))] = 0
                    finally:
                        busy = False
                return self.name == getattr(other, "name", None)

        for bound in (2, 8, 50):
            for operation in (
                lambda: cache.get(Key("absent")),
                lambda: cache.put(Key("absent"), 1),
                lambda: cache.delete(Key("absent")),
                lambda: Key("absent") in cache,
                lambda: cache.get_many([Key("absent"), Key(1)]),
                lambda: cache.put_many({Key("absent"): 1}),
            ):
                cache = cls(bound, policy=policy)
                busy = True
                for name in "abcdefgh":
                    cache[Key(name)] = name
                busy = False
                try:
                    operation()
                except RuntimeError as error:
                    assert "__eq__" in str(error), error
                busy = True
                cache._check()
                assert len(cache) <= bound
        """,
        kind,
        seconds=60,
    )


class Raises:
    """A key that raises in comparison, in hashing or in neither."""

    def __init__(self, name, in_hash=False, in_compare=False):
        self.name, self.in_hash, self.in_compare = name, in_hash, in_compare

    def __hash__(self):
        if self.in_hash:
            raise LookupError("hash")
        return 7

    def __eq__(self, other):
        if self.in_compare or getattr(other, "in_compare", False):
            raise LookupError("compare")
        return self.name == getattr(other, "name", None)


@every_policy
@every_operation
@pytest.mark.parametrize("where", ["in_hash", "in_compare"])
def test_key_that_raises_changes_nothing(make, operation, where):
    """Catch an exception that is swallowed, replaced by KeyError, or that loses an entry."""
    told = []
    cache = make(3, on_evict=lambda *event: told.append(event))
    keys = [Raises(name) for name in "abc"]
    cache.put_many((key, 1) for key in keys)
    before, stats = list(cache.items()), cache.stats()
    with pytest.raises(LookupError, match=where[3:]) as caught:
        operation(cache, Raises("absent", **{where: True}), 5)
    assert type(caught.value) is LookupError
    for key in keys:
        setattr(key, where, True)
    if where == "in_compare":
        with pytest.raises(LookupError, match="compare"):
            operation(cache, Raises("b"), 5)
    for key in keys:
        setattr(key, where, False)
    after = list(cache.items())
    assert [(id(key), value) for key, value in after] == [(id(key), value) for key, value in before]
    assert (told, cache.stats().inserts, cache.stats().evictions) == ([], stats.inserts, 0)
    cache._check()


@every_policy
def test_comparison_that_answers_with_an_object_that_raises_is_heard(make):
    """Catch an __eq__ whose answer's own truth value raises, and is taken for yes or no."""

    class Odd(SameHash):
        __hash__ = SameHash.__hash__

        def __eq__(self, other):
            return self

        def __bool__(self):
            raise LookupError("truth")

    cache = hostile_cache(make)
    for operation in OPERATIONS.values():
        with pytest.raises(LookupError, match="truth"):
            operation(cache, Odd("x"), 5)
    cache._check()


@every_policy
def test_keys_that_are_inconsistent_break_nothing(make):
    """Catch a table that trusts __eq__ to be an equivalence and __hash__ to be constant."""
    dice = random.Random(1)

    class Moody:
        def __hash__(self):
            return dice.randrange(4)

        def __eq__(self, other):
            return dice.random() < 0.3

    cache = make(8)
    keys = [Moody() for _ in range(20)]
    operations = list(OPERATIONS.values())
    for _ in range(3000):
        dice.choice(operations)(cache, dice.choice(keys), 1)
        assert len(cache) <= 8
        cache._check()
    while cache:
        cache.popitem()
    cache._check()


@every_policy
def test_key_whose_hash_changed_is_still_evicted_and_cleared(make):
    """Catch an eviction that asks a key for its hash again."""

    class Changing:
        value = 1

        def __hash__(self):
            return self.value

    cache = make(4)
    keys = [Changing() for _ in range(12)]
    for number, key in enumerate(keys):
        cache[key] = number
        key.value = 1_000 + number
    assert len(cache) == 4
    assert all(key not in cache for key in keys)
    cache.popitem()
    cache._check()
    cache.clear()
    cache._check()


@every_policy
def test_hundreds_of_keys_with_one_hash_are_told_apart(make):
    """Catch a table that gives up, or takes hash equality for equality."""
    cache = make(400)
    keys = [SameHash(number) for number in range(600)]
    for number, key in enumerate(keys):
        cache[key] = number
    assert len(cache) == 400
    kept = list(cache.values())
    assert [cache[SameHash(number)] for number in kept] == kept
    assert len(set(kept)) == 400
    if make.policy not in ("auto", "s3fifo"):
        assert kept == list(range(200, 600))
    cache._check()
    for number in kept[::2]:
        del cache[SameHash(number)]
    cache._check()
    left = set(kept[1::2])
    assert cache.get_many(keys) == [n if n in left else None for n in range(600)]


@every_queue
def test_thousands_of_plain_keys_with_one_hash_are_told_apart(make):
    """Catch a limit on comparisons that honest keys can reach."""
    modulus = 2**61 - 1
    cache = make(6000)
    for number in range(6000):
        cache[number * modulus] = number
    assert cache.get_many([number * modulus for number in range(6000)]) == list(range(6000))
    keys = [(Fraction(number * modulus),) for number in range(500)]
    cache.put_many((key, "tuple") for key in keys)
    assert cache.get_many(keys) == ["tuple"] * 500
    cache._check()
