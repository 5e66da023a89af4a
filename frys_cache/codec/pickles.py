"""Values of any type as pickles, which are code: only what is signed is loaded.

Whoever can write to the store of an unsigned cache runs code in every process that reads it, so a
secret is asked for, and doing without has to be said out loud.  The signature is a keyed BLAKE2b
of 16 bytes over namespace, key, head and payload as stored, each with its length, so that no part
can be moved to another entry or into its neighbour; it is checked in constant time before anything
is decompressed or loaded.  How a record must be signed is decided by this object alone, never by
what the record says.

Cost: 2 us per KiB.  HMAC-SHA256 is slower below 2 KiB.  A ring of secrets is tried in order: an id
of the secret in the record would save a microsecond of the few reads after a rotation, and would
be one more field that a forger chooses.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from hashlib import blake2b
from hmac import compare_digest
from struct import Struct
from typing import Any, SupportsIndex

from frys_cache.errors import ConfigurationError, SerializationError, Unreadable

__all__ = ["SIGNATURE_SIZE", "Pickle"]

SIGNATURE_SIZE = 16
SECRET_MIN = 16
LENGTHS = Struct(">BQQQ")


class Pickle:
    """Serialize values as pickles; for `serializer=`.

    secret: bytes, at least 16, that no other has; or a list or tuple of such: the first signs, all
    are accepted, which is how a secret is changed.  allow_unsigned_pickle: do without one, where
    nobody else can write to the store.

    bytes and str are stored as they are, all else is pickled.  A codec with a secret refuses
    unsigned records, one without refuses signed ones.  Thread-safe.  The repr does not show the
    secret, and an object that has one cannot be copied or pickled.

    Raises ConfigurationError, and TypeError for a secret that is no bytes.

    >>> Pickle(secret=b"0123456789abcdef")
    <Pickle signed, 1 secret>
    """

    __slots__ = ("_signers", "signs")

    signs: bool
    """Whether there is a secret."""

    def __init__(
        self,
        *,
        secret: bytes | Sequence[bytes] | None = None,
        allow_unsigned_pickle: bool = False,
    ) -> None:
        if secret is None and not allow_unsigned_pickle:
            raise ConfigurationError(
                "Pickle needs a secret=, since who can write a pickle runs code in this process; "
                "allow_unsigned_pickle=True does without, where nobody else can write to the store"
            )
        if secret is not None and allow_unsigned_pickle:
            raise ConfigurationError(
                "Pickle takes secret= or allow_unsigned_pickle=True, not both: with a secret, "
                "unsigned pickles are refused"
            )
        self._signers = () if secret is None else tuple(map(signer_of, ring_of(secret)))
        self.signs = secret is not None

    def dumps(self, value: object) -> bytes:
        """Return the pickle of a value; SerializationError, which tells the cause."""
        try:
            return pickle.dumps(value, protocol=5)
        except Exception as error:  # of any kind: __reduce__ is foreign code
            raise SerializationError(
                f"a {type(value).__qualname__} cannot be pickled: {error}"
            ) from error

    def loads(self, data: bytes) -> Any:
        """Return the value of a pickle, once its signature was checked; Unreadable.

        MemoryError and RecursionError pass unchanged: they say nothing of the pickle.
        """
        try:
            return pickle.loads(data)
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # of any kind: pickles call what they like, here as it is now
            raise Unreadable(
                f"the pickle cannot be loaded: {type(error).__name__}: {error}"
            ) from error

    def sign(self, namespace: bytes, key: bytes, head: bytes, payload: bytes) -> bytes:
        """Return the signature of a record, 16 bytes.  Only where there is a secret."""
        return digest(self._signers[0], namespace, key, head, payload)

    def is_genuine(
        self, signature: bytes, namespace: bytes, key: bytes, head: bytes, payload: bytes
    ) -> bool:
        """Return whether any of the secrets made this signature of this record."""
        for signer in self._signers:
            if compare_digest(digest(signer, namespace, key, head, payload), signature):
                return True
        return False

    def __repr__(self) -> str:
        count = len(self._signers)
        state = f"signed, {count} secret{'s'[: count != 1]}" if count else "unsigned"
        return f"<{type(self).__name__} {state}>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        if self.signs:
            raise TypeError(
                "a Pickle with a secret cannot be copied or pickled: the secret would go along; "
                "make another one from the secret"
            )
        return super().__reduce_ex__(protocol)


def ring_of(secret: bytes | Sequence[bytes]) -> Sequence[bytes]:
    """Return the secrets as a list, checked."""
    ring = [secret] if isinstance(secret, bytes) else secret
    if not isinstance(ring, list | tuple) or not all(isinstance(one, bytes) for one in ring):
        raise TypeError("secret must be bytes, or a list or tuple of bytes")
    if not ring:
        raise ConfigurationError("secret is an empty list: the first of its secrets signs")
    if shortest := [one for one in ring if len(one) < SECRET_MIN]:
        raise ConfigurationError(
            f"secret of {len(shortest[0])} bytes: it must have at least {SECRET_MIN}, from "
            "secrets.token_bytes(32) for instance"
        )
    return ring


def signer_of(secret: bytes) -> blake2b:
    """Return the hash object that every signature by this secret starts from."""
    # The key of BLAKE2b has at most 64 bytes, a secret may have more.
    key = blake2b(secret, digest_size=64, person=b"frys-secret").digest()
    return blake2b(digest_size=SIGNATURE_SIZE, key=key, person=b"frys-record-1")


def digest(signer: blake2b, namespace: bytes, key: bytes, head: bytes, payload: bytes) -> bytes:
    """Return the signature of the four parts, none of which can run into the next."""
    mac = signer.copy()
    lengths = LENGTHS.pack(len(namespace), len(key), len(head), len(payload))
    mac.update(b"".join((lengths, namespace, key, head)))
    mac.update(payload)
    return mac.digest()
