"""The straight path of a miss: one tier that is well, and what it has is kept in memory.

It does what `read` in chain/reading.py does where nothing stands in the way, without a coroutine
and its frames; where something does, it leaves all to that.
Cost: 1 us beside the tier's own read and decode, where the coroutine takes 2.5.
"""

cdef enum:
    SHORTEST_MS = 50  # what has less life left is not worth a place in memory


@cython.final
cdef class Descent:
    """What a miss asks, where there is one tier below memory, and nothing but it.

    level: a `Level`.  encode: gives the bytes of a key.  wall: gives the milliseconds since 1970.
    failed: called with these bytes and what a read has raised; gives what is to be answered.
    """
    cdef object level, cache, breaker, encode, wall, failed
    cdef dict doubted

    def __init__(self, level, encode, wall, failed):
        self.level = level
        self.cache = level.cache
        self.breaker = level.breaker
        self.doubted = level.doubted
        self.encode = encode
        self.wall = wall
        self.failed = failed


cdef object ask_below(MemoryCache self, object key):
    """What is below memory for a key, or MISSING; it is kept in memory."""
    if self.descent is None:
        return self._on_miss(key)
    cdef Descent way = <Descent>self.descent
    cdef uint64_t token
    cdef int64_t left = 0
    level = way.level
    if len(way.doubted) > 0 or level.problem is not None or not way.breaker.closed:
        return self._on_miss(key)
    fc_token(self.c, fc_hash(<PyObject *>key), &token)
    code = way.encode(key)
    try:
        record = way.cache.tier.read_one(code)
        entry = None if record is None else level.decode(code, record)
    except Exception as error:
        return way.failed(code, error)
    if entry is None:
        level.misses += 1
        return MISSING
    value, _, ends = entry
    if value is MISSING:
        level.misses += 1
        return MISSING
    if ends:
        left = ends - way.wall()
        if left <= 0:
            level.stale += 1
            return MISSING
    level.hits += 1
    if ends and left < SHORTEST_MS:
        return value
    if self.c.tellers is NULL or not is_telling(self):
        try:
            if fill(self, key, value, left * 1_000_000 if ends else FC_NEVER, token):
                return value
        except ValueTooLarge:
            return value  # below there is room for it
    return self.peek(key, value)  # what memory has got meanwhile is what all others see
