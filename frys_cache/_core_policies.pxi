"""What may change while a cache is at work: its bounds, its ttl, and rules that give keys another.

A bound goes down in slices: each is one step under the lock, after which all entries fit the bound
in force; then what has left is told and released, and other threads come in.  So a million entries
that have to go stop nobody for longer than a slice takes.

A rule names keys by a prefix (csrc/fc_rules.h) or by a predicate.  A predicate is foreign code: it
is called before anything is looked at, as `sizeof` is.
"""

cdef enum:
    SLICE = 256  # entries that one step lets go: some 0.1 ms
    TRIES = 100  # to change rules that others change meanwhile


# ---- bounds -------------------------------------------------------------------------------------

cdef int check_made(MemoryCache self) except -1:
    if self.watch & WATCH_UNMADE:
        raise RuntimeError(f"{type(self).__name__}.__init__ was not called")
    return 0


cdef int set_bound(MemoryCache self, int which, object given) except -1:
    """Bring a bound to what is given; when it raises, to what it has reached."""
    cdef fc_exits few
    cdef fc_exits *out
    cdef uint32_t configured = self.c.configured
    cdef uint64_t bound
    cdef int done = FC_MORE
    check_made(self)
    given = whole_number(given, "max_entries" if which == FC_BOUND_ENTRIES else "max_size_bytes")
    if given is None and (self.bound_bytes if which == FC_BOUND_ENTRIES else self.bound) is None:
        raise ConfigurationError(f"{type(self).__name__} needs a bound: max_entries and "
                                 f"max_size_bytes cannot both be None")
    if which == FC_BOUND_WEIGHT and given is not None and not self.by_bytes:
        raise ConfigurationError(
            "max_size_bytes can be set only where entries have been weighed from the beginning: "
            "make the cache with max_size_bytes")
    bound = bound_in_c(which, given)
    tick(self)
    while done != 0:
        out = enter(self, &few)
        try:
            done = fc_rebound(self.c, which, bound, configured, SLICE, out)
            if done != FC_BUSY:
                note_bound(self, which, given if done == 0 else None)
        finally:
            leave(self, out)
        if done == FC_BUSY:
            await_readers(self)
        elif done == FC_MORE:
            with nogil:  # whoever waits for the GIL gets it here
                pass
            PyErr_CheckSignals()
    return 0


cdef int note_bound(MemoryCache self, int which, object reached) except -1:
    """Take note of a bound that is in force: as given, or (None) as far as the store has come."""
    if which == FC_BOUND_ENTRIES:
        if reached is None and self.c.store.max_entries < FC_ENTRIES_MAX:
            reached = self.c.store.max_entries
        self.bound = reached
    else:
        if reached is None and self.c.store.max_weight < 1 << 63:
            reached = self.c.store.max_weight
        self.bound_bytes = reached
    return 0


cdef int set_lifetime(MemoryCache self, object ttl) except -1:
    cdef int64_t span = FC_NEVER if ttl is None else nanoseconds(ttl, "ttl", True)
    check_made(self)
    if fc_set_ttl(self.c, span) != 0:
        raise MemoryError
    self.ttl_given = ttl
    return 0


# ---- rules --------------------------------------------------------------------------------------

cdef int64_t span_by_rules(MemoryCache self, PyObject *key) except? -1:
    """How long a key lives that was given no ttl: by the longest prefix that names it, by the first
    predicate that does, or as all others do."""
    cdef int64_t span
    cdef uint32_t configured = self.c.configured
    if fc_ask_rules(self.c, key, &span):
        return span
    if self.predicates is not None:
        for predicate, spanned in self.predicates:
            named = bool(predicate(<object>key))
            if self.c.configured != configured:
                raise RuntimeError("__init__ was called in the middle of an operation")
            if named:
                return spanned
    return self.c.ttl


cdef object names_of(object keys):
    """What names the keys of a rule: a plain str or bytes, or a predicate."""
    if isinstance(keys, str):
        return str.__str__(keys)
    if isinstance(keys, bytes):
        return keys if type(keys) is bytes else b"".join([keys])
    if not callable(keys):
        raise TypeError(f"a rule names keys by a prefix (str or bytes) or by a predicate "
                        f"(a callable), not by {type(keys).__name__}")
    return keys


cdef Py_ssize_t place_of_rule(tuple rules, object keys) except -2:
    """Where the rule with these names is, or -1; comparing predicates may run foreign code."""
    cdef Py_ssize_t at
    for at in range(len(rules)):
        other = (<tuple>rules[at])[0].keys
        if other is keys or (type(other) is type(keys) and other == keys):
            return at
    return -1


cdef bint change_rule(MemoryCache self, object keys, object rule) except -1:
    """Put a rule in the place of one with the same names, or behind all; None: take that out.
    Whether there was one."""
    cdef Py_ssize_t at
    check_made(self)
    for _ in range(TRIES):
        old = () if self.rules is None else self.rules
        at = place_of_rule(old, keys)
        if rule is None:
            new = old if at < 0 else old[:at] + old[at + 1:]
        else:
            new = old + (rule,) if at < 0 else old[:at] + (rule,) + old[at + 1:]
        if old is (() if self.rules is None else self.rules):
            break  # nobody has changed them meanwhile
    else:
        raise RuntimeError("the __eq__ of a predicate changes the rules at every comparison")
    if new is not old:
        install(self, new)
    return at >= 0


cdef int install(MemoryCache self, tuple rules) except -1:
    """Have these rules in force; all before the last lines may fail and shows nothing."""
    cdef fc_rules *made = NULL
    cdef uint32_t of_bytes = 0, of_text = 0
    cdef size_t units = 0
    cdef list predicates = []
    for rule, span in rules:
        if type(rule.keys) is str:
            of_text += 1
        elif type(rule.keys) is bytes:
            of_bytes += 1
        else:
            predicates.append((rule.keys, span))
            continue
        units += len(rule.keys)
    asked = tuple(predicates) if predicates else None
    if rules:
        made = fc_rules_new(&self.c.alloc, of_bytes, of_text, units)
        if made is NULL:
            raise MemoryError
        for rule, span in rules:
            keys = rule.keys
            if type(keys) is str:
                fc_rules_add(made, True, fc_units_of_text(<PyObject *>keys), span)
            elif type(keys) is bytes:
                fc_rules_add(made, False, fc_units_of_bytes(<PyObject *>keys), span)
        fc_rules_close(made)
        made.asks = asked is not None
    fc_set_rules(self.c, made)
    self.rules = rules if rules else None
    self.predicates = asked
    return 0


cdef int set_rule(MemoryCache self, object keys, object ttl) except -1:
    span = FC_NEVER if ttl is None else nanoseconds(ttl, "ttl", True)
    keys = names_of(keys)
    change_rule(self, keys, (TtlRule(keys, ttl), span))
    return 0


cdef tuple export_rules(MemoryCache self):
    return () if self.rules is None else tuple([(rule.keys, rule.ttl) for rule, _ in self.rules])


# ---- the face -----------------------------------------------------------------------------------

cdef object manage(MemoryCache cache):
    return PolicyManager.__new__(PolicyManager, cache)


@cython.final
cdef class PolicyManager:
    """What of a cache may change while it is at work; `cache.policies` makes one.

    A view: two of the same cache are equal, and each keeps the cache alive.  Bounds, ttl and rules
    are read and set here; the eviction policy and the idle time are those that the cache was made
    with.  A ttl, of the cache or of a rule, is for what is stored, or touched without a ttl, from
    then on.  Safe from any thread.

    >>> from frys_cache import FrysCache
    >>> cache = FrysCache(100, ttl=3600)
    >>> cache.policies.set_ttl("session:", 60)
    >>> cache["session:1"] = "Alice"
    >>> cache.ttl_of("session:1") <= 60
    True
    """

    cdef MemoryCache cache

    def __cinit__(self, MemoryCache cache not None):
        self.cache = cache

    def __init__(self):
        raise TypeError("use cache.policies")

    @property
    def max_entries(self):
        """The bound in entries, a positive int, or None where only bytes are bounded.

        Setting it returns when the new bound is in force and what did not fit has been evicted, 256
        entries at a time; other threads go on in between, and never see the cache over its bound.
        An exception in the middle, as KeyboardInterrupt, leaves the bound that was reached.  The
        room of what is gone is used for new entries, and given back by `clear`.  Raises
        ConfigurationError for a bound that cannot be, and for None when there is no other.
        """
        return self.cache.bound

    @max_entries.setter
    def max_entries(self, value):
        set_bound(self.cache, FC_BOUND_ENTRIES, value)

    @property
    def max_size_bytes(self):
        """The bound in bytes, a positive int, or None where only entries are bounded.

        Set as `max_entries` is.  ConfigurationError too for a cache that was made without one, for
        its entries have not been weighed.
        """
        return self.cache.bound_bytes

    @max_size_bytes.setter
    def max_size_bytes(self, value):
        set_bound(self.cache, FC_BOUND_WEIGHT, value)

    @property
    def ttl(self):
        """Seconds (or a timedelta) that an entry lives which no rule names, or None, as given.

        Setting it changes no entry that is there.  Raises ConfigurationError for one that is not
        above 0 and finite, TypeError for another type.
        """
        return self.cache.ttl_given

    @ttl.setter
    def ttl(self, value):
        set_lifetime(self.cache, value)

    @property
    def idle(self):
        """The idle time that the cache was made with, in seconds or as a timedelta, or None."""
        return self.cache.idle_given

    @property
    def policy(self):
        """The name of the eviction policy that the cache was made with."""
        return self.cache.policy_name

    @property
    def rules(self):
        """All rules, as a tuple of `TtlRule` in the order in which they were given."""
        cdef tuple rules = self.cache.rules
        return () if rules is None else tuple([rule for rule, _ in rules])

    def set_ttl(self, keys, ttl):
        """Give all keys that begin so, or that a predicate names, a ttl of their own.

        keys: a str, the prefix of str keys; a bytes, the prefix of bytes keys; or a callable
        `(key)` that tells whether it names a key of whatever type.  ttl: seconds or a timedelta,
        None for ever.  It takes the place of a rule with the same names.  The longest prefix wins,
        then the first predicate, then the cache's own ttl; a ttl given in a call wins over all.
        It holds wherever a value is stored or touched without a ttl from then on; `incr` of a key
        that is there keeps its end.

        A predicate is called, by whichever thread stores, before the cache is looked at; it may use
        the cache, and what it raises reaches that caller and changes nothing.  With one, each write
        costs its call; a prefix costs nearly nothing.  Raises ConfigurationError for a ttl that
        cannot be, TypeError for another type.

        >>> cache = MemoryCache(100)
        >>> cache.policies.set_ttl(b"page:", 5)
        >>> cache.policies.set_ttl(lambda key: type(key) is int, None)
        >>> len(cache.policies.rules)
        2
        """
        set_rule(self.cache, keys, ttl)

    def remove(self, keys):
        """Remove the rule with this prefix or predicate; whether there was one.

        Entries keep the end that it gave them.  Raises TypeError for what cannot name keys.

        >>> MemoryCache(100).policies.remove("session:")
        False
        """
        return change_rule(self.cache, names_of(keys), None)

    def __eq__(self, other):
        if type(other) is not PolicyManager:
            return NotImplemented
        return self.cache is (<PolicyManager>other).cache

    def __hash__(self):
        return hash((PolicyManager, id(self.cache)))

    def __reduce__(self):
        return getattr, (self.cache, "policies")

    def __repr__(self):
        return (f"PolicyManager(max_entries={self.max_entries!r}, "
                f"max_size_bytes={self.max_size_bytes!r}, policy={self.policy!r}, "
                f"ttl={self.ttl!r}, idle={self.idle!r}, rules={self.rules!r})")


def _check_ttl(ttl):
    """Raise what a cache raises that is made with this ttl."""
    if ttl is not None:
        nanoseconds(ttl, "ttl", True)
