"""What memory alone has, where the tier below gets only what memory evicts.

A value is held with the version it was stored with.  Its eviction is told late, when the key may
have been stored or removed again; so it is written below under that version, and only if it is the
very value that was stored last.  Cost: 200 bytes per entry of memory, and nothing where the tier
gets everything at once.
Not chosen: a version drawn at the eviction, which would bring back what was removed before it.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Held"]


class Held:
    """Codes of keys, each with a version and a value.  False when there are none.

    Safe from any thread: of two that store one key at once the tier takes the newer version.

    >>> held, value = Held(), object()
    >>> held.add(b"key", 5, value)
    >>> held.version_of(b"key", value)
    5
    """

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[bytes, tuple[int, Any]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, code: bytes, version: int, value: Any) -> None:
        """Hold a value, unless a newer one is held."""
        before = self._entries.get(code)
        if before is None or before[0] < version:
            self._entries[code] = version, value

    def version_of(self, code: bytes, value: Any) -> int | None:
        """Return the version of this very value, or None: another is held, or none."""
        held = self._entries.get(code)
        return held[0] if held is not None and held[1] is value else None

    def forget(self, code: bytes, version: int | None = None) -> None:
        """Hold nothing for a key; with a version, nothing that is older or of it."""
        held = self._entries.get(code)
        if held is not None and (version is None or held[0] <= version):
            self._entries.pop(code, None)

    def clear(self) -> None:
        """Hold nothing."""
        self._entries.clear()
