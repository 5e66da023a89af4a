"""Policies as values, and what of a cache may change while it is at work."""

import _thread
import contextlib
import copy
import pickle
import sys
import threading
from datetime import timedelta

import pytest
from hostile import OnDelete, Recorder
from kinds import every_class, every_kind

from frys_cache import (
    DEFAULT,
    CompositePolicy,
    ConfigurationError,
    FrysCache,
    LfuPolicy,
    LruPolicy,
    MemoryCache,
    PolicyManager,
    SizePolicy,
    TtlPolicy,
    TtlRule,
    ValueTooLarge,
    memoize,
)
from frys_cache.testing import FakeClock

SLICE = 256
VALUES = [
    LruPolicy(),
    LfuPolicy(),
    SizePolicy(),
    TtlPolicy(),
    TtlPolicy(60),
    CompositePolicy(LruPolicy(), TtlPolicy(60)),
    CompositePolicy("slru"),
    CompositePolicy(TtlPolicy(None)),
]


class TestValues:
    """LruPolicy, LfuPolicy, SizePolicy, TtlPolicy and CompositePolicy."""

    @pytest.mark.parametrize("value", VALUES, ids=repr)
    def test_value_is_what_its_copy_and_its_repr_say(self, value):
        """Catches identity instead of equality, and a repr that is no expression."""
        for twin in (copy.deepcopy(value), pickle.loads(pickle.dumps(value)), eval(repr(value))):
            assert twin == value
            assert hash(twin) == hash(value)
        assert [other == value for other in VALUES].count(True) == 1
        assert value != "lru"

    def test_value_cannot_be_changed(self):
        """Catches a value that a cache of somebody else's shares."""
        with pytest.raises(AttributeError):
            TtlPolicy(60).ttl = 5
        with pytest.raises(AttributeError):
            CompositePolicy("lru").eviction = "lfu"

    @pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), timedelta(0)])
    def test_ttl_that_cannot_be_is_refused(self, ttl):
        """Catches a value that fails only when a cache is made."""
        with pytest.raises(ConfigurationError, match="ttl"):
            TtlPolicy(ttl)
        with pytest.raises(TypeError, match="ttl"):
            TtlPolicy("60")

    def test_timedelta_is_its_seconds(self):
        """Catches two lives that are the same and compare as different."""
        assert TtlPolicy(timedelta(minutes=1)) == TtlPolicy(60)
        assert CompositePolicy.lru_with_ttl(timedelta(minutes=1)).ttl == 60

    def test_composite_refuses_two_of_a_kind(self):
        """Catches the last one silently winning."""
        for parts in (
            (),
            (LruPolicy(), LfuPolicy()),
            ("lru", LruPolicy()),
            (TtlPolicy(1), TtlPolicy(2)),
            (TtlPolicy(None), CompositePolicy.lru_with_ttl(2)),
            ("nonsense",),
        ):
            with pytest.raises(ConfigurationError):
                CompositePolicy(*parts)
        with pytest.raises(TypeError):
            CompositePolicy(60)

    @every_class
    @pytest.mark.parametrize("value", VALUES, ids=repr)
    def test_value_is_taken_wherever_a_policy_is(self, cls, value):
        """Catches one of the doors that knows only names."""
        name, ttl = value.__frys_policy__()
        name = name or ("auto" if cls is FrysCache else "lru")
        ttl = None if ttl is DEFAULT else ttl
        made = [
            cls(10, policy=value),
            cls.fromkeys("ab", policy=value),
            pickle.loads(pickle.dumps(cls(10, policy=value))),
            cls(10, policy=value).copy(),
        ]
        assert {(cache.policy, cache.policies.ttl) for cache in made} == {(name, ttl)}
        kept = memoize(policy=value)(abs)
        assert kept.cache_parameters()["ttl"] == ttl
        assert kept(-1) == 1
        assert kept.cache.ttl_of(-1) == (ttl and pytest.approx(ttl, abs=5))

    def test_subclass_has_the_default_of_its_base(self):
        """Catches a default that is looked up by the exact class."""

        class Mine(FrysCache):
            pass

        assert Mine(10, policy=TtlPolicy(60)).policy == "auto"

    @every_class
    def test_ttl_given_twice_is_refused(self, cls):
        """Catches one of the two silently winning."""
        for policy in (TtlPolicy(60), TtlPolicy(None), CompositePolicy.lru_with_ttl(60)):
            with pytest.raises(ConfigurationError, match=r"ttl is given twice.*ttl=5"):
                cls(10, policy=policy, ttl=5)
        assert cls(10, policy=CompositePolicy("lru"), ttl=5).policies.ttl == 5

    def test_class_in_place_of_a_value_is_refused(self):
        """Catches a class taken for an object of it."""
        with pytest.raises(ConfigurationError, match="unknown policy"):
            FrysCache(10, policy=LruPolicy)


class TestManager:
    """cache.policies: what it shows, and what it refuses."""

    def test_manager_is_a_view(self):
        """Catches a copy of the options that goes stale, and a repr that leaves something out."""
        cache = FrysCache(10, ttl=60, idle=30)
        manager = cache.policies
        assert manager == cache.policies
        assert hash(manager) == hash(cache.policies)
        assert manager != cache.copy().policies
        cache.policies.max_entries = 5
        cache.policies.set_ttl("a", 7)
        assert (manager.max_entries, manager.ttl, manager.idle, manager.policy) == (
            5,
            60,
            30,
            "auto",
        )
        assert manager.rules == (TtlRule("a", 7),)
        assert repr(manager) == (
            "PolicyManager(max_entries=5, max_size_bytes=None, policy='auto', ttl=60, idle=30, "
            "rules=(TtlRule(keys='a', ttl=7),))"
        )
        with pytest.raises(TypeError):
            PolicyManager()

    @pytest.mark.parametrize("name", ["policy", "idle", "rules"])
    def test_what_cannot_change_says_so(self, name):
        """Catches a new policy that is accepted and has no effect."""
        with pytest.raises(AttributeError, match=name):
            setattr(FrysCache(10).policies, name, "lfu")

    @pytest.mark.parametrize("bound", [0, -1])
    def test_bound_that_cannot_be_is_refused(self, bound):
        """Catches a bound that is noted before it is checked."""
        policies = MemoryCache(10, max_size_bytes=100).policies
        for name in ("max_entries", "max_size_bytes"):
            with pytest.raises(ConfigurationError, match=name):
                setattr(policies, name, bound)
        assert (policies.max_entries, policies.max_size_bytes) == (10, 100)

    def test_one_bound_stays(self):
        """Catches a cache that grows for ever."""
        policies = MemoryCache(10, max_size_bytes=100).policies
        policies.max_entries = None
        with pytest.raises(ConfigurationError, match="both"):
            policies.max_size_bytes = None
        policies.max_entries = 3
        policies.max_size_bytes = None
        with pytest.raises(ConfigurationError, match="both"):
            policies.max_entries = None
        policies.max_size_bytes = 50
        assert (policies.max_entries, policies.max_size_bytes) == (3, 50)

    def test_bytes_cannot_be_bounded_where_nothing_was_weighed(self):
        """Catches a bound that counts entries from before as nothing."""
        with pytest.raises(ConfigurationError, match="make the cache with max_size_bytes"):
            MemoryCache(10).policies.max_size_bytes = 100
        MemoryCache(max_size_bytes=10).policies.max_entries = 5

    def test_ttl_changes_what_is_stored_from_then_on(self):
        """Catches entries that get another end, and a quick way that knows no ttl yet."""
        cache = MemoryCache(10, clock=FakeClock())
        plain = MemoryCache(10)
        for one in (cache, plain):
            one["a"] = 1
            one.policies.ttl = 60
            one["b"] = 1
            one.policies.ttl = timedelta(seconds=5)
            one["c"] = 1
            one.policies.ttl = None
            one["d"] = 1
            left = {key: one.ttl_of(key) for key in one}
            assert left == {
                "a": None,
                "b": pytest.approx(60, abs=1),
                "c": pytest.approx(5, abs=1),
                "d": None,
            }
            one._check()
        with pytest.raises(ConfigurationError):
            cache.policies.ttl = 0
        assert cache.policies.ttl is None

    def test_cache_without_init_is_refused(self):
        """Catches a crash in a cache that has not been made."""
        policies = MemoryCache.__new__(MemoryCache).policies
        for change in (
            lambda: setattr(policies, "max_entries", 5),
            lambda: setattr(policies, "ttl", 5),
            lambda: policies.set_ttl("a", 5),
            lambda: policies.remove("a"),
        ):
            with pytest.raises(RuntimeError, match="__init__"):
                change()
        assert policies.rules == ()


class TestBounds:
    """Bounds that change while the cache is at work."""

    @every_kind
    def test_shrinking_evicts_the_policys_victims_and_growing_makes_room(self, make):
        """Catches other victims than popitem's, a table too small, and a slab that cannot grow."""
        events = Recorder()
        cache = make(1000, on_evict=events)
        cache.update({key: key for key in range(1000)})
        for key in range(0, 1000, 3):
            cache.get(key)
        order = list(cache)
        cache.policies.max_entries = 10
        assert [key for key, _, _ in events.events] == order[:990]
        assert {cause for _, _, cause in events.events} == {"evicted"}
        assert list(cache) == order[990:]
        cache._check()
        cache.policies.max_entries = 5000
        cache.update({key: key for key in range(5000)})
        assert len(cache) == 5000
        cache._check()

    @every_kind
    def test_bytes_shrink_too(self, make):
        """Catches a bound in bytes that only later writes notice."""
        cache = make(1000, max_size_bytes=10_000)
        cache.update({key: bytes(10) for key in map(str, range(100, 900))})
        cache.policies.max_size_bytes = 130
        assert (cache.currsize, cache.stats().total_size) == (10, 130)
        cache._check()
        with pytest.raises(ValueTooLarge):
            cache["film"] = bytes(127)
        cache.policies.max_size_bytes = 131
        cache["film"] = bytes(127)
        assert list(cache) == ["film"]
        cache._check()

    def test_bytes_can_be_set_free_and_bound_again(self):
        """Catches weights that are lost meanwhile, or by clear, or in a copy."""
        cache = MemoryCache(100, max_size_bytes=50, sizeof=lambda key, value: value)
        cache.policies.max_size_bytes = None
        for again in (cache, cache.copy(), pickle_without(cache)):
            again.clear()
            again.update(a=60, b=60, c=1)
            assert again.stats().total_size == 121
            again.policies.max_size_bytes = 61
            assert dict(again.items()) == {"b": 60, "c": 1}
            again._check()

    def test_what_is_over_goes_before_what_is_not(self):
        """Catches live entries evicted beside dead ones."""
        clock = FakeClock()
        events = Recorder()
        cache = MemoryCache(1000, clock=clock, on_evict=events)
        for key in range(1000):
            cache.put(key, key, ttl=1 if key >= 500 else None)
        clock.advance(2)
        cache.policies.max_entries = 500
        assert {cause for _, _, cause in events.events} == {"expired"}
        assert list(cache) == list(range(500))

    def test_shrinking_goes_in_slices(self):
        """Catches one long step: what is let go sees how far the bound has come."""
        seen = []
        cache = MemoryCache(10_000)
        for key in range(10_000):
            cache[key] = OnDelete(lambda: seen.append((cache.policies.max_entries, len(cache))))
        cache.policies.max_entries = 1
        bounds = [bound for bound, _ in seen]
        assert len(seen) == 9999
        assert set(bounds) == {max(1, 10_000 - SLICE * n) for n in range(1, 41)}
        assert all(count <= bound for bound, count in seen)
        assert bounds == sorted(bounds, reverse=True)

    def test_other_threads_get_in_between(self):
        """Catches a shrink that keeps the interpreter to itself from beginning to end."""
        cache = MemoryCache(400_000)
        cache.update(dict.fromkeys(range(400_000)))
        seen, begun, ended = set(), threading.Event(), threading.Event()

        def watch():
            begun.set()
            while not ended.is_set():
                seen.add(cache.policies.max_entries)
                cache["new"] = 1

        with often_switched():
            thread = threading.Thread(target=watch)
            thread.start()
            begun.wait()
            cache.policies.max_entries = 1
            ended.set()
            thread.join()
        assert len(seen - {1, 400_000}) >= 3  # of 1,600 slices, however busy the machine
        assert cache.policies.max_entries == 1
        cache._check()

    def test_listener_that_puts_back_keeps_the_bound(self):
        """Catches a bound that a listener's put passes by, and a shrink that never ends."""
        cache = None

        def put_back(key, value, cause):
            assert len(cache) <= cache.policies.max_entries
            if value > 0:
                cache[key] = value - 1

        cache = MemoryCache(1000, on_evict=put_back)
        cache.update({key: key % 3 for key in range(1000)})
        cache.policies.max_entries = 10
        assert cache.stats().listener_errors == 0
        assert (len(cache), cache.policies.max_entries) == (10, 10)
        cache._check()

    def test_listener_may_change_the_bound_itself(self):
        """Catches a setter that takes its own word for what is in force."""
        cache = None

        def grow(key, value, cause):
            cache.policies.max_entries = 700

        cache = MemoryCache(1000, on_evict=grow)
        cache.update(dict.fromkeys(range(1000)))
        cache.policies.max_entries = 10
        assert len(cache) == 10
        assert cache.policies.max_entries == cache.maxsize == 700  # the listener has the last word
        cache._check()

    def test_no_memory_leaves_the_bound_that_was_reached(self):
        """Catches a bound that says one thing while another is in force."""
        cache = MemoryCache(1000)
        cache.update(dict.fromkeys(range(1000)))
        cache._fail_allocation_after(0)
        with pytest.raises(MemoryError):
            cache.policies.max_entries = 10
        cache._fail_allocation_after(-1)
        assert cache.policies.max_entries == len(cache) == 1000
        cache[0] = OnDelete(lambda: cache._fail_allocation_after(0))  # in the first slice
        cache.update(dict.fromkeys(range(1, 1000)))
        with pytest.raises(MemoryError):
            cache.policies.max_entries = 10
        cache._fail_allocation_after(-1)
        assert cache.policies.max_entries == len(cache) == 1000 - SLICE
        cache._check()

    def test_interrupt_leaves_the_bound_that_was_reached(self):
        """Catches a half-way state that is not reported, or a cache over it."""
        cache = MemoryCache(1_000_000)
        cache.update(dict.fromkeys(range(1_000_000)))

        def interrupt():
            while cache.policies.max_entries == 1_000_000:
                pass
            _thread.interrupt_main()

        thread = threading.Thread(target=interrupt)
        with often_switched():
            thread.start()
            with pytest.raises(KeyboardInterrupt):
                cache.policies.max_entries = 10
            thread.join()
        reached = cache.policies.max_entries
        assert 10 < reached < 1_000_000
        assert reached == cache.maxsize == len(cache)
        cache._check()
        cache.policies.max_entries = 10
        assert len(cache) == 10

    def test_init_in_the_middle_is_refused(self):
        """Catches a new cache that is shrunk to what was asked of the old one."""
        cache = MemoryCache(1000)
        cache.update(dict.fromkeys(range(1, 1000)))
        cache[0] = OnDelete(lambda: cache.__init__(700))
        cache.update(dict.fromkeys(range(1, 1000)))
        with pytest.raises(RuntimeError, match="__init__"):
            cache.policies.max_entries = 10
        assert cache.policies.max_entries == 700
        cache._check()

    def test_sizeof_that_shrinks_the_cache_cannot_pass_the_bound(self):
        """Catches a weight checked against a bound that is no longer there."""

        def sizeof(key, value):
            if key == "shrink":
                cache.policies.max_size_bytes = 10
            return value

        cache = MemoryCache(max_size_bytes=100, sizeof=sizeof)
        cache["a"] = 40
        with pytest.raises(ValueTooLarge, match="50 > 10"):
            cache["shrink"] = 50
        assert len(cache) == 0
        cache._check()

    @every_kind
    def test_threads_put_while_another_shrinks_and_grows(self, make):
        """Catches an insert that takes the place of an old bound."""
        cache = make(2000)
        ended = threading.Event()
        wrong = []

        def put(first):
            number = first
            while not ended.is_set():
                cache[number] = number
                cache.put_many([(number + 1, 1), (number + 2, 2)])
                number = (number + 3) % 5000

        threads = [threading.Thread(target=put, args=(n * 1000,)) for n in range(3)]
        with often_switched():
            for thread in threads:
                thread.start()
            try:
                for turn in range(60):
                    bound = (5, 2000, 300, 1)[turn % 4]
                    cache.policies.max_entries = bound
                    if cache.stats().entries > bound or cache.policies.max_entries != bound:
                        wrong.append(bound)
                    cache._check()
            finally:
                ended.set()
                for thread in threads:
                    thread.join()
        assert wrong == []


@contextlib.contextmanager
def often_switched():
    """Let threads take turns as often as can be."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def pickle_without(cache):
    """Return what a pickle keeps of a cache whose sizeof is a lambda: its state, by hand."""
    twin = type(cache).__new__(type(cache))
    twin.__setstate__(cache.__getstate__())
    return twin


def test_types_without_a_cache_do_nothing():
    """Catch a crash of what was made by its type, and not by a cache."""
    with pytest.raises(TypeError):
        PolicyManager.__new__(PolicyManager)
    with pytest.raises(TypeError):
        PolicyManager.__new__(PolicyManager, None)
    made_by = type(iter(MemoryCache(3)))
    assert list(made_by.__new__(made_by)) == []


def test_class_in_place_of_its_object_is_explained():
    """Catch a newcomer left alone with policy=LruPolicy."""
    with pytest.raises(ConfigurationError, match=r"an object such as LruPolicy\(\)"):
        MemoryCache(3, policy=LruPolicy)
