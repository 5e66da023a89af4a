"""Where values come from when no level has them: a loader, a bulk loader, or a backend's `load`.

One object for the three, so that whoever loads does not ask which it is.  Cost: none but the call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from frys_cache.consistency import is_async
from frys_cache.errors import ConfigurationError

__all__ = ["Source", "source_of"]


class Source:
    """What loads values.  `load(key)` returns one or MISSING, `load_many(keys)` a mapping."""

    __slots__ = ("is_async", "load", "load_many")

    def __init__(
        self,
        load: Callable[[Any], Any] | None,
        load_many: Callable[[Iterable[Any]], Mapping[Any, Any]] | None,
    ) -> None:
        self.load = load
        self.load_many = load_many
        self.is_async = is_async(load) or is_async(load_many)


def source_of(loader: Any, loader_many: Any, backend: Any) -> Source | None:
    """Return what loads, or None where nothing does.

    Raises TypeError for a loader that is not callable, and `ConfigurationError` for a loader beside
    a backend, which has its own.
    """
    for name, given in (("loader", loader), ("loader_many", loader_many)):
        if given is not None and not callable(given):
            raise TypeError(f"{name} must be callable, not {type(given).__name__}")
        if given is not None and backend is not None:
            raise ConfigurationError(
                f"{name}= and a backend are given, which loads too: pass one of them"
            )
    if backend is not None:
        return Source(backend.load, getattr(backend, "load_many", None))
    if loader is None and loader_many is None:
        return None
    return Source(loader, loader_many)
