"""How the levels of a cache are kept consistent with each other and with the source of its data.

`ConsistencyManager` says which strategy a cache follows, to which backend its writes go, and what
a write-back may keep waiting; it checks the whole of it and carries none of it out, which
writing.py does.  One value of it can be given to one cache only where it has a backend to feed, for
it then also stands for that cache's writes that wait.
Cost: none after a cache has been made.
"""

from __future__ import annotations

import enum
import inspect
import math
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, runtime_checkable

from frys_cache.errors import ConfigurationError

if TYPE_CHECKING:
    from frys_cache.writeback.writeback import DeadLetter, WriteBack

__all__ = ["Backend", "ConsistencyManager", "ConsistencyStrategy", "is_async"]

DURABILITIES: Final = ("process", "host", "memory")


class ConsistencyStrategy(enum.StrEnum):
    """Who writes where, and when.  The plain string works wherever a member does.

    >>> ConsistencyStrategy.WRITE_BACK == "write-back"
    True
    """

    WRITE_THROUGH = "write-through"
    """A put returns when the backend and every tier have it, the lowest first."""
    WRITE_BACK = "write-back"
    """A put returns when it is in a journal on disk; the backend gets it later, in batches."""
    CACHE_ASIDE = "cache-aside"
    """The application writes its own store; the cache is told, and never writes anywhere else."""
    WRITE_AROUND = "write-around"
    """A put goes to the lowest level only; those above forget the key."""
    REFRESH_AHEAD = "refresh-ahead"
    """As write-through, and what is asked for is loaded anew before its time is over."""


@runtime_checkable
class Backend(Protocol):
    """The system of record behind a cache: any object with these methods, plain or async.

    Optional beside them, each for many keys at once: `load_many(keys) -> mapping`,
    `store_many(mapping)`, `delete_many(keys)`.  What a method raises reaches whoever called the
    cache, unchanged.  The methods are called from any thread, several at a time.

    >>> class Table:
    ...     def __init__(self): self.rows = {}
    ...     def load(self, key): return self.rows.get(key, MISSING)
    ...     def store(self, key, value): self.rows[key] = value
    ...     def delete(self, key): self.rows.pop(key, None)
    >>> from frys_cache import MISSING, FrysCache
    >>> table = Table()
    >>> cache = FrysCache(100, backend=table)
    >>> cache["ada"] = 1815
    >>> table.rows
    {'ada': 1815}
    """

    def load(self, key: Any) -> Any:
        """Return the value of a key, or MISSING."""
        ...

    def store(self, key: Any, value: Any) -> Any:
        """Store a value; when this returns it is stored."""
        ...

    def delete(self, key: Any) -> Any:
        """Remove a key, which need not be there."""
        ...


class ConsistencyManager:
    """Say how a cache keeps its levels consistent, and with which backend.

    strategy: a `ConsistencyStrategy` or its name.  backend: a `Backend`, or None: the lowest tier
    is the record.  The rest is for WRITE_BACK alone.

    durability: what an acknowledged put outlives.  "process": the process, however it ends; "host":
    a loss of power too, for some milliseconds; "memory": nothing, and up to max_delay of writes may
    be lost.  max_dirty_entries, max_dirty_bytes: how much may wait; beyond it a put waits up to
    put_timeout seconds and then raises `Backpressure`.  max_delay: seconds that a write waits at
    most before it is sent, max_batch: how many are sent together.  max_attempts: how often a write
    that the backend refuses is tried before it is set aside as a dead letter, of which
    on_dead_letter(letter) is told.  While the backend takes nothing at all, that does not count.

    Raises `ConfigurationError` for what cannot be, TypeError for what is not callable.
    Safe from any thread.

    >>> ConsistencyManager(ConsistencyStrategy.WRITE_THROUGH)
    ConsistencyManager('write-through')
    """

    __slots__ = (
        "__weakref__",
        "_in_use",
        "_write_back",
        "backend",
        "durability",
        "max_attempts",
        "max_batch",
        "max_delay",
        "max_dirty_bytes",
        "max_dirty_entries",
        "on_dead_letter",
        "put_timeout",
        "strategy",
    )

    def __init__(
        self,
        strategy: ConsistencyStrategy | str,
        backend: Any = None,
        *,
        durability: Literal["process", "host", "memory"] = "process",
        max_dirty_entries: int = 10_000,
        max_dirty_bytes: int = 64 * 1024 * 1024,
        max_delay: float | timedelta = 1.0,
        max_batch: int = 500,
        put_timeout: float | timedelta = 5.0,
        max_attempts: int = 10,
        on_dead_letter: Callable[[DeadLetter], object] | None = None,
    ) -> None:
        self.strategy = strategy_named(strategy)
        self.backend = backend
        if backend is not None:
            check_backend(backend)
            if self.strategy is ConsistencyStrategy.CACHE_ASIDE:
                raise ConfigurationError(
                    "with CACHE_ASIDE the application writes its store itself and the cache calls "
                    "no backend: pass loader= to have it read, or choose WRITE_THROUGH"
                )
        if durability not in DURABILITIES:
            known = ", ".join(map(repr, DURABILITIES))
            raise ConfigurationError(f"durability must be one of {known}, not {durability!r}")
        self.durability = durability
        self.max_dirty_entries = _whole("max_dirty_entries", max_dirty_entries)
        self.max_dirty_bytes = _whole("max_dirty_bytes", max_dirty_bytes)
        self.max_delay = _seconds("max_delay", max_delay)
        self.max_batch = _whole("max_batch", max_batch)
        self.put_timeout = _seconds("put_timeout", put_timeout)
        self.max_attempts = _whole("max_attempts", max_attempts)
        if on_dead_letter is not None and not callable(on_dead_letter):
            raise TypeError(f"on_dead_letter must be callable, not {type(on_dead_letter).__name__}")
        self.on_dead_letter = on_dead_letter
        self._write_back: WriteBack | None = None
        self._in_use = False

    def dead_letters(self) -> list[DeadLetter]:
        """Return the writes that the backend has refused for good, the oldest first.

        They stay in the journal until their keys are written anew, or `retry_dead_letters`.

        >>> ConsistencyManager("write-through").dead_letters()
        []
        """
        return [] if self._write_back is None else self._write_back.dead_letters()

    def retry_dead_letters(self) -> int:
        """Send what was set aside once more, with all attempts before it; return how many.

        >>> ConsistencyManager("write-back").retry_dead_letters()
        0
        """
        return 0 if self._write_back is None else self._write_back.retry_dead_letters()

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        # What waits belongs to the cache that it was given to.
        names = [name for name in self.__slots__ if name != "__weakref__"]
        own = {"_write_back": None, "_in_use": False}
        return None, {name: getattr(self, name) for name in names} | own

    def __repr__(self) -> str:
        backend = "" if self.backend is None else f", {type(self.backend).__name__}(...)"
        return f"{type(self).__name__}({self.strategy.value!r}{backend})"


def consistency_of(given: ConsistencyManager | ConsistencyStrategy | str) -> ConsistencyManager:
    """Return what `consistency=` says as a `ConsistencyManager`."""
    if isinstance(given, ConsistencyManager):
        return given
    return ConsistencyManager(strategy_named(given, "consistency"))


def strategy_named(strategy: object, argument: str = "strategy") -> ConsistencyStrategy:
    """Return the strategy that a member or a name stands for; ConfigurationError."""
    try:
        return ConsistencyStrategy(strategy)  # type: ignore[arg-type]
    except ValueError:
        known = ", ".join(repr(member.value) for member in ConsistencyStrategy)
        raise ConfigurationError(
            f"{argument} must be one of {known}, or a member of ConsistencyStrategy, "
            f"not {strategy!r}"
        ) from None


def check_backend(backend: object) -> None:
    """Refuse what has not the three methods of a `Backend`."""
    if isinstance(backend, type):
        raise ConfigurationError(
            f"backend is the class {backend.__name__}: pass an object of it, {backend.__name__}()"
        )
    lacking = [
        name for name in ("load", "store", "delete") if not callable(getattr(backend, name, None))
    ]
    if lacking:
        raise ConfigurationError(
            f"a backend has the methods load(key), store(key, value) and delete(key); "
            f"{type(backend).__name__} has no {' and no '.join(lacking)}"
        )


def is_async(function: object) -> bool:
    """Tell whether calling this gives something to be awaited.

    >>> async def load(key): ...
    >>> is_async(load), is_async(len)
    (True, False)
    """
    while hasattr(function, "func") and hasattr(function, "keywords"):  # functools.partial
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - the method itself is asked for
    )


def async_methods(backend: object) -> Mapping[str, Any]:
    """Return the methods of a backend that are async."""
    names = ("load", "store", "delete", "load_many", "store_many", "delete_many")
    return {name: method for name in names if is_async(method := getattr(backend, name, None))}


def _whole(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(f"{name} must be an int of at least 1, not {value!r}")
    return value


def _seconds(name: str, value: object) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name} must be seconds or a timedelta, not {type(value).__name__}")
    if not 0 < seconds < math.inf:
        raise ConfigurationError(f"{name} must be above 0 and finite, not {value!r}")
    return float(seconds)
