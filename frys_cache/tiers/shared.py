"""One tier per open database, shared by all caches of a path; and what stands in for a database.

Caches of one path differ in their namespace only, so what belongs to the database, its bound,
versions, sweep and dictionaries, must exist once.  The first cache makes the tier, the last one
closes it.  Where there is no database, because another process has it or because this one was
forked, `NoRocks` answers in its place: nothing is found and nothing is kept.

One lock, held while a database is opened or closed.  The collector may release a cache at any
moment, also inside of that lock, so it can be taken again, and counting comes before looking.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Final

from frys_cache.codec.compression import Compressor, name_of
from frys_cache.errors import ConfigurationError, IntegrityError
from frys_cache.tiers.bound import BoundedTier
from frys_cache.tiers.disk import DiskTier
from frys_cache.tiers.secondary import SecondaryTier
from frys_cache.tiers.store import OnCorrupt, OnLocked, open_store
from frys_cache.tiers.sweeper import later
from frys_cache.tiers.versions import WallClock

__all__ = ["acquire", "compressor_of", "release"]

_NEWEST: Final = b"dictionary"
_KEPT: Final = b"dictionary:"
_NAME_SIZE: Final = 4

_lock = threading.RLock()
_tiers: dict[tuple[str, str], DiskTier] = {}


def acquire(
    path: str,
    *,
    max_size_bytes: int | None,
    on_locked: OnLocked,
    on_corrupt: OnCorrupt,
    min_free_bytes: int | None,
    wall: WallClock | None = None,
) -> DiskTier:
    """Return the tier of a path, opened or shared; every one has to be released."""
    with _lock:
        store = open_store(
            path, on_locked=on_locked, on_corrupt=on_corrupt, min_free_bytes=min_free_bytes
        )
        try:
            place = store.path, store.mode
            tier = _tiers.get(place)
            if tier is not None:
                tier.users += 1
                if tier.is_open:
                    _check_same(tier, "max_size_bytes", tier.max_size_bytes, max_size_bytes)
                    kept = tier.store.min_free_bytes
                    _check_same(tier, "min_free_bytes", kept, min_free_bytes)
                    store.close()  # the tier has a share of its own
                    return tier
            if store.mode == "secondary":
                tier = SecondaryTier(store, wall=wall)
            elif max_size_bytes is None or store.rocks is None:
                tier = DiskTier(store, wall=wall)
            else:
                tier = BoundedTier(store, max_size_bytes, wall=wall)
        except BaseException:
            store.close()
            raise
        # A database that is opened anew lends new methods.
        store.on_renewed(tier._stand_on)
        tier.users = 1
        _tiers[place] = tier
        return tier


def _check_same(tier: DiskTier, name: str, kept: int | None, given: int | None) -> None:
    if tier.store.mode != "primary" or kept == given:
        return
    tier.users -= 1
    raise ConfigurationError(
        f"{name} is one for all caches of {tier.store.path!r}, which is open with "
        f"{kept}, not {given}"
    )


def release(tier: DiskTier) -> None:
    """Give a tier back; the last one closes it.

    From a destructor or a handler inside of a tier it is done when the tier is left: who closes a
    tier has the lock here and waits for that of the tier.
    """
    if any(one.is_inside() for one in [tier, *_tiers.values()]):
        later(lambda: release(tier))
        return
    with _lock:
        tier.users -= 1
        if tier.users > 0 or not tier.is_open:
            return
        place = tier.store.path, tier.store.mode
        if _tiers.get(place) is tier:
            del _tiers[place]
        compressors, tier.compressors = tier.compressors, {}
        for compressor in compressors.values():
            compressor.close()
        tier.close()


def compressor_of(tier: DiskTier, level: int, learns: bool = True) -> Compressor:
    """Return the compressor of a database and a level, with the dictionaries it has learned.

    learns: False where records are signed.  A dictionary is in no signature, and with another one
    a genuine frame would unpack to other bytes.
    """
    with _lock:
        found: Compressor | None = tier.compressors.get((level, learns))
        if found is not None:
            return found
        rocks = tier.rocks

        def load(name: int) -> bytes | None:
            return rocks.get("meta", _KEPT + name.to_bytes(4, "big"))

        def keep(name: int, dictionary: bytes) -> None:
            key = _KEPT + name.to_bytes(4, "big")
            rocks.write([("meta", key, dictionary), ("meta", _NEWEST, name.to_bytes(4, "big"))])

        compressor = Compressor(level, load=load, keep=keep, learns=learns)
        newest = rocks.get("meta", _NEWEST)
        if learns and newest is not None and len(newest) == _NAME_SIZE:
            name = int.from_bytes(newest, "big")
            dictionary = load(name)
            # One that is damaged is not used; the next one is learned.
            if dictionary is not None and name_of(dictionary) == name:
                with suppress(IntegrityError):
                    compressor.use(dictionary)
        tier.compressors[level, learns] = compressor
        return compressor


def _forget() -> None:
    """Have no tier in a forked child: those of the parent are detached."""
    global _lock
    _lock = threading.RLock()
    _tiers.clear()


os.register_at_fork(after_in_child=_forget)
