"""The straight path of a miss: tiers below memory, and nothing but tiers.

It is `read` of chain/reading.py where there is neither a source nor a write that waits nor anything
kept beside memory, without a coroutine and its frames; tests/test_descent.py holds the two against
each other.
Cost: 1 us beside what the tiers and the codec take, where the coroutine takes 2.5.
"""

cdef enum:
    SHORTEST_MS = 50  # what has less life left is not worth a place in memory


@cython.final
cdef class Descent:
    """What a miss asks.

    levels: a tuple of `Level`.  changing: the codes of keys that are being changed.  encode: gives
    the bytes of a key, wall the milliseconds since 1970.  failed: called with a level, a code and
    what a read has raised, gives the fault or None.  hand_up: called with what a level below the
    first one had.  seen: called with a memory, a key, its code and the value that was found for a
    key that is being changed; gives what is to be answered.  strict: whether a fault is an error.
    """
    cdef tuple levels
    cdef dict changing
    cdef object encode, wall, failed, hand_up, seen
    cdef bint strict

    def __init__(self, tuple levels not None, dict changing not None, encode, wall, failed,
                 hand_up, seen, bint strict):
        self.levels = levels
        self.changing = changing
        self.encode = encode
        self.wall = wall
        self.failed = failed
        self.hand_up = hand_up
        self.seen = seen
        self.strict = strict


cdef object ask_below(MemoryCache self, object key):
    """What is below memory for a key, or MISSING; it is kept in memory."""
    if self.descent is None:
        return self._on_miss(key)
    cdef Descent way = <Descent>self.descent
    cdef uint64_t token
    cdef int64_t left = 0
    cdef bint probes
    if len(way.changing) > 0:
        return self._on_miss(key)
    fc_token(self.c, fc_hash(<PyObject *>key), &token)
    code = way.encode(key)
    fault = None
    for level in way.levels:
        breaker = level.breaker
        probes = not breaker.closed
        if level.doubted and code in level.doubts:
            level.misses += 1
            if probes:
                fault = fault or level
            continue
        # The first thing that `admits` does, without its frame.
        if probes and (breaker._steady() < breaker._until or not breaker.admits()):
            fault = fault or level
            continue
        try:
            record = level.cache.tier.read_one(code)
            if probes:
                breaker.succeeded()
                probes = False
            if level.problem is not None:
                level.recovered(False)
            entry = None if record is None else level.decode(code, record)
        except Exception as error:
            fault = way.failed(level, code, error) or fault
            continue
        except BaseException:
            if probes:
                breaker.released()
            raise
        if entry is None:
            level.misses += 1
            continue
        value, _, ends = entry
        if value is MISSING:
            level.misses += 1
            continue
        if ends:
            left = ends - way.wall()
            if left <= 0:
                level.stale += 1
                continue
        level.hits += 1
        if level is not way.levels[0]:
            way.hand_up(level, code, value, record)
        if len(way.changing) > 0 and code in way.changing:
            return way.seen(self, key, code, value)
        if ends and left < SHORTEST_MS:
            return value
        return filled(self, key, value, left * 1_000_000 if ends else FC_NEVER, token)
    if fault is not None and way.strict:
        raise fault if isinstance(fault, BaseException) else fault.resting()
    return MISSING


cdef object filled(MemoryCache self, object key, object value, int64_t span, uint64_t token):
    """Keep what a tier had, and return what is seen of the key: what memory has got meanwhile."""
    if self.c.tellers is NULL or not is_telling(self):
        try:
            if fill(self, key, value, span, token):
                return value
        except ValueTooLarge:
            return value  # below there is room for it
    return self.peek(key, value)
