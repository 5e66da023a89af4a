"""Simulations: a trace in C arrays, and runs over it without the GIL.

A run goes in slices, between which signals are looked at and a callback may say how far it is, or
end it by an exception.  A trace never changes once it is made, so any number of threads may run
over it at the same time.
"""

cdef extern from "fc_simulate.h" nogil:
    ctypedef struct fc_requests:
        const int64_t *ids
        const uint64_t *sizes
        size_t count
        bint is_unsigned
    ctypedef struct fc_simulation:
        fc_store store
        uint64_t hits, hit_weight
    ctypedef struct fc_numbers:
        uint32_t count
    const size_t FC_TRACE_MAX
    void fc_alloc_init(fc_alloc *a) noexcept
    void fc_trace_widen(int64_t *out, const void *start, size_t count, size_t size,
                        bint is_unsigned) noexcept
    bint fc_trace_sum(const int64_t *sizes, size_t count, int64_t *sum, size_t *at) noexcept
    int fc_numbers_init(fc_numbers *n, fc_alloc *alloc) noexcept
    int fc_numbers_run(fc_numbers *n, const int64_t *ids, size_t count, uint32_t *out) noexcept
    void fc_numbers_free(fc_numbers *n) noexcept
    void fc_trace_next(const uint32_t *numbers, uint32_t count, uint32_t keys, uint32_t *last,
                       uint32_t *next) noexcept
    int fc_simulation_init(fc_simulation *m, const fc_policy *policy, const fc_limits *limits,
                           uint64_t seed) noexcept
    int fc_simulation_run(fc_simulation *m, const fc_requests *r, size_t start, size_t to) noexcept
    void fc_simulation_free(fc_simulation *m) noexcept

cdef extern from "fc_opt.h" nogil:
    ctypedef struct fc_opt:
        uint64_t hits, hit_weight, stored, count
    int fc_opt_init(fc_opt *o, fc_alloc *alloc, uint32_t keys, uint64_t max_entries,
                    uint64_t max_weight) noexcept
    int fc_opt_run(fc_opt *o, const uint32_t *numbers, const uint32_t *next,
                   const uint64_t *sizes, uint32_t start, uint32_t to) noexcept
    void fc_opt_free(fc_opt *o) noexcept

cdef extern from "fc_stack.h" nogil:
    ctypedef struct fc_stack:
        const uint64_t *hits
    int fc_stack_init(fc_stack *k, fc_alloc *alloc, uint32_t keys) noexcept
    void fc_stack_run(fc_stack *k, const uint32_t *numbers, size_t count) noexcept
    void fc_stack_free(fc_stack *k) noexcept

cdef extern from "Python.h":
    ctypedef struct Py_buffer:
        void *buf
    int PyObject_GetBuffer(object o, Py_buffer *view, int flags) except -1
    void PyBuffer_Release(Py_buffer *view)
    int PyBUF_SIMPLE
    void *PyMem_RawMalloc(size_t size) noexcept nogil
    void PyMem_RawFree(void *block) noexcept nogil

cdef enum:
    STRETCH = 1 << 17  # requests between two looks at signals: some milliseconds

# The policies without those names that stand for another one.
SIMULATED = tuple([
    name for at, name in enumerate(POLICIES)
    if not any([fc_policy_find(name.encode()) == fc_policy_find(other.encode())
                for other in POLICIES[:at]])
])


cdef void *room_for(size_t count, size_t size) except NULL:
    cdef void *block = PyMem_RawMalloc((count + 1) * size)
    if block is NULL:
        raise MemoryError
    return block


cdef object int_buffer(object numbers):
    """A memoryview of ints of 4 or 8 bytes in this machine's order, one after the other; or None."""
    cdef object view
    if isinstance(numbers, (str, list, tuple)):
        return None
    try:
        view = memoryview(numbers)
    except TypeError:  # no buffer
        return None
    if view.ndim != 1 or view.itemsize not in (4, 8) or view.format.lstrip(
            "@=<" if sys.byteorder == "little" else "@=>!") not in tuple("iIlLqQnN"):
        return None
    return view if view.c_contiguous else memoryview(view.tobytes()).cast(
        view.format.lstrip("=<>!"))


cdef int64_t *copy_ints(object view, bint *is_unsigned) except NULL:
    """The ints of such a memoryview; a copy, for the trace is read without the GIL."""
    cdef Py_buffer data
    cdef size_t count = len(view), size = view.itemsize
    cdef bint above = view.format.endswith(("I", "L", "Q", "N"))
    cdef int64_t *out = <int64_t *>room_for(count, sizeof(int64_t))
    try:
        PyObject_GetBuffer(view, &data, PyBUF_SIMPLE)
    except BufferError:
        PyMem_RawFree(out)
        raise
    with nogil:
        fc_trace_widen(out, data.buf, count, size, above)
    PyBuffer_Release(&data)
    is_unsigned[0] = above and size == sizeof(int64_t)
    return out


cdef bint are_ids(list keys):
    """Whether all are ints of 64 bits, which stand for themselves."""
    for key in keys:
        if type(key) is not int or not -(1 << 63) <= key < 1 << 63:
            return False
    return True


@cython.final
cdef class _Trace:
    """The requests of a trace: keys, and sizes or None.  `simulation.Trace` says more."""

    cdef fc_requests r
    cdef int64_t *ids
    cdef int64_t *sizes
    cdef uint32_t *numbers  # of the keys, from 0 on; NULL until asked for
    cdef uint32_t *next     # when each comes again; NULL until asked for
    cdef uint32_t unique
    cdef int64_t total

    def __init__(self, keys, sizes, bint numbered):
        cdef bint above = False
        cdef size_t count, at
        if self.ids is not NULL:
            raise RuntimeError("a trace is made once")
        view = int_buffer(keys)
        if view is not None:
            self.ids = copy_ints(view, &above)
            self.r.is_unsigned = above
            self.r.count = len(view)
        else:
            self.read_keys(list(keys))  # our own: hashing may run foreign code
        if self.r.count > FC_TRACE_MAX:
            raise ValueError(f"a trace has at most {FC_TRACE_MAX} requests, not {self.r.count}")
        self.r.ids = self.ids
        if numbered:
            self.number()
            for at in range(self.r.count):
                self.ids[at] = self.numbers[at]
            self.r.is_unsigned = False
        if sizes is None:
            return
        above = False
        view = int_buffer(sizes)
        if view is not None:
            count = len(view)
            self.sizes = copy_ints(view, &above)
        else:
            sizes = list(sizes)
            count = len(sizes)
            self.read_sizes(sizes)
        if count != self.r.count:
            raise ValueError(f"keys and sizes differ in length: {self.r.count} and {count}")
        self.sum_sizes(above)
        self.r.sizes = <const uint64_t *>self.sizes

    def __dealloc__(self):
        PyMem_RawFree(self.ids)
        PyMem_RawFree(self.sizes)
        PyMem_RawFree(self.numbers)
        PyMem_RawFree(self.next)

    cdef int read_keys(self, list keys) except -1:
        """Ints as they are; if there are others, all by numbers in the order in which they come."""
        cdef dict numbers = {}
        cdef size_t at = 0
        self.ids = <int64_t *>room_for(len(keys), sizeof(int64_t))
        self.r.count = len(keys)
        if are_ids(keys):
            for key in keys:
                self.ids[at] = key
                at += 1
            return 0
        for key in keys:
            try:
                self.ids[at] = numbers.setdefault(key, len(numbers))
            except TypeError as error:
                raise TypeError(f"keys[{at}] is no key: {error}") from error
            at += 1
        return 0

    cdef int read_sizes(self, list sizes) except -1:
        cdef size_t at = 0
        self.sizes = <int64_t *>room_for(len(sizes), sizeof(int64_t))
        for size in sizes:
            if isinstance(size, bool) or not hasattr(type(size), "__index__"):
                raise TypeError(f"sizes[{at}] must be an int, not {type(size).__name__}")
            number = size.__index__()
            if not 0 <= number < 1 << 63:
                raise ValueError(f"sizes[{at}] must be from 0 to 2**63 - 1, not {number}")
            self.sizes[at] = number
            at += 1
        return 0

    cdef int sum_sizes(self, bint above) except -1:
        cdef size_t at
        if not fc_trace_sum(self.sizes, self.r.count, &self.total, &at):
            size = self.sizes[at]
            if size < 0 and not above:
                raise ValueError(f"sizes[{at}] must be 0 or more, not {size}")
            raise ValueError(f"the sizes add up to more than 2**63 - 1 bytes at sizes[{at}]")
        return 0

    cdef int number(self) except -1:
        """Number the keys, once; another thread may have been faster."""
        cdef uint32_t *numbers
        cdef fc_alloc alloc
        cdef fc_numbers n
        cdef int done
        if self.numbers is not NULL:
            return 0
        numbers = <uint32_t *>room_for(self.r.count, sizeof(uint32_t))
        with nogil:
            fc_alloc_init(&alloc)
            done = fc_numbers_init(&n, &alloc)
            if done == 0:
                done = fc_numbers_run(&n, self.r.ids, self.r.count, numbers)
                fc_numbers_free(&n)
        if done != 0 or self.numbers is not NULL:
            PyMem_RawFree(numbers)
            if done != 0:
                raise MemoryError
            return 0
        self.unique = n.count
        self.numbers = numbers
        return 0

    cdef int look_ahead(self) except -1:
        """Find when each key comes again, once."""
        cdef uint32_t *next
        cdef uint32_t *last
        self.number()
        if self.next is not NULL:
            return 0
        last = <uint32_t *>room_for(self.unique, sizeof(uint32_t))
        try:
            next = <uint32_t *>room_for(self.r.count, sizeof(uint32_t))
            with nogil:
                fc_trace_next(self.numbers, <uint32_t>self.r.count, self.unique, last, next)
        finally:
            PyMem_RawFree(last)
        if self.next is NULL:
            self.next = next
        else:
            PyMem_RawFree(next)
        return 0

    def __len__(self):
        return self.r.count

    def unique_keys(self):
        self.number()
        return self.unique

    def total_size(self):
        return self.total if self.sizes is not NULL else None

    def run(self, policy, max_entries, max_size_bytes, seed, progress):
        """(hits, evictions, bytes hit) of a policy, or of "opt"."""
        cdef fc_limits limits
        max_entries = whole_number(max_entries, "max_entries")
        max_size_bytes = whole_number(max_size_bytes, "max_size_bytes")
        if max_entries is None and max_size_bytes is None:
            raise ConfigurationError(
                "a simulation needs a bound: pass max_entries or max_size_bytes")
        if max_size_bytes is not None and self.sizes is NULL:
            raise ConfigurationError("max_size_bytes needs sizes: there are no bytes to bound")
        if not isinstance(seed, int):
            raise TypeError(f"seed must be an int, not {type(seed).__name__}")
        if isinstance(policy, str):
            policy = str.__str__(policy)
        if policy not in POLICIES and policy != "opt":
            raise ConfigurationError(
                f"unknown policy {policy!r}; known are {', '.join(POLICIES)}, opt")
        limits.idle = 0
        limits.max_entries = FC_ENTRIES_MAX
        if max_entries is not None and max_entries < FC_ENTRIES_MAX:
            limits.max_entries = max_entries
        limits.max_weight = <uint64_t>-1
        if max_size_bytes is not None:
            limits.max_weight = min(max_size_bytes, (1 << 63) - 1)
        if policy == "opt":
            return self.run_opt(&limits, progress)
        return self.run_store(fc_policy_find(policy.encode()), &limits, seed & ((1 << 64) - 1),
                              progress)

    cdef object run_store(self, const fc_policy *policy, const fc_limits *limits, uint64_t seed,
                          object progress):
        cdef fc_simulation m
        cdef size_t at = 0, to
        cdef int done
        # A cache draws its seed so from the number that _fix_seeds was given.
        if fc_simulation_init(&m, policy, limits, fc_hash_next(&seed)) != 0:
            raise MemoryError
        try:
            while at < self.r.count:
                to = min(self.r.count, at + STRETCH)
                with nogil:
                    done = fc_simulation_run(&m, &self.r, at, to)
                at = to
                between(done, to, progress)
            return m.hits, m.store.evictions, m.hit_weight
        finally:
            fc_simulation_free(&m)

    cdef object run_opt(self, const fc_limits *limits, object progress):
        cdef fc_alloc alloc
        cdef fc_opt o
        cdef uint32_t at = 0, to
        cdef int done
        self.look_ahead()
        fc_alloc_init(&alloc)
        if fc_opt_init(&o, &alloc, max(self.unique, 1), limits.max_entries,
                       limits.max_weight) != 0:
            raise MemoryError
        try:
            while at < self.r.count:
                to = min(self.r.count, <size_t>at + STRETCH)
                with nogil:
                    done = fc_opt_run(&o, self.numbers, self.next, self.r.sizes, at, to)
                at = to
                between(done, to, progress)
            return o.hits, o.stored - o.count, o.hit_weight
        finally:
            fc_opt_free(&o)

    def lru_hits(self, list sizes, progress):
        """The hits of lru with each of these numbers of entries, all in one pass."""
        cdef fc_alloc alloc
        cdef fc_stack k
        cdef size_t at = 0, to
        cdef uint64_t hits = 0
        cdef uint32_t distance = 0
        self.number()
        if self.unique >= 1 << 31:
            raise ValueError("too many different keys: 2**31 and more")
        fc_alloc_init(&alloc)
        if fc_stack_init(&k, &alloc, max(self.unique, 1)) != 0:
            raise MemoryError
        try:
            while at < self.r.count:
                to = min(self.r.count, at + STRETCH)
                with nogil:
                    fc_stack_run(&k, self.numbers + at, to - at)
                at = to
                between(0, to, progress)
            found = {}
            for size in sorted(sizes):
                while distance < self.unique and distance < size:
                    hits += k.hits[distance]
                    distance += 1
                found[size] = hits
            return [found[size] for size in sizes]
        finally:
            fc_stack_free(&k)


cdef int between(int done, size_t at, object progress) except -1:
    """Between two slices."""
    if done != 0:
        raise MemoryError
    if progress is not None:
        progress(at)
    return PyErr_CheckSignals()
