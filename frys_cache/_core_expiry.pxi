"""Time: durations, the clock of the user, taking out what is over."""

cdef extern from "math.h":
    bint isfinite(double x) noexcept

# A cache without a clock of its own reads the system's monotonic one in C, and only where an entry
# has a deadline.  A user's clock is foreign code: it is called once at the start of an operation.


cdef int64_t nanoseconds(object value, str name, bint config) except? -1:
    """A duration, in seconds or as a timedelta, as nanoseconds; never 0."""
    cdef object error = ConfigurationError if config else ValueError
    cdef double seconds
    if type(value) is int or type(value) is float:
        pass
    elif isinstance(value, timedelta):
        value = value.total_seconds()
    elif isinstance(value, bool) or not isinstance(value, (int, float, Real, Decimal)):
        raise TypeError(f"{name} must be seconds, a timedelta or None, "
                        f"not {type(value).__name__}")
    try:
        seconds = float(value)
    except OverflowError:
        raise error(f"{name} must be a finite number of seconds") from None
    if not isfinite(seconds) or seconds <= 0:
        raise error(f"{name} must be a finite number of seconds above 0, not {value!r}; "
                    f"None is for ever")
    if seconds >= 9.2e9:  # 292 years
        return FC_NEVER
    return max(1, <int64_t>(seconds * 1e9 + 0.5))


cdef int64_t span_of(MemoryCache self, object ttl) except? -1:
    """What a call was given as ttl, as nanoseconds, or FC_BY_RULES: ask when the key is known."""
    if ttl is DEFAULT:
        return FC_BY_RULES if fc_has_rules(self.c) else self.c.ttl
    return FC_NEVER if ttl is None else nanoseconds(ttl, "ttl", False)


cdef int64_t read_clock(object clock) except? -1:
    """The time of the user's clock; without one 0."""
    cdef object now
    cdef double seconds
    if clock is None:
        return 0
    now = clock()
    if isinstance(now, bool) or not isinstance(now, (int, float)):
        raise TypeError(f"clock must return seconds, not {type(now).__name__}")
    seconds = now
    if not -9.2e9 < seconds < 9.2e9:
        raise ValueError(f"clock must return seconds within 292 years, not {now!r}")
    return <int64_t>(seconds * 1e9)


cdef int tick(MemoryCache self) except -1:
    """Read the user's clock, before anything is looked at."""
    cdef object clock
    cdef int64_t now
    if self.c.clocked:
        clock = self.clock
        now = read_clock(clock)
        if clock is self.clock:  # else the cache has been configured anew, and the time read
            self.c.now = now
    return 0


cdef int sweep(MemoryCache self) except -1:
    """Take out all that is over, unless readers without the GIL are at work: then nothing."""
    cdef fc_exits few
    cdef fc_exits *out
    tick(self)
    if self.c.store.wheel.count == 0 or self.c.readers is not NULL:
        return 0
    out = enter(self, &few)
    try:
        fc_expire_all(self.c, out)
    finally:
        leave(self, out)
    return 0


cdef Py_ssize_t count_live(MemoryCache self) except -1:
    sweep(self)
    if self.c.store.wheel.count and self.c.readers is not NULL:
        return fc_count_live(self.c)
    return self.c.store.count


cdef bint touch(MemoryCache self, object key, object ttl) except -1:
    cdef fc_exits few
    cdef fc_exits *out
    cdef int done
    cdef int64_t span = span_of(self, ttl)
    cdef Py_hash_t hash = fc_hash(<PyObject *>key)
    tick(self)
    if span == FC_BY_RULES:
        span = span_by_rules(self, <PyObject *>key)
    out = enter(self, &few)
    try:
        done = fc_touch_key(self.c, <PyObject *>key, hash, span, out)
        while done == FC_BUSY:
            await_readers(self)
            done = fc_touch_key(self.c, <PyObject *>key, hash, span, out)
    finally:
        leave(self, out)
    return done


cdef object time_left(MemoryCache self, object key):
    """The seconds that a key has left, None for ever, MISSING when it is absent."""
    cdef int64_t left
    cdef Py_hash_t hash = fc_hash(<PyObject *>key)
    tick(self)
    if fc_time_left(self.c, <PyObject *>key, hash, &left) != FC_HIT:
        return MISSING
    return None if left == FC_NEVER else left / 1e9


cdef object life_of(MemoryCache self, PyObject *key, int64_t span):
    """A span as seconds, or None for ever."""
    if span == FC_BY_RULES:
        span = span_by_rules(self, key)
    elif span == FC_KEEP:
        left = time_left(self, <object>key)
        return None if left is MISSING else left
    return None if span == FC_NEVER else span / 1e9


cdef int64_t span_until(MemoryCache self, object deadline) except? -1:
    """The nanoseconds until a deadline in seconds; one that has passed leaves 1."""
    cdef double seconds
    if deadline is None:
        return FC_NEVER
    if isinstance(deadline, bool) or not isinstance(deadline, (int, float)):
        raise TypeError(f"deadline must be seconds or None, not {type(deadline).__name__}")
    seconds = deadline
    if not isfinite(seconds):
        raise ValueError(f"deadline must be finite, not {deadline!r}")
    tick(self)
    seconds -= fc_now(self.c) / 1e9
    return FC_NEVER if seconds >= 9.2e9 else max(1, <int64_t>(seconds * 1e9 + 0.5))
