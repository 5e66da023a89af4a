"""Single operations: what happens around the C function that makes the change."""


cdef extern from "Python.h":
    ctypedef struct PyTypeObject
    PyTypeObject *Py_TYPE(object o) noexcept
    PyObject *_PyType_Lookup(PyTypeObject *type, object name) noexcept


cdef object missed(MemoryCache self, object key):
    """`[]` has found nothing in memory: the hook, then __missing__, then KeyError."""
    cdef PyObject *found
    if self.watch & HOOK_MISS:
        value = ask_below(self, key)
        if value is not MISSING:
            return value
    found = _PyType_Lookup(Py_TYPE(self), "__missing__")  # on the type, as dict does
    if found is NULL:
        raise KeyError(key)
    missing = <object>found
    if hasattr(type(missing), "__get__"):
        missing = type(missing).__get__(missing, self, type(self))
    return missing(key)


cdef object absent(MemoryCache self, object key, object default):
    """`get` has found nothing in memory."""
    if self.watch & HOOK_MISS:
        value = ask_below(self, key)
        if value is not MISSING:
            return value
    return default


cdef int put_value(MemoryCache self, PyObject *key, PyObject *value, fc_mode mode) except -1:
    """A put without options: 1 stored, 0 refused by the mode."""
    cdef fc_change change
    fc_change_init(&change, self.c, key, fc_hash(key), value, mode)
    change.ttl = span_of(self, DEFAULT)
    return put_change(self, key, value, &change, mode)


cdef int put_with(MemoryCache self, object key, object value, object ttl, object cost,
                  fc_mode mode) except -1:
    cdef fc_change change
    cdef int64_t span = span_of(self, ttl)
    cdef double number = 1.0 if cost == 1.0 and type(cost) is float else cost_of(cost)
    fc_change_init(&change, self.c, <PyObject *>key, fc_hash(<PyObject *>key), <PyObject *>value,
                   mode)
    change.ttl = span
    change.incoming.cost = number
    return put_change(self, <PyObject *>key, <PyObject *>value, &change, mode)


cdef int put_versioned(MemoryCache self, object key, object value, object ttl, object cost,
                       object version) except -1:
    """A put that counts only if the key was not touched since `begin` gave this version."""
    cdef uint64_t token, begun
    cdef fc_change change
    if not isinstance(version, int) or not 0 <= version < 1 << 64:
        raise TypeError(f"version must be what begin(key) returned, not {version!r}")
    if self.watch & HOOK_DECIDE:
        self._on_decide("put_versioned", key, value, ttl, cost, version)
        return 0
    begun = version
    fc_token(self.c, fc_hash(<PyObject *>key), &token)
    if token != begun:
        return 0
    fc_change_init(&change, self.c, <PyObject *>key, fc_hash(<PyObject *>key), <PyObject *>value,
                   FC_PUT)
    change.ttl = span_of(self, ttl)
    change.incoming.cost = cost_of(cost)
    change.token = &begun
    return put_change(self, <PyObject *>key, <PyObject *>value, &change, FC_PUT)


cdef int put_change(MemoryCache self, PyObject *key, PyObject *value, fc_change *change,
                    fc_mode mode, object version=None) except -1:
    """Write below, then here.  Where reads come from below too, whoever was faster meanwhile has
    made this value worth nothing here: the key is removed, and the next read asks below."""
    cdef int done
    tick(self)
    if mode != FC_PUT and (self.watch & HOOK_WRITE or self.c.store.weighed
                           or self.predicates is not None):
        if fc_contains(self.c, key) != (mode == FC_PUT_OLD):
            return 0  # and no hook, sizeof or predicate hears of it
    if change.ttl == FC_BY_RULES:
        change.ttl = span_by_rules(self, key)
    if self.c.store.weighed:
        change.incoming.weight = weigh(self, key, value)
    if self.watch & HOOK_WRITE:
        return put_through(self, key, value, change, version)
    done = commit(self, change)
    if done == FC_HEAVY:
        raise ValueTooLarge(change.incoming.weight, self.c.store.max_weight)
    return done


cdef int put_through(MemoryCache self, PyObject *key, PyObject *value, fc_change *change,
                     object version) except -1:
    """The same where a hook writes below first, and may say what to call when that is done here."""
    cdef uint64_t token
    cdef uint32_t place = 0
    cdef bint written = self.c.chained
    cdef bint counted = written and change.token is NULL
    cdef int done
    ended = None
    if counted:
        fc_writing_begin(self.c, &place, <Py_hash_t>change.incoming.hash, &token)
        change.token = &token
    try:
        life = life_of(self, key, change.ttl)
        if version is None and self.deposit is not None and deposited(self, key, value, life):
            life = None
        else:
            life = self._on_write(<object>key, <object>value, life, version)
        if type(life) is tuple:
            life, ended = life
        elif counted:
            fc_writing_crosses(self.c, place)
        if life is not None:  # it is to be looked at below before its time is over
            change.ttl = nanoseconds(life, "life", False)
        written = self.c.chained
        done = commit(self, change)
        if written and (done == FC_HEAVY or done == 0):
            pass_by(self, <object>key, <object>value)
            done = 1
        elif written:  # what is being loaded may be older
            detach(self, <object>key)
    finally:
        if counted:
            fc_writing_end(self.c, place)
        if ended is not None:
            ended()
    if done == FC_HEAVY:
        raise ValueTooLarge(change.incoming.weight, self.c.store.max_weight)
    return done


cdef bint deposited(MemoryCache self, PyObject *key, PyObject *value, object life) except -1:
    """Whether a write waits to be sent now."""
    cdef Deposit way = <Deposit>self.deposit
    return way.on and way.put(<object>key, <object>value, life)


cdef int keep(MemoryCache self, object key, object value, int64_t span, double cost,
              uint64_t token) except -1:
    """Take over what has been written below, or remove what is there."""
    cdef fc_change change
    cdef int done
    tick(self)
    fc_change_init(&change, self.c, <PyObject *>key, fc_hash(<PyObject *>key), <PyObject *>value,
                   FC_PUT)
    change.ttl = span
    change.token = &token
    change.incoming.cost = cost
    try:
        if self.c.store.weighed:
            change.incoming.weight = weigh(self, <PyObject *>key, <PyObject *>value)
        done = commit(self, &change)
    except BaseException:  # below it is stored: what is here must not outlive that
        take(self, key, NULL)
        raise
    if done == FC_HEAVY or done == 0:
        pass_by(self, key, value)
    else:
        detach(self, key)
    return 0


cdef int swap(MemoryCache self, object key, object old, object value, int64_t span) except -1:
    """Compare and swap; a value too heavy for memory is not there afterwards."""
    cdef fc_change change
    cdef int done
    tick(self)
    fc_change_init(&change, self.c, <PyObject *>key, fc_hash(<PyObject *>key), <PyObject *>value,
                   FC_PUT_NEW if old is MISSING else FC_PUT_OLD)
    change.ttl = span
    if old is not MISSING:
        change.expected = <PyObject *>old
    if self.c.store.weighed:
        change.incoming.weight = weigh(self, <PyObject *>key, <PyObject *>value)
    done = commit(self, &change)
    if done == FC_HEAVY:
        raise ValueTooLarge(change.incoming.weight, self.c.store.max_weight)
    return done


cdef int commit(MemoryCache self, fc_change *change) except -1:
    """Make a put, as fc_put, and tell and release what leaves for it."""
    cdef fc_exits few
    cdef fc_exits *out = &few
    cdef int done
    if self.watch:
        out = enter(self, &few)
    else:
        fc_exits_init(&few, False)
    try:
        done = fc_put(self.c, change, out)
        while done == FC_BUSY:
            await_readers(self)
            done = fc_put(self.c, change, out)
    finally:
        leave(self, out)
    return done


cdef int pass_by(MemoryCache self, object key, object value) except -1:
    """Have neither the old value here nor the new one, which is below, or is handed down now."""
    take(self, key, NULL)
    if self.watch & HOOK_EVICT:
        self._on_evict(key, value, EvictionCause.EVICTED)
    return 0


cdef int remove(MemoryCache self, object key, PyObject **value) except -1:
    """1 removed, 0 absent; a new reference to the value for whoever wants it, who is told of memory
    alone."""
    below = None
    if self.watch & HOOK_REMOVE:
        fc_hash(<PyObject *>key)  # an unhashable key reaches no hook
        below = self._on_remove([key])
    return take(self, key, value) or (value is NULL and below is not None and below[0])


cdef int take(MemoryCache self, object key, PyObject **value) except -1:
    """The same without the hook."""
    cdef fc_exits few
    cdef fc_exits *out
    cdef Py_hash_t hash = fc_hash(<PyObject *>key)
    cdef int done
    tick(self)
    out = enter(self, &few)
    try:
        done = fc_remove(self.c, <PyObject *>key, hash, out)
        while done == FC_BUSY:
            await_readers(self)
            done = fc_remove(self.c, <PyObject *>key, hash, out)
        if done and value is not NULL:
            value[0] = out.items[out.count - 1].value
            Py_INCREF(value[0])
    finally:
        leave(self, out)
    detach(self, key)
    return done


cdef object pop_victim(MemoryCache self):
    cdef fc_exits few
    cdef fc_exits *out
    cdef int done
    sweep(self)
    if self.watch & HOOK_REMOVE:
        return pop_hooked(self)
    out = enter(self, &few)
    try:
        done = fc_pop(self.c, out)
        while done == FC_BUSY:
            await_readers(self)
            done = fc_pop(self.c, out)
        if not done:
            raise KeyError(f"popitem(): {type(self).__name__} is empty")
        return (<object>out.items[out.count - 1].key, <object>out.items[out.count - 1].value)
    finally:
        leave(self, out)


cdef object pop_hooked(MemoryCache self):
    """The hook runs before memory changes, so the victim is looked at first and removed by name."""
    cdef PyObject *victim = fc_victim_key(self.c)
    cdef PyObject *value = NULL
    while victim is not NULL:
        key = fc_steal(victim)
        if self.watch & HOOK_DECIDE:
            found = self._on_decide("pop", key)
            if found is not MISSING:
                return key, found
        elif remove(self, key, &value):
            return key, fc_steal(value)
        victim = fc_victim_key(self.c)
    raise KeyError(f"popitem(): {type(self).__name__} is empty")


cdef int clear(MemoryCache self) except -1:
    if self.watch & HOOK_REMOVE:
        self._on_remove(None)
    return empty(self)


cdef int empty(MemoryCache self) except -1:
    """Remove everything, without the hook."""
    cdef fc_exits few
    cdef fc_exits *out
    cdef fc_store old
    cdef int done
    sweep(self)
    out = enter(self, &few)
    try:
        done = fc_clear(self.c, &old, out)
        while done == FC_BUSY:
            await_readers(self)
            done = fc_clear(self.c, &old, out)
        fc_record_forget(self.c, &old)
        fc_release_store(&old)
    finally:
        leave(self, out)
    detach(self, MISSING)
    return 0


cdef int fill(MemoryCache self, object key, object value, int64_t span, uint64_t token) except -1:
    cdef fc_exits few
    cdef fc_exits *out
    cdef fc_change change
    cdef int done
    fc_change_init(&change, self.c, <PyObject *>key, fc_hash(<PyObject *>key), <PyObject *>value,
                   FC_PUT_NEW)
    tick(self)
    change.ttl = span_by_rules(self, <PyObject *>key) if span == FC_BY_RULES else span
    if self.c.store.weighed:
        change.incoming.weight = weigh(self, <PyObject *>key, <PyObject *>value)
    out = enter(self, &few)
    try:
        done = fc_fill(self.c, &change, token, out)
        while done == FC_BUSY:
            await_readers(self)
            done = fc_fill(self.c, &change, token, out)
    finally:
        leave(self, out)
    if done == FC_HEAVY:
        raise ValueTooLarge(change.incoming.weight, self.c.store.max_weight)
    return done


cdef int fill_over(MemoryCache self, object key, object value, int64_t span,
                   uint64_t token) except -1:
    """As fill, but in the place of what is there."""
    cdef fc_change change
    cdef int done
    fc_change_init(&change, self.c, <PyObject *>key, fc_hash(<PyObject *>key), <PyObject *>value,
                   FC_PUT)
    tick(self)
    change.ttl = span
    change.token = &token
    if self.c.store.weighed:
        change.incoming.weight = weigh(self, <PyObject *>key, <PyObject *>value)
    done = commit(self, &change)
    if done == FC_HEAVY:
        raise ValueTooLarge(change.incoming.weight, self.c.store.max_weight)
    return done


cdef object increment(MemoryCache self, object key, object delta):
    """Compare and swap: no int arithmetic runs foreign code, but finding the key may."""
    cdef fc_change change
    cdef PyObject *found
    cdef int done = 0
    cdef Py_hash_t hash = fc_hash(<PyObject *>key)
    if not isinstance(delta, int):
        raise TypeError(f"incr adds an int, not {type(delta).__name__}")
    while not done:
        tick(self)
        found = fc_peek(self.c, <PyObject *>key)
        if found is NULL:
            new = int.__add__(0, delta)
            done = put_value(self, <PyObject *>key, <PyObject *>new, FC_PUT_NEW)
            continue
        old = fc_steal(found)
        if not isinstance(old, int):
            raise TypeError(f"incr needs an int, and the value of {key!r} is "
                            f"of type {type(old).__name__}")
        new = int.__add__(old, delta)
        fc_change_init(&change, self.c, <PyObject *>key, hash, <PyObject *>new, FC_PUT_OLD)
        change.ttl = FC_KEEP
        change.expected = <PyObject *>old
        done = put_change(self, <PyObject *>key, <PyObject *>new, &change, FC_PUT_OLD)
    return new
