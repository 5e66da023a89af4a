"""How long a value is fresh, when it is loaded again, and how long it may be served stale.

Every rule is a pure function of a life in seconds, drawn once when a value is stored, so that a
reader compares one number with the clock.  A life of None is for ever.

- Jitter: values stored at one moment would expire at one moment, so each life is stretched or
  shortened by a random part.
- Refresh-ahead: a value that is still asked for is loaded again before it expires, in the
  background: after a fixed part of its life, or at a moment that XFetch draws, the earlier the
  longer loading takes (Vattani, Chierichetti, Lowenstein, "Optimal Probabilistic Cache Stampede
  Prevention", VLDB 2015: at `expiry - load * beta * -ln(u)`).  There each request draws anew; here
  each process draws once per value, since within a process one load serves all.  It is the draws of
  the processes that must differ, and those do.
- Stale values are served for a while after their expiry, where loading fails or takes long.
- Absence is remembered for a shorter time than values, since nobody says when it ends.

Cost: 0.3 us a rule.  Not chosen: a draw at each hit, which would take a hit out of C.
"""

from __future__ import annotations

import math
import random as _random
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from numbers import Real
from typing import Final, Literal, TypeAlias, cast

from frys_cache.errors import ConfigurationError

__all__ = [
    "Freshness",
    "RefreshAhead",
    "Seconds",
    "check_jitter",
    "check_refresh_ahead",
    "check_seconds",
]

Seconds: TypeAlias = float | timedelta
RefreshAhead: TypeAlias = float | Literal["xfetch"] | None

BETA: Final = 1.0
"""How eager XFetch is: 1 is optimal for loads that all take equally long."""
NEGATIVE_PART: Final = 0.1
"""Of a life: how long absence is remembered."""
NEGATIVE_MAX_S: Final = 30.0
"""Seconds: and at most so long."""
LONGEST_S: Final = 9.2e9
"""Seconds, 292 years: what is longer is for ever."""


class Freshness:
    """Answer for the values of one cache how long they are what.

    ttl: the life of a value for which none is given, None for ever.  stale_ttl: seconds after
    expiry in which a value may be served stale; 0 never, `inf` as long as there is room.  jitter: a
    fraction of a life, 0 <= jitter < 1, by which it is longer or shorter.  refresh_ahead: the
    fraction of a life after which a hit loads anew, "xfetch", or None.  negative_ttl: how long
    absence is remembered; 0 not at all, None a tenth of a life and at most 30 seconds.  Durations
    are seconds or timedeltas.  random: a callable that returns a float, 0 <= u < 1, for tests.
    Never changes, so it is safe from any thread.  Raises `ConfigurationError` for a number that
    cannot be, TypeError for what is none.

    >>> rules = Freshness(ttl=60, stale_ttl=30, refresh_ahead=0.8)
    >>> rules.jittered(60), rules.refresh_after(60, 0.2), rules.negative_life(60)
    (60.0, 48.0, 6.0)
    """

    __slots__ = ("_random", "jitter", "negative_ttl", "refresh_ahead", "stale_for", "ttl")

    ttl: float | None
    """Seconds that a value lives for which nothing else is said; None: for ever."""
    stale_for: float
    """Seconds after expiry in which a stale value may be served; 0.0: never."""
    jitter: float
    refresh_ahead: RefreshAhead
    negative_ttl: float | None

    def __init__(
        self,
        ttl: Seconds | None = None,
        stale_ttl: Seconds = 0,
        jitter: float = 0,
        refresh_ahead: RefreshAhead = None,
        negative_ttl: Seconds | None = None,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self.ttl = None if ttl is None else _endless(check_seconds("ttl", ttl, allow_inf=True))
        self.stale_for = check_seconds("stale_ttl", stale_ttl, allow_zero=True, allow_inf=True)
        self.jitter = check_jitter(jitter)
        self.refresh_ahead = check_refresh_ahead(refresh_ahead)
        self.negative_ttl = (
            None
            if negative_ttl is None
            else check_seconds("negative_ttl", negative_ttl, allow_zero=True)
        )
        if not callable(random):
            raise TypeError(f"random must be callable, not {type(random).__name__}")
        self._random = random

    def jittered(self, life: float | None) -> float | None:
        """Return a life, longer or shorter by a random part of it; to be asked once per value.

        >>> 45 <= Freshness(jitter=0.25).jittered(60) < 75
        True
        """
        if life is None:
            return None
        if not self.jitter:
            return float(life)
        return life * (1 + self.jitter * (2 * self._random() - 1))

    def refresh_after(self, life: float | None, load_seconds: float) -> float | None:
        """Return the seconds after which a hit loads a value anew, from 0 to its life; None: never.

        load_seconds: how long loading it took; 0 where that is not known.  To be asked once per
        value and process.

        >>> Freshness(refresh_ahead="xfetch", random=lambda: 0.0).refresh_after(60, 10)
        60.0
        """
        ahead = self.refresh_ahead
        if ahead is None or life is None or life == math.inf:
            return None
        if ahead != "xfetch":
            return life * ahead
        if not load_seconds > 0:
            return None
        # 1 - u is above 0, and as random as u.
        early = load_seconds * BETA * -math.log(1 - self._random())
        return min(float(life), max(0.0, life - early))

    def negative_life(self, life: float | None) -> float:
        """Return the seconds for which to remember that a key is absent; 0.0: do not.

        life: what a value of this key would have.

        >>> Freshness().negative_life(None), Freshness(negative_ttl=0).negative_life(60)
        (30.0, 0.0)
        """
        if self.negative_ttl is not None:
            return self.negative_ttl
        return NEGATIVE_MAX_S if life is None else min(life * NEGATIVE_PART, NEGATIVE_MAX_S)


def check_seconds(
    name: str, value: object, *, allow_zero: bool = False, allow_inf: bool = False
) -> float:
    """Return a duration in seconds, given as a number or a timedelta.

    name: of the argument, for the message.  What is longer than 292 years is `inf` if that is
    allowed.  Raises ConfigurationError, and TypeError for another type.

    >>> check_seconds("stale_ttl", timedelta(minutes=1))
    60.0
    """
    least = "0 or more" if allow_zero else "above 0"
    wanted = f"seconds or a timedelta, {least}" + (
        "" if allow_inf else f" and below {LONGEST_S:.1e}"
    )
    seconds = value.total_seconds() if isinstance(value, timedelta) else _number(name, value)
    if seconds is None:
        raise TypeError(f"{name} must be {wanted}, not {_shown(value)}")
    if not (seconds > 0 or (allow_zero and seconds == 0)) or (
        seconds >= LONGEST_S and not allow_inf
    ):
        raise ConfigurationError(f"{name} must be {wanted}, not {_shown(value)}")
    return math.inf if seconds >= LONGEST_S else seconds


def check_jitter(value: object) -> float:
    """Return the fraction of a life by which it varies, checked.

    Raises ConfigurationError, and TypeError for what is no number.

    >>> check_jitter(0.1)
    0.1
    """
    number = _number("jitter", value)
    wanted = "jitter must be a fraction of the ttl, 0 or more and below 1"
    if number is None:
        raise TypeError(f"{wanted}, not {_shown(value)}")
    if not 0 <= number < 1:
        raise ConfigurationError(f"{wanted}, not {_shown(value)}")
    return number


def check_refresh_ahead(value: object) -> RefreshAhead:
    """Return the fraction of a life after which a value is loaded anew, "xfetch" or None, checked.

    Raises ConfigurationError, and TypeError for another type.

    >>> check_refresh_ahead(0.8), check_refresh_ahead("xfetch")
    (0.8, 'xfetch')
    """
    if value is None:
        return None
    wanted = (
        "refresh_ahead must be a fraction of the ttl, above 0 and below 1, 'xfetch', or None for "
        f"none, not {_shown(value)}"
    )
    if isinstance(value, str):
        if value != "xfetch":
            raise ConfigurationError(wanted)
        return "xfetch"
    number = _number("refresh_ahead", value)
    if number is None:
        raise TypeError(wanted)
    if not 0 < number < 1:
        raise ConfigurationError(wanted)
    return number


def _number(name: str, value: object) -> float | None:
    """Return a real number as a float, `inf` for one that is too large; None: it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, Real)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if cast(float, value) > 0 else -math.inf
    except ValueError as error:  # a signalling NaN
        raise ConfigurationError(f"{name} must be a number of seconds: {error}") from error


def _endless(seconds: float) -> float | None:
    """Return a life; None, for ever, where it has no end."""
    return None if seconds == math.inf else seconds


def _shown(value: object) -> str:
    """Return a value for a message; of what could be long or run code, the type."""
    if isinstance(value, (float, timedelta)) or type(value) in (str, bool, type(None), Decimal):
        return repr(value)[:80]
    if type(value) is int and abs(value) < 1 << 100:
        return repr(value)
    return f"a {type(value).__name__}"
