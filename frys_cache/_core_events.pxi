"""Listeners, hooks, and readers without the GIL: everything that has to wait its turn."""

cdef extern from "fc_turn.h":
    int fc_watch_forks() noexcept
    int fc_turn_prune(fc_cache *c) except -1
    fc_turn *fc_turn_find(fc_turn *turns) noexcept
    fc_turn *fc_turn_begin(fc_cache *c, fc_turn **turns) noexcept
    void fc_turn_end(fc_cache *c, fc_turn **turns, fc_turn *t) noexcept
    int fc_read_begin(fc_cache *c) except -1
    void fc_read_end(fc_cache *c) noexcept
    void fc_read_wait(fc_cache *c) noexcept

cdef extern from "Python.h":
    PyObject *PyObject_CallFunctionObjArgs(PyObject *function, ...) noexcept
    PyObject *PyObject_CallMethodObjArgs(PyObject *self, PyObject *name, ...) noexcept

cdef tuple CAUSES = tuple(EvictionCause)  # in the order of fc_cause

if fc_watch_forks() != 0:
    raise MemoryError


cdef fc_exits *enter(MemoryCache self, fc_exits *few) except NULL:
    """Begin a change: where it queues what leaves.  Every enter has its leave."""
    cdef fc_cache *c = self.c
    cdef fc_turn *turn
    if self.watch & WATCH_UNMADE:
        raise RuntimeError(f"{type(self).__name__}.__init__ was not called")
    if not self.watch & (WATCH_LISTENER | HOOK_EVICT):
        fc_exits_init(few, False)
        return few
    fc_turn_prune(c)
    turn = fc_turn_find(c.tellers)
    if turn is NULL:
        turn = fc_turn_begin(c, &c.tellers)
        if turn is NULL:
            raise MemoryError
    turn.depth += 1
    return &turn.exits


cdef int leave(MemoryCache self, fc_exits *out) except -1:
    """End a change: release what has left, and, as the outermost on this thread, tell of it."""
    cdef fc_turn *turn
    if not out.audience:
        fc_release(out, &self.c.alloc)
        return 0
    turn = fc_turn_find(self.c.tellers)
    if turn.depth == 1:
        tell_all(self, turn)
    turn.depth -= 1
    if turn.depth == 0:  # a greenlet that a listener switched to may still be inside
        fc_turn_end(self.c, &self.c.tellers, turn)
    return 0


cdef void tell_all(MemoryCache self, fc_turn *turn) noexcept:
    """Tell what is queued, and what listeners queue up meanwhile, each once."""
    cdef fc_exit item
    cdef bint outer = turn.telling
    turn.telling = True
    while turn.told < turn.exits.count:
        item = turn.exits.items[turn.told]
        turn.told += 1
        if turn.told == turn.exits.count:
            turn.told = turn.exits.count = 0
        tell(self, item.key, item.value, item.cause)
        Py_DECREF(item.key)
        Py_DECREF(item.value)
    turn.telling = outer


cdef bint is_telling(MemoryCache self) noexcept:
    """Whether this thread is inside a listener."""
    cdef fc_turn *turn = fc_turn_find(self.c.tellers)
    return turn is not NULL and turn.telling


cdef void tell(MemoryCache self, PyObject *key, PyObject *value, int cause) noexcept:
    """Call hook and listener; what they raise is reported, counted, and stops nothing."""
    cdef object listener = self.listener
    if self.watch & HOOK_EVICT:
        heard(self, <PyObject *>self,
              PyObject_CallMethodObjArgs(<PyObject *>self, <PyObject *>"_on_evict", key, value,
                                         <PyObject *>CAUSES[cause], NULL))
    if listener is not None:
        heard(self, <PyObject *>listener,
              PyObject_CallFunctionObjArgs(<PyObject *>listener, key, value,
                                           <PyObject *>CAUSES[cause], NULL))


cdef void heard(MemoryCache self, PyObject *who, PyObject *result) noexcept:
    if result is NULL:
        self.listener_errors += 1
        PyErr_WriteUnraisable(<object>who)
    Py_XDECREF(result)


cdef extern from "Python.h":
    void PyErr_SetObject(object kind, object value)


def report(error not None, who):
    """Hand an exception that has no caller to `sys.unraisablehook`; who: an object to be named."""
    if not isinstance(error, BaseException):
        raise TypeError(f"report takes an exception, not {type(error).__name__}")
    tell_unraisable(error, who)


cdef void tell_unraisable(object error, object who) noexcept:
    PyErr_SetObject(type(error), error)
    PyErr_WriteUnraisable(who)


cdef int begin_reading(MemoryCache self) except -1:
    fc_turn_prune(self.c)
    return fc_read_begin(self.c)


cdef int end_reading(MemoryCache self) except -1:
    if fc_turn_find(self.c.readers) is NULL:
        raise RuntimeError("unpin() without pin() on this thread")
    fc_read_end(self.c)
    return 0


cdef int await_readers(MemoryCache self) except -1:
    """Let the threads finish that look up without the GIL; a while, not necessarily all."""
    fc_turn_prune(self.c)
    if self.c.readers is NULL:
        return 0
    if fc_turn_find(self.c.readers) is not NULL:
        raise RuntimeError("this thread has pinned the cache: unpin() before writing to it")
    fc_read_wait(self.c)
    return PyErr_CheckSignals()
