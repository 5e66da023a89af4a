"""Listeners, hooks, and readers without the GIL: everything that has to wait its turn."""

cdef extern from "fc_turn.h":
    int fc_read_begin(fc_cache *c, unsigned long thread, unsigned long forks) except -1
    void fc_read_end(fc_cache *c, unsigned long thread) noexcept
    void fc_read_wait(fc_cache *c) noexcept
    void fc_turn_prune(fc_cache *c, unsigned long forks, unsigned long survivor) noexcept
    fc_turn *fc_turn_find(fc_turn *turns, unsigned long thread) noexcept
    fc_turn *fc_turn_begin(fc_cache *c, fc_turn **turns, unsigned long thread,
                           unsigned long forks) noexcept
    void fc_turn_end(fc_cache *c, fc_turn **turns, fc_turn *t) noexcept

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident() noexcept
    PyObject *PyObject_CallFunctionObjArgs(PyObject *function, ...) noexcept
    PyObject *PyObject_CallMethodObjArgs(PyObject *self, PyObject *name, ...) noexcept

cdef tuple CAUSES = tuple(EvictionCause)  # in the order of fc_cause

# Forks so far in this process and its ancestors, and the thread that went on in the child.
cdef unsigned long forks = 0
cdef unsigned long survivor = 0


def _after_fork():
    global forks, survivor
    forks += 1
    survivor = PyThread_get_thread_ident()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


cdef fc_exits *enter(MemoryCache self, fc_exits *few) except NULL:
    """Begin a change: where it queues what leaves.  Every enter has its leave."""
    cdef fc_cache *c = self.c
    cdef unsigned long thread
    cdef fc_turn *turn
    if self.watch & WATCH_UNMADE:
        raise RuntimeError(f"{type(self).__name__}.__init__ was not called")
    if not self.watch & (WATCH_LISTENER | HOOK_EVICT):
        fc_exits_init(few, False)
        return few
    thread = PyThread_get_thread_ident()
    fc_turn_prune(c, forks, survivor)
    turn = fc_turn_find(c.tellers, thread)
    if turn is NULL:
        turn = fc_turn_begin(c, &c.tellers, thread, forks)
        if turn is NULL:
            raise MemoryError
    turn.depth += 1
    return &turn.exits


cdef int leave(MemoryCache self, fc_exits *out) except -1:
    """End a change: release what has left, and, as the outermost on this thread, tell of it."""
    cdef fc_turn *turn
    cdef fc_exit item
    cdef size_t at = 0
    if not out.audience:
        fc_release(out, &self.c.alloc)
        return 0
    turn = fc_turn_find(self.c.tellers, PyThread_get_thread_ident())
    if turn.depth == 1:
        while at < out.count:  # it may grow: what listeners do queues up here
            item = out.items[at]
            at += 1
            if at == out.count:
                at = out.count = 0
            tell(self, item.key, item.value, item.cause)
            Py_DECREF(item.key)
            Py_DECREF(item.value)
        fc_turn_end(self.c, &self.c.tellers, turn)
    else:
        turn.depth -= 1
    return 0


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


cdef int begin_reading(MemoryCache self) except -1:
    fc_turn_prune(self.c, forks, survivor)
    return fc_read_begin(self.c, PyThread_get_thread_ident(), forks)


cdef int end_reading(MemoryCache self) except -1:
    cdef unsigned long thread = PyThread_get_thread_ident()
    if fc_turn_find(self.c.readers, thread) is NULL:
        raise RuntimeError("unpin() without pin() on this thread")
    fc_read_end(self.c, thread)
    return 0


cdef int await_readers(MemoryCache self) except -1:
    """Let the threads finish that look up without the GIL; a while, not necessarily all."""
    fc_turn_prune(self.c, forks, survivor)
    if self.c.readers is NULL:
        return 0
    if fc_turn_find(self.c.readers, PyThread_get_thread_ident()) is not NULL:
        raise RuntimeError("this thread has pinned the cache: unpin() before writing to it")
    fc_read_wait(self.c)
    return PyErr_CheckSignals()
