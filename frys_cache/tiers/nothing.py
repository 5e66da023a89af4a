"""What a disk tier stands on where there is no database: nothing is found, nothing is kept.

A null object with the methods of `Rocks`, so that no call asks whether there is a database.
"""

from __future__ import annotations

from collections.abc import Iterable

from frys_cache.errors import TierUnavailable

__all__ = ["NoRocks"]


class NoRocks:
    """Answer as an empty database that forgets what it is given."""

    path = ""

    def get_data(self, key: bytes) -> bytes | None:
        """Find nothing."""
        return None

    def put_data(self, key: bytes, value: bytes) -> None:
        """Keep nothing."""

    def put_journal(self, key: bytes, value: bytes) -> None:
        """Refuse: what is acknowledged must be kept."""
        raise TierUnavailable("this process has no database, so it has no journal")

    def put_journal_all(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Refuse, as for one."""
        self.put_journal(b"", b"")

    def get_data_list(self, keys: list[bytes]) -> list[bytes | None]:
        """Find nothing."""
        return [None] * len(keys)

    def get(self, family: str, key: bytes) -> bytes | None:
        """Find nothing."""
        return None

    def write(self, changes: Iterable[tuple[str, bytes, bytes | None]]) -> None:
        """Keep nothing."""

    def items(
        self,
        family: str,
        start: bytes,
        stop: bytes | None,
        limit: int,
        most_bytes: int = 0,
    ) -> list[tuple[bytes, bytes]]:
        """Find nothing."""
        return []

    def keys(self, family: str, start: bytes, stop: bytes | None, limit: int) -> list[bytes]:
        """Find nothing."""
        return []

    def delete_range(self, family: str, start: bytes, stop: bytes) -> None:
        """Delete nothing."""

    def flush(self) -> None:
        """Have nothing to write."""

    def flush_wal(self) -> None:
        """Have nothing to wait for."""

    def compact(self) -> None:
        """Have nothing to rewrite."""

    def checkpoint(self, path: str) -> None:
        """Copy nothing."""
        raise TierUnavailable(f"cannot make a snapshot at {path!r}: this process has no database")

    def estimate(self, family: str = "data") -> int:
        """Return 0."""
        return 0

    def live_bytes(self) -> int:
        """Return 0."""
        return 0
