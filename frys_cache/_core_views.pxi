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
@cython.no_gc_clear  # a cycle through it goes through the cache, which clears it
cdef class _Iterator:
    """Iterates over keys, values or items of a cache, as they were when it was made."""

    cdef MemoryCache cache
    cdef fc_ref *refs
    cdef Py_ssize_t at, step, left
    cdef int kind

    def __dealloc__(self):
        PyMem_Free(self.refs)

    def __iter__(self):
        return self

    def __length_hint__(self):
        return self.left

    def __next__(self):
        cdef PyObject *key = NULL
        cdef PyObject *value = NULL
        cdef fc_ref ref
        if self.cache is None:  # made by its type, not by a view
            raise StopIteration
        tick(self.cache)
        while self.left > 0:
            ref = self.refs[self.at]
            self.at += self.step
            self.left -= 1
            if fc_fetch(self.cache.c, ref, &key if self.kind != VALUES else NULL,
                        &value if self.kind != KEYS else NULL):
                if self.kind == KEYS:
                    return fc_steal(key)
                if self.kind == VALUES:
                    return fc_steal(value)
                return (fc_steal(key), fc_steal(value))
        raise StopIteration


cdef _Iterator iterate(MemoryCache cache, int kind, bint backwards, bint copy=False):
    cdef _Iterator i = _Iterator.__new__(_Iterator)
    cdef Py_ssize_t count
    if cache is None:
        raise TypeError("a view of nothing: make views by keys(), values() and items()")
    tick(cache)
    i.refs = fc_snapshot(cache.c, copy, &count)
    if i.refs is NULL:
        raise MemoryError
    i.cache = cache
    i.kind = kind
    i.left = count
    i.step = -1 if backwards else 1
    i.at = count - 1 if backwards else 0
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
        cdef MemoryCache cache = self._mapping
        cdef PyObject *found
        if cache is None or not isinstance(item, tuple) or len(item) != 2:
            return False
        tick(cache)
        found = fc_peek(cache.c, <PyObject *>item[0])
        if found is NULL:
            return False
        value = fc_steal(found)
        return value is item[1] or value == item[1]

