"""How much room a file system must keep: once it is full, RocksDB refuses even to delete.

The reserve is 1 % of the file system or 256 MiB, whichever is more, and 5 % of one that is smaller
than 2 GiB.  Asking costs 2 us, so it is asked once a second or once per 4 MiB, whichever comes
first; between two answers the last one counts.  Not chosen: waiting for the error of a write, after
which a RocksDB stays read-only for seconds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from frys_cache.errors import ConfigurationError, NoSpace
from frys_cache.types import Clock

__all__ = ["ASK_NOW", "MIB", "Reserve"]

MIB: Final = 1024 * 1024
SMALL: Final = 2048 * MIB

# So many bytes written that the file system is asked again.
ASK_NOW: Final = 4 * MIB


def room(path: str) -> tuple[int, int]:
    """Return the bytes that we may still write to the file system of `path`, and its size."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


class Reserve:
    """Refuses writes while the file system has less room than it must keep; for any thread."""

    __slots__ = ("_asked_at", "_clock", "_min_free_bytes", "_path", "_refused", "_room", "_written")

    def __init__(
        self,
        path: str,
        min_free_bytes: int | None = None,
        *,
        clock: Clock = time.monotonic,
        room: Callable[[str], tuple[int, int]] = room,
    ) -> None:
        """Guard the file system that `path` is on; None computes the reserve."""
        if min_free_bytes is not None and (type(min_free_bytes) is not int or min_free_bytes < 0):
            raise ConfigurationError(
                f"min_free_bytes must be None or an int >= 0, not {min_free_bytes!r}"
            )
        self._path = path
        self._min_free_bytes = min_free_bytes
        self._clock = clock
        self._room = room
        self._asked_at: float | None = None
        self._written = 0
        self._refused: str | None = None

    @property
    def min_free_bytes(self) -> int | None:
        """Return what was given."""
        return self._min_free_bytes

    def check(self, written_bytes: int = 0, needed_bytes: int = 0) -> bool:
        """Raise TierUnavailable if a write of so many bytes must not be; return whether it asked.

        needed_bytes: so much must be free in any case.
        Two threads may both ask, or miss each other's bytes: that shifts the next question a bit.
        """
        self._written += written_bytes
        now = self._clock()
        asked_at = self._asked_at
        asks = asked_at is None or self._written >= ASK_NOW or now - asked_at >= 1.0
        if asks:
            self._asked_at = now
            self._written = 0
            self._refused = self._ask(needed_bytes)
        if self._refused is not None:
            raise NoSpace(self._refused)
        return asks

    def _ask(self, needed_bytes: int) -> str | None:
        """Return why there is no room, or None."""
        try:
            free, size = self._room(self._path)
        except OSError as error:
            return f"the file system of {self._path!r} does not answer: {error.strerror}"
        least = self._min_free_bytes
        if least is None:
            least = size // 20 if size < SMALL else max(size // 100, 256 * MIB)
        least = max(least, needed_bytes)
        if free >= least:
            return None
        return (
            f"no space: {free} bytes are free on the file system of {self._path!r}, {least} must "
            "stay free; make room, or give a smaller min_free_bytes"
        )
