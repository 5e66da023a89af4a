"""Batches whose keys or sources change the batch, or the cache, meanwhile cannot break it."""

import contextlib

from hostile import GIVES_UP, SameHash, every_meddling, hostile_cache
from kinds import every_policy


@every_policy
def test_batch_whose_keys_are_changed_by_a_comparison_breaks_nothing(make):
    """Catch a batch that walks a list which foreign code empties."""
    for ruin in (
        lambda keys: keys.clear(),
        lambda keys: keys.pop() if keys else None,
        lambda keys: keys.extend([("more", 1)] * 3) if len(keys) < 300 else None,
        lambda keys: keys.__setitem__(slice(None), [("other", 1) for _ in keys]),
    ):
        for batch in ("get_many", "delete_many", "put_many", "update"):
            for where in ("on_compare", "on_hash"):
                cache = hostile_cache(make)
                keys = []
                act = lambda keys=keys, ruin=ruin: ruin(keys)  # noqa: E731
                keys += ["plain", SameHash(3, **{where: act}), *map(SameHash, range(40)), "other"]
                if batch in ("put_many", "update"):
                    keys[:] = [(key, 1) for key in keys]
                # RuntimeError: the list became shorter, as a dict would say it changed.
                with contextlib.suppress(RuntimeError):
                    getattr(cache, batch)(keys)
                cache._check()
                assert len(cache) <= 8


@every_policy
def test_put_many_of_a_dict_that_is_changed_meanwhile_breaks_nothing(make):
    """Catch a batch that walks a dict which foreign code empties or grows."""
    for ruin in (
        lambda source: source.clear(),
        lambda source: source.update((number, number) for number in range(1000)),
        lambda source: source.pop("last", None),
    ):
        for write in ("put_many", "update"):
            cache = hostile_cache(make)
            source = {}
            act = lambda source=source, ruin=ruin: ruin(source)  # noqa: E731
            source["first"] = 1
            meddler = SameHash(3)
            source[meddler] = 2
            source.update(dict.fromkeys(map(SameHash, range(10, 20)), 3), last=4)
            meddler.on_compare = act
            # dict.update raises here too: "dictionary changed size during iteration".
            with contextlib.suppress(RuntimeError):
                getattr(cache, write)(source)
            cache._check()
            assert len(cache) <= 8


@every_policy
@every_meddling
def test_generator_that_meddles_while_it_is_consumed_breaks_nothing(make, meddle):
    """Catch a batch that holds something across the source's own code."""
    for batch in ("get_many", "delete_many", "put_many", "update"):
        cache = hostile_cache(make)

        def source(cache=cache, batch=batch):
            for number in range(70):
                meddle(cache)
                key = SameHash(number % 5) if number % 2 else number
                yield (key, number) if batch in ("put_many", "update") else key

        with GIVES_UP:
            getattr(cache, batch)(source())
        cache._check()
        assert len(cache) <= 8


@every_policy
def test_batch_fed_from_the_cache_it_changes_ends(make):
    """Catch a batch that reads its own writes for ever."""
    cache = make(50)
    cache.put_many((number, number) for number in range(50))
    cache.put_many((key + 25, value) for key, value in cache.items())
    assert len(cache) == 50
    cache._check()
    cache.update((-key, value) for key, value in cache.items())
    cache._check()
    assert cache.delete_many(iter(cache)) == 50
    assert len(cache) == 0
    cache._check()
