"""The exception family: every error of the package derives from `CacheError`.

Each class also derives from the builtin that fits, so `except ValueError` keeps working.  A miss
is no error of the cache: it is a plain `KeyError`.  What foreign code raises, such as the `__eq__`
of a key, passes unchanged.
"""

from __future__ import annotations

__all__ = [
    "Backpressure",
    "CacheClosed",
    "CacheError",
    "CacheTimeout",
    "ConfigurationError",
    "DeadlockError",
    "IntegrityError",
    "KeyNotStable",
    "KeyTooLarge",
    "SerializationError",
    "TierLockedError",
    "TierUnavailable",
    "ValueTooLarge",
    "WriteError",
    "WriteUnknown",
]


class CacheError(Exception):
    """Base of all errors that the cache itself raises."""


class ConfigurationError(CacheError, ValueError):
    """A cache was asked for that cannot be: the message names the argument and what it may be."""


class _TooLarge(CacheError, ValueError):
    """Something is larger than its limit."""

    _what = "item"

    def __init__(self, size: int, max_size: int) -> None:
        """Say how large it is and how large it may be, both in bytes."""
        super().__init__(size, max_size)
        self.size = size
        self.max_size = max_size

    def __str__(self) -> str:
        return f"{self._what} too large: {self.size} > {self.max_size} bytes"


class KeyTooLarge(_TooLarge):
    """A key is longer than it may be; `.size` and `.max_size` are in bytes."""

    _what = "key"


class ValueTooLarge(_TooLarge):
    """A value is heavier than the cache may hold; `.size` and `.max_size` are in bytes."""

    _what = "value"


class KeyNotStable(CacheError, TypeError):
    """A key has no form that means the same in another process."""


class SerializationError(CacheError, TypeError):
    """A value cannot be stored so that it comes back as it was."""


class IntegrityError(CacheError):
    """Stored data is damaged, forged, or of another format."""


class Unreadable(IntegrityError):
    """A good record that cannot be read here: what is missing is here, not in what is stored.

    Private to the package, which must not delete such a record; others see an IntegrityError.
    """


class TierUnavailable(CacheError, ConnectionError):
    """A tier cannot be reached now."""


class NoSpace(TierUnavailable):
    """A tier takes no more, and what it has can be read.

    Private to the package, which goes on reading there; others see a TierUnavailable.
    """


class TierLockedError(CacheError, RuntimeError):
    """Another process holds the tier."""


class WriteError(CacheError):
    """A write failed in a lower tier; `.failed` maps keys to their exceptions."""

    def __init__(self, message: str, failed: dict[object, BaseException] | None = None) -> None:
        """Say what failed, key by key."""
        super().__init__(message, failed)
        self.failed: dict[object, BaseException] = {} if failed is None else failed

    def __str__(self) -> str:
        return str(self.args[0])


class WriteUnknown(WriteError):
    """A write may or may not have happened."""


class Backpressure(CacheError):
    """Too many writes wait for a slower tier."""


class CacheTimeout(CacheError, TimeoutError):
    """An operation took longer than allowed."""


class DeadlockError(CacheError, RuntimeError):
    """Loads wait for each other in a ring."""


class CacheClosed(CacheError, RuntimeError):
    """The cache has been closed."""
