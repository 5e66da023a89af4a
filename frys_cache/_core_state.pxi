"""Configuration, statistics, and what is printed."""

cdef extern from "Python.h":
    int Py_ReprEnter(PyObject *o) except -1
    void Py_ReprLeave(PyObject *o)

cdef enum:
    SHOWN = 100  # entries in a repr


cdef object whole_number(object value, str name):
    """A bound as an int, or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigurationError(f"{name} must be an int of at least 1, not {value!r}")
    value = int.__int__(value)  # of subclasses nothing but the number
    if value < 1:
        raise ConfigurationError(f"{name} must be an int of at least 1, not {value!r}")
    return value


cdef object only_sizeof(str where, dict options):
    """`sizeof`, which is an operator of Cython and cannot be an argument's name there."""
    weigher = options.pop("sizeof", None)
    if options:
        name = next(iter(options))
        hint = "; did you mean max_entries?" if name == "maxsize" else ""
        raise TypeError(f"{where}() got an unexpected keyword argument {name!r}{hint}")
    return weigher


cdef uint64_t bound_in_c(int which, object bound):
    """A bound as the store takes it; None: none."""
    if which == FC_BOUND_ENTRIES:
        return FC_ENTRIES_MAX if bound is None else min(bound, FC_ENTRIES_MAX)
    return <uint64_t>-1 if bound is None else min(bound, (1 << 63) - 1)


cdef tuple unfold(MemoryCache self, object policy, object ttl):
    """The name of an eviction policy, and the ttl, that `policy=` and `ttl=` say together."""
    parts = getattr(type(policy), "__frys_policy__", None)
    if parts is None:
        return policy, ttl
    name, own = parts(policy)
    if own is not DEFAULT:
        if ttl is not None:
            raise ConfigurationError(
                f"ttl is given twice: as ttl={ttl!r}, and in policy={policy!r}; pass one of them")
        ttl = own
    return type(self)._default_policy if name is None else name, ttl


cdef int check_callable(object value, str name) except -1:
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be callable, not {type(value).__name__}")
    return 0


cdef int configure(MemoryCache self, object max_entries, object max_size_bytes, object policy,
                   object ttl, object idle, object weigher, object on_evict,
                   object clock, uint64_t seed) except -1:
    """Check all arguments, then take them: what __init__ does, and may do again."""
    cdef const fc_policy *chosen
    cdef fc_turn *turn
    cdef fc_limits limits
    cdef int64_t span, now
    cdef bint by_subclass
    max_entries = whole_number(max_entries, "max_entries")
    max_size_bytes = whole_number(max_size_bytes, "max_size_bytes")
    if max_entries is None and max_size_bytes is None:
        raise ConfigurationError(
            f"{type(self).__name__} needs a bound: pass max_entries or max_size_bytes")
    if weigher is not None and max_size_bytes is None:
        raise ConfigurationError("sizeof needs max_size_bytes: there are no bytes to bound")
    policy, ttl = unfold(self, policy, ttl)
    if isinstance(policy, str):
        policy = str.__str__(policy)
    if policy not in POLICIES:
        hint = ", or an object such as LruPolicy()" if isinstance(policy, type) else ""
        raise ConfigurationError(
            f"unknown policy {policy!r}; known are {', '.join(POLICIES)}{hint}")
    chosen = fc_policy_find(policy.encode())
    span = FC_NEVER if ttl is None else nanoseconds(ttl, "ttl", True)
    limits.idle = FC_NEVER if idle is None else nanoseconds(idle, "idle", True)
    if limits.idle == FC_NEVER:
        limits.idle = 0
    limits.max_entries = bound_in_c(FC_BOUND_ENTRIES, max_entries)
    limits.max_weight = bound_in_c(FC_BOUND_WEIGHT, max_size_bytes)
    check_callable(weigher, "sizeof")
    check_callable(on_evict, "on_evict")
    check_callable(clock, "clock")
    if self.watch & WATCH_UNMADE:
        self.watch &= ~WATCH_UNMADE
    else:
        clear(self)
        turn = fc_turn_find(self.c.tellers)
        if turn is not NULL:
            tell_all(self, turn)  # to the listener that is about to go
    while self.c.readers is not NULL:
        await_readers(self)
    now = read_clock(clock)
    if self.c.store.count or self.c.readers is not NULL:
        raise RuntimeError("the cache was filled while __init__ emptied it")
    by_subclass = (weigher is None and max_size_bytes is not None
                   and getattr(type(self), "getsizeof", None) is not None)
    if fc_cache_configure(self.c, chosen, &limits, seed, span, clock is not None,
                          by_subclass or weigher is not None or clock is not None) != 0:
        raise MemoryError
    fc_record_attach(self.c)
    self.c.now = now
    self.bound = max_entries
    self.bound_bytes = max_size_bytes
    self.by_bytes = max_size_bytes is not None
    self.rules = self.predicates = None
    self.policy_name = policy
    self.ttl_given = ttl
    self.idle_given = idle
    self.weigher = weigher
    self.by_subclass = by_subclass
    self.clock = clock
    self.listener = on_evict
    self.watch = self.watch & ~WATCH_LISTENER | (0 if on_evict is None else WATCH_LISTENER)
    self.listener_errors = 0
    return 0


cdef int set_hooks(MemoryCache self, unsigned int hooks) except -1:
    if hooks > HOOKS:
        raise ValueError(f"no such hooks: {hooks}")
    self.watch = self.watch & (WATCH_LISTENER | WATCH_UNMADE) | hooks
    self.c.chained = hooks & HOOK_MISS
    return 0


cdef object from_keys(cls, keys, value, dict options):
    keys = keys if isinstance(keys, (list, tuple, set, frozenset, dict)) else list(keys)
    maker = next(base for base in cls.__mro__ if "__init__" in vars(base))
    if maker.__module__.startswith("frys_cache."):  # not a subclass with a signature of its own
        if "max_size_bytes" not in options:
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


cdef object get_stats(MemoryCache self):
    cdef fc_store *s = &self.c.store
    cdef object size = 0
    cdef Py_ssize_t count = count_live(self)
    if self.by_bytes:
        size = s.weight
    else:
        for key, value in iterate(self, ITEMS, False):
            size += payload(key) + payload(value)
    memory = TierStats(s.hits, s.misses, count, size)
    return CacheStats(s.hits, s.misses, count, size, s.inserts, s.evictions, s.expirations,
                      self.listener_errors, MappingProxyType({"memory": memory}))
