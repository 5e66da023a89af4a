"""`PersistentCache`: a mapping on disk that keeps what it was given when the process ends.

A codec in front of the disk tier.  Of a warm get of 1 KiB, RocksDB and zstd take a third each, and
the Python of this file and the codec the rest.  So `get` and `put` are straight lines: no layer, no
lock of ours around a read, no check whether the cache is closed.  `close` puts in the place of the
tier an object whose every attribute raises.

What reads and then writes, as `add` or `incr`, is in changes.py.

A record that cannot be decoded is counted, removed, and a miss.
Not chosen: a mapping that raises for damage.  A cache forgets; it does not pass on its troubles.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, ValuesView
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, Self, TypeVar, cast

from frys_cache.codec.compression import Compressor, check_level
from frys_cache.codec.entry import Codec
from frys_cache.codec.pickles import Pickle
from frys_cache.errors import (
    CacheError,
    ConfigurationError,
    IntegrityError,
    Unreadable,
)
from frys_cache.tiers.admission import admission_named
from frys_cache.tiers.arguments import (
    Ttl,
    check_bool,
    check_bytes,
    check_choice,
    milliseconds,
    pairs,
    shown,
)
from frys_cache.tiers.base import after
from frys_cache.tiers.changes import Changes, has_value
from frys_cache.tiers.closed import CLOSED
from frys_cache.tiers.disk import DiskTier
from frys_cache.tiers.handle import translate
from frys_cache.tiers.shared import acquire, compressor_of, release
from frys_cache.tiers.whole import Whole
from frys_cache.types import DEFAULT, MISSING, TierStats

__all__ = ["DiskStats", "PersistentCache"]

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class DiskStats(TierStats):
    """What a persistent tier has done since it was opened, and what it holds now."""

    size_on_disk: int = 0
    """Bytes of all files of the database, of all namespaces."""
    evictions: int = 0
    """Entries that the bound pushed out."""
    expirations: int = 0
    """Entries removed because their time was over."""
    corrupt: int = 0
    """Records that could not be read, each a miss."""


class PersistentCache(Whole, Changes[K, V]):
    """A mapping on disk: a RocksDB database in a directory.

    path: the directory; made if it is not there.  ttl: seconds (or a timedelta) that an entry lives
    after it was stored.  compression, compression_level: zstd, 1 to 22.  max_size_bytes: the bound
    of keys and records, of all namespaces of the path.  serializer: None for the plain types, or
    `Pickle`.  namespace: entries of different namespaces never meet.  on_locked: what to do where
    another process has the path: "raise" `TierLockedError`, "memory-only" to find and keep nothing
    (`alone` is True then; each `incr` begins anew), or "secondary" to read only.  on_corrupt:
    "quarantine" puts a damaged database aside (`quarantined` says where, else it is None) and
    starts anew, "raise" raises `IntegrityError`.  admission: "always", "second-hit" or "on-evict".
    min_free_bytes: below so much room on the disk nothing is written.  max_key_size,
    max_value_size: in bytes, as encoded.  warm_on_open: fill the memory of a `FrysCache` that is
    made with this tier, the newest entries first; a callable is told `(done, total)` meanwhile.

    Iteration is in the order of the encoded keys and weakly consistent; `len` counts.
    Safe from any thread.  Raises `ConfigurationError`, `TierLockedError`, `TierUnavailable` and,
    after `close`, `CacheClosed`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, PersistentCache(folder + "/cache") as cache:
    ...     cache["user:1"] = {"name": "Ada"}
    ...     cache["user:1"]
    {'name': 'Ada'}
    """

    __slots__ = (
        "__weakref__",
        "_admits",
        "_arguments",
        "_decode",
        "_encode",
        "_key",
        "_released",
        "_ttl_ms",
        "_version",
        "admission",
        "closed",
        "codec",
        "corrupt",
        "hits",
        "misses",
        "path",
        "quarantined",
        "tier",
        "ttl",
        "warm_on_open",
    )

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        ttl: float | timedelta | None = None,
        compression: bool = True,
        compression_level: int = 3,
        max_size_bytes: int | None = None,
        serializer: Pickle | None = None,
        namespace: str = "default",
        on_locked: Literal["raise", "memory-only", "secondary"] = "raise",
        on_corrupt: Literal["quarantine", "raise"] = "quarantine",
        admission: Literal["always", "second-hit", "on-evict"] = "always",
        min_free_bytes: int | None = None,
        warm_on_open: bool | Callable[[int, int], object] = False,
        max_key_size: int = 64 * 1024,
        max_value_size: int = 8 * 1024 * 1024,
    ) -> None:
        """Open the database."""
        self.closed = True
        given: object = os.fspath(path) if isinstance(path, os.PathLike) else path
        if not isinstance(given, str):
            raise TypeError(f"path must be a str or a path of str, not {shown(given)}")
        self.path = given
        if serializer is not None and not isinstance(serializer, Pickle):
            raise TypeError(f"serializer must be None or Pickle(...), not {shown(serializer)}")
        if not isinstance(namespace, str):
            raise TypeError(f"namespace must be a str, not {shown(namespace)}")
        check_choice("on_locked", on_locked, ("raise", "memory-only", "secondary"))
        check_choice("on_corrupt", on_corrupt, ("quarantine", "raise"))
        check_bool("compression", compression)
        if not callable(warm_on_open):
            check_bool("warm_on_open", warm_on_open)
        check_bytes("max_size_bytes", max_size_bytes)
        check_bytes("min_free_bytes", min_free_bytes)
        self.ttl = ttl
        self._ttl_ms = milliseconds(ttl, ConfigurationError)
        self.admission = admission_named(admission)
        self._admits = None if admission != "second-hit" else self.admission.admits
        self.warm_on_open = warm_on_open
        # What the codec refuses, it refuses before a file is touched.
        limits: Any = {"max_key_size": max_key_size, "max_value_size": max_value_size}
        Codec(namespace=namespace, serializer=serializer, **limits)
        check_level(compression_level)
        if compression:
            Compressor(compression_level)
        self._arguments = {
            "ttl": ttl,
            "compression": compression,
            "compression_level": compression_level,
            "max_size_bytes": max_size_bytes,
            "serializer": serializer,
            "namespace": namespace,
            "on_locked": on_locked,
            "on_corrupt": on_corrupt,
            "admission": admission,
            "min_free_bytes": min_free_bytes,
            "warm_on_open": warm_on_open,
            **limits,
        }
        self.tier: DiskTier = acquire(
            self.path,
            max_size_bytes=max_size_bytes,
            on_locked=on_locked,
            on_corrupt=on_corrupt,
            min_free_bytes=min_free_bytes,
        )
        try:
            compressor = None
            if compression:
                signs = serializer is not None and serializer.signs
                compressor = compressor_of(self.tier, compression_level, not signs)
            self.codec = Codec(
                namespace=namespace, serializer=serializer, compressor=compressor, **limits
            )
        except BaseException:
            release(self.tier)
            raise
        self.quarantined: str | None = self.tier.store.quarantined
        # Also for what is forgotten, and at the end of the interpreter.
        self._released = weakref.finalize(self, release, self.tier)
        self._key = self.codec.key
        self._encode = self.codec.encode
        self._decode = self.codec.decode
        self._version = self.tier.versions.next
        self.hits = self.misses = self.corrupt = 0
        self.closed = False

    # --- one key ---------------------------------------------------------------------------------

    def get(self, key: K, default: Any = None) -> Any:
        """Return the value of a key, or the default."""
        data = self._key(key)
        tier = self.tier
        try:
            record = tier.fetch(data)
            if record is None:
                self.misses += 1
                return default
            found = self._decode(data, record)
        except Exception as error:  # noqa: BLE001 - RocksDB's are bare, and are sorted there
            self.damaged(data, error)
            self.misses += 1
            return default
        if found is not None:
            value, _, expires = found
            if (not expires or expires > tier.wall()) and value is not MISSING:
                self.hits += 1
                return value
        self.misses += 1
        return default

    def __getitem__(self, key: K) -> V:
        value = self.get(key, MISSING)
        if value is MISSING:
            raise KeyError(key)
        return cast(V, value)

    def peek(self, key: K, default: Any = None) -> Any:
        """Return the value of a key, or the default, and count neither a hit nor a miss."""
        found = self._find(self._key(key))[1]
        return default if found is None else found[0]

    def __contains__(self, key: object) -> bool:
        return self.holds(self._key(key))

    def put(self, key: K, value: V, *, ttl: Ttl = DEFAULT) -> None:
        """Store a value.

        ttl: seconds, a timedelta, None for ever, DEFAULT for the cache's own.  Raises
        `KeyNotStable`, `KeyTooLarge`, `SerializationError`, `ValueTooLarge`, `TierUnavailable`.
        """
        data = self._key(key)
        tier = self.tier
        expires = self._ttl_ms if ttl is DEFAULT else milliseconds(ttl)
        if expires:
            expires += tier.wall()
        version = self._version()
        record = self._encode(data, value, version, expires)
        if not self.admits(data):
            return
        while not tier.put_one(data, record, version, expires):
            version = self._version()
            record = self._encode(data, value, version, expires)

    set = put

    def __setitem__(self, key: K, value: V) -> None:
        self.put(key, value)

    def delete(self, key: K) -> bool:
        """Remove a key; tell whether it was there."""
        return self.tier.drop([self._key(key)])[0]

    def __delitem__(self, key: K) -> None:
        if not self.delete(key):
            raise KeyError(key)

    def popitem(self) -> tuple[K, V]:
        """Remove the first key and return it with its value; KeyError if there is none."""
        for key in self:
            value = self.pop(key, MISSING)
            if value is not MISSING:
                return key, value
        raise KeyError("the cache is empty")

    # --- many keys -------------------------------------------------------------------------------

    def get_many(self, keys: Iterable[K], default: Any = None) -> list[Any]:
        """Return the values of many keys, in their order; the default where there is none."""
        names = list(map(self._key, keys))
        if not names:
            return []
        tier = self.tier
        records = tier.fetch_list(names)
        values = []
        hits = now = 0
        for data, found in zip(names, self.codec.decode_many(names, records), strict=True):
            if found is None:
                values.append(default)
                continue
            if type(found) is tuple:
                value, _, expires = found
                if expires and not now:
                    now = tier.wall()
                if (not expires or expires > now) and value is not MISSING:
                    hits += 1
                    values.append(value)
                    continue
            else:
                self.damaged(data, cast(IntegrityError, found))
            values.append(default)
        self.hits += hits
        self.misses += len(names) - hits
        return values

    def put_many(
        self, items: Mapping[K, V] | Iterable[tuple[K, V]], /, *, ttl: Ttl = DEFAULT
    ) -> None:
        """Store many values in one batch: all of them, or none.

        Raises what `put` raises, and `ValueTooLarge` for a batch that max_size_bytes cannot hold,
        before anything has changed.
        """
        expires = self._expiry(ttl)
        records = []
        values = {}
        for key, value in pairs(items):
            data = self._key(key)
            record = self._make(data, value, expires)[0]
            if self.admits(data):
                records.append((data, record))
                values[data] = value
        while records:
            late = self.tier.write(records)
            records = [(data, self._make(data, values[data], expires)[0]) for data in late]

    def update(self, other: Any = (), /, **more: Any) -> None:
        """Store many values, as `dict.update`."""
        self.put_many([*pairs(other), *cast(Mapping[K, V], more).items()])

    def delete_many(self, keys: Iterable[K]) -> int:
        """Remove many keys; return how many were there."""
        names = list(map(self._key, keys))
        return sum(self.tier.drop(names)) if names else 0

    def clear(self) -> None:
        """Remove all entries of this namespace."""
        prefix = self.codec.prefix(None)
        self.tier.clear(prefix, cast(bytes, after(prefix)))

    # --- walking ---------------------------------------------------------------------------------

    def scan(self, prefix: str | bytes | None = None) -> Iterator[K]:
        """Yield the str or bytes keys that begin with a prefix, in order; None: all keys."""
        # The prefix is judged now, not when the first key is asked for.
        return self._walk(self.codec.prefix(prefix))

    def __iter__(self) -> Iterator[K]:
        return self._walk(self.codec.prefix(None))

    def __len__(self) -> int:
        prefix = self.codec.prefix(None)
        return sum(len(entries) for entries in self._slices(prefix))

    def items(self) -> ItemsView[K, V]:
        """Return a view of the entries; iterated, it is weakly consistent and counts no hit."""
        return _Items(self)

    def values(self) -> ValuesView[V]:
        """Return a view of the values; iterated, it is weakly consistent and counts no hit."""
        return _Values(self)

    def _entries(self) -> Iterator[tuple[K, V]]:
        """Yield keys and values, without those that are damaged."""
        for entries in self._slices(self.codec.prefix(None)):
            names, records = [data for data, _ in entries], [record for _, record in entries]
            for data, found in zip(names, self.codec.decode_many(names, records), strict=True):
                if isinstance(found, tuple) and found[0] is not MISSING:
                    yield self.codec.user_key(data), found[0]
                elif isinstance(found, IntegrityError):
                    self.damaged(data, found)

    def _walk(self, prefix: bytes) -> Iterator[K]:
        for entries in self._slices(prefix):
            for data, _ in entries:
                try:
                    key = self.codec.user_key(data)
                except IntegrityError:
                    self.corrupt += 1
                    continue
                yield key

    def _slices(self, prefix: bytes) -> Iterator[list[tuple[bytes, bytes]]]:
        for entries in self.tier.slices(prefix):
            now = self.tier.wall()
            yield [entry for entry in entries if has_value(entry[1], now)]

    def __repr__(self) -> str:
        state = ", closed" if self.closed else ""
        name = type(self).__name__
        return f"{name}({self.path!r}, namespace={self.codec.namespace!r}{state})"

    # --- the whole -------------------------------------------------------------------------------

    def stats(self) -> DiskStats:
        """Return what was done and is held.

        `entries` and `total_size` are those of all namespaces of the path, and without a bound the
        former is RocksDB's estimate, the latter the size on disk.
        """
        tier = self.tier
        disk = tier.size_on_disk()
        return DiskStats(
            hits=self.hits,
            misses=self.misses,
            entries=tier.entries(),
            total_size=tier.total_size(),
            size_on_disk=disk,
            evictions=tier.evictions,
            expirations=tier.expirations,
            corrupt=self.corrupt,
        )

    def close(self) -> None:
        """Close the database.  A second time, nothing happens."""
        if self.closed:
            return
        self.closed = True
        self.tier = cast(DiskTier, CLOSED)
        self._version = CLOSED.refuse
        self._released()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- parts -----------------------------------------------------------------------------------

    def admits(self, data: bytes) -> bool:
        """Tell whether to store a key; what is stored already is always overwritten."""
        return self._admits is None or self._admits(data) or self.tier.read_one(data) is not None

    def damaged(self, data: bytes, error: BaseException) -> None:
        """Count damage and remove it as well as can be; raise any other error.

        What is good and cannot be read here, as an object of a type that is not registered in this
        process, is only a miss.
        """
        if isinstance(error, (MemoryError, RecursionError)):
            raise error
        error = translate(error)
        if not isinstance(error, IntegrityError):
            raise error
        if isinstance(error, Unreadable):
            return
        self.corrupt += 1
        with suppress(CacheError):
            record = self.tier.read_one(data)
            if record is not None:
                with suppress(IntegrityError):
                    self._decode(data, record)
                    return  # it has been overwritten meanwhile
                self.tier.swap(data, record, None, 0, 0)

    def versions_of(self) -> Iterator[tuple[int, K]]:
        """Yield the version and the key of each entry, in the order of the keys."""
        for entries in self._slices(self.codec.prefix(None)):
            for data, record in entries:
                with suppress(IntegrityError):
                    yield self.codec.expiry(record)[0], self.codec.user_key(data)


class _Items(ItemsView[K, V]):
    """The entries of a cache."""

    _mapping: PersistentCache[K, V]

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return self._mapping._entries()


class _Values(ValuesView[V]):
    """The values of a cache."""

    _mapping: PersistentCache[Any, V]

    def __iter__(self) -> Iterator[V]:
        return (value for _, value in self._mapping._entries())
