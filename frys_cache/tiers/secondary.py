"""The persistent tier beside the process that has it: it reads, and refuses to write.

Before a read it looks for what the owner wrote, at most every 100 ms, and pays 20 ms where there is
something.  Not chosen: to write into memory and show that, which the owner would never have.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

from frys_cache.errors import TierUnavailable
from frys_cache.tiers.disk import DiskTier

__all__ = ["SecondaryTier"]


class SecondaryTier(DiskTier):
    """Read beside the process that writes; see what it wrote 100 ms ago."""

    __slots__ = ()

    def _stand_on(self, rocks: Any) -> None:
        super()._stand_on(rocks)
        if rocks is not None:
            refresh, get = self.store.refresh, self.fetch

            def fetch(key: bytes) -> bytes | None:
                refresh()
                return get(key)

            self.fetch = fetch

    def fetch_list(self, keys: list[bytes]) -> list[bytes | None]:
        """Return the records as stored, expired or not; other threads run meanwhile."""
        self.store.refresh()
        return super().fetch_list(keys)

    def slices(self, prefix: bytes = b"") -> Iterator[list[tuple[bytes, bytes]]]:
        """Yield the live (key, record) pairs in lists."""
        self.store.refresh()
        return super().slices(prefix)

    def put_one(self, key: bytes, record: bytes, version: int, expires_ms: int) -> bool:
        """Refuse."""
        self._refuse()

    def write(self, records: list[tuple[bytes, bytes]]) -> list[bytes]:
        """Refuse."""
        self._refuse()

    def swap(
        self, key: bytes, old: bytes | None, new: bytes | None, version: int, expires_ms: int
    ) -> bool:
        """Refuse."""
        self._refuse()

    def drop(self, keys: list[bytes], version: int = 0) -> list[bool]:
        """Refuse."""
        self._refuse()

    def clear(self, start: bytes, stop: bytes) -> None:
        """Refuse."""
        self._refuse()

    def compact(self) -> None:
        """Refuse."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise TierUnavailable(
            f"{self.store.path!r} is open for reading only: another process has it, and "
            'on_locked="secondary" was asked for'
        )
