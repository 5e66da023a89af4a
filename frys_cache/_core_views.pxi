"""Iterators and views: the order of the policy, weakly consistent, never raising.

An iterator notes where the entries are, in order, when it is made (8 bytes an entry), and shows
those that are still there when it comes to them.  Not chosen: following the policy's lists live,
which a hit in the loop's body would turn into an endless walk.
"""

cdef enum:
    KEYS
    VALUES
    ITEMS


@cython.final
cdef class _Iterator:
    """Iterates over keys, values or items of a cache, as they were when it was made."""

    cdef MemoryCache cache
    cdef uint32_t *places
    cdef uint32_t *serials
    cdef Py_ssize_t at, step, left
    cdef int kind

    def __dealloc__(self):
        PyMem_Free(self.places)
        PyMem_Free(self.serials)

    def __iter__(self):
        return self

    def __length_hint__(self):
        return self.left

    def __next__(self):
        cdef fc_slab *slab
        cdef fc_entry *e
        cdef uint32_t place, serial
        while self.left > 0:
            place = self.places[self.at]
            serial = self.serials[self.at]
            self.at += self.step
            self.left -= 1
            slab = &self.cache.c.store.slab
            if fc_slab_holds(slab, place, serial):
                e = &slab.entries[place]
                if self.kind == KEYS:
                    return <object>e.key
                if self.kind == VALUES:
                    return <object>e.value
                return (<object>e.key, <object>e.value)
        raise StopIteration


cdef _Iterator iterate(MemoryCache cache, int kind, bint backwards):
    cdef _Iterator i = _Iterator.__new__(_Iterator)
    cdef fc_store *s = &cache.c.store
    cdef Py_ssize_t count = s.count
    i.cache = cache
    i.kind = kind
    i.left = count
    i.step = -1 if backwards else 1
    i.at = count - 1 if backwards else 0
    i.places = <uint32_t *>PyMem_Malloc((count + 1) * sizeof(uint32_t))
    i.serials = <uint32_t *>PyMem_Malloc((count + 1) * sizeof(uint32_t))
    if i.places is NULL or i.serials is NULL:
        raise MemoryError
    fc_store_order(s, i.places)
    for at in range(count):
        i.serials[at] = s.slab.entries[i.places[at]].serial
    return i


class CacheKeys(KeysView):
    """A view of a cache's keys: a set that changes with it."""

    __slots__ = ()

    def __iter__(self):
        return iterate(self._mapping, KEYS, False)

    def __reversed__(self):
        return iterate(self._mapping, KEYS, True)


class CacheValues(ValuesView):
    """A view of a cache's values."""

    __slots__ = ()

    def __iter__(self):
        return iterate(self._mapping, VALUES, False)

    def __reversed__(self):
        return iterate(self._mapping, VALUES, True)

    def __contains__(self, value):
        return any(v is value or v == value for v in self)


class CacheItems(ItemsView):
    """A view of a cache's (key, value) pairs: a set that changes with it."""

    __slots__ = ()

    def __iter__(self):
        return iterate(self._mapping, ITEMS, False)

    def __reversed__(self):
        return iterate(self._mapping, ITEMS, True)

    def __contains__(self, item):
        key, value = item
        found = (<MemoryCache>self._mapping).peek(key, MISSING)
        return found is not MISSING and (found is value or found == value)

