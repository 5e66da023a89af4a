"""Loading what is absent: one call per key among all threads, stored unless it was touched.

No frame of Python is on the stack while the function runs, so recursion through it goes as deep as
without: boarding a flight returns before, and landing is called after.  The value is stored before
the flight lands, so that who boards next finds it; a leader looks once more, for it may be the one
that boarded next.
"""

from frys_cache.flight import ABANDONED, ALONE, Flights, board_with_room

cdef extern from "Python.h":
    object call_vector "PyObject_Vectorcall"(PyObject *function, PyObject **args, size_t nargsf,
                                             PyObject *names)


cdef int store_loaded(MemoryCache self, object key, object value, object ttl, uint64_t token,
                      object version) except -1:
    """Keep what was loaded, unless the key was touched meanwhile or it is too heavy to keep."""
    cdef int64_t span = span_of(self, ttl)
    if version is not None:
        self._on_write(key, value, life_of(self, <PyObject *>key, span), version)
    cdef int done = 0
    try:
        done = fill(self, key, value, span, token)
    except ValueTooLarge:
        pass
    if not done and version is not None and self.watch & HOOK_EVICT:
        self._on_evict(key, value, EvictionCause.EVICTED)
    return done


cdef object version_of(MemoryCache self):
    """What a value loaded from now on is written below with, or None: nothing is below."""
    return self._version() if self.watch & HOOK_DECIDE else None


cdef int64_t life_span(MemoryCache self, object key, object ttl) except? -1:
    cdef int64_t span = span_of(self, ttl)
    return span_by_rules(self, <PyObject *>key) if span == FC_BY_RULES else span


cdef object reload(MemoryCache self, Memoized owner, object key, object ttl, object function,
                   tuple args, dict kwargs):
    """Call anew and keep the result in place of what is there, unless the key was touched meanwhile;
    neither is kept if it is too heavy."""
    cdef uint64_t token, epoch = owner.epoch
    cdef fc_change change
    fc_token(self.c, fc_hash(<PyObject *>key), &token)
    version = None if owner.local else version_of(self)
    value = function(*args, **kwargs)
    if owner.epoch == epoch and owner.local and self.watch & HOOK_DECIDE:
        keep(self, key, value, life_span(self, key, ttl), 1.0, token)
    elif owner.epoch == epoch:
        fc_change_init(&change, self.c, <PyObject *>key, fc_hash(<PyObject *>key),
                       <PyObject *>value, FC_PUT)
        change.ttl = span_of(self, ttl)
        change.token = &token
        try:
            put_change(self, <PyObject *>key, <PyObject *>value, &change, FC_PUT, version)
        except ValueTooLarge:
            take(self, key, NULL)
    return value


cdef int detach(MemoryCache self, object key) except -1:
    """Let who asks for a key (MISSING: any) from now on load anew, and not join what is under way."""
    if self.flights is not None:
        self.flights.detach(key)
    return 0


cdef object flights_of(MemoryCache self):
    if self.flights is None:
        made = Flights()
        if self.flights is None:  # no other thread was let in and made them
            self.flights = made
    return self.flights


cdef object load(MemoryCache self, Memoized owner, object key, object ttl, object function,
                 PyObject **args, size_t nargsf, PyObject *names):
    """Return what a call brings for an absent key: one call at a time for it among all threads."""
    cdef uint64_t token, epoch
    cdef PyObject *found
    cdef bint ended = False
    flights = flights_of(self)
    tick(self)
    while True:
        flight, leads = board_with_room(flights, key)
        if leads:
            break
        value = flight.join()
        if value is ALONE:  # it waits for the event loop that this thread runs: load beside it
            flight = None
            break
        if value is not ABANDONED:
            return value
    try:
        fc_token(self.c, fc_hash(<PyObject *>key), &token)
        found = fc_peek(self.c, <PyObject *>key)
        if found is not NULL:  # another flight has landed before this one was boarded
            value = fc_steal(found)
        else:
            value = MISSING
            version = None
            if self.watch & HOOK_MISS and not (owner is not None and owner.local):
                try:
                    value = self._on_miss(key)
                    version = version_of(self)
                except KeyNotStable:
                    if owner is None:
                        raise
                    # Arguments that mean nothing elsewhere: the result is kept in memory alone.
            if value is MISSING:
                epoch = 0 if owner is None else owner.epoch
                value = call_vector(<PyObject *>function, args, nargsf, names)
                if owner is None or owner.epoch == epoch:
                    store_loaded(self, key, value, ttl, token, version)
        if flight is not None:
            flight.land(value)
        ended = True
        return value
    except Exception as error:
        if flight is not None:
            flight.fail(error)
        ended = True
        raise
    finally:
        if not ended and flight is not None:
            flight.abandon()


cdef object get_or_set(MemoryCache self, object key, object factory, object ttl):
    cdef PyObject *found
    if not callable(factory):
        raise TypeError(f"factory must be callable, not {type(factory).__name__}")
    span_of(self, ttl)  # before anything is loaded
    tick(self)
    found = fc_get(self.c, <PyObject *>key)
    if found is not NULL:
        return fc_steal(found)
    return load(self, None, key, ttl, factory, NULL, 0, NULL)
