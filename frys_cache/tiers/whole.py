"""What is done with a persistent cache as a whole: make it durable, smaller, copied, or shared.

A copy of the object, also one that is unpickled, is a cache opened with the same arguments: within
a process it shares the database and is counted, in another it opens the path anew.  Not chosen: a
copy that takes over the tier, for closing one would close the other.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from frys_cache.errors import CacheTimeout
from frys_cache.tiers.arguments import shown, timeout_of
from frys_cache.tiers.disk import DiskTier
from frys_cache.tiers.nothing import NoRocks

__all__ = ["Whole"]


class Whole:
    """A part of `PersistentCache`."""

    __slots__ = ()

    tier: DiskTier
    path: str
    _arguments: dict[str, Any]

    @property
    def alone(self) -> bool:
        """Return whether there is no database: memory-only, or the child of a fork.

        Then nothing is found and nothing is kept: `incr` always answers as for a new key, `add`
        succeeds and `replace` fails.  Raises `CacheClosed`.
        """
        return type(self.tier.rocks) is NoRocks

    def compact(self) -> None:
        """Give the space of what was removed or replaced back to the disk; seconds per GiB."""
        self.tier.compact()

    def snapshot(self, path: str | os.PathLike[str]) -> None:
        """Make a copy of the database, all its namespaces, at one moment.

        It is a directory that a `PersistentCache` can open; the path must not exist yet, nor be
        inside of the database.  Raises `ConfigurationError`, `TypeError`, `TierLockedError` and
        `TierUnavailable`.
        """
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"path must be a str or a path of str, not {shown(path)}")
        self.tier.store.copy_to(path)

    def flush(self, timeout: float | None = None) -> None:
        """Return when all that was written outlives a loss of power.

        timeout: seconds after which `CacheTimeout` is raised, while the disk goes on; None waits.
        Raises `TypeError` or `ValueError` for what is no time, and `TierUnavailable`, also where
        the disk has less room than must stay free.
        """
        seconds = timeout_of(timeout)
        tier = self.tier
        # On a full disk RocksDB would fail, and then refuse all writes until it is opened anew.
        tier.store.check_space_now()
        if seconds is None:
            tier.rocks.flush_wal()
        else:
            _within(seconds, tier.rocks.flush_wal)
        tier.store.note()

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to make another cache of the same path and arguments."""
        self.tier.store  # noqa: B018 - raises where the cache is closed
        serializer = self._arguments["serializer"]
        if serializer is not None and serializer.signs:
            raise TypeError(
                f"a {type(self).__name__} whose serializer has a secret cannot be copied or "
                f"pickled: make another one of {self.path!r} and pass serializer= anew"
            )
        return _again, (type(self), str(Path.cwd() / self.path), self._arguments)


def _again(kind: Callable[..., Any], path: str, arguments: dict[str, Any]) -> Any:
    """Make a cache anew."""
    return kind(path, **arguments)


def _within(seconds: float, act: Callable[[], object]) -> None:
    """Run a function in a thread; CacheTimeout where it takes longer."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - raised by the caller
            errors.append(error)

    thread = threading.Thread(target=run, name="frys-flush", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise CacheTimeout(
            f"flush took longer than timeout={seconds} seconds; the disk goes on with it"
        )
    if errors:
        raise errors[0]
