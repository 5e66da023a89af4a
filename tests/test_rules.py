"""A ttl for the keys that a prefix or a predicate names: `cache.policies.set_ttl`."""

import copy
import pickle
from datetime import timedelta

import pytest
from kinds import every_kind

from frys_cache import ConfigurationError, FrysCache, MemoryCache, TtlRule, memoize
from frys_cache.testing import FakeClock

WRITES = {
    "[] =": lambda cache, key: cache.__setitem__(key, 1),
    "put": lambda cache, key: cache.put(key, 1),
    "add": lambda cache, key: cache.add(key, 1),
    "replace": lambda cache, key: (cache.put(key, 0, ttl=None), cache.replace(key, 1)),
    "put_many list": lambda cache, key: cache.put_many([(key, 1)]),
    "put_many dict": lambda cache, key: cache.put_many({key: 1}),
    "put_many iterator": lambda cache, key: cache.put_many(iter([(key, 1)])),
    "put_many hundred": lambda cache, key: cache.put_many([*((n, n) for n in range(99)), (key, 1)]),
    "update": lambda cache, key: cache.update({key: 1}),
    "setdefault": lambda cache, key: cache.setdefault(key, 1),
    "get_or_set": lambda cache, key: cache.get_or_set(key, lambda: 1),
    "incr": lambda cache, key: cache.incr(key),
    "touch": lambda cache, key: (cache.put(key, 1, ttl=None), cache.touch(key)),
    "overwrite": lambda cache, key: (cache.put(key, 0, ttl=None), cache.__setitem__(key, 1)),
    "|": lambda cache, key: cache | {key: 1},
}
every_write = pytest.mark.parametrize("write", WRITES.values(), ids=list(WRITES))


class Text(str):
    """A key that is a str and not exactly one."""


class Raw(bytes):
    """A key that is bytes and not exactly that."""


def life(cache, key):
    """Return the whole seconds that a key has left, rounded up, or None."""
    left = cache.ttl_of(key)
    return left if left is None else round(left)


class TestRules:
    """A ttl for the keys that a prefix or a predicate names."""

    @every_kind
    @every_write
    def test_rule_holds_wherever_no_ttl_is_given(self, make, write):
        """Catches a way of storing that has never heard of rules."""
        listened = {"on_evict": lambda *event: None}
        for options in ({}, {"max_size_bytes": 10**6}, {"ttl": 99}, {"idle": 500}, listened):
            cache = make(200, **options)
            cache.policies.set_ttl("session:", 60)
            lives = {"session:1": 60, "other": options.get("ttl", options.get("idle"))}
            for predicates in (False, True):
                if predicates:
                    cache.policies.set_ttl(lambda key: key == 7.5, 30)
                    lives[7.5] = 30
                for key, seconds in lives.items():
                    cache.clear()
                    made = write(cache, key)
                    assert life(made if type(made) is type(cache) else cache, key) == seconds
                    cache._check()

    def test_longest_prefix_wins_then_the_first_predicate_then_the_cache(self):
        """Catches an order of rules that is that of their making."""
        cache = MemoryCache(100, ttl=1000)
        cache.policies.set_ttl("a", 10)
        cache.policies.set_ttl(lambda key: isinstance(key, (str, int)), 20)
        cache.policies.set_ttl(lambda key: True, 30)
        cache.policies.set_ttl("abc", 40)
        cache.policies.set_ttl("ab", None)
        expected = {
            "a": 10,
            "ax": 10,
            "ab": None,
            "abx": None,
            "abcd": 40,
            "b": 20,
            1: 20,
            None: 30,
        }
        for key, seconds in expected.items():
            cache[key] = 1
            assert life(cache, key) == seconds, key
        cache.put("abcd", 1, ttl=5)
        assert life(cache, "abcd") == 5
        cache.put("abcd", 1, ttl=None)
        assert life(cache, "abcd") is None

    def test_text_names_no_bytes_and_bytes_no_text(self):
        """Catches prefixes compared as bytes alone."""
        cache = MemoryCache(100)
        cache.policies.set_ttl("a", 10)
        cache.policies.set_ttl(b"b", 20)
        cache.policies.set_ttl("", 30)
        lives = {"a": 10, b"a": None, b"b": 20, "b": 30, "": 30, b"": None, "\u20ac": 30, 97: None}
        for key, seconds in lives.items():
            cache[key] = 1
            assert life(cache, key) == seconds, key
        cache.policies.set_ttl(b"", 40)
        for key in (b"", b"a", b"\xff"):
            cache[key] = 1
            assert life(cache, key) == 40

    @pytest.mark.parametrize(
        "prefix", ["\xe9", "\u20ac:", "\U0001f600", "a\u20ac", "\x00", "\ud800"]
    )
    def test_wide_text_is_compared_by_character(self, prefix):
        """Catches a key of one width taken for one of another."""
        cache = MemoryCache(100)
        cache.policies.set_ttl(prefix, 10)
        for more in ("", "x", "\xff", "\u20ac", "\U0001f600"):
            cache[prefix + more] = 1
            assert life(cache, prefix + more) == 10
        # The low bytes of these are the same.
        for other in ("", "\xac:", "\xe9"[: prefix != "\xe9"], "a\xac", "\u01e9", "\U0001ac3a"):
            cache[other] = 1
            assert life(cache, other) is None

    def test_subclasses_of_str_and_bytes_are_named_by_what_they_hold(self):
        """Catches one key that lives by two rules, as it is spelled."""
        cache = MemoryCache(100)
        cache.policies.set_ttl(Text("a"), 10)
        cache.policies.set_ttl(Raw(b"b"), 20)
        assert [type(rule.keys) for rule in cache.policies.rules] == [str, bytes]
        for key, seconds in ((Text("ab"), 10), (Raw(b"bc"), 20), (Text("c"), None), ("ab", 10)):
            cache[key] = 1
            assert life(cache, key) == seconds
        assert cache.policies.remove("a")

    def test_rules_are_replaced_and_removed(self):
        """Catches rules that pile up, and one that works on after its end."""
        cache = MemoryCache(100)
        policies = cache.policies

        def even(key):
            return key % 2 == 0

        policies.set_ttl("a", 10)
        policies.set_ttl(even, 20)
        policies.set_ttl("b", 30)
        policies.set_ttl("a", timedelta(seconds=40))
        assert policies.rules == (
            TtlRule("a", timedelta(seconds=40)),
            TtlRule(even, 20),
            TtlRule("b", 30),
        )
        cache["a"], cache[2] = 1, 1
        assert (life(cache, "a"), life(cache, 2)) == (40, 20)
        assert policies.remove(even)
        assert not policies.remove(even)
        assert policies.remove("a")
        assert not policies.remove(b"b")
        cache["a"], cache[2], cache["b"] = 1, 1, 1
        assert [life(cache, key) for key in ("a", 2, "b")] == [None, None, 30]
        assert policies.remove("b")
        assert policies.rules == ()
        cache["b"] = 1
        assert life(cache, "b") is None
        cache._check()

    @pytest.mark.parametrize("count", [1, 10, 500])
    def test_many_rules_are_told_apart(self, count):
        """Catches a search that ends in a neighbour."""
        cache = MemoryCache(10_000)
        for number in range(count):
            cache.policies.set_ttl(f"user:{number}:", number + 10)
            cache.policies.set_ttl(f"user:{number}".encode(), number + 10)
        for number in range(count):
            cache[f"user:{number}:x"] = cache[f"user:{number}".encode()] = 1
            assert life(cache, f"user:{number}:x") == life(cache, f"user:{number}".encode())
            assert life(cache, f"user:{number}:x") == number + 10
        cache["user:"] = cache["user:x"] = cache[b"user:"] = 1
        assert [life(cache, key) for key in ("user:", "user:x", b"user:")] == [None] * 3
        cache._check()

    @pytest.mark.parametrize("keys", [1, None, bytearray(b"a"), ("a",)])
    def test_what_cannot_name_keys_is_refused(self, keys):
        """Catches a rule that names nothing."""
        with pytest.raises(TypeError, match="prefix"):
            MemoryCache(10).policies.set_ttl(keys, 10)
        with pytest.raises(TypeError, match="prefix"):
            MemoryCache(10).policies.remove(keys)

    def test_ttl_of_a_rule_that_cannot_be_is_refused(self):
        """Catches a rule that is half there."""
        policies = MemoryCache(10).policies
        policies.set_ttl("a", 10)
        for ttl in (0, -1, float("nan")):
            with pytest.raises(ConfigurationError, match="ttl"):
                policies.set_ttl("a", ttl)
        with pytest.raises(TypeError):
            policies.set_ttl("a", "10")
        assert policies.rules == (TtlRule("a", 10),)

    def test_no_memory_for_rules_changes_nothing(self):
        """Catches rules that are listed and not in force."""
        cache = MemoryCache(10)
        cache.policies.set_ttl("a", 10)
        cache._fail_allocation_after(0)
        with pytest.raises(MemoryError):
            cache.policies.set_ttl("b", 20)
        cache._fail_allocation_after(-1)
        assert cache.policies.rules == (TtlRule("a", 10),)
        cache["a"] = cache["b"] = 1
        assert (life(cache, "a"), life(cache, "b")) == (10, None)

    def test_memoized_functions_live_by_rules(self):
        """Catches results that are stored past the rules."""
        cache = MemoryCache(10)
        cache.policies.set_ttl(lambda key: type(key) is tuple, 10)
        double = cache.memoize(lambda x: 2 * x)
        assert double(2) == 4
        assert life(cache, double.cache_key(2)) == 10
        double.refresh(2)
        assert life(cache, double.cache_key(2)) == 10
        shout = memoize(str.upper)
        shout.cache.policies.set_ttl("a", 20)
        assert (shout("ab"), shout("b")) == ("AB", "B")
        assert (life(shout.cache, "ab"), life(shout.cache, "b")) == (20, None)

    def test_incr_keeps_the_end_of_what_is_there(self):
        """Catches a counter that lives for ever because it is counted."""
        clock = FakeClock()
        cache = MemoryCache(10, clock=clock)
        cache.policies.set_ttl("n", 10)
        cache.incr("n")
        clock.advance(4)
        cache.incr("n")
        assert cache.ttl_of("n") == 6

    def test_copies_and_pickles_carry_the_rules(self):
        """Catches a copy with other lives, and one whose rules are shared."""
        cache = FrysCache(100)
        cache.policies.set_ttl("a", 10)
        cache.policies.set_ttl(callable, None)
        for twin in (cache.copy(), copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
            assert twin.policies.rules == cache.policies.rules
            twin["a"] = 1
            assert life(twin, "a") == 10
            twin.policies.remove("a")
        assert len(cache.policies.rules) == 2
        cache.policies.set_ttl(lambda key: True, 10)
        with pytest.raises((pickle.PicklingError, AttributeError)):
            pickle.dumps(cache)

    def test_init_again_forgets_the_rules(self):
        """Catches rules of a cache that is no more."""
        cache = MemoryCache(10)
        cache.policies.set_ttl("a", 10)
        cache.policies.set_ttl(callable, 10)
        cache.__init__(10)
        assert cache.policies.rules == ()
        cache["a"] = cache[len] = 1
        assert (life(cache, "a"), life(cache, len)) == (None, None)
        cache._check()


class TestPredicates:
    """A predicate is foreign code, called with nothing held."""

    @every_kind
    @every_write
    def test_exception_reaches_the_caller_and_changes_nothing(self, make, write):
        """Catches an entry stored all the same."""
        cache = make(100)

        def fail(key):
            if cache.policies.rules[0].ttl == 10:
                raise ZeroDivisionError(key)
            return False

        cache.policies.set_ttl(fail, 10)
        with pytest.raises(ZeroDivisionError):
            write(cache, "a")
        left = dict(cache.items())
        assert left in ({}, {"a": 0}, {"a": 1}, {n: n for n in range(99)})
        assert "a" not in left or life(cache, "a") is None
        cache._check()

    @every_write
    def test_predicate_may_use_the_cache(self, write):
        """Catches a predicate called between finding and storing."""
        cache = MemoryCache(4)
        busy = False

        def meddle(key):
            nonlocal busy
            if not busy:
                busy = True
                cache.clear()
                cache.update(dict.fromkeys(range(10)))
                cache.policies.max_entries = 3
                cache.policies.set_ttl("x", 5)
                busy = False
            return key == "a"

        cache.policies.set_ttl(meddle, 10)
        write(cache, "a")
        assert len(cache) <= 3
        cache._check()

    @pytest.mark.parametrize("name", [name for name in WRITES if name != "|"])
    def test_init_inside_is_refused(self, name):
        """Catches the lives of one configuration in another."""
        cache = MemoryCache(200)

        def configure(key):
            cache.__init__(5)
            return True

        cache.policies.set_ttl(configure, 10)
        with pytest.raises(RuntimeError, match="__init__"):
            WRITES[name](cache, "a")
        assert all(life(cache, key) is None for key in cache)
        cache._check()

    @pytest.mark.parametrize("truth", [1, "yes", [0]])
    def test_truth_counts(self, truth):
        """Catches `is True`."""
        cache = MemoryCache(10)
        cache.policies.set_ttl(lambda key: truth if key == "a" else None, 10)
        cache["a"] = cache["b"] = 1
        assert (life(cache, "a"), life(cache, "b")) == (10, None)

    def test_add_and_replace_that_store_nothing_ask_nobody(self):
        """Catches a predicate that hears of what is not stored."""
        asked = []
        cache = MemoryCache(10)
        cache["a"] = 1
        cache.policies.set_ttl(asked.append, 10)
        assert not cache.add("a", 2)
        assert not cache.replace("b", 2)
        cache.put("c", 1, ttl=5)
        assert asked == []
        assert cache.add("b", 2)
        assert asked == ["b"]

    def test_predicates_that_compare_by_running_code_are_found(self):
        """Catches rules changed while they were looked through, and a search that never ends."""

        class Named:
            def __init__(self, name):
                self.name = name

            def __call__(self, key):
                return key == self.name

            def __eq__(self, other):
                if meddle:
                    cache.policies.set_ttl("x", meddle.pop())
                return self.name == other.name

            __hash__ = None

        cache = MemoryCache(10)
        meddle = [1, 2]
        cache.policies.set_ttl(Named("a"), 10)
        cache.policies.set_ttl(Named("a"), 20)
        assert [rule.ttl for rule in cache.policies.rules] == [20, 1]
        meddle = list(range(1, 1000))
        with pytest.raises(RuntimeError, match="at every comparison"):
            cache.policies.remove(Named("a"))
        meddle.clear()
        assert cache.policies.remove(Named("a"))
        assert [rule.keys for rule in cache.policies.rules] == ["x"]
