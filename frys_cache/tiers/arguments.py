"""What a persistent cache is given, judged before anything is opened.

Each function names the argument and says what it may be.  A duration means what it means for
`MemoryCache`, in milliseconds here, and is refused in the same words.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from numbers import Real
from typing import Any, Final, TypeAlias, cast

from frys_cache.errors import ConfigurationError
from frys_cache.types import Default

__all__ = [
    "Ttl",
    "check_bool",
    "check_bytes",
    "check_choice",
    "check_int",
    "milliseconds",
    "pairs",
    "shown",
    "timeout_of",
]

Ttl: TypeAlias = float | timedelta | Default | None
"""Seconds, a duration, the cache's own, or for ever."""

FOR_EVER_S: Final = 9.2e9  # 292 years, as for a cache in memory
LONGEST_WAIT_S: Final = 4_294_967  # what a lock can wait


def milliseconds(ttl: object, error: type[ValueError] = ValueError) -> int:
    """Return a duration, in seconds or as a timedelta, as milliseconds; 0 is for ever."""
    if ttl is None:
        return 0
    if isinstance(ttl, timedelta):
        seconds = ttl.total_seconds()
    elif isinstance(ttl, bool) or not isinstance(ttl, (int, float, Decimal, Real)):
        raise TypeError(f"ttl must be seconds, a timedelta or None, not {shown(ttl)}")
    else:
        try:
            seconds = float(ttl)
        except OverflowError:
            raise error("ttl must be a finite number of seconds") from None
    if not 0 < seconds < math.inf:
        raise error(
            f"ttl must be a finite number of seconds above 0, not {ttl!r}; None is for ever"
        )
    return 0 if seconds >= FOR_EVER_S else max(1, round(seconds * 1000))


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise ConfigurationError for what is none of the choices."""
    if value not in choices:
        raise ConfigurationError(
            f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}"
        )


def check_bool(name: str, value: object) -> None:
    """Raise TypeError for what is no bool."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, not {shown(value)}")


def check_bytes(name: str, value: object) -> None:
    """Raise TypeError or ConfigurationError for what is neither None nor a number of bytes."""
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be None or an int, not {shown(value)}")
    if value < 1:
        raise ConfigurationError(f"{name} must be at least 1 byte, not {value}")


def check_int(name: str, value: object) -> None:
    """Raise TypeError for what is no int."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {shown(value)}")


def timeout_of(value: object) -> float | None:
    """Return seconds to wait, None for as long as it takes."""
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"timeout must be None or a number of seconds, not {shown(value)}")
    if not 0 <= value <= LONGEST_WAIT_S:
        raise ValueError(f"timeout must be from 0 to {LONGEST_WAIT_S} seconds, not {value!r}")
    return float(value)


def shown(value: object) -> str:
    """Return a value and its type for a message; of a hostile or a long one, the type."""
    kind = type(value).__name__
    if type(value) not in (str, bytes, int, float, bool, type(None)):
        return f"a {kind}"
    text = repr(value) if not isinstance(value, int) or abs(value) < FOR_EVER_S**4 else "huge"
    return f"{text[:80]} of type {kind}"


def pairs(items: Any) -> Iterable[tuple[Any, Any]]:
    """Return the pairs of a mapping, of what has keys, or of an iterable."""
    if isinstance(items, Mapping):
        return items.items()
    if hasattr(items, "keys"):
        return [(key, items[key]) for key in items.keys()]  # noqa: SIM118 - it is no mapping
    return cast(Iterable[tuple[Any, Any]], items)
