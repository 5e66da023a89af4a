"""Rules of freshness: lives that vary within bounds, refreshes that come early, limits by name."""

import math
import random
import statistics
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frys_cache.chain.freshness import (
    Freshness,
    check_jitter,
    check_refresh_ahead,
    check_seconds,
)
from frys_cache.errors import ConfigurationError

LIVES = st.floats(1e-3, 1e9)


def test_defaults_change_nothing():
    """Catch a rule that applies although nobody asked for it."""
    rules = Freshness()
    assert rules.ttl is None
    assert rules.stale_for == 0.0
    assert rules.jittered(60) == 60
    assert rules.refresh_after(60, 10) is None


@given(life=LIVES, jitter=st.floats(0, 0.99), u=st.floats(0, 1, exclude_max=True))
def test_jittered_stays_within_the_fraction_and_above_zero(life, jitter, u):
    """Catch a life that is jittered away, or by more than was said."""
    varied = Freshness(jitter=jitter, random=lambda: u).jittered(life)
    assert varied > 0
    assert abs(varied - life) <= life * jitter * (1 + 1e-9) + 1e-12


def test_jittered_spreads_to_both_sides_and_keeps_for_ever():
    """Catch a jitter that only shortens, and an endless life that gets an end."""
    rules = Freshness(jitter=0.5, random=random.Random(1).random)
    lives = [rules.jittered(100) for _ in range(2_000)]
    assert 50 <= min(lives) < 55
    assert 145 < max(lives) <= 150
    assert 98 < statistics.mean(lives) < 102
    assert rules.jittered(None) is None


@given(life=LIVES, load=st.floats(0, 1e12), u=st.floats(0, 1, exclude_max=True))
def test_refresh_after_is_within_the_life(life, load, u):
    """Catch a refresh after the expiry, or before the value is stored, or log(0)."""
    for ahead in (0.001, 0.8, 0.999, "xfetch"):
        after = Freshness(refresh_ahead=ahead, random=lambda: u).refresh_after(life, load)
        assert after is None or 0 <= after <= life


def test_refresh_after_a_fraction_is_that_of_the_life():
    """Catch a fraction that is taken from the end instead of the beginning."""
    assert Freshness(refresh_ahead=0.75).refresh_after(100, 5) == 75
    assert Freshness(refresh_ahead=0.75).refresh_after(100, 0) == 75


@pytest.mark.parametrize("ahead", [0.5, "xfetch"])
def test_refresh_after_of_an_endless_life_is_never(ahead):
    """Catch a reload of what never expires."""
    assert Freshness(refresh_ahead=ahead).refresh_after(None, 5) is None
    assert Freshness(refresh_ahead=ahead).refresh_after(math.inf, 5) is None


def test_xfetch_without_a_load_time_is_never():
    """Catch a draw that refreshes at the expiry itself, when it is too late."""
    assert Freshness(refresh_ahead="xfetch").refresh_after(100, 0) is None


def test_xfetch_draws_the_distribution_of_the_paper():
    """Catch another base, sign or beta: the lead is exponential, and its mean the load time."""
    rules = Freshness(refresh_ahead="xfetch", random=random.Random(1).random)
    early = [100 - rules.refresh_after(100, 2) for _ in range(20_000)]
    assert 1.95 < statistics.mean(early) < 2.05
    assert 1.35 < statistics.median(early) < 1.42  # 2 ln 2
    # Each of n processes that share an entry draws; how early the first comes grows as ln n.
    first = [max(early[at : at + 100]) for at in range(0, 20_000, 100)]
    assert 9 < statistics.mean(first) < 11.5  # 2 H(100) = 10.4


@pytest.mark.parametrize(
    ("negative_ttl", "life", "wanted"),
    [
        (None, 100, 10),
        (None, 1, 0.1),
        (None, 10_000, 30),
        (None, None, 30),
        (None, math.inf, 30),
        (0, 100, 0),
        (7, 1, 7),
        (timedelta(minutes=2), None, 120),
    ],
)
def test_negative_life_is_a_tenth_or_what_was_said(negative_ttl, life, wanted):
    """Catch an absence that is remembered as long as a value."""
    assert Freshness(negative_ttl=negative_ttl).negative_life(life) == wanted


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1, 1.0),
        (0.5, 0.5),
        (timedelta(seconds=90), 90.0),
        (Decimal("1.5"), 1.5),
        (Fraction(1, 4), 0.25),
    ],
)
def test_check_seconds_takes_numbers_and_timedeltas(value, seconds):
    """Catch a duration that one argument takes and another does not."""
    found = check_seconds("x", value)
    assert found == seconds
    assert type(found) is float


def test_check_seconds_zero_and_infinity_only_where_allowed():
    """Catch a limit that depends on the argument and is forgotten."""
    assert check_seconds("x", 0, allow_zero=True) == 0
    assert check_seconds("x", timedelta(0), allow_zero=True) == 0
    for endless in (math.inf, 1e10, 10**400, timedelta.max):
        assert check_seconds("x", endless, allow_inf=True) == math.inf
        with pytest.raises(ConfigurationError, match=r"x must be .* below 9.2e\+09"):
            check_seconds("x", endless)
    assert Freshness(ttl=math.inf).ttl is None
    assert Freshness(stale_ttl=math.inf).stale_for == math.inf


@pytest.mark.parametrize(
    "value",
    [0, -1, math.nan, -math.inf, Decimal("NaN"), Decimal("sNaN"), timedelta(-1), -(10**400)],
)
def test_check_seconds_what_is_no_duration_is_refused(value):
    """Catch a NaN that every comparison lets pass."""
    for allowed in ({}, {"allow_inf": True}):
        with pytest.raises(ConfigurationError, match="lock_timeout must be"):
            check_seconds("lock_timeout", value, **allowed)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"ttl": 0}, ConfigurationError, "ttl must be .*above 0, not 0"),
        ({"stale_ttl": -1}, ConfigurationError, "stale_ttl must be .*0 or more, not -1"),
        ({"stale_ttl": None}, TypeError, "stale_ttl must be seconds or a timedelta.* not None"),
        ({"negative_ttl": "1"}, TypeError, "negative_ttl must be .* not '1'"),
        ({"negative_ttl": math.inf}, ConfigurationError, "negative_ttl"),
        ({"ttl": True}, TypeError, "ttl must be .* not True"),
        ({"ttl": object()}, TypeError, "not a object"),
        ({"jitter": 1}, ConfigurationError, "jitter must be .*below 1, not 1"),
        ({"jitter": -0.1}, ConfigurationError, "not -0.1"),
        ({"jitter": math.nan}, ConfigurationError, "not nan"),
        ({"jitter": None}, TypeError, "jitter"),
        ({"refresh_ahead": 0}, ConfigurationError, "refresh_ahead must be .* not 0"),
        ({"refresh_ahead": 1.0}, ConfigurationError, "above 0 and below 1"),
        ({"refresh_ahead": "early"}, ConfigurationError, "'xfetch'.* not 'early'"),
        ({"refresh_ahead": True}, TypeError, "not True"),
        ({"refresh_ahead": [0.5]}, TypeError, "not a list"),
        ({"random": 0.5}, TypeError, "random must be callable"),
    ],
)
def test_freshness_bad_argument_is_refused_by_name(arguments, error, words):
    """Catch a rule that is taken and fails at the first load."""
    with pytest.raises(error, match=words):
        Freshness(**arguments)


def test_checks_give_back_what_is_right():
    """Catch a check that changes what it lets pass."""
    assert check_jitter(0) == 0.0
    assert check_jitter(Decimal("0.25")) == 0.25
    assert check_refresh_ahead(None) is None
    assert check_refresh_ahead(Fraction(1, 2)) == 0.5
    assert check_refresh_ahead("xfetch") == "xfetch"
