"""Keys, values and their heads put together: what a tier stores under which bytes.

A record is built in this order: encode the value, check its size, compress, sign.  It is read in
the reverse order, so that nothing is decompressed whose signature is wrong, nothing is decoded
whose size is wrong, and nothing is unpickled that was not signed.  Whatever bytes come, the answer
is a value, None or IntegrityError.

Cost: 20 bytes an entry, 8 more if compressed, 16 if signed, and the namespace in each key.  A
namespace is a prefix and not a hash, so that its keys can be listed; its length comes first, so
that none is the beginning of another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from frys_cache._core import KeyEncoder, pack_head, read_ends, read_head, split_record
from frys_cache.codec.compression import Compressor
from frys_cache.codec.keys import decode_key, encode_key, encode_prefix
from frys_cache.codec.pickles import SIGNATURE_SIZE, Pickle
from frys_cache.codec.record import (
    COMPRESSED,
    FRESH,
    HEAD_SIZE,
    LOAD,
    NEGATIVE,
    PACKED,
    PICKLE,
    SIGNED,
    TOMBSTONE,
)
from frys_cache.codec.values import decode_value, encode_value
from frys_cache.errors import ConfigurationError, IntegrityError, ValueTooLarge
from frys_cache.types import MISSING

__all__ = ["Codec"]

NOTHING_IN = NEGATIVE | TOMBSTONE | COMPRESSED
SIZE_MAX = (1 << 32) - 1  # a record has a u32 for it
LOAD_MAX = (1 << 32) - 1  # and for the load time: 49 days


class Codec:
    """Turn keys and values into the bytes that a tier stores, and back.

    namespace: a str of 1 to 255 bytes of utf-8; entries of different namespaces never meet.
    serializer: None for exact types only, or `Pickle`.  compressor: None or a `Compressor`.
    max_key_size, max_value_size: bytes of an encoded key without its namespace, and of an encoded
    value before compression.

    Thread-safe.  Raises ConfigurationError, and TypeError for arguments of other types.

    >>> codec = Codec(namespace="users")
    >>> record = codec.encode(codec.key("ada"), b"1815", version=1, expires_ms=0)
    >>> codec.decode(codec.key("ada"), record)
    (b'1815', 1, 0)
    """

    __slots__ = (
        "_compressor",
        "_max_key_size",
        "_max_value_size",
        "_name",
        "_prefix",
        "_serializer",
        "_signed",
        "key",
    )

    key: Callable[[object], bytes]
    """Return the bytes of a key; KeyNotStable, KeyTooLarge."""

    def __init__(
        self,
        *,
        namespace: str = "default",
        serializer: Pickle | None = None,
        compressor: Compressor | None = None,
        max_key_size: int = 65_536,
        max_value_size: int = 8 << 20,
    ) -> None:
        self._name = name_of(namespace)
        self._prefix = bytes([len(self._name)]) + self._name
        if serializer is not None and not isinstance(serializer, Pickle):
            raise TypeError(
                "serializer must be None, for exact types, or Pickle(...), not "
                f"{type(serializer).__name__}"
            )
        if compressor is not None and not isinstance(compressor, Compressor):
            raise TypeError(
                f"compressor must be None or a Compressor, not {type(compressor).__name__}"
            )
        self._serializer = serializer
        self._compressor = compressor
        self._max_key_size = check_size("max_key_size", max_key_size)
        self._max_value_size = check_size("max_value_size", max_value_size)
        self._signed = SIGNED if serializer is not None and serializer.signs else 0
        self.key = KeyEncoder(self._prefix, self._max_key_size, encode_key).key

    @property
    def is_plain(self) -> bool:
        """Whether records are not signed, and values are of exact types."""
        return self._serializer is None and not self._signed

    @property
    def max_value_size(self) -> int:
        """The bytes that a value may have."""
        return self._max_value_size

    @property
    def namespace(self) -> str:
        """The namespace of all its keys."""
        return self._name.decode()

    def user_key(self, data: bytes) -> Any:
        """Return the key that became these bytes; IntegrityError for bytes that no key becomes."""
        if not data.startswith(self._prefix):
            raise IntegrityError(f"key {data[:40]!r} is not of namespace {self.namespace!r}")
        return decode_key(data[len(self._prefix) :])

    def prefix(self, prefix: str | bytes | None = None) -> bytes:
        """Return how the bytes of all keys begin, or of the str or bytes keys that begin so."""
        return self._prefix if prefix is None else self._prefix + encode_prefix(prefix)

    def tuples(self, first: str) -> bytes:
        """Return how the bytes of all tuples begin whose first item is this str."""
        return self._prefix + encode_key((first,))[:-1]

    def encode(
        self,
        key: bytes,
        value: object,
        version: int,
        expires_ms: int,
        # By keyword, please.  Were they keyword-only, each plain call would take 60 ns more.
        fresh_ms: int = 0,
        load_ms: int = 0,
    ) -> bytes:
        """Return the record of a value under a key, as `key` returned it.

        version: a u64.  expires_ms: milliseconds since 1970, a u64; 0 is never.  fresh_ms: when the
        value becomes stale, likewise; 0: it does not, and load_ms says nothing then.  load_ms: how
        long it took to load it, of which more than a u32 becomes the largest u32; 0: unknown.
        SerializationError, ValueTooLarge; OverflowError for a number that is no u64.
        """
        code, body = self._body(value)
        flags = 0
        if self._compressor is not None:
            packed = self._compressor.compress(body)
            if packed is not None:
                flags = COMPRESSED
                body = PACKED.pack(packed[0], len(body)) + packed[1]
        if not self._signed and not fresh_ms:
            return pack_head(flags, code, version, expires_ms) + body  # a frame less
        more = extension(fresh_ms, load_ms) if fresh_ms else b""
        return self._record(flags, code, key, version, expires_ms, body, more)

    def _body(self, value: object) -> tuple[int, bytes]:
        """Return the code of a value and its bytes, within the limit."""
        serializer = self._serializer
        if serializer is None or type(value) is bytes or type(value) is str:
            code, body = encode_value(value)
        else:
            code, body = PICKLE, serializer.dumps(value)
        if len(body) > self._max_value_size:
            raise ValueTooLarge(len(body), self._max_value_size)
        return code, body

    def encode_plain(self, key: bytes, value: object, version: int, expires_ms: int) -> bytes:
        """Return the record of a value as `encode` does, without compression."""
        code, body = self._body(value)
        if not self._signed:
            return pack_head(0, code, version, expires_ms) + body
        return self._record(0, code, key, version, expires_ms, body)

    def pack(self, key: bytes, record: bytes, version: int) -> bytes:
        """Return the record of `encode`, of another version, for one of `encode_plain`.

        It runs no code of the user.
        """
        _, code, _, expires_ms, at = read_head(record)
        more = record[HEAD_SIZE + 2 : at]
        body = record[at + SIGNATURE_SIZE if self._signed else at :]
        packed = None if self._compressor is None else self._compressor.compress(body)
        if packed is None:
            return self._record(0, code, key, version, expires_ms, body, more)
        body = PACKED.pack(packed[0], len(body)) + packed[1]
        return self._record(COMPRESSED, code, key, version, expires_ms, body, more)

    def negative(self, key: bytes, version: int, expires_ms: int) -> bytes:
        """Return the record that says: the source has no value for this key."""
        return self._record(NEGATIVE, 0, key, version, expires_ms, b"")

    def tombstone(self, key: bytes, version: int, expires_ms: int) -> bytes:
        """Return the record that says: the entry was deleted at this version."""
        return self._record(TOMBSTONE, 0, key, version, expires_ms, b"")

    def decode(self, key: bytes, record: bytes) -> tuple[Any, int, int] | None:
        """Return (value, version, expires_ms) of the record that a key has.

        Where the record says until when it is fresh, expires_ms is that; `ends` gives both.  One
        whose time is over is decoded like any other: the caller has the clock.  The value is
        MISSING for a negative record or a tombstone.  None: it is compressed in a way that cannot
        be undone here, with a dictionary that is not known, or without a compressor; a miss.
        IntegrityError: it is damaged, forged, of another key, larger than max_value_size, or signed
        where this codec does not sign, or the reverse.
        """
        flags, code, version, expires_ms, at, body, size, dictionary = split_record(record)
        if flags & SIGNED != self._signed:
            raise IntegrityError(
                "record is signed, and there is no secret here to check it with"
                if flags & SIGNED
                else "record is not signed, as all records of this cache must be"
            )
        if size > self._max_value_size:
            raise IntegrityError(
                f"value of {size} bytes: at most {self._max_value_size} are allowed here"
            )
        if flags:
            if flags & SIGNED:
                self._check_signature(key, record, at)
            if flags & (NEGATIVE | TOMBSTONE):
                if code or body or flags & NOTHING_IN not in (NEGATIVE, TOMBSTONE):
                    raise IntegrityError("record that says there is no value has one")
                return MISSING, version, expires_ms
            if flags & COMPRESSED:
                if self._compressor is None:
                    return None
                body = self._compressor.decompress(body, dictionary, size, self._max_value_size)
                if body is None:
                    return None
        if code == 0 or (code == 1 and not flags):
            return body, version, expires_ms
        if code != PICKLE:
            return decode_value(code, body), version, expires_ms
        if self._serializer is None:
            raise IntegrityError("record is a pickle, and this cache has no serializer=Pickle(...)")
        return self._serializer.loads(body), version, expires_ms

    def decode_many(
        self, keys: Sequence[bytes], records: Sequence[bytes | None]
    ) -> list[tuple[Any, int, int] | IntegrityError | None]:
        """Decode one record per key: None where there is none, an IntegrityError in its place."""
        if self._compressor is None or self._signed:
            run: list[Any] = [None if record is None else MISSING for record in records]
        else:
            run = self._compressor.unpack_run(list(records), self._max_value_size)
        decode = self.decode
        for at, (key, record, entry) in enumerate(zip(keys, records, run, strict=True)):
            if entry is MISSING:
                try:
                    run[at] = decode(key, cast(bytes, record))
                except IntegrityError as error:
                    # Its traceback would hold this frame, which holds the error.
                    run[at] = error.with_traceback(None)
        return run

    def expiry(self, record: bytes) -> tuple[int, int]:
        """Return (version, expires_ms) from the head alone, unsigned; IntegrityError."""
        return read_head(record)[2:4]

    def ends(self, record: bytes) -> tuple[int, int, int, int]:
        """Return (version, fresh_ms, hard_ms, load_ms) from the head alone, unsigned.

        From fresh_ms on the value is stale, from hard_ms on it is gone; where the record says
        nothing of staleness they are equal.  0 is never, and an unknown load time.  IntegrityError.
        """
        return read_ends(record)

    def _record(
        self,
        flags: int,
        code: int,
        key: bytes,
        version: int,
        expires_ms: int,
        payload: bytes,
        more: bytes = b"",
    ) -> bytes:
        """Return the whole record, signed if this codec signs."""
        head = pack_head(flags | self._signed, code, version, expires_ms, more)
        if not self._signed:
            return head + payload
        assert self._serializer is not None
        return head + self._serializer.sign(self._name, key, head, payload) + payload

    def _check_signature(self, key: bytes, record: bytes, at: int) -> None:
        """Raise IntegrityError if the signature is not of this record under this key."""
        end = at + SIGNATURE_SIZE
        assert self._serializer is not None
        if not self._serializer.is_genuine(
            record[at:end], self._name, key, record[:at], record[end:]
        ):
            raise IntegrityError(
                "signature of the record is wrong: forged, damaged, of another key, or by a "
                "secret that is not in the ring"
            )


def name_of(namespace: str) -> bytes:
    """Return the utf-8 of a namespace, checked."""
    if not isinstance(namespace, str):
        raise TypeError(f"namespace must be a str, not {type(namespace).__name__}")
    try:
        name = namespace.encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"namespace {namespace!r} has no utf-8: {error}") from error
    if not 1 <= len(name) <= 255:
        raise ConfigurationError(f"namespace of {len(name)} bytes of utf-8: must be 1 to 255")
    return name


def extension(fresh_ms: int, load_ms: int) -> bytes:
    """Return the extension area that says when a value becomes stale, and what loading it took.

    OverflowError for a fresh_ms that is no u64 and for a negative load_ms, TypeError for no int.
    """
    area = FRESH + int.to_bytes(fresh_ms, 8, "big")
    return area + LOAD + int.to_bytes(min(load_ms, LOAD_MAX), 4, "big") if load_ms else area


def check_size(what: str, size: object) -> int:
    """Return a limit in bytes, checked."""
    if not isinstance(size, int) or isinstance(size, bool):
        raise TypeError(f"{what} must be an int, not {type(size).__name__}")
    if not 1 <= size <= SIZE_MAX:
        raise ConfigurationError(f"{what} {size}: must be 1 to {SIZE_MAX}")
    return size
