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
    cdef const fc_policy *chosen
    cdef fc_turn *turn
    cdef uint32_t bound
    if max_entries is None:
        raise ConfigurationError(f"{type(self).__name__} needs a bound: pass max_entries")
    if isinstance(max_entries, bool) or not isinstance(max_entries, int):
        raise ConfigurationError(
            f"max_entries must be an int of at least 1, not {max_entries!r}")
    max_entries = int.__int__(max_entries)  # of subclasses nothing but the number
    if max_entries < 1:
        raise ConfigurationError(
            f"max_entries must be an int of at least 1, not {max_entries!r}")
    bound = min(max_entries, FC_ENTRIES_MAX)
    if isinstance(policy, str):
        policy = str.__str__(policy)
    if policy not in POLICIES:
        raise ConfigurationError(f"unknown policy {policy!r}; known are {', '.join(POLICIES)}")
    chosen = fc_policy_find(policy.encode())
    if on_evict is not None and not callable(on_evict):
        raise TypeError(f"on_evict must be callable, not {type(on_evict).__name__}")
    if self.watch & WATCH_UNMADE:
        self.watch &= ~WATCH_UNMADE
    else:
        clear(self)
        turn = fc_turn_find(self.c.tellers)
        if turn is not NULL:
            tell_all(self, turn)  # to the listener that is about to go
    while self.c.readers is not NULL:
        await_readers(self)
    if self.c.store.count:
        raise RuntimeError("the cache was filled while __init__ emptied it")
    if fc_cache_configure(self.c, chosen, bound) != 0:
        raise MemoryError
    self.bound = max_entries
    self.policy_name = policy
    self.listener = on_evict
    self.watch = self.watch & ~WATCH_LISTENER | (0 if on_evict is None else WATCH_LISTENER)
    self.listener_errors = 0
    return 0


cdef int set_hooks(MemoryCache self, unsigned int hooks) except -1:
    if hooks > (HOOK_MISS | HOOK_WRITE | HOOK_REMOVE | HOOK_EVICT):
        raise ValueError(f"no such hooks: {hooks}")
    self.watch = self.watch & (WATCH_LISTENER | WATCH_UNMADE) | hooks
    self.c.chained = hooks & HOOK_MISS
    return 0


def _remake(cls):
    """An instance without arguments, for unpickling; its state follows."""
    return cls.__new__(cls)


cdef object get_state(MemoryCache self, bint whole):
    """Options, entries in victim order if asked for, and what a subclass has added."""
    options = {"max_entries": self.bound, "policy": self.policy_name, "on_evict": self.listener,
               "hooks": self.watch & ~(WATCH_LISTENER | WATCH_UNMADE)}
    entries = list(iterate(self, ITEMS, False)) if whole else None
    return options, entries, object.__getstate__(self)


cdef int set_state(MemoryCache self, object state) except -1:
    options, entries, attributes = state
    refill(self, options, [entries], attributes)
    return 0


cdef object duplicate(MemoryCache self, list sources):
    """A cache like this one, filled from other sources; nobody is told of a copy."""
    cdef MemoryCache other = type(self).__new__(type(self))
    options, _, attributes = get_state(self, False)
    refill(other, options, sources, attributes)
    other.prefixes = None if self.prefixes is None else dict(self.prefixes)
    return other


cdef int refill(MemoryCache self, dict options, list sources, object attributes) except -1:
    """Configure, fill, and only then turn hooks and listener on."""
    listener = options["on_evict"]
    hooks = options["hooks"]
    if listener is not None and not callable(listener):
        raise TypeError(f"on_evict must be callable, not {type(listener).__name__}")
    set_hooks(self, 0)
    self.watch &= ~WATCH_LISTENER
    configure(self, options["max_entries"], options["policy"], None)
    for source in sources:
        put_many(self, source)
    self.c.store.inserts = self.c.store.evictions = 0
    own, slots = attributes if isinstance(attributes, tuple) else (attributes, None)
    if own:
        self.__dict__.update(own)
    for name, value in (slots or {}).items():
        object.__setattr__(self, name, value)
    set_hooks(self, hooks)
    self.listener = listener
    self.watch |= 0 if listener is None else WATCH_LISTENER
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
    name = type(self).__name__
    if Py_ReprEnter(<PyObject *>self) != 0:
        return f"{name}({{...}})"
    try:
        shown = [f"{key!r}: {value!r}" for key, value in islice(iterate(self, ITEMS, False), SHOWN)]
        if self.c.store.count > SHOWN:
            shown.append("...")
        return f"{name}({{{', '.join(shown)}}})"
    finally:
        Py_ReprLeave(<PyObject *>self)


cdef object size_of(object o):
    """Bytes of data in an object: its payload where that is known, else what sys.getsizeof says."""
    cdef object kind = type(o)
    if kind is bytes or kind is bytearray:
        return len(o)
    if kind is str:
        return PyUnicode_GET_LENGTH(<PyObject *>o) * PyUnicode_KIND(<PyObject *>o)
    nbytes = getattr(o, "nbytes", None)
    return nbytes if type(nbytes) is int and nbytes >= 0 else sys.getsizeof(o)


cdef object get_stats(MemoryCache self):
    cdef fc_store *s = &self.c.store
    cdef object size = 0
    for key, value in iterate(self, ITEMS, False):
        size += size_of(key) + size_of(value)
    memory = TierStats(s.hits, s.misses, s.count, size)
    return CacheStats(s.hits, s.misses, s.count, size, s.inserts, s.evictions, s.expirations,
                      self.listener_errors, MappingProxyType({"memory": memory}))
