"""What of csrc/ is used here; each header says what its functions do."""

cdef extern from "policy/all.h" nogil:
    ctypedef struct fc_memo:
        uint64_t uses
        double rank, age, cost
        uint8_t list, bits
    ctypedef struct fc_learned:
        uint64_t draw
        double share
    ctypedef struct fc_policy:
        pass
    ctypedef struct fc_policy_name:
        const char *name
    fc_policy_name *FC_POLICIES
    const size_t FC_POLICIES_COUNT
    const fc_policy *fc_policy_find(const char *name) noexcept

cdef extern from "fc_empty.h":
    ctypedef struct fc_alloc:
        long long fail_after
    ctypedef struct fc_entry:
        PyObject *key
        PyObject *value
        int64_t expiry
        uint8_t flags
    ctypedef struct fc_slab:
        fc_entry *entries
    ctypedef struct fc_wheel:
        uint32_t count
    ctypedef struct fc_limits:
        uint32_t max_entries
        uint64_t max_weight
        int64_t idle
    ctypedef struct fc_store:
        fc_slab slab
        fc_wheel wheel
        bint weighed
        uint64_t weight, max_weight
        uint32_t count, max_entries
        uint64_t hits, misses, inserts, evictions, expirations
        uint64_t seed
    ctypedef struct fc_exit:
        PyObject *key
        PyObject *value
        int cause
    ctypedef struct fc_exits:
        fc_exit *items
        size_t count
        bint audience
    ctypedef struct fc_ref:
        pass
    ctypedef struct fc_standing:
        uint64_t weight
        int64_t end, left
        fc_memo memo
    ctypedef struct fc_turn:
        unsigned long depth
        fc_exits exits
        size_t told
        bint telling
    ctypedef struct fc_cache:
        fc_store store
        fc_turn *readers
        fc_turn *tellers
        unsigned int waiting
        bint chained, clocked
        int64_t now, ttl
        void *recorder
        uint32_t configured
        fc_alloc alloc
    ctypedef struct fc_incoming:
        int64_t hash
        uint64_t weight
        double cost
        const fc_memo *memo
    ctypedef struct fc_change:
        fc_incoming incoming "in"
        int64_t ttl, left
        PyObject *expected
        const uint64_t *token

    enum: FC_MISS, FC_HIT, FC_BUSY, FC_NIL, FC_ENTRIES_MAX, FC_BATCH, FC_ENTRY_TIMED, FC_KEEP
    enum: FC_BY_RULES, FC_HEAVY, FC_MORE, FC_BOUND_ENTRIES, FC_BOUND_WEIGHT
    const int64_t FC_NEVER
    ctypedef enum fc_mode: FC_PUT, FC_PUT_NEW, FC_PUT_OLD

    uint64_t fc_hash_next(uint64_t *state) noexcept
    void fc_store_learned(const fc_store *s, fc_learned *learned) noexcept
    void fc_store_learn(fc_store *s, const fc_learned *learned) noexcept
    fc_cache *fc_cache_new(const fc_policy *policy, uint64_t seed) noexcept
    int fc_cache_configure(fc_cache *c, const fc_policy *policy, const fc_limits *limits,
                           uint64_t seed, int64_t ttl, bint clocked, bint foreign) noexcept
    void fc_cache_free(fc_cache *c) noexcept
    int64_t fc_now(const fc_cache *c) noexcept

    # Those that say `except` have set an exception; FC_BUSY means: await_readers, then again.
    Py_hash_t fc_hash(PyObject *key) except -1
    int fc_probe(const fc_cache *c, PyObject *key, Py_hash_t hash, uint32_t *place) noexcept nogil
    int fc_time_left(fc_cache *c, PyObject *key, Py_hash_t hash, int64_t *left) except -1
    bint fc_fetch_standing(fc_cache *c, fc_ref ref, fc_standing *standing) noexcept
    bint fc_is_live(const fc_cache *c, uint32_t at) noexcept nogil
    PyObject *fc_get(fc_cache *c, PyObject *key) except? NULL
    PyObject *fc_peek(fc_cache *c, PyObject *key) except? NULL
    fc_ref *fc_snapshot(fc_cache *c, bint copy, Py_ssize_t *count) noexcept
    bint fc_fetch(fc_cache *c, fc_ref ref, PyObject **key, PyObject **value) noexcept
    uint32_t fc_count_live(const fc_cache *c) noexcept
    int fc_contains(fc_cache *c, PyObject *key) except -1
    void fc_change_init(fc_change *change, const fc_cache *c, PyObject *key, Py_hash_t hash,
                        PyObject *value, fc_mode mode) noexcept
    int fc_put(fc_cache *c, fc_change *change, fc_exits *out) except -1
    int fc_touch_key(fc_cache *c, PyObject *key, Py_hash_t hash, int64_t ttl,
                     fc_exits *out) except -1
    int fc_remove(fc_cache *c, PyObject *key, Py_hash_t hash, fc_exits *out) except -1
    int fc_pop(fc_cache *c, fc_exits *out) except -1
    int fc_expire_all(fc_cache *c, fc_exits *out) except -1
    PyObject *fc_victim_key(fc_cache *c) noexcept
    int fc_clear(fc_cache *c, fc_store *old, fc_exits *out) except -1

    int fc_rebound(fc_cache *c, int which, uint64_t bound, uint32_t configured, uint32_t slice,
                   fc_exits *out) except -1

    void fc_exits_init(fc_exits *x, bint audience) noexcept
    int fc_exits_reserve(fc_exits *x, fc_alloc *alloc, size_t more) noexcept
    void fc_let_go(fc_exits *x) noexcept
    void fc_release(fc_exits *x, fc_alloc *alloc) noexcept
    void fc_release_store(fc_store *s) noexcept

    # A cast that hands a new reference over.
    object fc_steal "(PyObject *)" (PyObject *owned)

cdef extern from "Python.h":
    void Py_INCREF(PyObject *o)
    void Py_DECREF(PyObject *o)
    void Py_XDECREF(PyObject *o)

cdef extern from "fc_fill.h":
    int fc_token(fc_cache *c, Py_hash_t hash, uint64_t *token) except -1
    int fc_writing_begin(fc_cache *c, uint32_t *place, Py_hash_t hash, uint64_t *token) except -1
    bint fc_writing_crosses(fc_cache *c, uint32_t place) noexcept
    bint fc_is_writing(fc_cache *c, Py_hash_t hash) noexcept
    void fc_writing_end(fc_cache *c, uint32_t place) noexcept
    int fc_fill(fc_cache *c, fc_change *change, uint64_t token, fc_exits *out) except -1

cdef extern from "fc_quick.h":
    int fc_assign_quick(fc_cache *c, PyObject *key, PyObject *value) noexcept
    int fc_remove_quick(fc_cache *c, PyObject *key) noexcept

cdef extern from "fc_named.h":
    ctypedef struct fc_units:
        pass
    ctypedef struct fc_rules:
        bint asks
    fc_rules *fc_rules_new(fc_alloc *alloc, uint32_t bytes, uint32_t text, size_t units) noexcept
    void fc_rules_add(fc_rules *r, bint text, fc_units prefix, int64_t ttl) noexcept
    void fc_rules_close(fc_rules *r) noexcept
    fc_units fc_units_of_text(PyObject *key) noexcept
    fc_units fc_units_of_bytes(PyObject *key) noexcept
    bint fc_has_rules(const fc_cache *c) noexcept
    bint fc_ask_rules(fc_cache *c, PyObject *key, int64_t *ttl) noexcept
    void fc_set_rules(fc_cache *c, fc_rules *rules) noexcept
    int fc_set_ttl(fc_cache *c, int64_t ttl) noexcept

cdef extern from "fc_weigh.h":
    int64_t fc_payload(PyObject *o) noexcept
    int64_t fc_weight_known(PyObject *key, PyObject *value) noexcept

cdef extern from "fc_collect.h":
    int fc_visit(const fc_cache *c, visitproc visit, void *arg) noexcept
    void fc_drop_all(fc_cache *c) noexcept
    const char *fc_cache_check(const fc_cache *c) noexcept
