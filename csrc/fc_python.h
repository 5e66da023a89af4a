/* fc_python.h - the store with Python objects in it: how a key is hashed, compared and found.
 *
 * The only header that brings in Python.h; fc_access.h, fc_batch.h and fc_turn.h stand on it.
 *
 * Exact str, bytes and int are compared here and run nobody's code.  Any other key is asked through
 * its __eq__, which may change this very store; then the probe starts again, skipping whom it has
 * asked (fc_find_asking).  After a find nothing foreign runs until the change is made.
 *
 * Every entry point holds FC_LOCK while it looks or changes, and never while foreign code runs.
 * With a GIL the lock is nothing. */
#ifndef FC_PYTHON_H
#define FC_PYTHON_H

#include <Python.h>

#include "fc_clock.h"
#include "fc_deadline.h"
#include "fc_exits.h"
#include "fc_rules.h"
#include "policy/all.h"

#ifdef Py_GIL_DISABLED
#define FC_LOCK_FIELD PyMutex lock;
#define FC_LOCK(c) PyMutex_Lock(&(c)->lock)
#define FC_UNLOCK(c) PyMutex_Unlock(&(c)->lock)
#else
#define FC_LOCK_FIELD
#define FC_LOCK(c) ((void)0)
#define FC_UNLOCK(c) ((void)0)
#endif

enum {
    FC_MISS = 0,
    FC_HIT = 1,
    FC_ERROR = -1, /* a Python exception is set */
    FC_BUSY = -2,  /* readers without the GIL are at work: wait, then try again */
    FC_ASK = -3,   /* only a foreign __eq__ can tell */
    FC_HEAVY = -4  /* the bound has become less than this one entry weighs */
};

/* What a write has to see to. */
enum {
    FC_CARE_STORE = 1, /* weights, deadlines or tokens */
    FC_CARE_RULES = 2  /* prefixes that give a key a ttl of its own */
};

/* A lookup whose comparisons each change the store gives up here instead of hanging. */
#define FC_ASKED_MAX 4096
/* A thread's turn at something: looking up without the GIL, or telling what has left.  On the heap,
 * so that a forked child can walk past the turns of threads that it does not have. */
typedef struct fc_turn {
    struct fc_turn *outer;
    unsigned long thread;
    unsigned long depth;
    fc_exits exits; /* what to tell at its end */
    size_t told;    /* of these */
    bool telling;   /* a listener is at work */
} fc_turn;

/* This entry, and not a later one in its place. */
typedef struct fc_ref {
    uint32_t index, serial;
} fc_ref;

typedef struct fc_cache {
    fc_store store;
    uint64_t containers; /* entries that a reference cycle may run through */
    bool chained;        /* a miss is asked for below */
    uint8_t careful;     /* FC_CARE_... */
    bool foreign; /* a write has to call the user's sizeof, clock or rules, or to outdate tokens */
    bool calls; /* the user's sizeof or clock */
    bool clocked; /* the time is `now`, which each operation reads from the user's clock */
    int64_t now;
    int64_t ttl; /* of entries that are given none; FC_NEVER: they live on */
    fc_rules *rules; /* owned: keys that live by another ttl; NULL: none */
    fc_turn *readers; /* who looks up without the GIL */
    PyThread_type_lock gate; /* held while there are readers; writers wait at it */
    unsigned waiting; /* writers at the gate: no new reader without the GIL */
    unsigned long forks; /* the count of forks when turns and gate were last looked through */
    fc_turn *tellers; /* whose operation a listener hears about at its end */
    uint32_t *generations; /* NULL until the first token */
    struct fc_recorder *recorder; /* of what the policy sees; or NULL */
    uint32_t epoch;
    uint32_t configured; /* how many times; an operation begun before the last one is refused */
    fc_alloc alloc;
    FC_LOCK_FIELD
} fc_cache;

/* Note what a write has to see to, after any of it has changed. */
static inline void
fc_cache_settle_care(fc_cache *c)
{
    bool asks = c->rules != NULL && c->rules->asks;
    c->foreign = c->calls || asks || c->generations != NULL;
    c->careful = c->rules != NULL ? FC_CARE_RULES : 0;
    if (c->foreign || c->store.weighed || c->store.idle > 0 || c->ttl != FC_NEVER) {
        c->careful |= FC_CARE_STORE;
    }
}

/* Whether a write has to see to more than rules, or has to wait. */
FC_INLINE bool
fc_is_burdened(const fc_cache *c)
{
    return c->readers != NULL || c->careful & FC_CARE_STORE || c->store.wheel.count != 0;
}

/* For an empty cache: another policy, bounds, lifetime and seed, and no rules; the counters start at
 * zero. */
static inline int
fc_cache_configure(fc_cache *c, const fc_policy *policy, const fc_limits *limits, uint64_t seed,
                   int64_t ttl, bool clocked, bool foreign)
{
    fc_store fresh;
    if (fc_store_init(&fresh, &c->alloc, policy, limits, seed) != FC_OK) {
        return FC_NOMEM;
    }
    fresh.timed |= ttl != FC_NEVER;
    fresh.version = c->store.version + 1;
    fc_store_free(&c->store);
    c->store = fresh;
    c->ttl = ttl;
    c->clocked = clocked;
    c->calls = foreign;
    fc_rules_free(c->rules, &c->alloc);
    c->rules = NULL;
    fc_cache_settle_care(c);
    c->epoch++;
    c->configured++;
    return FC_OK;
}

static inline fc_cache *
fc_cache_new(const fc_policy *policy, uint64_t seed)
{
    const fc_limits limits = {.max_entries = 1, .max_weight = UINT64_MAX};
    fc_cache *c = calloc(1, sizeof *c);
    if (c != NULL) {
        fc_alloc_init(&c->alloc);
        c->ttl = FC_NEVER;
        if (fc_store_init(&c->store, &c->alloc, policy, &limits, seed) != FC_OK) {
            free(c);
            c = NULL;
        }
    }
    return c;
}

FC_INLINE int64_t
fc_now(const fc_cache *c)
{
    return FC_UNLIKELY(c->clocked) ? c->now : fc_clock_system();
}

/* Whether an entry is there as far as anybody may see.  Needs no GIL. */
FC_INLINE bool
fc_is_live(const fc_cache *c, uint32_t at)
{
    const fc_entry *e = &c->store.slab.entries[at];
    return FC_LIKELY(!(e->flags & FC_ENTRY_TIMED)) || !fc_deadline_over(e, fc_now(c));
}

/* Keys and values have been let go of before. */
static inline void
fc_cache_free(fc_cache *c)
{
    fc_store_free(&c->store);
    if (c->gate != NULL) {
        PyThread_free_lock(c->gate);
    }
    fc_rules_free(c->rules, &c->alloc);
    free(c->generations);
    free(c);
}

/* ---- hash and compare --------------------------------------------------------------------- */

/* A small int is its own hash, but for -1, which is no hash; -1 for that one and for large ones. */
FC_INLINE Py_hash_t
fc_hash_int(PyObject *key)
{
#if PY_VERSION_HEX < 0x030C0000
    Py_ssize_t size = Py_SIZE(key);
    if (size < -1 || size > 1) {
        return -1;
    }
    return size * (Py_hash_t)((PyLongObject *)key)->ob_digit[0];
#else
    const PyLongObject *n = (const PyLongObject *)key;
    return PyUnstable_Long_IsCompact(n) ? PyUnstable_Long_CompactValue(n) : -1;
#endif
}

#if defined(__GNUC__) || defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* ob_shash: no other way to read it */
#endif
/* The hash that an exact str or bytes carries along, or that a small int is; else -1. */
FC_INLINE Py_hash_t
fc_hash_cached(PyObject *key)
{
    if (PyUnicode_CheckExact(key)) {
        return ((PyASCIIObject *)key)->hash;
    }
    if (PyBytes_CheckExact(key)) {
        return ((PyBytesObject *)key)->ob_shash;
    }
    return PyLong_CheckExact(key) ? fc_hash_int(key) : -1;
}
#if defined(__GNUC__) || defined(__clang__)
#pragma GCC diagnostic pop
#endif

/* -1 with an exception set; may run foreign code. */
FC_INLINE Py_hash_t
fc_hash(PyObject *key)
{
    Py_hash_t hash = fc_hash_cached(key);
    return FC_LIKELY(hash != -1) ? hash : PyObject_Hash(key);
}

/* Exact str, bytes and int: hashing and comparing them runs no foreign code. */
FC_INLINE bool
fc_is_plain(PyObject *key)
{
    return PyUnicode_CheckExact(key) || PyBytes_CheckExact(key) || PyLong_CheckExact(key);
}

static inline int
fc_same_int(PyObject *have, PyObject *want)
{
#if PY_VERSION_HEX < 0x030C0000
    return Py_SIZE(have) == Py_SIZE(want) &&
           memcmp(((PyLongObject *)have)->ob_digit, ((PyLongObject *)want)->ob_digit,
                  (size_t)Py_ABS(Py_SIZE(want)) * sizeof(digit)) == 0;
#else
    int overflow_have, overflow_want;
    long long a = PyLong_AsLongLongAndOverflow(have, &overflow_have);
    long long b = PyLong_AsLongLongAndOverflow(want, &overflow_want);
    if (overflow_have != overflow_want) {
        return FC_MISS;
    }
    return overflow_have == 0 ? a == b : FC_ASK;
#endif
}

/* Equal hashes are given.  FC_ASK when only rich comparison can tell. */
static inline int
fc_same(PyObject *have, PyObject *want)
{
    if (PyUnicode_CheckExact(want) && PyUnicode_CheckExact(have)) {
        Py_ssize_t length = PyUnicode_GET_LENGTH(want);
        return PyUnicode_GET_LENGTH(have) == length &&
               PyUnicode_KIND(have) == PyUnicode_KIND(want) &&
               memcmp(PyUnicode_DATA(have), PyUnicode_DATA(want),
                      (size_t)length * PyUnicode_KIND(want)) == 0;
    }
    if (PyBytes_CheckExact(want) && PyBytes_CheckExact(have)) {
        Py_ssize_t length = PyBytes_GET_SIZE(want);
        return PyBytes_GET_SIZE(have) == length &&
               memcmp(PyBytes_AS_STRING(have), PyBytes_AS_STRING(want), (size_t)length) == 0;
    }
    if (PyLong_CheckExact(want) && PyLong_CheckExact(have)) {
        return fc_same_int(have, want);
    }
    return fc_is_plain(have) && fc_is_plain(want) ? FC_MISS : FC_ASK;
}

/* Look for a key without running anybody's code or touching a reference: FC_HIT and its place,
 * FC_MISS and the free slot where the search ended, or FC_ASK.  Needs no GIL while the caller is
 * among the readers. */
FC_INLINE int
fc_probe(const fc_cache *c, PyObject *key, Py_hash_t hash, uint32_t *place)
{
    const fc_table *t = &c->store.table;
    uint32_t tag = fc_store_tag(&c->store, hash);
    uint32_t at = fc_table_home(t, tag);
    for (;; at = fc_table_next(t, at)) {
        fc_slot slot = t->slots[at];
        if (FC_LIKELY(slot.tag == tag) && slot.index != FC_NIL) {
            const fc_entry *e = &c->store.slab.entries[slot.index];
            int same = e->key == key ? FC_HIT : FC_MISS;
            if (!same && e->hash == hash) {
                same = fc_same(e->key, key);
            }
            if (same != FC_MISS) {
                *place = slot.index;
                return same;
            }
        }
        else if (slot.index == FC_NIL) {
            *place = at;
            return FC_MISS;
        }
    }
}

/* ---- asking foreign keys ------------------------------------------------------------------ */

typedef struct fc_inquiry {
    fc_ref *list;
    uint32_t count, room;
    fc_ref few[8];
} fc_inquiry;

static inline bool
fc_inquiry_has(const fc_inquiry *q, uint32_t index, uint32_t serial)
{
    for (uint32_t i = 0; i < q->count; i++) {
        if (q->list[i].index == index && q->list[i].serial == serial) {
            return true;
        }
    }
    return false;
}

static inline int
fc_inquiry_add(fc_inquiry *q, uint32_t index, uint32_t serial)
{
    if (q->count == FC_ASKED_MAX) {
        PyErr_SetString(PyExc_RuntimeError,
                        "the __eq__ of a key changes the cache at every comparison");
        return FC_ERROR;
    }
    if (q->count == q->room) {
        fc_ref *list = PyMem_Malloc(2 * q->room * sizeof *list);
        if (list == NULL) {
            PyErr_NoMemory();
            return FC_ERROR;
        }
        memcpy(list, q->list, q->count * sizeof *list);
        if (q->list != q->few) {
            PyMem_Free(q->list);
        }
        q->list = list;
        q->room *= 2;
    }
    q->list[q->count].index = index;
    q->list[q->count++].serial = serial;
    return FC_OK;
}

/* Compare with one candidate; the lock is let go meanwhile.  FC_BUSY: the store has changed. */
static inline int
fc_ask(fc_cache *c, uint32_t index, PyObject *key, fc_inquiry *q)
{
    PyObject *candidate = c->store.slab.entries[index].key;
    uint32_t serial = c->store.slab.entries[index].serial;
    uint64_t version = c->store.version;
    int same;
    if (fc_inquiry_has(q, index, serial)) {
        return FC_MISS;
    }
    Py_INCREF(candidate);
    FC_UNLOCK(c);
    same = PyObject_RichCompareBool(candidate, key, Py_EQ);
    Py_DECREF(candidate); /* may be the last reference, and run foreign code as well */
    FC_LOCK(c);
    if (same < 0 || c->store.version == version) {
        return same;
    }
    if (same && fc_slab_holds(&c->store.slab, index, serial)) {
        return FC_HIT; /* still the entry that said yes */
    }
    return fc_inquiry_add(q, index, serial) == FC_OK ? FC_BUSY : FC_ERROR;
}

/* A full lookup where __eq__ has to be asked.  When an answer comes with a change of the store, the
 * probe starts again; entries that have said no are not asked twice, so it ends. */
FC_COLD static int
fc_find_asking(fc_cache *c, PyObject *key, Py_hash_t hash, uint32_t *place)
{
    fc_inquiry q = {.list = q.few, .room = sizeof q.few / sizeof *q.few};
    int found = FC_BUSY;
    while (found == FC_BUSY) {
        const fc_table *t = &c->store.table;
        uint32_t tag = fc_store_tag(&c->store, hash);
        uint32_t at = fc_table_home(t, tag);
        for (found = FC_MISS; found == FC_MISS && t->slots[at].index != FC_NIL;
             at = fc_table_next(t, at)) {
            uint32_t index = t->slots[at].index;
            const fc_entry *e = &c->store.slab.entries[index];
            if (t->slots[at].tag == tag && e->hash == hash) {
                found = e->key == key ? FC_HIT : fc_same(e->key, key);
                if (found == FC_ASK) {
                    found = fc_ask(c, index, key, &q);
                }
                *place = index;
            }
        }
        if (found == FC_MISS) {
            *place = at;
        }
    }
    if (q.list != q.few) {
        PyMem_Free(q.list);
    }
    return found;
}

/* FC_HIT and the place, FC_MISS and the slot, or FC_ERROR.  It holds until the lock is let go. */
FC_INLINE int
fc_find(fc_cache *c, PyObject *key, Py_hash_t hash, uint32_t *place)
{
    int found = fc_probe(c, key, hash, place);
    return FC_LIKELY(found != FC_ASK) ? found : fc_find_asking(c, key, hash, place);
}

#endif
