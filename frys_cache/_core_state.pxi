"""Configuration, copies and pickles, statistics, and what is printed."""

cdef extern from "Python.h":
    int Py_ReprEnter(PyObject *o) except -1
    void Py_ReprLeave(PyObject *o)
    Py_ssize_t PyUnicode_KIND(PyObject *o)
    Py_ssize_t PyUnicode_GET_LENGTH(PyObject *o)

cdef enum:
    SHOWN = 100  # entries in a repr


cdef int configure(MemoryCache self, object max_entries, object policy, object on_evict) except -1:
    """Check all arguments, then take them: what __init__ does, and may do again."""
    cdef const fc_policy *chosen = NULL
    if max_entries is None:
        raise ConfigurationError(f"{type(self).__name__} needs a bound: pass max_entries")
    if isinstance(max_entries, bool) or not isinstance(max_entries, int) or max_entries < 1:
        raise ConfigurationError(
            f"max_entries must be an int of at least 1, not {max_entries!r}")
    if isinstance(policy, str) and policy in POLICIES:
        policy = str.__str__(policy)
        chosen = fc_policy_find(policy.encode())
    else:
        raise ConfigurationError(f"unknown policy {policy!r}; known are {', '.join(POLICIES)}")
    if on_evict is not None and not callable(on_evict):
        raise TypeError(f"on_evict must be callable, not {type(on_evict).__name__}")
    if self.watch & WATCH_UNMADE:
        self.watch &= ~WATCH_UNMADE
    else:
        clear(self)
        while self.c.readers is not NULL:
            await_readers(self)
    if self.c.store.count:
        raise RuntimeError("the cache was filled while __init__ emptied it")
    if fc_cache_configure(self.c, chosen, min(max_entries, FC_ENTRIES_MAX)) != 0:
        raise MemoryError
    self.bound = max_entries
    self.policy_name = policy
    self.listener = on_evict
    self.watch = self.watch & ~WATCH_LISTENER | (0 if on_evict is None else WATCH_LISTENER)
    self.listener_errors = 0
    return 0


def _remake(cls):
    """An instance without arguments, for unpickling; its state follows."""
    return cls.__new__(cls)


cdef object get_state(MemoryCache self):
    """Options, entries in victim order, and what a subclass has added."""
    options = {"max_entries": self.bound, "policy": self.policy_name, "on_evict": self.listener,
               "hooks": self._hooks}
    return options, list(self.items()), object.__getstate__(self)


cdef int set_state(MemoryCache self, object state) except -1:
    cdef fc_exits few
    options, entries, attributes = state
    attributes = attributes if isinstance(attributes, tuple) else (attributes, None)
    configure(self, options["max_entries"], options["policy"], None)
    for key, value in entries:  # before hooks and listener are on: nobody is told of a copy
        put_value(self, <PyObject *>key, <PyObject *>value, FC_PUT)
    fc_exits_init(&few, False)
    self.c.store.inserts = 0
    self.listener = options["on_evict"]
    self.watch = options["hooks"] | (0 if self.listener is None else WATCH_LISTENER)
    for some in attributes:
        for name, value in (some or {}).items():
            setattr(self, name, value)
    return 0


cdef object from_keys(cls, keys, value, dict options):
    keys = keys if isinstance(keys, (list, tuple, set, frozenset, dict)) else list(keys)
    maker = next(base for base in cls.__mro__ if "__init__" in vars(base))
    if maker.__module__.startswith("frys_cache."):  # not a subclass with a signature of its own
        options.setdefault("max_entries", max(1, len(keys)))
    cache = cls(**options)
    for key in keys:
        cache[key] = value
    return cache


cdef object represent(MemoryCache self):
    cdef int entered = Py_ReprEnter(<PyObject *>self)
    name = type(self).__name__
    if entered:
        return f"{name}({{...}})"
    try:
        shown = [f"{key!r}: {value!r}" for key, value in islice(self.items(), SHOWN)]
        if self.c.store.count > SHOWN:
            shown.append("...")
        return f"{name}({{{', '.join(shown)}}})"
    finally:
        Py_ReprLeave(<PyObject *>self)


cdef Py_ssize_t size_of(object o) except -1:
    """Bytes of data in an object: its payload where that is known, else what sys.getsizeof says."""
    cdef object kind = type(o)
    if kind is bytes or kind is bytearray:
        return len(o)
    if kind is str:
        return PyUnicode_GET_LENGTH(<PyObject *>o) * PyUnicode_KIND(<PyObject *>o)
    nbytes = getattr(o, "nbytes", None)
    return nbytes if type(nbytes) is int else sys.getsizeof(o)


cdef object get_stats(MemoryCache self):
    cdef fc_store *s = &self.c.store
    cdef Py_ssize_t size = 0
    for key, value in iterate(self, ITEMS, False):
        size += size_of(key) + size_of(value)
    memory = TierStats(s.hits, s.misses, s.count, size)
    return CacheStats(s.hits, s.misses, s.count, size, s.inserts, s.evictions, s.expirations,
                      self.listener_errors, MappingProxyType({"memory": memory}))
