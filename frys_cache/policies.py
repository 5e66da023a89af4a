"""Policies as values: what a cache keeps, and how long, said in one object for `policy=`.

Each is immutable, comparable, hashable and picklable, and asks for an eviction policy, a ttl, or
both.  A cache takes them apart when it is made; what may change afterwards is in `cache.policies`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Self

from frys_cache._core import POLICIES, PolicyManager, _check_ttl
from frys_cache.errors import ConfigurationError
from frys_cache.types import DEFAULT, Default, EvictionPolicy, Policy

__all__ = [
    "CompositePolicy",
    "LfuPolicy",
    "LruPolicy",
    "PolicyManager",
    "SizePolicy",
    "TtlPolicy",
]

_Ttl = float | timedelta | None
_Parts = tuple[str | None, float | timedelta | Default | None]


class _Evicting:
    """Ask for an eviction policy and for nothing else."""

    __slots__ = ()

    _name: ClassVar[str]

    def __frys_policy__(self) -> _Parts:
        return self._name, DEFAULT


@dataclass(frozen=True, slots=True)
class LruPolicy(_Evicting):
    """Evict the least recently used: `EvictionPolicy.LRU` as an object.

    >>> from frys_cache import FrysCache
    >>> FrysCache(100, policy=LruPolicy()).policy
    'lru'
    """

    _name = "lru"


@dataclass(frozen=True, slots=True)
class LfuPolicy(_Evicting):
    """Evict the least often used: `EvictionPolicy.LFU` as an object.

    >>> from frys_cache import FrysCache
    >>> FrysCache(100, policy=LfuPolicy()).policy
    'lfu'
    """

    _name = "lfu"


@dataclass(frozen=True, slots=True)
class SizePolicy(_Evicting):
    """Evict what is large, cheap to make again and seldom used: `EvictionPolicy.SIZE` as an object.

    >>> from frys_cache import FrysCache
    >>> FrysCache(max_size_bytes=10_000, policy=SizePolicy()).policy
    'size'
    """

    _name = "size"


@dataclass(frozen=True, slots=True)
class TtlPolicy:
    """Let entries live for a time after they were stored; which are evicted the cache decides.

    ttl: seconds or a timedelta, which becomes seconds; None: for ever.  Raises `ConfigurationError`
    for one that is not finite and above 0, TypeError for another type.

    >>> from frys_cache import FrysCache
    >>> FrysCache(100, policy=TtlPolicy(3600)).policies.ttl
    3600
    """

    ttl: _Ttl = None

    def __post_init__(self) -> None:
        _check_ttl(self.ttl)
        if isinstance(self.ttl, timedelta):
            object.__setattr__(self, "ttl", self.ttl.total_seconds())

    def __frys_policy__(self) -> _Parts:
        return None, self.ttl


@dataclass(frozen=True, slots=True, init=False, repr=False)
class CompositePolicy:
    """Several policies that hold together: at most one that evicts, and one ttl.

    policies: policy objects, `EvictionPolicy` members or their names, in any order.  Raises
    `ConfigurationError` for none, for two that evict or two ttls, and for an unknown name,
    TypeError for what is no policy.

    >>> CompositePolicy(TtlPolicy(60), LfuPolicy()) == CompositePolicy("lfu", TtlPolicy(60))
    True
    """

    eviction: str | None
    """The name of the policy that evicts; None: the cache's own."""
    ttl: float | timedelta | Default | None
    """Seconds; None: for ever; DEFAULT: the cache's own."""

    def __init__(self, *policies: Policy | str) -> None:
        if not policies:
            raise ConfigurationError("CompositePolicy needs at least one policy")
        names: list[str] = []
        ttls: list[float | timedelta | None] = []
        for policy in policies:
            name, ttl = _parts_of(policy)
            if name is not None:
                names.append(name)
            if not isinstance(ttl, Default):
                ttls.append(ttl)
        if len(names) > 1:
            raise ConfigurationError(f"one policy can evict, not {' and '.join(names)}")
        if len(ttls) > 1:
            raise ConfigurationError(f"there can be one ttl, not {' and '.join(map(repr, ttls))}")
        object.__setattr__(self, "eviction", names[0] if names else None)
        object.__setattr__(self, "ttl", ttls[0] if ttls else DEFAULT)

    @classmethod
    def lru_with_ttl(cls, ttl: _Ttl) -> Self:
        """Evict the least recently used, and let entries live for a ttl, as `TtlPolicy` takes it.

        >>> CompositePolicy.lru_with_ttl(1800)
        CompositePolicy('lru', TtlPolicy(ttl=1800))
        """
        return cls(LruPolicy(), TtlPolicy(ttl))

    def __frys_policy__(self) -> _Parts:
        return self.eviction, self.ttl

    def __repr__(self) -> str:
        parts = [] if self.eviction is None else [repr(self.eviction)]
        if not isinstance(self.ttl, Default):
            parts.append(repr(TtlPolicy(self.ttl)))
        return f"{type(self).__name__}({', '.join(parts)})"


def _parts_of(policy: Policy | str) -> _Parts:
    """Return the name and the ttl that one policy asks for."""
    if isinstance(policy, str):
        if policy not in POLICIES:
            known = ", ".join(EvictionPolicy)
            raise ConfigurationError(f"unknown policy {policy!r}; known are {known}")
        return str(policy), DEFAULT
    if not hasattr(type(policy), "__frys_policy__"):
        raise TypeError(f"a policy is an object or a name, not {type(policy).__name__}")
    return policy.__frys_policy__()
