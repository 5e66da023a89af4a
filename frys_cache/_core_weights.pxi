"""Weights: what an entry counts for in a bound by bytes."""

cdef object payload(object o):
    """Bytes of data in an object: its payload where that is known, else what sys.getsizeof says."""
    cdef int64_t known = fc_payload(<PyObject *>o)
    if known >= 0:
        return known
    nbytes = getattr(o, "nbytes", None)
    return nbytes if type(nbytes) is int and nbytes >= 0 else sys.getsizeof(o)


cdef uint64_t weigh(MemoryCache self, PyObject *key, PyObject *value) except? -1:
    """The weight of an entry; ValueTooLarge when memory could not hold it, and nothing is below.

    Runs foreign code, so it comes before anything is looked at.
    """
    cdef int64_t known
    cdef object size
    if self.weigher is None and not self.by_subclass:
        known = fc_weight_known(key, value)
        if known >= 0 and <uint64_t>known <= self.c.store.max_weight:
            return <uint64_t>known
        size = payload(<object>key)
        size += deep_payload(<object>value) if self.c.chained else payload(<object>value)
    else:
        if self.by_subclass:  # as cachetools does
            size = self.getsizeof(<object>value)
        else:
            size = self.weigher(<object>key, <object>value)
        if not isinstance(size, int):
            raise TypeError(f"sizeof must return an int of bytes, not {type(size).__name__}")
        size = int.__int__(size)
        if size < 0:
            raise ValueError(f"sizeof must return 0 or more bytes, not {size}")
    size = min(size, (1 << 63) - 1)
    # With a tier below, what memory cannot hold may still go there.
    if size > self.c.store.max_weight and not self.c.chained:
        raise ValueTooLarge(size, self.c.store.max_weight)
    return size


cdef object deep_payload(object o):
    """The same with what plain containers hold, as far as it is no more than 100,000 objects.

    Where values come from disk, each is a copy, and the whole of it belongs to the cache.
    """
    cdef Py_ssize_t left = 100_000
    return sum_payload(o, &left, 0)


def _payload(value):
    """The bytes of a value with what plain containers in it hold."""
    return deep_payload(value)


cdef object sum_payload(object o, Py_ssize_t *left, int depth):
    cdef object total
    kind = type(o)
    if kind is dict:
        inner = [*o.keys(), *o.values()]
    elif kind is list or kind is tuple or kind is set or kind is frozenset:
        inner = list(o)
    else:
        return payload(o) if depth == 0 else payload(o) + 48
    total = sys.getsizeof(o)
    if depth < 100:
        for item in inner:
            left[0] -= 1
            if left[0] < 0:
                break
            total += sum_payload(item, left, depth + 1)
    return total


cdef double cost_of(object cost) except? -1:
    cdef double number
    if isinstance(cost, bool) or not isinstance(cost, (int, float, Real, Decimal)):
        raise TypeError(f"cost must be a number, not {type(cost).__name__}")
    number = float(cost)
    if not isfinite(number) or number < 0:
        raise ValueError(f"cost must be finite and 0 or more, not {cost!r}")
    return number
