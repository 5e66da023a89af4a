"""A cache described step by step: what is said, in whichever order, is what it is made of."""

import dataclasses
import gc
import pickle
import threading
import weakref
from datetime import timedelta

import pytest
from described import MIB, SAID, WITHOUT_STEP, WRONG, Disk, heard, spoken, weigh

from frys_cache import (
    CacheBuilder,
    CacheConfig,
    ConfigurationError,
    EvictionPolicy,
    FrysCache,
    LfuPolicy,
    TtlPolicy,
)

every_step = pytest.mark.parametrize("field", SAID)


def say_all():
    """Return a builder that has said everything there is a step for, and nothing by default."""
    return spoken(**{field: value for field, (value, _) in SAID.items()})


# What cannot be.


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, value, _ in WRONG if field in SAID]
)
def test_builder_wrong_value_waits_for_build(field, value):
    """Catch a step that raises, or a wrong value that builds a cache."""
    builder = SAID[field][1](CacheBuilder().max_entries(10), value)
    repr(builder)
    for end in (builder.config, builder.build):
        with pytest.raises(ConfigurationError, match=field):
            end()


@pytest.mark.parametrize(
    ("builder", "error", "name"),
    [
        (CacheBuilder().max_entries(0), ConfigurationError, "max_entries"),
        (CacheBuilder().with_memory_lru(2.5), ConfigurationError, "max_entries"),
        (CacheBuilder().max_size_bytes("1 MB"), ConfigurationError, "max_size_bytes"),
        (CacheBuilder().max_entries(5).eviction_policy("best"), ConfigurationError, "best"),
        (CacheBuilder().max_entries(5).with_ttl(-1), ValueError, "ttl"),
        (CacheBuilder().max_entries(5).with_ttl("soon"), TypeError, "ttl"),
        (CacheBuilder().with_memory(5, idle=-1), ValueError, "idle"),
        (CacheBuilder().with_memory(5, sizeof=weigh), ConfigurationError, "sizeof"),
        (CacheBuilder().with_memory(5, on_evict=5), TypeError, "on_evict"),
        (
            CacheBuilder().max_entries(5).with_ttl(1).eviction_policy(TtlPolicy(2)),
            ConfigurationError,
            "given twice",
        ),
    ],
)
def test_builder_what_memory_refuses_is_refused_at_build(builder, error, name):
    """Catch a rule of the memory tier that a builder gets around."""
    with pytest.raises(error, match=name):
        builder.build()


@pytest.mark.parametrize(
    "make",
    [
        CacheConfig,
        CacheBuilder().build,
        CacheBuilder().config,
        CacheBuilder().with_ttl(60).with_compression(True).eviction_policy("lru").build,
        CacheBuilder().with_memory().build,
        CacheBuilder().max_entries(5).max_entries(None).build,
        CacheBuilder().with_persistent("./cache.db").with_persistent(None).build,
    ],
)
def test_memory_without_a_bound_names_the_three_ways(make):
    """Catch a cache that grows for ever, or an error that leaves its reader without a remedy."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    for way in ("max_entries", "max_size_bytes", "with_memory_lru"):
        assert way in str(caught.value)


# The steps.


@every_step
def test_step_says_its_field_and_no_other(field):
    """Catch a step that is forgotten, says another field, or brings a default of its own."""
    value, step = SAID[field]
    start = CacheBuilder().with_persistent("./other.db")
    assert step(start, value).config() == dataclasses.replace(start.config(), **{field: value})


@every_step
def test_step_leaves_the_builder_it_was_taken_on(field):
    """Catch builders that share what they say."""
    value, step = SAID[field]
    start = CacheBuilder().max_entries(10)
    first = step(start, value)
    second = start.with_ttl(1)
    assert start == CacheBuilder().max_entries(10)
    assert first == step(CacheBuilder().max_entries(10), value)
    assert second == CacheBuilder().max_entries(10).with_ttl(1)
    assert first is not start


def test_builder_has_a_step_for_every_field_of_the_tiers():
    """Catch a field that was added and can be said in no step."""
    names = {one.name for one in dataclasses.fields(CacheConfig)}
    assert names == SAID.keys() | WITHOUT_STEP.keys()
    assert say_all().config().arguments() == {field: value for field, (value, _) in SAID.items()}


def test_steps_come_in_any_order():
    """Catch a step that checks or completes what others have yet to say."""
    forth = spoken(**{field: value for field, (value, _) in SAID.items()})
    back = spoken(**{field: SAID[field][0] for field in reversed(SAID)})
    assert forth == back
    assert hash(forth) == hash(back)
    assert repr(forth) == repr(back)


@pytest.mark.parametrize(
    ("builder", "arguments"),
    [
        (CacheBuilder().max_entries(5).max_entries(6), {"max_entries": 6}),
        (
            CacheBuilder().with_memory_lru(5).max_entries(6),
            {"max_entries": 6, "policy": "lru"},
        ),
        (
            CacheBuilder().max_entries(6).with_memory_lru(5),
            {"max_entries": 5, "policy": "lru"},
        ),
        (
            CacheBuilder().with_memory_lru(5).eviction_policy("lfu"),
            {"max_entries": 5, "policy": "lfu"},
        ),
        (
            CacheBuilder().eviction_policy("lfu").with_memory_lru(5),
            {"max_entries": 5, "policy": "lru"},
        ),
        (CacheBuilder().max_entries(5).with_ttl(60).with_ttl(None), {"max_entries": 5}),
        (
            CacheBuilder().with_memory_lru(5).with_memory(idle=60),
            {"max_entries": 5, "policy": "lru", "idle": 60},
        ),
        (
            CacheBuilder().with_memory(5, policy="lru", idle=60).with_memory(6, idle=30),
            {"max_entries": 6, "policy": "lru", "idle": 30},
        ),
        (
            CacheBuilder().max_entries(5).with_compression(False).compression_level(5),
            {"max_entries": 5, "compression": False, "compression_level": 5},
        ),
    ],
)
def test_what_is_said_twice_counts_as_said_last(builder, arguments):
    """Catch a first that wins, and a step that takes back what another one said."""
    assert builder.config().arguments() == arguments


def test_false_and_zero_are_said():
    """Catch a step that takes a falsy value for one that was not given."""
    for builder in (CacheBuilder().with_memory(0), CacheBuilder().with_memory(5, idle=0)):
        with pytest.raises(ValueError):
            builder.build()


@pytest.mark.parametrize("name", ["build_async", "with_distributed", "with_lease"])
def test_step_that_is_not_there_raises(name):
    """Catch a builder that accepts every name."""
    with pytest.raises(AttributeError):
        getattr(CacheBuilder(), name)
    with pytest.raises(AttributeError):
        CacheBuilder().max_entries = 5


# The builder as a value.


def test_builder_equality_is_of_what_was_said():
    """Catch a comparison by identity, or one that a spoken default disturbs."""
    assert CacheBuilder() == CacheBuilder().with_ttl(None).with_compression(True).namespace(
        "default"
    )
    assert CacheBuilder().with_memory_lru(5) == CacheBuilder().eviction_policy(
        EvictionPolicy.LRU
    ).max_entries(5)
    assert CacheBuilder().max_entries(5) != CacheBuilder().max_entries(6)
    assert CacheBuilder() != object()
    disk = Disk()
    assert CacheBuilder().with_persistent(disk) == CacheBuilder().with_persistent(disk)
    assert CacheBuilder().with_persistent(disk) != CacheBuilder().with_persistent(Disk())


def test_builder_repr_is_the_chain_and_evaluates():
    """Catch a repr that does not say what would be built, or fails where nothing can be."""
    assert repr(CacheBuilder()) == "CacheBuilder()"
    builder = CacheBuilder().with_memory(5, idle=30, on_evict=heard).with_persistent("./cache.db")
    shown = (
        "CacheBuilder().max_entries(5).with_memory(idle=30).with_memory(on_evict=heard)"
        ".with_persistent('./cache.db')"
    )
    assert repr(builder) == shown
    assert eval(shown) == builder
    every = say_all().with_serializer(5).with_backend(None).with_loader(None)
    assert eval(repr(every)) == every


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_builder_pickles(protocol):
    """Catch a builder that cannot be sent to another process."""
    builder = say_all()
    assert pickle.loads(pickle.dumps(builder, protocol)) == builder


class Ours(CacheBuilder):
    """A builder with a step, a signature and an attribute of its own."""

    def __init__(self, team):
        super().__init__()
        self.team = team

    def small(self):
        return self.with_memory_lru(10).namespace(self.team)


def test_subclass_keeps_its_type_and_attributes():
    """Catch a step that gives back a plain builder, or calls a signature that was changed."""
    builder = Ours("payments").with_ttl(60).small()
    assert type(builder) is Ours
    assert builder.config() == CacheConfig(10, policy="lru", ttl=60, namespace="payments")
    twin = pickle.loads(pickle.dumps(builder))
    assert twin == builder
    assert twin.team == "payments"
    assert repr(builder).startswith("Ours().max_entries(10)")
    assert builder != CacheBuilder().with_memory_lru(10).namespace("payments").with_ttl(60)


def test_threads_branch_from_one_builder():
    """Catch steps of one thread that show in the builder of another."""
    start = CacheBuilder().eviction_policy("lru")
    made = {}

    def branch(number):
        for _ in range(200):
            cache = start.max_entries(number).with_ttl(number).build()
            assert (cache.maxsize, cache.policies.ttl, cache.policy) == (number, number, "lru")
        made[number] = True

    threads = [threading.Thread(target=branch, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(made) == [1, 2, 3, 4]
    assert start == CacheBuilder().eviction_policy("lru")


# What is built.


def test_build_gives_what_was_said():
    """Catch an argument that is lost between the steps and the cache."""
    events = []
    cache = (
        CacheBuilder()
        .with_memory(2, policy=LfuPolicy(), on_evict=lambda *event: events.append(event))
        .with_ttl(timedelta(seconds=3600))
        .build()
    )
    assert type(cache) is FrysCache
    assert (cache.maxsize, cache.policy) == (2, "lfu")
    cache.update(a=1, b=2)
    assert cache["a"] == 1
    cache["c"] = 3
    assert dict(cache) == {"a": 1, "c": 3}
    assert [(key, value) for key, value, _ in events] == [("b", 2)]
    assert cache.ttl_of("a") == pytest.approx(3600, abs=60)


def test_memory_block_of_the_specification():
    """Catch "Memory Cache": two bounds of which one is lost."""
    cache = (
        CacheBuilder()
        .max_entries(5000)
        .max_size_bytes(100 * 1024 * 1024)
        .eviction_policy(EvictionPolicy.LRU)
        .build()
    )
    assert (cache.policies.max_entries, cache.policies.max_size_bytes) == (5000, 100 * MIB)
    assert cache.policy == "lru"
    cache.update((number, number) for number in range(5001))
    assert len(cache) == 5000
    assert 0 not in cache


def test_persistent_blocks_of_the_specification_say_their_configuration():
    """Catch a step of "Quick Start" or "Persistent Cache" that says something else."""
    quick = (
        CacheBuilder()
        .with_memory_lru(1000)
        .with_persistent("./cache.db")
        .with_ttl(timedelta(seconds=3600))
        .with_compression(True)
    )
    assert quick.config() == CacheConfig(
        1000, policy="lru", persistent="./cache.db", ttl=timedelta(hours=1)
    )
    persistent = (
        CacheBuilder().with_persistent("./cache.db").with_compression(True).compression_level(5)
    )
    assert persistent.config() == CacheConfig(persistent="./cache.db", compression_level=5)


def test_each_build_is_a_cache_of_its_own():
    """Catch a cache that is kept by the builder or the config, and given out twice."""
    builder = CacheBuilder().with_memory_lru(5)
    config = builder.config()
    caches = [
        builder.build(),
        builder.build(),
        FrysCache.from_config(config),
        FrysCache.from_config(config),
    ]
    caches[0]["a"] = 1
    assert [len(cache) for cache in caches] == [1, 0, 0, 0]
    assert len({id(cache) for cache in caches}) == 4


def test_builder_and_config_hold_no_cache():
    """Catch a cache that lives as long as its description."""

    class Value:
        pass

    builder = CacheBuilder().max_entries(5)
    config = builder.config()
    caches = [builder.build(), FrysCache.from_config(config)]
    for cache in caches:
        cache["a"] = Value()
    values = [weakref.ref(cache["a"]) for cache in caches]
    del cache, caches
    gc.collect()
    assert [value() for value in values] == [None, None]
    assert builder.config() == config


def test_from_config_makes_the_class_it_is_called_on():
    """Catch a class method that makes its base."""

    class Named(FrysCache):
        pass

    assert type(Named.from_config(CacheConfig(5))) is Named
