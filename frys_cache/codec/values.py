"""Values as bytes: what comes back is what was put, type by type, or nothing is written.

A cache that answers from memory now and from disk later must not give a tuple first and a list
then.  So a value is stored only if its copy will equal it at every depth, and have the same types:

    None, bool, int of any size, float (every NaN too), complex, str (lone surrogates too), bytes,
    bytearray, Decimal, UUID, date, time, datetime, timedelta, list, tuple, set, frozenset, dict in
    its order, and classes that `register_type` was told of: dataclasses, Structs of msgspec, enums

A time may be naive, or in a `datetime.timezone` or a `zoneinfo.ZoneInfo` that its key finds.
Anything else raises SerializationError, which names the part: subclasses too, as namedtuples, for a
copy would have lost what makes them one; a memoryview, which is a window to something; what is
nested deeper than 200 levels or contains itself; more than a few hundred thousand containers with
next to nothing in them, which would be read into a multiple of their bytes (csrc/fc_msgpack.h).

What is not kept is identity: two references to one list come back as two lists that are equal.

Bytes, str and bytearray are stored as they are, and all else as msgpack with extensions, which
csrc/fc_msgpack.h lists, so that other programs can read it.  Reading runs no code that is read: it
knows the types above, allocates objects of registered classes without calling their `__init__`,
and checks every length before it makes anything of it.  The one thing of a user that runs is the
`__hash__` and `__eq__` of registered objects that are keys or in sets, when they are read and when
they are stored: a set or dict that would not come back equal, for its items were changed since
they came in or are equal to themselves alone, is refused.  Keys that are made to
collide cost quadratic time, as in every dict: sign records that others may write.

Cost: 0.5 to 1 us each way for a dict of nine fields.
Not chosen: pickle, which runs what it reads; msgspec alone, which gives lists for tuples and str
for Decimal; JSON, which has neither.
"""

from __future__ import annotations

from frys_cache._core import decode_value, encode_value

__all__ = ["decode_value", "encode_value"]
