"""The format of a stored record, the same on disk and in a server.

    byte  0     0xF1: format 1; another format begins with another byte and is refused
    byte  1     flags, see below; one that is not known here is refused
    byte  2     code of the body: 0 bytes, 1 str, 2 scalar, 3 msgpack, 4 pickle, 5 bytearray
    byte  3     0
    bytes 4-11  version of the entry, u64
    bytes 12-19 expiry in milliseconds since 1970, u64; 0 is never: the hard end
    EXTENSION:  u16 length of the area, then triples of u8 tag, u8 length, and that many bytes
    SIGNED:     16 bytes, the keyed BLAKE2b of all the rest, of the key and of the namespace
    then the payload: the body, or if COMPRESSED
                u32 id of the dictionary (0: none), u32 size of the body, one zstd frame

All numbers are big endian.  Version and expiry stand at fixed offsets so that a tier decides about
a record from its first 20 bytes, without a codec.  The extension area is how the format grows: a
reader skips the tags that it does not know, so what an old reader may overlook becomes a tag, and
what it must not overlook becomes a flag, which it refuses.  The tags that have a meaning:

    tag   1     fresh until: u64 milliseconds since 1970, after which the value is stale; not 0
    tag   2     load time: u32 milliseconds that it took to load the value; 0, or no tag: unknown

Two ends, because who keeps a record and who serves it ask different things.  A tier keeps and
sweeps by the hard end, whatever it knows of staleness.  `decode` gives the fresh end for the
expiry, so that whoever knows nothing of staleness takes a stale record for an expired one; it
never lies behind the hard end.  One that is stale is served only by who asks `ends`.  Cost: 12
bytes and 6 for the load time, in those records alone.  Not chosen: the fresh end in the fixed
part and the hard one in a tag, for which tiers would have to read the area.

There is no checksum: RocksDB and TCP have theirs, and a signature is stronger than both.  A head of
variable-length numbers would save about 8 bytes of 20, and every reader would have to parse it to
find the expiry.

The head is packed and read by `frys_cache._core`; here are only the names of its parts.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

__all__ = [
    "COMPRESSED",
    "EXTENSION",
    "FRESH",
    "HEAD_SIZE",
    "LOAD",
    "NEGATIVE",
    "PACKED",
    "PICKLE",
    "SIGNED",
    "TOMBSTONE",
]

NEGATIVE: Final = 1
"""The source has no value for this key; the payload is empty."""
TOMBSTONE: Final = 2
"""The entry was deleted at this version; the payload is empty."""
SIGNED: Final = 4
"""A signature comes before the payload."""
EXTENSION: Final = 8
"""An extension area follows the fixed part of the head."""
COMPRESSED: Final = 16
"""The payload is a zstd frame behind the id of its dictionary and the size of the body."""

FRESH: Final = b"\x01\x08"
"""Tag and length of the moment at which a value becomes stale."""
LOAD: Final = b"\x02\x04"
"""Tag and length of the time that loading took."""

HEAD_SIZE: Final = 20
"""Bytes of a head without extensions."""
PICKLE: Final = 4
"""The code of a body that is a pickle; the other codes are those of values.py."""
PACKED: Final = Struct(">II")
"""Id of the dictionary and size of the body, before a frame."""
