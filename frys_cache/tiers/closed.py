"""What stands where a tier or a chain was, once it is closed: whatever is asked of it, it raises.

A null object, so that no call asks first whether the cache is still open.
"""

from __future__ import annotations

from typing import Final, NoReturn

from frys_cache.errors import CacheClosed

__all__ = ["CLOSED"]


class _Closed:
    """Refuse every use; the interpreter's own questions get their usual answer."""

    __slots__ = ()

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise CacheClosed("the cache has been closed")

    def refuse(self, *_: object) -> NoReturn:
        """Raise CacheClosed, in the place of any function."""
        raise CacheClosed("the cache has been closed")


CLOSED: Final = _Closed()
