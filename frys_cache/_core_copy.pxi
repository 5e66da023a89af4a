"""Copies and pickles: options, entries with their standing, and what a subclass has added.

A copy is one of memory alone: it has no tiers below it.

An entry is kept as (key, value, weight, end, left, standing): nanoseconds until its ttl is over and
until it is over at all, None for never, and what the policy knows of it.
"""


def _remake(cls):
    """An instance without arguments, for unpickling; its state follows."""
    return cls.__new__(cls)


cdef object get_state(MemoryCache self, bint whole):
    """Options, entries if asked for, and what a subclass has added."""
    cdef fc_learned learned
    fc_store_learned(&self.c.store, &learned)
    options = {"max_entries": self.bound, "max_size_bytes": self.bound_bytes,
               "by_bytes": self.by_bytes, "rules": export_rules(self),
               "policy": self.policy_name, "ttl": self.ttl_given, "idle": self.idle_given,
               "sizeof": self.weigher, "on_evict": self.listener, "clock": self.clock,
               "hooks": 0 if self.below is not None else self.watch & HOOKS,
               "seed": self.c.store.seed, "learned": (learned.draw, learned.share)}
    return options, export(self) if whole else None, object.__getstate__(self)


cdef list export(MemoryCache self):
    """All entries that are not over, in the order in which a copy takes them over."""
    cdef list entries = []
    cdef _Iterator i = iterate(self, ITEMS, False, True)
    cdef fc_standing e
    for pair in i:
        # Making the pair may have run the collector, and foreign code.
        if fc_fetch_standing(self.c, i.refs[i.at - i.step], &e):
            memo = (e.memo.uses, e.memo.rank, e.memo.age, e.memo.cost, e.memo.list, e.memo.bits)
            entries.append((*pair, e.weight, None if e.end == FC_NEVER else e.end,
                            None if e.left == FC_NEVER else e.left, memo))
    return entries


cdef int restore(MemoryCache self, object entries) except -1:
    """Put in what `export` gave; nobody is told."""
    cdef fc_change change
    cdef fc_exits few
    cdef fc_memo memo
    cdef int done
    for key, value, weight, end, left, standing in entries:
        memo.uses, memo.rank, memo.age, memo.cost, memo.list, memo.bits = standing
        fc_change_init(&change, self.c, <PyObject *>key, fc_hash(<PyObject *>key),
                       <PyObject *>value, FC_PUT)
        change.incoming.memo = &memo
        change.incoming.weight = weight
        change.ttl = FC_NEVER if end is None else max(1, end)
        change.left = FC_NEVER if left is None else max(1, left)
        if change.incoming.weight > self.c.store.max_weight:
            raise ValueTooLarge(weight, self.c.store.max_weight)
        fc_exits_init(&few, False)
        done = fc_put(self.c, &change, &few)
        while done == FC_BUSY:
            await_readers(self)
            done = fc_put(self.c, &change, &few)
        fc_release(&few, &self.c.alloc)
    return 0


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
    cdef fc_learned learned
    listener = options["on_evict"]
    hooks = options["hooks"]
    learned.draw, learned.share = options["learned"]
    check_callable(listener, "on_evict")
    set_hooks(self, 0)
    self.watch &= ~WATCH_LISTENER
    size = options["max_size_bytes"]
    lifted = size is None and options["by_bytes"]
    configure(self, options["max_entries"], 1 if lifted else size, options["policy"],
              options["ttl"], options["idle"], options["sizeof"], None, options["clock"],
              options["seed"])
    if lifted:  # weighed as before, and bounded by entries alone
        set_bound(self, FC_BOUND_WEIGHT, None)
    for keys, ttl in options["rules"]:
        set_rule(self, keys, ttl)
    fc_store_learn(&self.c.store, &learned)
    tick(self)
    for source in sources:
        if isinstance(source, MemoryCache):
            source = export(source)
        if isinstance(source, Mapping):
            put_many(self, source, DEFAULT)
        else:
            restore(self, source)
    self.c.store.inserts = self.c.store.evictions = self.c.store.expirations = 0
    own, slots = attributes if isinstance(attributes, tuple) else (attributes, None)
    if own:
        self.__dict__.update(own)
    for name, value in (slots or {}).items():
        object.__setattr__(self, name, value)
    set_hooks(self, hooks)
    self.listener = listener
    self.watch |= 0 if listener is None else WATCH_LISTENER
    return 0
