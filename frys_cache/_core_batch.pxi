"""Many keys at once: runs of plain keys go through csrc/fc_batch.h, the others one by one."""

cdef extern from "fc_batch.h":
    Py_ssize_t fc_hash_run(PyObject **keys, Py_ssize_t count, Py_hash_t *hashes) noexcept
    Py_ssize_t fc_probe_run(const fc_cache *c, PyObject **keys, const Py_hash_t *hashes,
                            Py_ssize_t count, uint32_t *places) noexcept nogil
    void fc_hit_run(fc_cache *c, const uint32_t *places, Py_ssize_t count, PyObject *absent,
                    PyObject **values) noexcept
    Py_ssize_t fc_get_run(fc_cache *c, PyObject **keys, Py_ssize_t count, PyObject *absent,
                          PyObject **values) noexcept
    Py_ssize_t fc_put_run(fc_cache *c, PyObject **keys, PyObject **values, Py_ssize_t count,
                          fc_exits *out) noexcept

cdef extern from "Python.h":
    PyObject **sequence_items "PySequence_Fast_ITEMS" (object sequence)
    Py_ssize_t sequence_count "PySequence_Fast_GET_SIZE" (object sequence)
    list PyList_New(Py_ssize_t count)
    void PyObject_GC_UnTrack(PyObject *o)
    void PyObject_GC_Track(PyObject *o)
    bint PyDict_Next(dict d, Py_ssize_t *at, PyObject **key, PyObject **value)
    void Py_XINCREF(PyObject *o)

# From here on a batch lets other threads run while it probes: beside a busy thread giving the GIL
# away costs up to 5 ms, so it must be worth it.
cdef enum:
    LARGE = 20_000


cdef list get_many(MemoryCache self, object keys, object default):
    cdef PyObject *absent = <PyObject *>default
    cdef list values
    cdef Py_ssize_t count, done
    cdef bint hooked = self.watch & HOOK_MISS
    tick(self)
    if hooked or type(keys) is not list:
        keys = tuple(keys)  # whoever runs foreign code below may not change it
    count = sequence_count(keys)
    values = PyList_New(count)
    PyObject_GC_UnTrack(<PyObject *>values)  # nobody may see it half filled
    if hooked:
        absent = NULL
    if count >= LARGE:
        keys = tuple(keys)
    if count < LARGE or not get_large(self, keys, absent, values):
        done = fc_get_run(self.c, sequence_items(keys), count, absent, sequence_items(values))
        if done < count:
            get_rest(self, keys, done, absent, values)
    if hooked:
        ask_hook(self, keys, default, values)
    PyObject_GC_Track(<PyObject *>values)
    return values


cdef int ask_hook(MemoryCache self, tuple keys, object default, list values) except -1:
    """Ask the hook, once for each key, for what memory did not have."""
    cdef Py_ssize_t at
    cdef dict asked = {}
    for at in range(sequence_count(values)):
        if sequence_items(values)[at] is NULL:
            asked[keys[at]] = MISSING
    if not asked:
        return 0
    asked = dict(zip(asked, self._on_miss_many(list(asked))))
    for at in range(sequence_count(values)):
        if sequence_items(values)[at] is NULL:
            value = asked.get(keys[at], MISSING)
            if value is MISSING:
                value = default
            Py_INCREF(<PyObject *>value)
            sequence_items(values)[at] = <PyObject *>value
    return 0


cdef int get_rest(MemoryCache self, object keys, Py_ssize_t done, PyObject *absent,
                  list values) except -1:
    """Go on from a key that needs foreign code."""
    cdef Py_ssize_t count = sequence_count(values)
    cdef PyObject *value
    while done < count:
        if sequence_count(keys) < count:
            raise RuntimeError("the list of keys became shorter during get_many")
        key = keys[done]
        value = fc_get(self.c, <PyObject *>key)
        if value is NULL:
            value = absent
            Py_XINCREF(value)
        sequence_items(values)[done] = value
        done += 1
        if sequence_count(keys) >= count:
            done += fc_get_run(self.c, sequence_items(keys) + done, count - done, absent,
                               sequence_items(values) + done)
    return 0


cdef bint get_large(MemoryCache self, tuple keys, PyObject *absent, list values) except -1:
    """Probe without the GIL, then let the policy know under it; False: not possible this time."""
    cdef fc_cache *c = self.c
    cdef Py_ssize_t count = sequence_count(keys), decided
    cdef PyObject **items = sequence_items(keys)
    cdef Py_hash_t *hashes
    cdef uint32_t *places
    if c.waiting:
        return False  # writers have waited for other readers long enough
    hashes = <Py_hash_t *>PyMem_Malloc(count * sizeof(Py_hash_t))
    places = <uint32_t *>PyMem_Malloc(count * sizeof(uint32_t))
    try:
        if hashes is NULL or places is NULL or fc_hash_run(items, count, hashes) < count:
            return False
        begin_reading(self)
        with nogil:  # bulk work: 1 ms and more
            decided = fc_probe_run(c, items, hashes, count, places)
        end_reading(self)
        if decided < count:
            return False
        fc_hit_run(c, places, count, absent, sequence_items(values))
        return True
    finally:
        PyMem_Free(hashes)
        PyMem_Free(places)


cdef int put_many(MemoryCache self, object items, object ttl) except -1:
    cdef fc_exits few
    cdef fc_exits *out
    cdef int64_t span = span_of(self, ttl)
    cdef bint plain = ttl is DEFAULT and not self.watch & HOOK_WRITE
    if self.watch & HOOK_DECIDE:
        self._on_decide("put_many", list(pairs_of(items)), ttl)
        return 0
    tick(self)
    out = enter(self, &few)  # listeners hear of the batch when all of it is in
    try:
        if type(items) is dict and plain:
            put_dict(self, items, out)
        elif type(items) is list and plain:
            put_list(self, items, out)
        else:  # one by one: a hook, or an iterable that may look at the cache
            for key, value in pairs_of(items):
                put_spanned(self, key, value, span)
    finally:
        leave(self, out)
    return 0


cdef object pairs_of(object items):
    """The pairs of a mapping, of what has keys, or of an iterable of pairs."""
    if isinstance(items, Mapping):
        return list(items.items()) if type(items) is dict else items.items()
    if hasattr(items, "keys"):
        return [(key, items[key]) for key in items.keys()]
    return items


cdef int put_spanned(MemoryCache self, object key, object value, int64_t span) except -1:
    cdef fc_change change
    fc_change_init(&change, self.c, <PyObject *>key, fc_hash(<PyObject *>key), <PyObject *>value,
                   FC_PUT)
    change.ttl = span
    return put_change(self, <PyObject *>key, <PyObject *>value, &change, FC_PUT)


cdef Py_ssize_t remove_many(MemoryCache self, object keys) except -1:
    cdef fc_exits few
    cdef fc_exits *out
    cdef Py_ssize_t count = 0
    below = None
    if self.watch & HOOK_REMOVE:
        keys = list(keys)
        below = self._on_remove(keys)
    out = enter(self, &few)
    try:
        for at, key in enumerate(keys):
            if take(self, key, NULL) or (below is not None and below[at]):
                count += 1
    finally:
        leave(self, out)
    return count


cdef int put_dict(MemoryCache self, dict source, fc_exits *out) except -1:
    cdef PyObject *keys[FC_BATCH]
    cdef PyObject *values[FC_BATCH]
    cdef Py_ssize_t at = 0, size = len(source), count = FC_BATCH
    while count == FC_BATCH:
        count = 0
        while count < FC_BATCH and PyDict_Next(source, &at, &keys[count], &values[count]):
            count += 1
        put_batch(self, keys, values, count, out)
        if len(source) != size:
            raise RuntimeError("dictionary changed size during put_many")
    return 0


cdef int put_list(MemoryCache self, list pairs, fc_exits *out) except -1:
    cdef PyObject *keys[FC_BATCH]
    cdef PyObject *values[FC_BATCH]
    cdef PyObject *pair
    cdef Py_ssize_t at = 0, count
    while at < len(pairs):
        count = 0
        while count < FC_BATCH and at < len(pairs):
            pair = sequence_items(pairs)[at]
            if type(<object>pair) is not tuple or sequence_count(<object>pair) != 2:
                break
            keys[count] = sequence_items(<object>pair)[0]
            values[count] = sequence_items(<object>pair)[1]
            count += 1
            at += 1
        if count:
            put_batch(self, keys, values, count, out)
        elif at < len(pairs):
            key, value = pairs[at]
            at += 1
            put_value(self, <PyObject *>key, <PyObject *>value, FC_PUT)
    return 0


cdef int put_batch(MemoryCache self, PyObject **keys, PyObject **values, Py_ssize_t count,
                   fc_exits *out) except -1:
    """Put up to FC_BATCH entries, borrowed from a container that foreign code may change."""
    cdef Py_ssize_t done, at
    if fc_exits_reserve(out, &self.c.alloc, 2 * FC_BATCH) != 0:
        raise MemoryError
    done = fc_put_run(self.c, keys, values, count, out)
    for at in range(done, count):
        Py_INCREF(keys[at])
        Py_INCREF(values[at])
    at = done
    try:
        if not out.audience:
            fc_let_go(out)  # the first moment at which foreign code runs
        while done < count:
            done += 1
            put_value(self, keys[done - 1], values[done - 1], FC_PUT)
    finally:
        for at in range(at, count):
            Py_DECREF(keys[at])
            Py_DECREF(values[at])
    return 0
