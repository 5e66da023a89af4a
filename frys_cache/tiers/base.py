"""What a tier below memory is: bytes in, bytes out, batch first.

A tier stores records under keys and knows nothing of values: a record is whatever the codec made,
and all that a tier reads of it are the two numbers in its head, the version and the expiry.  One
key has calls of its own beside the batches, since it is what nearly every call is about.
Not chosen: tiers that serialize.  A record that is copied from tier to tier as bytes is neither
decoded nor given a longer life on its way.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Protocol

__all__ = ["HEAD_SIZE", "Tier", "after", "head_of", "traces_of", "version_of"]

HEAD_SIZE = 20
_numbers = struct.Struct(">QQ").unpack_from


class Tier(Protocol):
    """A place below memory that keeps records: on disk, or in another process.

    Every method may be called from any thread.  What a tier raises is one of `TierUnavailable`
    (it cannot be reached, or has no room), `IntegrityError` (what it holds is damaged),
    `CacheClosed`, and `TierLockedError` when it is opened.
    """

    @property
    def name(self) -> str:
        """Return what the tier is called in statistics: `"persistent"`."""
        ...

    def on(self, face: Any) -> Any:
        """Return the tier to use under a face: itself, if its calls never wait for long.

        Under a face that must not block, a call of what is returned may give an awaitable of its
        answer instead.
        """
        ...

    def read_one(self, key: bytes) -> bytes | None:
        """Return the live record of one key, or None."""
        ...

    def read(self, keys: list[bytes]) -> list[bytes | None]:
        """Return the records as stored, in the order of the keys; None: absent or expired."""
        ...

    def put_one(self, key: bytes, record: bytes, version: int, expires_ms: int) -> bool:
        """Store one record, whose version and expiry the caller knows; False: refused as late.

        A version that is drawn after the refusal, of the clock of the tier, is not late.
        """
        ...

    def write(self, records: list[tuple[bytes, bytes]]) -> list[bytes]:
        """Store (key, record) pairs; an older version never replaces a newer one.

        Returns the keys whose record was refused as late: older than what is there or was dropped.
        """
        ...

    def drop(self, keys: list[bytes], version: int = 0) -> list[bool]:
        """Remove keys and return, for each, whether a live record was there.

        With a version, a write of that version or an older one that comes later in this process
        does not bring the key back, and a record of a newer version stays.  Without one, whatever
        is there goes, and no version that was drawn before brings it back.
        """
        ...

    def swap(
        self, key: bytes, old: bytes | None, new: bytes | None, version: int, expires_ms: int
    ) -> bool:
        """Replace exactly this live record (None: none) in one step; tell whether it was there.

        With None for `new` the key is dropped, at a version that is drawn here; else version and
        expires_ms are those of `new`.
        """
        ...

    def clear(self, start: bytes, stop: bytes) -> None:
        """Remove all keys from `start` to before `stop`; what was begun before comes late."""
        ...

    def scan(self, prefix: bytes = b"") -> Iterator[bytes]:
        """Yield the live keys that begin with a prefix, in order.

        Weakly consistent: each key that is there from the start to the end is yielded once, what
        comes or goes meanwhile may be.  IntegrityError at a damaged block, after what could be
        read.
        """
        ...

    def close(self) -> None:
        """Give back what the tier holds.  A second time, nothing happens."""
        ...


def head_of(record: bytes) -> tuple[int, int]:
    """Return the version and the expiry of a record, in milliseconds since 1970; 0: never.

    (0, 0) for what is too short to be a record: it is for the codec to refuse.
    """
    try:
        return _numbers(record, 4)
    except struct.error:
        return 0, 0


def version_of(record: bytes) -> bytes:
    """Return the 8 bytes of the version of a record; zeros for what is too short to be one."""
    return record[4:12].ljust(8, b"\0")


def traces_of(record: bytes) -> tuple[bytes, int, int]:
    """Return what a record has left elsewhere: bytes of its version, its size, its expiry."""
    return version_of(record), len(record), head_of(record)[1]


def after(prefix: bytes) -> bytes | None:
    r"""Return the first bytes behind all that begin with a prefix; None: there are none.

    >>> after(b"a"), after(b"a\xff"), after(b"")
    (b'b', b'b', None)
    """
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None
