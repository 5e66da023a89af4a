"""The model of a cache whose bounds, ttl and rules change while it is at work."""

from dataclasses import replace

from frys_cache.errors import ConfigurationError
from frys_cache.testing import ReferenceCache, _seconds, _weight
from frys_cache.types import DEFAULT


class ManagedReference(ReferenceCache):
    """Behave as a cache does with its `policies`, which here is the cache itself."""

    def __init__(self, max_entries=None, **options):
        super().__init__(max_entries, **options)
        self.by_bytes = options.get("max_size_bytes") is not None
        self.named = {}

    @property
    def policies(self):
        return self

    @property
    def max_entries(self):
        return self._order.max_entries

    @max_entries.setter
    def max_entries(self, bound):
        self.rebound(bound, self.max_size_bytes)

    @property
    def max_size_bytes(self):
        return self._order.max_size

    @max_size_bytes.setter
    def max_size_bytes(self, bound):
        if bound is not None and not self.by_bytes:
            raise ConfigurationError("made without")
        self.rebound(self.max_entries, bound)

    def rebound(self, entries, size):
        if entries is size is None or 0 in (entries, size):
            raise ConfigurationError("no bound")
        with self._operation():
            order = self._order
            while self.is_over(entries, size):
                self._evict(order.victim())
            order.rebound(entries, size)
        self._bounds = (entries, size, *self._bounds[2:])
        self._options |= {"max_entries": entries, "max_size_bytes": size}
        self.maxsize = size if entries is None else entries

    def is_over(self, entries, size):
        if entries is not None and len(self._entries) > entries:
            return True
        return size is not None and _weight(self._entries.values()) > size

    @property
    def ttl(self):
        return self._options["ttl"]

    @ttl.setter
    def ttl(self, ttl):
        self._ttl = _seconds(ttl, ConfigurationError)
        self._options["ttl"] = ttl

    def set_ttl(self, names, ttl):
        self.named[names] = ttl

    def remove(self, names):
        return self.named.pop(names, DEFAULT) is not DEFAULT

    def _end(self, ttl, key=None):
        if ttl is DEFAULT:
            fitting = [
                names
                for names in self.named
                if (names(key) if callable(names) else begins(key, names))
            ]
            fitting.sort(key=lambda names: -1 if callable(names) else len(names))
            if fitting:
                plain = not callable(fitting[-1])
                ttl = self.named[fitting[-1] if plain else fitting[0]]
        return super()._end(ttl, key)

    def stats(self):
        stats = super().stats()
        return replace(stats, total_size=_weight(self._order.line)) if self.by_bytes else stats

    def copy(self):
        lifted = self.by_bytes and self.max_size_bytes is None
        if lifted:
            self._options["max_size_bytes"] = 1
        other = super().copy()
        if lifted:
            self._options["max_size_bytes"] = other._options["max_size_bytes"] = None
            other._order.max_size = None
            other.maxsize = other.max_entries
        other.named = dict(self.named)
        return other


def begins(key, prefix):
    """Tell whether a key is of a prefix's type and begins so."""
    return isinstance(key, type(prefix)) and key.startswith(prefix)
