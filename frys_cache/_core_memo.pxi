"""Functions whose results are kept in a cache.

A `Memoized` is called by vectorcall.  A hit of one plain argument in a cache of its own is one
straight line of C (fc_memo.h), as that of `cache[key]`; other arguments are looked up without
making their key where that is possible.  All else makes the key (`_core_memo_keys.pxi`) and looks
in the cache, and a miss loads (`_core_load.pxi`).  `_core_memo_make.pxi` makes them.
"""

from functools import partial, update_wrapper

ctypedef PyObject *(*vectorcall)(PyObject *self, PyObject **args, size_t nargsf,
                                 PyObject *names) except NULL

cdef extern from "Python.h":
    PyObject **PySequence_Fast_ITEMS(PyObject *o) noexcept

cdef extern from "fc_memo.h":
    PyObject *fc_memo_quick(fc_cache *c, PyObject *self, PyObject **args, size_t nargsf,
                            uint64_t *hits, vectorcall slow) except NULL
    PyObject *fc_parts_get(fc_cache *c, PyObject **parts, Py_ssize_t count, bint lone,
                           Py_hash_t hash) noexcept
    PyObject *fc_get_hashed(fc_cache *c, PyObject *key, Py_hash_t hash) except? NULL
    PyObject *fc_call_bound(PyObject *function, PyObject *self, PyObject **args, size_t nargsf,
                            PyObject *names) except NULL

cdef enum:
    BOUND = 16  # arguments that are bound on the stack


include "_core_load.pxi"
include "_core_memo_keys.pxi"


@cython.final
cdef class Memoized:
    """A function whose results are kept in a cache; made by `memoize` and `cache.memoize`.

    Called as the function itself, from any thread.  Pickled and copied by reference, as functions
    are.  TypeError for an argument that is not hashable; DeadlockError for a call that asks for
    its own result.
    """

    cdef vectorcall call
    cdef fc_cache *c  # of `held`, which lives as long as this
    cdef uint64_t hits, misses, epoch
    cdef MemoryCache held
    cdef object function
    cdef Layout layout   # None: the collector has been here
    cdef object prefix   # None in a cache of its own
    cdef bint local      # its name may mean another function in the next process
    cdef object name, ttl
    cdef dict __dict__
    cdef object __weakref__

    def __init__(self):
        raise TypeError("use memoize() or cache.memoize()")

    def __call__(self, /, *args, **kwargs):
        """Return the result for these arguments: the kept one, or a new one."""
        raise NotImplementedError  # the slot is PyVectorcall_Call

    def __get__(self, instance, owner):
        return self if instance is None else bound_to(self, instance)

    @property
    def cache(self):
        """The cache that holds the results."""
        return whole(self).held

    def cache_key(self, /, *args, **kwargs):
        """The key of a call in the cache.  TypeError for a call that the function does not take.

        >>> memoize(pow).cache_key(2, mod=7, exp=3) == memoize(pow).cache_key(2, 3, 7)
        True
        """
        return key_or_error(whole(self), args, kwargs)

    def cache_info(self):
        """(hits, misses, maxsize, currsize) of this function; in a shared cache counted one by one.

        >>> memoize(abs).cache_info().misses
        0
        """
        whole(self)
        size = self.held.currsize if self.prefix is None else len(own_keys(self))
        return CacheInfo(self.hits, self.misses, self.held.maxsize, size)

    def cache_parameters(self):
        """What was asked for: a dict of maxsize, typed, name and ttl.

        >>> memoize(abs).cache_parameters()["typed"]
        True
        """
        return {"maxsize": whole(self).held.maxsize, "typed": True, "name": self.name,
                "ttl": self.held.ttl_given if self.ttl is DEFAULT else self.ttl}

    def cache_clear(self):
        """Forget the results and counters of this function; calls under way are not kept.

        >>> memoize(abs).cache_clear()
        """
        whole(self)
        self.epoch += 1
        detach(self.held, MISSING)
        if self.prefix is None:
            clear(self.held)
        else:
            if self.held.watch & HOOK_DECIDE:
                self.held._on_decide("forget_calls", self.prefix)
            remove_many(self.held, own_keys(self))
        self.hits = self.misses = 0

    def invalidate(self, /, *args, **kwargs):
        """Forget the result of one call; whether there was one.  Errors as `cache_key`.

        >>> memoize(abs).invalidate(-1)
        False
        """
        return remove(self.held, key_or_error(whole(self), args, kwargs), NULL) != 0

    def refresh(self, /, *args, **kwargs):
        """Call the function now, keep the result in place of the old one, and return it.

        >>> memoize(abs).refresh(-1)
        1
        """
        cdef object key = key_or_error(whole(self), args, kwargs)
        return reload(self.held, self, key, self.ttl, self.function, args, kwargs)

    def __reduce__(self):
        return self.__qualname__

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def __repr__(self):
        return f"<memoized {self.name}>"

    @classmethod
    def __class_getitem__(cls, item):
        return GenericAlias(cls, item)


cdef Memoized whole(Memoized self):
    if self.layout is None:
        raise ReferenceError("the memoized function has been collected")
    return self


cdef list own_keys(Memoized self):
    """The keys of this function in a shared cache."""
    return [key for key in iterate(self.held, KEYS, False)
            if type(key) is tuple and len(<tuple>key) > 0 and (<tuple>key)[0] is self.prefix]


cdef object NOT_BOUND = object()


cdef object key_or_hit(Memoized self, PyObject **args, size_t nargsf, PyObject *names,
                       Py_hash_t *hash, PyObject **hit):
    """The key of a call and its hash, or a hit that needed none, or NOT_BOUND."""
    cdef Py_ssize_t count = PyVectorcall_NARGS(nargsf)
    cdef Layout l = self.layout
    cdef PyObject *few[BOUND]
    cdef PyObject **values = few
    if l.maker is not None:
        key = call_vector(<PyObject *>l.maker, args, nargsf, names)
        if self.prefix is not None:
            key = (self.prefix, key)
        hash[0] = fc_hash(<PyObject *>key)
        return key
    if l.named > BOUND:
        values = <PyObject **>PyMem_Malloc(l.named * sizeof(PyObject *))
        if values is NULL:
            raise MemoryError
    try:
        if not l.bind(args, count, names, values):
            return NOT_BOUND
        if hit is not NULL and parts_work and not l.keep_rest and not l.keep_others:
            hit[0] = hit_by_parts(self, l, values)
            if hit[0] is not NULL:
                return None
        key = l.key(self.prefix, args, count, names, values)
        try:
            hash[0] = fc_hash(<PyObject *>key)
        except TypeError as error:
            found = l.unhashable(args, count, names, values)
            if found is None:
                raise
            raise complaint(found, type(found[1])) from error
        return key
    finally:
        if values is not few:
            PyMem_Free(values)


cdef PyObject *hit_by_parts(Memoized self, Layout l, PyObject **values) except? NULL:
    """A hit of parts that need no making, as a new reference; NULL: make the key and look again."""
    cdef PyObject *parts[FC_PARTS_MAX]
    cdef uint64_t sum = FC_PARTS_START
    cdef Py_ssize_t i, count = 0
    cdef Py_hash_t hash
    cdef bint lone = self.prefix is None and l.parts == 1
    if l.parts >= FC_PARTS_MAX:
        return NULL
    if self.prefix is not None:
        parts[0] = <PyObject *>self.prefix
        sum = fc_parts_mix(sum, fc_hash(parts[0]))
        count = 1
    for i in range(l.named):
        if l.kept[i]:
            parts[count] = ready_part(values[i], &hash)
            if parts[count] is NULL:
                return NULL
            sum = fc_parts_mix(sum, hash)
            count += 1
    return fc_parts_get(self.c, parts, count, lone, hash if lone else fc_parts_hash(sum, count))


cdef object key_or_error(Memoized self, tuple args, dict kwargs):
    """The key of a call that is not made."""
    cdef list flat = [*args, *kwargs.values()]
    cdef tuple names = tuple(kwargs)
    cdef Py_hash_t hash
    key = key_or_hit(self, PySequence_Fast_ITEMS(<PyObject *>flat), len(args),
                     <PyObject *>names if names else NULL, &hash, NULL)
    if key is NOT_BOUND:
        self.layout.signature.bind(*args, **kwargs)  # says what is wrong
        raise TypeError(f"{self.name} does not take these arguments")
    return key


cdef PyObject *call_any(PyObject *self, PyObject **args, size_t nargsf,
                        PyObject *names) except NULL:
    """Any call."""
    cdef Memoized m = <Memoized>self
    cdef PyObject *found = NULL
    cdef Py_hash_t hash = 0
    tick(m.held)
    key = key_or_hit(m, args, nargsf, names, &hash, &found)
    if key is NOT_BOUND:
        value = call_vector(<PyObject *>m.function, args, nargsf, names)
    else:
        if found is NULL:
            found = fc_get_hashed(m.c, <PyObject *>key, hash)
        if found is not NULL:
            m.hits += 1
            return found
        m.misses += 1
        value = load(m.held, m, key, m.ttl, m.function, args, nargsf, names)
    Py_INCREF(<PyObject *>value)
    return <PyObject *>value


cdef PyObject *call_one(PyObject *self, PyObject **args, size_t nargsf,
                        PyObject *names) except NULL:
    """A call of a function whose one argument can be its own key."""
    if names is NULL and PyVectorcall_NARGS(nargsf) == 1:
        return fc_memo_quick((<Memoized>self).c, self, args, nargsf, &(<Memoized>self).hits,
                             call_any)
    return call_any(self, args, nargsf, names)


# ---- methods ------------------------------------------------------------------------------------

@cython.final
cdef class BoundMemoized:
    # A memoized function bound to an instance or class, which every method here passes first.
    # No docstring: __doc__ is that of the function.

    cdef vectorcall call
    cdef readonly object __func__
    cdef readonly object __self__
    cdef object __weakref__

    def __init__(self):
        raise TypeError("use memoize() or cache.memoize()")

    def __call__(self, /, *args, **kwargs):
        """Return the result for these arguments: the kept one, or a new one."""
        raise NotImplementedError  # the slot is PyVectorcall_Call

    @property
    def __doc__(self):
        return self.__func__.__doc__

    @property
    def __signature__(self):
        return Signature.from_callable(MethodType(self.__func__.__wrapped__, self.__self__))

    @property
    def cache(self):
        """The cache that holds the results."""
        return self.__func__.cache

    def cache_key(self, /, *args, **kwargs):
        """As `Memoized.cache_key`."""
        return self.__func__.cache_key(self.__self__, *args, **kwargs)

    def invalidate(self, /, *args, **kwargs):
        """As `Memoized.invalidate`."""
        return self.__func__.invalidate(self.__self__, *args, **kwargs)

    def refresh(self, /, *args, **kwargs):
        """As `Memoized.refresh`."""
        return self.__func__.refresh(self.__self__, *args, **kwargs)

    def cache_info(self):
        """As `Memoized.cache_info`: of all instances together."""
        return self.__func__.cache_info()

    def cache_parameters(self):
        """As `Memoized.cache_parameters`."""
        return self.__func__.cache_parameters()

    def cache_clear(self):
        """As `Memoized.cache_clear`: for all instances."""
        self.__func__.cache_clear()

    def __getattr__(self, name):
        return getattr(self.__func__, name)

    def __eq__(self, other):
        if type(other) is not BoundMemoized:
            return NotImplemented
        return (self.__func__ is (<BoundMemoized>other).__func__
                and self.__self__ is (<BoundMemoized>other).__self__)

    def __hash__(self):
        return hash((id(self.__func__), id(self.__self__)))

    def __reduce__(self):
        return getattr, (self.__self__, self.__func__.__name__)

    def __repr__(self):
        return f"<bound {self.__func__!r} of {self.__self__!r}>"


cdef PyObject *call_bound(PyObject *self, PyObject **args, size_t nargsf,
                          PyObject *names) except NULL:
    return fc_call_bound(<PyObject *>(<BoundMemoized>self).__func__,
                         <PyObject *>(<BoundMemoized>self).__self__, args, nargsf, names)


cdef BoundMemoized bound_to(object function, object instance):
    cdef BoundMemoized made = BoundMemoized.__new__(BoundMemoized)
    made.call = call_bound
    made.__func__ = function
    made.__self__ = instance
    return made


class _MemoizedClassMethod(classmethod):
    """A classmethod whose bound objects have the methods of a memoized function."""

    def __get__(self, instance, owner=None):
        return bound_to(self.__func__, type(instance) if owner is None else owner)


include "_core_memo_make.pxi"
