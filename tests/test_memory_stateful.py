"""The cache beside the model that is obviously right, in step after step that hypothesis chooses.

After every step both must agree on content, order, events and counters, and the cache's own recount
must find nothing.  FRYS_SOAK=1 tries many more, and other, examples in every run.

There are three machines: one with many odd keys in caches bounded by entries only, one with few
keys, every policy, bytes, costs and deadlines, and one where bounds, ttl and rules change as well.
"""

import copy
import operator
import os
from collections import Counter
from datetime import timedelta

from hostile import SameHash
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)
from kinds import KINDS, SEED, maker
from managed import ManagedReference

from frys_cache import EvictionCause, MemoryCache, ValueTooLarge
from frys_cache._core import _fix_seeds
from frys_cache._tinylfu_model import seed_of
from frys_cache.testing import FakeClock, ReferenceCache
from frys_cache.types import DEFAULT

BOUNDS = [1, 2, 3, 8, 100]
POLICIES = ["lru", "fifo", "lfu", "slru", "size", "sieve", "s3fifo", "arc", "tinylfu"]
COUNTERS = ("hits", "misses", "requests", "entries", "inserts", "evictions", "expirations")
TELLING = (KeyError, ValueTooLarge)  # whose arguments are part of the answer
ENDED = object()

# Equal but of different types, equal hashes, the same hash for -1 and -2, hashes that wrap around.
ODD_KEYS = [1, True, 1.0, 0, False, -0.0, -1, -2, -1.0, None, (), (1,), (True,), frozenset({1})]
ODD_KEYS += ["", b"", "a", b"a", "1", b"1", "\u20ac", "\U0001f600", 2**61 - 1, 2**61, 2**64]

# Each machine has keys of its own.
keys = st.runner().flatmap(lambda machine: machine.keys)
values = st.sampled_from([None, 0, 1, 2.5, 300, 10**20, "x", b"x", (), [1], {"k": 1}, object()])
numbers = st.sampled_from([1, -1, 0, 5, 2**70, 0.5])
pairs = st.lists(st.tuples(keys, values), max_size=12)
many_keys = st.lists(keys, max_size=12)
default = st.sampled_from([None, ENDED, 5])

VIEWS = {
    "cache": lambda cache: cache,
    "keys": lambda cache: cache.keys(),
    "values": lambda cache: cache.values(),
    "items": lambda cache: cache.items(),
}


def exact(thing):
    """Return something equal only for a thing of the same types: 1 is not True here."""
    if isinstance(thing, (list, tuple)):
        return type(thing), [exact(member) for member in thing]
    return type(thing), thing


def outcome(call, cache):
    """Return what a call answers, or the class of what it raises."""
    try:
        return exact(call(cache))
    except Exception as error:
        return "raised", type(error), exact(error.args) if type(error) in TELLING else None


def in_order(events):
    """Return, exactly, the events that have an order: all but those of expiry."""
    return exact([event for event in events if event[2] is not EvictionCause.EXPIRED])


def expired(events):
    """Count the events of expiry, whose order is not defined; values need not be hashable."""
    return Counter(
        (type(key), key, type(value), repr(value))
        for key, value, cause in events
        if cause is EvictionCause.EXPIRED
    )


def near(seconds):
    """Round a duration to what a float far from zero can tell."""
    return None if seconds is None else round(seconds, 6)


class CacheBesideModel(RuleBasedStateMachine):
    """Do everything to a cache and to its model, and compare."""

    iterators = Bundle("iterators")
    keys = (
        st.sampled_from(ODD_KEYS)
        | st.integers(0, 9)
        | st.builds(SameHash, st.integers(0, 5))
        | st.text("ab", max_size=2)
        | st.integers(0, 150)
    )
    unseen = False  # the next operation comes before anybody has looked

    @initialize(
        kind=st.sampled_from(sorted(KINDS)), bound=st.sampled_from(BOUNDS), heard=st.booleans()
    )
    def start(self, kind, bound, heard):
        make = maker(kind)
        self.told, self.expected = told, expected = [], []
        # Without a listener a write takes other ways through the engine.
        ours = (lambda *event: told.append(event)) if heard else None
        theirs = (lambda *event: expected.append(event)) if heard else None
        self.cache = make(bound, on_evict=ours)
        self.model = ReferenceCache(bound, policy=make.policy, on_evict=theirs, seed=seed_of(SEED))

    def agree(self, call):
        """Make the call on both sides; the answers must be the same."""
        ours, theirs = outcome(call, self.cache), outcome(call, self.model)
        assert ours == theirs

    @rule(key=keys, value=values, way=st.sampled_from(["__setitem__", "put", "set"]))
    def write(self, key, value, way):
        self.agree(lambda cache: getattr(cache, way)(key, value))

    @rule(key=keys, value=values, way=st.sampled_from(["add", "replace", "setdefault"]))
    def write_if(self, key, value, way):
        self.agree(lambda cache: getattr(cache, way)(key, value))

    @rule(key=keys, delta=numbers)
    def incr(self, key, delta):
        self.agree(lambda cache: cache.incr(key, delta))

    @rule(key=keys, way=st.sampled_from(["__getitem__", "get", "peek", "__contains__"]))
    def read(self, key, way):
        self.agree(lambda cache: getattr(cache, way)(key))

    @rule(key=keys, default=default, way=st.sampled_from(["get", "peek", "pop"]))
    def read_or_default(self, key, default, way):
        self.agree(lambda cache: getattr(cache, way)(key, default))

    @rule(key=keys, way=st.sampled_from(["__delitem__", "delete", "pop"]))
    def remove(self, key, way):
        self.agree(lambda cache: getattr(cache, way)(key))

    @rule()
    def popitem(self):
        if self.model:
            self.agree(lambda cache: cache.popitem())
        else:
            assert outcome(lambda cache: cache.popitem(), self.cache)[1] is KeyError

    @rule(keys=many_keys, default=default)
    def get_many(self, keys, default):
        self.agree(lambda cache: cache.get_many(keys, default))

    @rule(keys=many_keys)
    def get_many_from_a_generator(self, keys):
        self.agree(lambda cache: cache.get_many(key for key in keys))

    @rule(pairs=pairs, way=st.sampled_from([list, tuple, iter, dict, dict.fromkeys]))
    def put_many(self, pairs, way):
        self.agree(lambda cache: cache.put_many(way(pairs)))

    @rule(first=st.integers(0, 100), count=st.integers(0, 130), value=values)
    def put_many_new(self, first, count, value):
        self.agree(lambda cache: cache.put_many((n, value) for n in range(first, first + count)))

    @rule(pairs=pairs, way=st.sampled_from([list, iter, dict]), words=st.booleans())
    def update(self, pairs, way, words):
        extra = {"a": 1, "b": 2} if words else {}
        self.agree(lambda cache: cache.update(way(pairs), **extra))

    @rule(pairs=pairs)
    def ior(self, pairs):
        self.agree(lambda cache: operator.ior(cache, dict(pairs)) is cache)

    @rule(keys=many_keys)
    def delete_many(self, keys):
        self.agree(lambda cache: cache.delete_many(keys))

    @rule(hazard=st.integers(0, 3))
    def clear(self, hazard):
        if not hazard:
            self.agree(lambda cache: cache.clear())

    @rule(way=st.sampled_from(["copy", copy.copy, "__or__"]))
    def go_on_with_a_copy(self, way):
        old, past = self.cache, self.model
        len(old)  # tells of what is over, which nobody would hear from it any more
        if way == "__or__":
            self.cache, self.model = old | {"a": 1}, self.model | {"a": 1}
        else:
            self.cache = old.copy() if way == "copy" else way(old)
            self.model = self.model.copy()
        assert type(self.cache) is type(old)
        assert (self.cache.maxsize, self.cache.policy) == (old.maxsize, old.policy)
        old._check()
        past._on_evict = None  # its iterators would still tell

    @rule(key=st.sampled_from([[], {}]), way=st.sampled_from(["get", "put", "pop", "incr", "add"]))
    def use_an_unhashable_key(self, key, way):
        arguments = (key, 1) if way in ("put", "add") else (key,)
        self.agree(lambda cache: getattr(cache, way)(*arguments))

    @rule(target=iterators, view=st.sampled_from(sorted(VIEWS)), backwards=st.booleans())
    def start_iterator(self, view, backwards):
        walk = reversed if backwards else iter
        return walk(VIEWS[view](self.cache)), walk(VIEWS[view](self.model))

    @rule(pair=iterators, steps=st.integers(1, 3))
    def step_iterator(self, pair, steps):
        for _ in range(steps):
            ours, theirs = (next(iterator, ENDED) for iterator in pair)
            assert exact(ours) == exact(theirs)

    @rule(pair=consumes(iterators))
    def exhaust_iterator(self, pair):
        ours, theirs = map(list, pair)
        assert exact(ours) == exact(theirs)

    @rule(key=keys, value=values, others=many_keys)
    def ask_views(self, key, value, others):
        hashable = set(others)
        self.agree(lambda cache: key in cache.keys())  # noqa: SIM118 - the view is what is asked
        self.agree(lambda cache: value in cache.values())
        self.agree(lambda cache: (key, value) in cache.items())
        self.agree(lambda cache: cache.keys() & hashable)
        self.agree(lambda cache: cache.keys() <= hashable)

    @rule()
    def compare_whole(self):
        # items(), since dict(cache) reads through [] and counts.
        assert self.cache == dict(self.model.items())
        assert self.cache == self.cache.copy()
        assert self.cache != {"no such key": 1}
        assert repr(self.cache).startswith(f"{type(self.cache).__name__}({{")

    @invariant()
    def both_are_the_same(self):
        if self.unseen or not hasattr(self, "cache"):
            return
        cache, model = self.cache, self.model
        assert len(cache) == len(model)
        cache._check()
        model._check()
        assert (cache.currsize, cache.maxsize) == (model.currsize, model.maxsize)
        assert cache.currsize <= cache.maxsize
        assert bool(cache) == bool(len(model))
        assert exact(list(cache)) == exact(model.order())
        assert exact(list(reversed(cache))) == exact(model.order()[::-1])
        assert exact(list(cache.items())) == exact(list(model.items()))
        assert in_order(self.told) == in_order(self.expected)
        assert expired(self.told) == expired(self.expected)
        ours, theirs = cache.stats(), model.stats()
        for name in COUNTERS:
            assert getattr(ours, name) == getattr(theirs, name), name
        assert ours.listener_errors == 0
        assert cache.cache_info() == model.cache_info()


# Every step of the clock is a multiple of 0.5 s and no lifetime is, so that no deadline is so near
# that a timer wheel may be late.  Eight keys: one write must be able to end all that is over.
lifetimes = st.sampled_from([0.25, 1.25, 2.25, timedelta(seconds=1.25), 60.25, 5000.25])
ttls = st.just(DEFAULT) | st.none() | lifetimes
steps = st.sampled_from([0.0, 0.5, 0.5, 1.0, 1.5, 2.0, 60.0, 5000.0, 10.0**6])
costs = st.sampled_from([1.0, 1, 2.0, 0.5, 3.0, 5.0, 0, 1e9])
weighed_values = values | st.integers(0, 12)


def weigh(key, value):
    """Weigh an entry by its value, at most 12."""
    return value % 13 if type(value) is int else 1


# What is done to one key when others beside it may be over.
ACTS = {
    "get": lambda cache, key: cache.get(key),
    "get_many": lambda cache, key: cache.get_many([key, key]),
    "peek": lambda cache, key: cache.peek(key),
    "in": lambda cache, key: key in cache,
    "put": lambda cache, key: cache.put(key, 7),
    "put_many": lambda cache, key: cache.put_many([(key, 7)], ttl=2.25),
    "add": lambda cache, key: cache.add(key, 7, ttl=2.25),
    "replace": lambda cache, key: cache.replace(key, 11, ttl=2.25),
    "setdefault": lambda cache, key: cache.setdefault(key, 7),
    "incr": lambda cache, key: cache.incr(key),
    "touch": lambda cache, key: cache.touch(key),
    "pop": lambda cache, key: cache.pop(key, ENDED),
    "popitem": lambda cache, key: cache.popitem() if cache else None,
    "clear": lambda cache, key: cache.clear(),
}


class BoundedBesideModel(CacheBesideModel):
    """The same with every policy, bytes, costs and deadlines."""

    keys = st.sampled_from(["a", "b", 0, 1, True, None, 2**64, SameHash(0), SameHash(1)])
    put_many_new = None  # too many keys

    reference = ReferenceCache

    @initialize(
        policy=st.sampled_from([*POLICIES, "size", "tinylfu"]),  # who have most to say
        entries=st.sampled_from([None, 1, 2, 5]),
        size=st.none() | st.integers(1, 30),
        payload=st.booleans(),
        lives=st.tuples(st.none() | lifetimes, st.none() | lifetimes),
        heard=st.booleans(),
    )
    def start(self, policy, entries, size, payload, lives, heard):
        self.clock = FakeClock(1000)
        self.told, self.expected = told, expected = [], []
        options = dict(zip(("ttl", "idle"), lives, strict=True), policy=policy, clock=self.clock)
        if entries is None and size is None:
            entries = 8
        if size is not None:
            # Without sizeof an int weighs some 30 bytes, and a key as much again.
            options["max_size_bytes"] = 10 * size + 50 if payload else size
        if not payload and size is not None:
            options["sizeof"] = weigh
        ours = (lambda *event: told.append(event)) if heard else None
        theirs = (lambda *event: expected.append(event)) if heard else None
        _fix_seeds(SEED)
        self.cache = MemoryCache(entries, on_evict=ours, **options)
        self.model = self.reference(entries, on_evict=theirs, seed=seed_of(SEED), **options)
        self.compares_size = size is not None or "sizeof" not in options

    def agree(self, call):
        self.unseen = False
        super().agree(call)

    @rule(seconds=steps, unseen=st.booleans())
    def advance(self, seconds, unseen):
        self.move_clock(seconds)
        self.unseen = unseen

    def move_clock(self, seconds):
        self.clock.advance(seconds)
        if self.model.policy in ("slru", "s3fifo", "arc", "tinylfu"):
            # What is over counts in the shares until a write or this takes it out.
            len(self.cache)

    @rule(
        key=keys,
        value=weighed_values,
        ttl=ttls,
        cost=costs,
        way=st.sampled_from(["put", "put", "set", "add", "replace"]),
    )
    def write_with_options(self, key, value, ttl, cost, way):
        self.agree(lambda cache: getattr(cache, way)(key, value, ttl=ttl, cost=cost))

    @rule(
        pairs=st.lists(st.tuples(keys, weighed_values), max_size=6), ttl=ttls, as_dict=st.booleans()
    )
    def put_many_with_ttl(self, pairs, ttl, as_dict):
        items = dict(pairs) if as_dict else pairs
        self.agree(lambda cache: cache.put_many(items, ttl=ttl))

    @rule(
        writes=st.lists(st.tuples(keys, st.integers(0, 12), ttls, costs), min_size=1, max_size=8),
        seconds=st.sampled_from([0.5, 1.0, 1.5]),
        acts=st.lists(
            st.tuples(st.sampled_from(sorted(ACTS)), keys, st.booleans()), min_size=1, max_size=6
        ),
    )
    def act_on_what_may_be_over(self, writes, seconds, acts):
        for written, value, ttl, cost in writes:
            self.agree(lambda cache: cache.put(written, value, ttl=ttl, cost=cost))  # noqa: B023
        for act, key, other in acts:
            self.move_clock(seconds)
            self.agree(lambda cache: ACTS[act](cache, key if other else written))  # noqa: B023
            self.both_are_the_same()
            self.both_have_the_same_lives_and_weights()

    @rule(key=keys, ttl=ttls, cost=costs)
    def count_on(self, key, ttl, cost):
        self.agree(lambda cache: cache.put(key, 1, ttl=ttl, cost=cost))
        self.agree(lambda cache: cache.incr(key, 2))

    @rule(key=keys, ttl=ttls)
    def touch(self, key, ttl):
        self.agree(lambda cache: cache.touch(key, ttl))
        self.agree(lambda cache: cache.touch(key))

    @rule(key=keys)
    def ttl_of(self, key):
        self.agree(lambda cache: near(cache.ttl_of(key)))

    @rule(key=keys, ttl=st.sampled_from([0, -1, -0.25, timedelta(0)]))
    def refuse_a_lifetime(self, key, ttl):
        self.agree(lambda cache: cache.put(key, 1, ttl=ttl))
        self.agree(lambda cache: cache.touch(key, ttl))

    @invariant()
    def both_have_the_same_lives_and_weights(self):
        if self.unseen or not hasattr(self, "cache"):
            return
        for key in self.model.order():
            assert near(self.cache.ttl_of(key)) == near(self.model.ttl_of(key)), key
        if self.compares_size:
            assert self.cache.stats().total_size == self.model.stats().total_size


PREFIXES = ["", "a", "ab", "abb", b"", b"a", b"ab"]
PREDICATES = [lambda key: isinstance(key, int), lambda key: True, lambda key: key == "a"]


class ManagedBesideModel(BoundedBesideModel):
    """The same while bounds, ttl and rules change."""

    reference = ManagedReference
    keys = st.sampled_from(["", "a", "ab", "abb", "b", b"", b"a", b"ab", b"b", 0, None])

    @rule(bound=st.sampled_from([None, 0, 1, 2, 3, 5, 8, 300]))
    def bound_entries(self, bound):
        self.agree(lambda cache: setattr(cache.policies, "max_entries", bound))

    @rule(bound=st.sampled_from([None, 0, 1, 5, 12, 30, 60, 200]))
    def bound_bytes(self, bound):
        if bound and self.model._sizeof is not weigh:
            bound = 10 * bound + 50
        self.agree(lambda cache: setattr(cache.policies, "max_size_bytes", bound))

    @rule(ttl=st.none() | lifetimes | st.just(0))
    def live_on(self, ttl):
        self.agree(lambda cache: setattr(cache.policies, "ttl", ttl))

    @rule(names=st.sampled_from([*PREFIXES, *PREDICATES]), ttl=st.none() | lifetimes)
    def set_rule(self, names, ttl):
        self.agree(lambda cache: cache.policies.set_ttl(names, ttl))

    @rule(names=st.sampled_from([*PREFIXES, *PREDICATES]))
    def remove_rule(self, names):
        self.agree(lambda cache: cache.policies.remove(names))

    @rule(
        key=keys,
        value=weighed_values,
        way=st.sampled_from(["__setitem__", "put", "add", "replace", "setdefault"]),
    )
    def write_by_rules(self, key, value, way):
        self.agree(lambda cache: getattr(cache, way)(key, value))

    @rule(pairs=st.dictionaries(keys, weighed_values, max_size=8), as_dict=st.booleans())
    def write_many_by_rules(self, pairs, as_dict):
        self.agree(lambda cache: cache.put_many(pairs if as_dict else list(pairs.items())))

    @rule(key=keys)
    def count_or_touch_by_rules(self, key):
        self.agree(lambda cache: cache.incr(key))
        self.agree(lambda cache: cache.touch(key))

    @invariant()
    def both_have_the_same_bounds_and_rules(self):
        if hasattr(self, "cache"):
            ours, theirs = self.cache.policies, self.model.policies
            for name in ("max_entries", "max_size_bytes", "ttl"):
                assert getattr(ours, name) == getattr(theirs, name), name
            assert [(rule.keys, rule.ttl) for rule in ours.rules] == list(theirs.named.items())


TestCacheBesideModel = CacheBesideModel.TestCase
TestBoundedBesideModel = BoundedBesideModel.TestCase
TestManagedBesideModel = ManagedBesideModel.TestCase
if os.environ.get("FRYS_SOAK") != "1":
    TestCacheBesideModel.settings = settings(max_examples=150, stateful_step_count=40)
    TestBoundedBesideModel.settings = settings(max_examples=300, stateful_step_count=40)
    TestManagedBesideModel.settings = settings(max_examples=200, stateful_step_count=40)
