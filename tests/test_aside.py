"""`Aside`: stale values, early refreshes and absences, which no race brings back."""

import gc
import threading
import weakref

import pytest
from hostile import SameHash
from hypothesis import given
from hypothesis import strategies as st

from frys_cache.chain.aside import Aside
from frys_cache.chain.freshness import Freshness
from frys_cache.testing import FakeClock
from frys_cache.types import MISSING


@pytest.fixture
def clock():
    """Give a clock that the test moves."""
    return FakeClock(1000.0)


@pytest.fixture
def aside(clock):
    """Give an empty aside on that clock."""
    return Aside(100, clock=clock)


def keep(aside, key, value, life=10, stale_for=5, refresh_after=None, **more):
    """Keep a value that is fresh for 10 s and stale for 5 more."""
    return aside.keep(key, value, life, stale_for, refresh_after, **more)


# --- what is kept, and how long -------------------------------------------------------------------


def test_kept_value_is_fresh_then_stale_then_gone(aside, clock):
    """Catch a stale value that is gone too early or served too long."""
    assert keep(aside, "a", None, load_seconds=0.25)
    kept = aside.find("a")
    assert (kept.value, kept.fresh_until, kept.load_seconds) == (None, 1010.0, 0.25)
    assert aside.left(kept) == 10
    clock.advance(9.5)
    assert aside.left(kept) == 0.5
    clock.advance(0.5)
    assert aside.left(aside.find("a")) == 0.0
    clock.advance(4.9)
    assert aside.find("a") is kept
    clock.advance(0.2)
    assert aside.find("a") is None
    assert len(aside) == 0


def test_kept_for_ever_never_becomes_stale(aside, clock):
    """Catch an endless life that ends, or that an infinite deadline refuses."""
    assert keep(aside, "a", 1, life=None)
    assert keep(aside, "b", 2, stale_for=float("inf"))
    clock.advance(1e8)
    assert aside.left(aside.find("a")) is None
    assert aside.left(aside.find("b")) == 0.0


def test_find_is_no_use_of_an_entry(clock):
    """Catch a look that saves an old entry from its eviction."""
    aside = Aside(2, clock=clock)
    keep(aside, "a", 1)
    keep(aside, "b", 2)
    aside.find("a")
    keep(aside, "c", 3)
    assert aside.find("a") is None
    assert aside.find("b").value == 2


def test_keep_replaces_what_is_there(aside):
    """Catch a value loaded anew beside which the old one stays to be served."""
    keep(aside, "a", 1)
    keep(aside, "a", 2, life=20)
    assert aside.find("a").value == 2
    assert keep(aside, "a", 3, token=aside.token("a"))
    assert aside.find("a").value == 3
    assert len(aside) == 1


def test_keep_without_any_life_keeps_nothing_and_drops_the_old(aside):
    """Catch an old value that outlives one that may not be kept, or a ttl of 0 that raises."""
    keep(aside, "a", 1)
    assert keep(aside, "a", 2, life=0, stale_for=0) is False
    assert aside.find("a") is None
    keep(aside, "b", 1)
    assert keep(aside, "b", 2, life=0, stale_for=0, token=aside.token("b")) is False
    assert aside.find("b") is None


def test_keep_with_rules_of_freshness_follows_them(aside, clock):
    """Catch units or meanings that differ between the rules and what keeps by them."""
    rules = Freshness(ttl=100, stale_ttl=50, jitter=0.5, refresh_ahead=0.5, random=lambda: 0.75)
    life = rules.jittered(rules.ttl)
    aside.keep("a", 1, life, rules.stale_for, rules.refresh_after(life, 1), 1)
    kept = aside.find("a")
    assert (kept.fresh_until, kept.refresh_at) == (1125.0, 1062.5)
    clock.advance(174.9)
    assert aside.find("a") is kept
    clock.advance(0.2)
    assert aside.find("a") is None


# --- absence --------------------------------------------------------------------------------------


def test_absence_is_remembered_until_its_end(aside, clock):
    """Catch an absence that is served stale, or that a value of MISSING cannot tell."""
    keep(aside, "a", 1)
    assert aside.remember_absent("a", 3, aside.token("a"))
    kept = aside.find("a")
    assert kept.value is MISSING
    assert aside.left(kept) == 3
    clock.advance(3.01)
    assert aside.find("a") is None


def test_absence_of_no_life_only_drops_what_was_there(aside):
    """Catch a stale value of a key that its source does not have any more."""
    keep(aside, "a", 1)
    assert aside.remember_absent("a", 0, aside.token("a")) is False
    assert aside.find("a") is None
    token = aside.token("a")
    aside.forget("a")
    keep(aside, "a", 2)
    assert aside.remember_absent("a", 0, token) is False
    assert aside.find("a").value == 2


# --- refreshes ------------------------------------------------------------------------------------


def test_is_due_at_the_refresh_and_after_the_expiry(aside, clock):
    """Catch a refresh that comes at the expiry, when it is too late."""
    keep(aside, "a", 1, refresh_after=8)
    keep(aside, "b", 1)
    a, b = aside.find("a"), aside.find("b")
    assert a.refresh_at == 1008.0
    clock.advance(7.9)
    assert not aside.is_due(a)
    clock.advance(0.1)
    assert aside.is_due(a)
    assert not aside.is_due(b)
    clock.advance(2)
    assert aside.is_due(b)
    assert aside.is_due(b, 1010.0)
    assert not aside.is_due(b, 1009.0)


def test_postpone_holds_the_next_try_back(aside, clock):
    """Catch a source that is down and is asked by every request."""
    keep(aside, "a", 1, refresh_after=0)
    kept = aside.find("a")
    assert aside.is_due(kept)
    aside.postpone(kept, 2)
    assert kept.retry_at == 1002.0
    assert not aside.is_due(kept)
    clock.advance(2)
    assert aside.is_due(aside.find("a"))


# --- tokens ---------------------------------------------------------------------------------------


def test_forget_between_token_and_keep_wins(aside):
    """Catch a value loaded before a delete or a put that comes back after it."""
    for before in (False, True):
        if before:
            keep(aside, "a", 0)
        token = aside.token("a")
        aside.forget("a")
        assert keep(aside, "a", 1, token=token) is False
        assert aside.remember_absent("a", 5, token) is False
        assert aside.find("a") is None


def test_put_between_token_and_keep_wins(aside):
    """Catch an older value over a newer one: a put forgets and keeps."""
    keep(aside, "a", 0)
    token = aside.token("a")
    aside.forget("a")
    keep(aside, "a", "newer")
    assert keep(aside, "a", "older", token=token) is False
    assert aside.remember_absent("a", 5, token) is False
    assert aside.find("a").value == "newer"


def test_empty_makes_all_tokens_worthless(aside):
    """Catch a load that survives a clear."""
    keep(aside, "a", 0)
    tokens = {key: aside.token(key) for key in "ab"}
    aside.empty()
    assert len(aside) == 0
    for key, token in tokens.items():
        assert keep(aside, key, 1, token=token) is False


def test_of_two_loads_from_one_moment_the_first_is_kept(aside):
    """Catch a slower load of the same value that overwrites what came before it."""
    for before in (False, True):
        if before:
            keep(aside, "a", 0)
        first, second = aside.token("a"), aside.token("a")
        assert keep(aside, "a", 1, token=first)
        assert not keep(aside, "a", 2, token=second)
        assert aside.find("a").value == 1
        aside.forget("a")


def test_stranger_does_not_keep_a_refresh_from_replacing_the_old_value():
    """Catch an old value that stays beside a newer one, for keys share the places of tokens."""
    aside = Aside(10_000)
    keep(aside, "a", "old")
    token = aside.token("a")
    for number in range(5_000):
        keep(aside, number, number)
    assert keep(aside, "a", "new", token=token)
    assert aside.find("a").value == "new"
    token = aside.token("a")
    for number in range(5_000):
        aside.forget(number)
    assert aside.remember_absent("a", 0, token) is False
    assert aside.find("a") is None


def test_eviction_does_not_refuse_a_keep(clock):
    """Catch a token that an eviction outdates: the key has not changed."""
    aside = Aside(1, clock=clock)
    token = aside.token("a")
    clock.advance(100)
    assert keep(aside, "a", 1, token=token)


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["token", "keep", "keep with token", "absent", "forget", "empty", "wait"]),
        st.sampled_from("ab"),
        st.integers(0, 3),
    ),
    max_size=40,
)


@given(OPERATIONS)
def test_any_order_of_operations_shows_no_older_value(operations):
    """Catch an order in which a value survives what came after it."""
    clock = FakeClock(0.0)
    aside = Aside(10, clock=clock)
    tokens, changed, kept = {}, {"a": 0, "b": 0}, {}
    for step, (what, key, which) in enumerate(operations, 1):
        if what == "token":
            tokens[key, which] = aside.token(key), step
        elif what == "keep":
            assert keep(aside, key, step)
            changed[key], kept[key] = step, step
        elif what in ("keep with token", "absent") and (key, which) in tokens:
            token, taken = tokens[key, which]
            done = (
                aside.remember_absent(key, 1000, token)
                if what == "absent"
                else keep(aside, key, step, 1000, token=token)
            )
            assert not (done and taken < changed[key])
            if done:
                changed[key] = step
                kept[key] = MISSING if what == "absent" else step
        elif what == "forget":
            aside.forget(key)
            changed[key] = step
            kept.pop(key, None)
        elif what == "empty":
            aside.empty()
            changed = dict.fromkeys("ab", step)
            kept.clear()
        elif what == "wait":
            clock.advance(1)
        for name in "ab":
            found = aside.find(name)
            if found is not None:
                assert found.value == kept[name]


def test_threads_no_load_brings_back_what_was_forgotten():
    """Catch a race between the check of a token and what it lets in."""
    aside, stop, wrong = Aside(50), threading.Event(), []
    source = dict.fromkeys(range(8), 0)

    def load():
        while not stop.is_set():
            for key in source:
                token = aside.token(key)
                aside.keep(key, source[key], 60, 60, None, token=token)

    def noise():
        number = 100
        while not stop.is_set():
            number += 1
            aside.keep(number % 500 + 100, number, 60, 60, None)

    def change():
        for number in range(1, 4_000):
            key = number % 8
            source[key] = number
            aside.forget(key)
            found = aside.find(key)
            if found is not None and found.value < number:
                wrong.append((key, found.value, number))
        stop.set()

    threads = [threading.Thread(target=work) for work in (load, load, noise, change)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    for key, value in source.items():
        found = aside.find(key)
        assert found is None or found.value == value
    aside._entries._check()


def test_threads_one_key_ends_with_the_last_value():
    """Catch a keep that another one of the same moment overwrites in the middle."""
    aside = Aside(10)
    barrier = threading.Barrier(4)
    counts = []

    def race(who):
        for number in range(300):
            barrier.wait()
            token = aside.token("a")
            barrier.wait()
            counts.append((number, keep(aside, "a", who, token=token)))
            barrier.wait()

    threads = [threading.Thread(target=race, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(300):
        assert sum(done for at, done in counts if at == number) == 1


# --- bounds, sizes and strange keys ---------------------------------------------------------------


def test_max_size_bytes_bounds_keys_and_values():
    """Catch stale values that take as much memory as they like."""
    aside = Aside(max_size_bytes=100_000)
    for number in range(100):
        assert keep(aside, number, [b"x" * 10_000])
    assert 5 <= len(aside) <= 9
    assert aside._entries.stats().total_size <= 100_000


def test_too_heavy_value_is_not_kept_nor_the_old_one():
    """Catch an old value that stays because the new one does not fit."""
    aside = Aside(max_size_bytes=10_000)
    for token in (False, True):
        keep(aside, "a", 1)
        more = {"token": aside.token("a")} if token else {}
        assert keep(aside, "a", b"x" * 20_000, **more) is False
        assert aside.find("a") is None
    token = aside.token("a")
    aside.forget("a")
    keep(aside, "a", "newer")
    assert keep(aside, "a", b"x" * 20_000, token=token) is False
    assert aside.find("a").value == "newer"


def test_sizeof_is_that_of_memory_and_not_asked_for_absences():
    """Catch a user's function that gets MISSING, or a wrapper that it knows nothing of."""
    seen = []

    def sizeof(key, value):
        seen.append((key, value))
        return 1000

    aside = Aside(max_size_bytes=10_000, sizeof=sizeof)
    keep(aside, "a", 1)
    aside.remember_absent("b", 5)
    assert seen == [("a", 1)]
    assert 1000 < aside._entries.stats().total_size < 2000


def test_sizeof_that_raises_passes_and_the_old_value_goes():
    """Catch an error that is swallowed, and an old value that it leaves behind."""

    def sizeof(key, value):
        if value == "bad":
            raise ZeroDivisionError
        return 1

    aside = Aside(max_size_bytes=10_000, sizeof=sizeof)
    for token in (False, True):
        keep(aside, "a", 1)
        more = {"token": aside.token("a")} if token else {}
        with pytest.raises(ZeroDivisionError):
            keep(aside, "a", "bad", **more)
        assert aside.find("a") is None


def test_odd_keys_are_kept_and_unhashable_ones_refused(aside):
    """Catch a key that only a dict could keep."""
    for key in (None, (1, "x"), 1.5, b"x", SameHash(1), SameHash(2)):
        assert keep(aside, key, repr(key), token=aside.token(key))
        assert aside.find(key).value == repr(key)
    for use in (aside.token, aside.find, aside.forget, lambda key: keep(aside, key, 1)):
        with pytest.raises(TypeError, match="unhashable"):
            use([])


def test_dropped_aside_frees_its_values_at_once():
    """Catch a cycle that only the collector would free."""

    class Value:
        pass

    gc.disable()
    try:
        aside = Aside(max_size_bytes=10_000)
        value = Value()
        gone = weakref.ref(value)
        keep(aside, "a", value, token=aside.token("a"))
        del value
        assert gone() is not None
        del aside
        assert gone() is None
    finally:
        gc.enable()


def test_repr_shows_no_content(aside):
    """Catch a secret in a log."""
    keep(aside, "a", "secret")
    aside.remember_absent("b", 5)
    assert repr(aside.find("a")) == "<Kept str until 1010.000>"
    assert repr(aside.find("b")) == "<Kept absent until 1005.000>"
